"""Fair share between keys. Additive: workers of the version before go on meanwhile, as long as
nothing is enqueued with a ``fair_key``.

On MySQL and MariaDB the column ``turn`` that 0004 has made orders lines as well, so that its index
serves them, and ``limit_state`` of 0007, where 3 is what waits without a date, has what is ready in
a line with the other ready ones. The table of live messages is rebuilt for both at once, with
writes locked meanwhile.
"""

from typing import Any

from django.db import migrations, models

#: 2**45, as ``core.line`` has it.
LINES = 35184372088832


def _alter(turn: str = "", limit_state: str = "") -> str:
    return (
        "ALTER TABLE vtasks_message MODIFY COLUMN turn double GENERATED ALWAYS AS (CASE state"
        f" WHEN 0 THEN -priority WHEN 1 THEN run_at {turn} ELSE lease_until END) STORED,"
        " MODIFY COLUMN limit_state smallint GENERATED ALWAYS AS (CASE WHEN limit_key IS NULL"
        " THEN NULL WHEN state = 1 AND run_at >= 1e12 THEN 3"
        f" {limit_state} ELSE state END) STORED"
    )


class OrderLines(migrations.operations.base.Operation):
    """On MySQL and MariaDB only: lines of a priority one behind the other, each in order."""

    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models stay as they are."""

    def database_forwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor == "mysql":
            turn = f"WHEN 3 THEN line - priority * {LINES}"
            schema_editor.execute(_alter(turn, "WHEN state = 3 THEN 0"))

    def database_backwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor == "mysql":
            schema_editor.execute(_alter())

    def describe(self) -> str:
        return "Order lines for MySQL and MariaDB"


class AddPartialIndex(migrations.AddIndex):
    """Not on MySQL and MariaDB, which would build it over all states."""

    def database_forwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor != "mysql":
            super().database_forwards(app_label, schema_editor, *states)

    def database_backwards(self, app_label: Any, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor != "mysql":
            super().database_backwards(app_label, schema_editor, *states)


class Migration(migrations.Migration):
    dependencies = [
        ("vtasks", "0007_limits"),
    ]

    operations = [
        migrations.AddField(
            model_name="message",
            name="line",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="line",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name="message",
            name="state",
            field=models.SmallIntegerField(
                choices=[(0, "Ready"), (1, "Delayed"), (2, "Running"), (3, "Ready, in line")]
            ),
        ),
        AddPartialIndex(
            model_name="message",
            index=models.Index(
                models.F("queue"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("line"),
                models.F("seq"),
                condition=models.Q(("state", 3)),
                name="vtasks_message_lined",
            ),
        ),
        OrderLines(),
    ]
