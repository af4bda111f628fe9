"""What MySQL and MariaDB need and the models cannot say; other engines have nothing to do.

Text compares byte by byte, trailing spaces included, as everywhere else. The partial indexes, which
these servers would build over all states, make room for one index over a column that orders each
state its own way: ready messages by priority, delayed ones by when they are due, running ones by
the end of their lease. Claims walk it without sorting, and a change of state touches it alone.
"""

from collections.abc import Iterator
from typing import Any

from django.db import migrations

TABLES = ("vtasks_message", "vtasks_result", "vtasks_deadletter", "vtasks_uniquekey", "vtasks_tick")

#: Not a virtual column: what purges old rows would have to compute it.
TURN = """
ADD COLUMN turn double GENERATED ALWAYS AS
    (CASE state WHEN 0 THEN -priority WHEN 1 THEN run_at ELSE lease_until END) STORED,
ADD INDEX vtasks_message_turn (queue, state, turn, seq)
"""


class ShapeForMySQL(migrations.operations.base.Operation):
    """Each table is rebuilt once, which is quick: before this no store has filled them there."""

    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models stay as they are."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "mysql":
            return
        message = to_state.apps.get_model(app_label, "message")
        for index in message._meta.indexes:
            schema_editor.remove_index(message, index)
        for statement in _alterations(schema_editor.connection.mysql_is_mariadb):
            schema_editor.execute(statement)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "mysql":
            return
        schema_editor.execute(
            "ALTER TABLE vtasks_message DROP INDEX vtasks_message_turn, DROP COLUMN turn"
        )
        message = to_state.apps.get_model(app_label, "message")
        for index in message._meta.indexes:
            schema_editor.add_index(message, index)

    def describe(self) -> str:
        return "Shape the tables for MySQL and MariaDB"


def _alterations(is_mariadb: bool) -> Iterator[str]:
    collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
    for table in TABLES:
        more = f", {TURN}" if table == "vtasks_message" else ""
        yield (
            f"ALTER TABLE {table} ENGINE=InnoDB,"
            f" CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}{more}"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("vtasks", "0003_postgres"),
    ]

    operations = [
        ShapeForMySQL(),
    ]
