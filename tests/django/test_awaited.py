"""Calls pushed from a coroutine: each has its answer, also those made while the store works."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.django import sample
from vtasks_asgi.backends import awaited
from vtasks_asgi.backends.answers import Prepared, accepted
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.store.base import Receipt, Record

MANY = awaited.MEANWHILE


class Slow:
    """A store that answers when it is let; the second message has a holder where told so."""

    def __init__(self, *, duplicate: bool = False, error: Exception | None = None) -> None:
        self.let = asyncio.Event()
        self.begun = asyncio.Event()
        self.cancelled = False
        self._duplicate = duplicate
        self._error = error

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        self.begun.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._error is not None:
            raise self._error
        receipts = [Receipt(each.id) for each in messages]
        if self._duplicate:
            receipts[1] = Receipt(messages[1].id, False, "holder")
        return receipts

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return {}


class Counts(Listener):
    def __init__(self) -> None:
        self.submissions = self.duplicates = 0

    def submitted(self, task: str, queue: str, count: int) -> None:
        self.submissions += count

    def duplicate(self, task: str, queue: str, count: int) -> None:
        self.duplicates += count


def calls(count: int) -> list[Prepared]:
    return [
        Prepared(
            sample.add, Message(f"id {number}", "default", b""), Call("add", [number], {}, 0.0)
        )
        for number in range(count)
    ]


def push_many(store: Any, count: int) -> "asyncio.Task[Any]":
    return asyncio.create_task(awaited.push_many(store, calls(count), "default"))


@pytest.mark.parametrize("count", [3, MANY])
@pytest.mark.parametrize("duplicate", [False, True])
async def test_each_of_many_has_its_answer_and_is_counted(count: int, duplicate: bool) -> None:
    store, counts = Slow(duplicate=duplicate), Counts()
    store.let.set()
    hub.add(counts)
    try:
        pushed = await push_many(store, count)
    finally:
        hub.remove(counts)
    expected = [f"id {number}" for number in range(count)]
    stored = [each for each in expected if not (duplicate and each == "id 1")]
    assert [each and each.id for each in pushed.answers] == [
        each if each in stored else None for each in expected
    ]
    assert [each.id for each in pushed.stored] == stored
    assert (counts.submissions, counts.duplicates) == (len(stored), int(duplicate))


async def test_the_results_of_many_are_made_while_the_store_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, made = Slow(), asyncio.Event()

    def noted(*args: Any) -> Any:
        assert store.begun.is_set()
        made.set()
        return accepted(*args)

    monkeypatch.setattr(awaited, "accepted", noted)
    pushing = push_many(store, MANY)
    async with asyncio.timeout(5):
        await made.wait()
    assert not pushing.done(), "nobody is told before the store has answered"
    store.let.set()
    assert len((await pushing).answers) == MANY


@pytest.mark.parametrize("count", [1, MANY])
async def test_who_gives_up_leaves_nothing_running(count: int) -> None:
    store = Slow()
    pushing = push_many(store, count)
    await store.begun.wait()
    pushing.cancel()
    await asyncio.wait([pushing])
    assert pushing.cancelled()
    await asyncio.sleep(0)
    assert store.cancelled


async def test_nor_who_gives_up_as_the_store_begins() -> None:
    store = Slow()
    pushing = push_many(store, MANY)
    await asyncio.sleep(0)
    assert not store.begun.is_set()
    pushing.cancel()
    await asyncio.wait([pushing])
    await asyncio.sleep(0)
    assert pushing.cancelled()
    assert store.cancelled


@pytest.mark.parametrize("count", [1, MANY])
async def test_an_error_of_the_store_is_the_callers(count: int) -> None:
    store = Slow(error=StoreUnavailable("gone"))
    store.let.set()
    with pytest.raises(StoreUnavailable, match="gone"):
        await push_many(store, count)


async def test_one_has_its_answer() -> None:
    store = Slow()
    store.let.set()
    one: Any = store
    [call] = calls(1)
    result = await awaited.push_one(one, call, "default")
    assert result is not None
    assert (result.id, result.args) == ("id 0", [0])
