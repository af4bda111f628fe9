"""Counting what is left in the queue, straight from the file and without Django."""

import sqlite3
from pathlib import Path

#: Messages stored and not finished, by package.
UNFINISHED = {
    "peer": "SELECT count(*) FROM db_queuedtask WHERE status <> 'FAILED'",
    "ours": "SELECT count(*) FROM vtasks_message",
}


def pending(package: str, database: Path) -> int:
    """Messages of ``package`` in ``database`` that are not done yet."""
    connection = sqlite3.connect(database)
    try:
        (count,) = connection.execute(UNFINISHED[package]).fetchone()
    finally:
        connection.close()
    return int(count)
