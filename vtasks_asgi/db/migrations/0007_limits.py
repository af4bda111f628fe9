"""Limits by key. Additive: workers of the version before go on meanwhile, without limits.

The index serves a key's messages by state: those that wait without a date in the order in which
they will start, those with one by date. Messages without a limit are not in it. MySQL and MariaDB
have no partial indexes: there a column orders each state its own way, as in 0004, and is NULL for
what has no limit, so that changes of its state do not touch the index.
"""

from typing import Any

from django.db import migrations, models

#: As ``core.limits.HELD``, and the state it stands for here.
TURN = """
ADD COLUMN limit_state smallint GENERATED ALWAYS AS (CASE WHEN limit_key IS NULL THEN NULL
    WHEN state = 1 AND run_at >= 1e12 THEN 3 ELSE state END) STORED,
ADD COLUMN limit_turn double GENERATED ALWAYS AS (CASE WHEN limit_key IS NULL THEN NULL
    WHEN state = 1 AND run_at < 1e12 THEN run_at ELSE -priority END) STORED,
ADD INDEX vtasks_message_limit (queue, limit_key, limit_state, limit_turn, seq)
"""


class AddPartialIndex(migrations.AddIndex):
    """Not on MySQL and MariaDB, which would build it over all messages."""

    def database_forwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor != "mysql":
            super().database_forwards(app_label, schema_editor, *states)

    def database_backwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.vendor != "mysql":
            super().database_backwards(app_label, schema_editor, *states)


def columns(model: str) -> list[migrations.AddField]:
    """The three that a limit is kept in."""
    fields: dict[str, Any] = {
        "limit_key": models.CharField(max_length=64, null=True),
        "limit_count": models.IntegerField(null=True),
        "limit_interval": models.FloatField(null=True),
    }
    return [migrations.AddField(model, name, field) for name, field in fields.items()]


def shape_for_mysql(apps: Any, schema_editor: Any) -> None:
    """The columns that order, and names that compare byte by byte, as 0004 has them."""
    connection = schema_editor.connection
    if connection.vendor == "mysql":
        collation = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        schema_editor.execute(
            "ALTER TABLE vtasks_limit ENGINE=InnoDB,"
            f" CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}"
        )
        schema_editor.execute(f"ALTER TABLE vtasks_message {TURN}")


def unshape(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute(
            "ALTER TABLE vtasks_message DROP INDEX vtasks_message_limit,"
            " DROP COLUMN limit_turn, DROP COLUMN limit_state"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("vtasks", "0006_control"),
    ]

    operations = [
        migrations.CreateModel(
            name="Limit",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "queue",
                        "key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("queue", models.CharField(max_length=100)),
                ("key", models.CharField(max_length=64)),
                ("tat", models.FloatField()),
                ("held", models.BooleanField()),
            ],
            options={
                "verbose_name": "limit",
                "verbose_name_plural": "limits",
                "indexes": [
                    models.Index(fields=["queue", "held", "key"], name="vtasks_limit_held")
                ],
            },
        ),
        *columns("message"),
        *columns("deadletter"),
        AddPartialIndex(
            model_name="message",
            index=models.Index(
                "queue",
                "limit_key",
                "state",
                "run_at",
                models.F("priority").desc(),
                "seq",
                condition=models.Q(limit_key__isnull=False),
                name="vtasks_message_limit",
            ),
        ),
        # Not in a transaction: these servers end one with each such statement.
        migrations.RunPython(shape_for_mysql, unshape, atomic=False),
    ]
