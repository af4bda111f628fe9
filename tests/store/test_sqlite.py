"""What only SQLite has: small pushes done on the loop, a log that is folded back, durability."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.database.sqlite import push as pushing
from vtasks_asgi.store.database.sqlite.store import SQLiteStore
from vtasks_asgi.store.database.sqlite.writer import AT_ONCE_LIMIT

pytestmark = pytest.mark.usefixtures("tables")


def file() -> Path:
    return Path(str(connections["default"].settings_dict["NAME"]))


def message() -> Message:
    return Message(new_id(), "default", b"x" * 200)


@contextmanager
def pushing_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """For each group pushed, whether that was done on the loop's own thread."""
    mine, seen, push = threading.get_ident(), [], pushing.push

    def spy(*args: Any) -> Any:
        seen.append(threading.get_ident() == mine)
        return push(*args)

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "push", spy)
        yield seen


async def opened() -> SQLiteStore:
    store = SQLiteStore()
    await store.open()
    return store


async def test_a_small_push_needs_no_thread_and_a_large_one_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await opened()
    with pushing_threads(monkeypatch) as on_loop:
        await store.push([message()])
        await store.push([message() for _ in range(100)])
    await store.aclose()
    assert on_loop == [True, False]


async def test_the_loop_never_waits_for_a_locked_file(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened()
    with closing(sqlite3.connect(file(), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pushing_threads(monkeypatch) as on_loop:
            pushing = asyncio.create_task(store.push([message()]))
            for _ in range(50):  # the loop turns while the push waits
                await asyncio.sleep(0.001)
            assert not pushing.done()
            assert on_loop == []
            other.execute("ROLLBACK")
            [receipt] = await pushing
    assert receipt.stored
    assert on_loop == [False]
    await store.aclose()


async def test_the_log_is_folded_back_by_the_thread_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await opened()
    with pushing_threads(monkeypatch) as on_loop:
        for _ in range(500):
            await store.push([message()])
    runs = [len(list(run)) for mine, run in groupby(on_loop) if mine]
    assert len(runs) > 1
    assert max(runs) <= AT_ONCE_LIMIT
    await store.aclose()


async def test_where_each_commit_flushes_the_disk_the_loop_does_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = connections["default"].settings_dict
    options = settings["OPTIONS"] | {"init_command": "PRAGMA synchronous = FULL"}
    monkeypatch.setitem(settings, "OPTIONS", options)
    store = await opened()
    with pushing_threads(monkeypatch) as on_loop:
        await store.push([message()])
    await store.aclose()
    assert on_loop == [False]
