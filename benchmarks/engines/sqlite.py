"""SQLite: a place is a file."""

import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.engines.engine import Engine, as_entry
from benchmarks.engines.pending import unfinished

#: A database and its write-ahead log; the third file belongs to whoever has it open.
PARTS = ("", "-wal", "-shm")


class SQLite(Engine):
    """WAL with ``synchronous=NORMAL``, and transactions that take the lock at once."""

    name = "sqlite"

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(prefix="bench-sqlite-"))
        self._serial = count(1)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def version(self) -> str:
        return sqlite3.sqlite_version

    def fresh(self) -> str:
        return str(self._folder / f"{next(self._serial)}.sqlite3")

    def copy(self, place: str) -> str:
        copy = self.fresh()
        for part in PARTS[:2]:
            if (source := Path(place + part)).exists():
                shutil.copyfile(source, copy + part)
        os.sync()  # what copying and the side before left to be written is nobody's burden
        return copy

    def discard(self, place: str) -> None:
        for part in PARTS:
            Path(place + part).unlink(missing_ok=True)

    def env(self, place: str) -> Mapping[str, str]:
        entry = as_entry(
            ENGINE="django.db.backends.sqlite3",
            NAME=place,
            OPTIONS={
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        )
        return {"BENCH_DATABASE": json.dumps(entry)}

    def pending(self, package: str, place: str) -> int:
        connection = sqlite3.connect(place)
        try:
            (found,) = connection.execute(unfinished(package)).fetchone()
        finally:
            connection.close()
        return int(found)
