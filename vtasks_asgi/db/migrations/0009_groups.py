"""Groups of messages. Additive: workers of the version before go on meanwhile."""

from typing import Any

from django.db import migrations, models


def compare_bytes(apps: Any, schema_editor: Any) -> None:
    """On MySQL and MariaDB ids compare byte by byte, as 0004 has it for the other tables."""
    connection = schema_editor.connection
    if connection.vendor == "mysql":
        collation = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        for table in ("vtasks_group", "vtasks_groupmember"):
            schema_editor.execute(
                f"ALTER TABLE {table} ENGINE=InnoDB,"
                f" CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}"
            )


class Migration(migrations.Migration):
    dependencies = [
        ("vtasks", "0008_fair"),
    ]

    operations = [
        migrations.CreateModel(
            name="Group",
            fields=[
                ("uid", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("plan", models.BinaryField()),
                ("total", models.IntegerField()),
                ("pending", models.IntegerField()),
                ("keep", models.IntegerField()),
                ("created_at", models.FloatField()),
                ("looked_at", models.FloatField(null=True)),
                ("place", models.IntegerField()),
                ("expires_at", models.FloatField(null=True)),
            ],
            options={
                "verbose_name": "group",
                "verbose_name_plural": "groups",
                "indexes": [
                    models.Index(fields=["looked_at"], name="vtasks_group_looked"),
                    models.Index(fields=["expires_at"], name="vtasks_group_expires"),
                ],
            },
        ),
        migrations.CreateModel(
            name="GroupMember",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "group_uid",
                        "uid",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("group_uid", models.CharField(max_length=64)),
                ("uid", models.CharField(max_length=64)),
                ("n", models.IntegerField()),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[(0, "Pending"), (1, "Succeeded"), (2, "Failed")]
                    ),
                ),
            ],
            options={
                "verbose_name": "member of a group",
                "verbose_name_plural": "members of groups",
                "indexes": [
                    models.Index(
                        fields=["group_uid", "state", "n"], name="vtasks_groupmember_state"
                    )
                ],
            },
        ),
        # Not in a transaction: these servers end one with each such statement.
        migrations.RunPython(compare_bytes, migrations.RunPython.noop, atomic=False),
    ]
