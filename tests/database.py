"""The default database of ``tests.settings``, between tests."""

from django.db import connection


def empty_tables() -> None:
    """Delete every row of the package's tables. Not from inside a running event loop."""
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names(cursor):
            if name.startswith("vtasks_"):
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(name)}")
    connection.close()
