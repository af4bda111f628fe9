"""PostgreSQL only; nothing on other engines.

Each message is written three times and gone, so the table is vacuumed by number, not by share of
its size. Django's second index on a text column serves ``LIKE``, which nobody uses here, and costs
as much as the first. The locks: SHARE UPDATE EXCLUSIVE for the parameters, which lets reads and
writes go on, and ACCESS EXCLUSIVE for an instant to drop the indexes.
"""

from typing import Any

from django.db import migrations

_VACUUM = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "10000",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "50000",
    "autovacuum_vacuum_cost_delay": "0",
    "toast.autovacuum_vacuum_scale_factor": "0",
    "toast.autovacuum_vacuum_threshold": "10000",
}

_LIKE = {
    "vtasks_message_uid_688a3f2f_like": ("vtasks_message", "uid"),
    "vtasks_result_uid_9ce0fcf9_like": ("vtasks_result", "uid"),
    "vtasks_deadletter_uid_c7d677fd_like": ("vtasks_deadletter", "uid"),
    "vtasks_tick_schedule_08846f70_like": ("vtasks_tick", "schedule"),
}


class OnPostgres(migrations.RunSQL):
    """Statements for one engine, which ``sqlmigrate`` shows."""

    def database_forwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            super().database_forwards(app_label, schema_editor, *states)

    def database_backwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            super().database_backwards(app_label, schema_editor, *states)


class Migration(migrations.Migration):
    dependencies = [
        ("vtasks", "0002_unique_keys"),
    ]

    operations = [
        OnPostgres(
            "ALTER TABLE vtasks_message SET ("
            + ", ".join(f"{name} = {value}" for name, value in _VACUUM.items())
            + ")",
            f"ALTER TABLE vtasks_message RESET ({', '.join(_VACUUM)})",
        ),
        *(
            OnPostgres(
                f"DROP INDEX IF EXISTS {index}",
                f"CREATE INDEX IF NOT EXISTS {index} ON {table} ({column} varchar_pattern_ops)",
            )
            for index, (table, column) in _LIKE.items()
        ),
    ]
