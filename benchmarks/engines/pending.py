"""Counting what is left in a database's queue, the same question to every engine."""

from typing import LiteralString

#: The table of the messages, and which of its rows are not finished.
UNFINISHED: dict[str, tuple[LiteralString, LiteralString]] = {
    "ours": ("vtasks_message", "true"),
    "vtasks": ("db_queuedtask", "status <> 'FAILED'"),
    "ox": ("django_ox_oxtask", "status IN ('READY', 'RUNNING')"),
    "dj_queue": ("dj_queue_jobs", "finished_at IS NULL"),
    "tasks_db": ("django_tasks_database_dbtaskresult", "status IN ('READY', 'RUNNING')"),
    "procrastinate": ("procrastinate_jobs", "status IN ('todo', 'doing')"),
}


def unfinished(package: str) -> LiteralString:
    """The statement whose one value is how many of the package's messages are not done."""
    table, condition = UNFINISHED[package]
    return f"SELECT count(*) FROM {table} WHERE {condition}"
