"""Cancelled messages and paused queues. Additive: workers of the version before go on meanwhile."""

from typing import Any

from django.db import migrations, models


def compare_bytes(apps: Any, schema_editor: Any) -> None:
    """On MySQL and MariaDB names compare byte by byte, as 0004 has it for the other tables."""
    connection = schema_editor.connection
    if connection.vendor == "mysql":
        collation = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        schema_editor.execute(
            "ALTER TABLE vtasks_pause ENGINE=InnoDB,"
            f" CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("vtasks", "0005_notes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Pause",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "kind",
                        "name",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("kind", models.SmallIntegerField(choices=[(0, "Queue"), (1, "Task")])),
                ("name", models.CharField(max_length=255)),
                ("until", models.FloatField(null=True)),
            ],
            options={
                "verbose_name": "pause",
                "verbose_name_plural": "pauses",
            },
        ),
        migrations.AddField(
            model_name="message",
            name="cancelled_at",
            field=models.FloatField(null=True),
        ),
        # Not in a transaction: these servers end one with each such statement.
        migrations.RunPython(compare_bytes, migrations.RunPython.noop, atomic=False),
    ]
