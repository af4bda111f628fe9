"""A store that cannot join a transaction: pushes wait for its commit, locks with them."""

import contextvars
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import AnyResult, Ear, embedded, stored, working
from tests.django.memory_backend import TASKS, backend, bodies, fresh
from tests.django.test_transactions import in_request
from vtasks_asgi.exceptions import StoreUnavailable
from vtasks_asgi.runtime.active import current
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.store.memory import MemoryStore
from vtasks_asgi.tasks import VTask

if TYPE_CHECKING:
    from vtasks_asgi.backends.base import Item


@pytest.fixture(autouse=True)
def memory(change: Change, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What the backend's stores share."""
    change(TASKS=TASKS)
    return fresh(monkeypatch)


type Way = Callable[[VTask[Any, Any], Any], AnyResult]


def in_bulk(task: VTask[Any, Any], value: Any) -> AnyResult:
    return stored(backend().enqueue_many([(task, [value], {})]))[0]


def in_async_bulk(task: VTask[Any, Any], value: Any) -> AnyResult:
    items: list[Item] = [(task, [value], {})]
    return stored(async_to_sync(backend().aenqueue_many)(items))[0]


def through_async(task: VTask[Any, Any], value: Any) -> AnyResult:
    return async_to_sync(task.aenqueue)(value)


def through_async_and_back(task: VTask[Any, Any], value: Any) -> AnyResult:
    """As when sync middleware calls an async view that calls sync code."""

    async def view() -> AnyResult:
        return await sync_to_async(task.enqueue)(value)

    return async_to_sync(view)()


WAYS: dict[str, Way] = {
    "enqueue": lambda task, value: task.enqueue(value),
    "aenqueue": through_async,
    "bulk": in_bulk,
    "abulk": in_async_bulk,
    "there and back": through_async_and_back,
}
EACH_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class Counts(Listener):
    def __init__(self) -> None:
        self.told: list[str] = []

    def submitted(self, task: str, queue: str, count: int) -> None:
        self.told += ["submitted"] * count

    def duplicate(self, task: str, queue: str, count: int) -> None:
        self.told += ["duplicate"] * count


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the hub and ``task_enqueued`` tell, in order."""
    counts = Counts()

    def hear(task_result: AnyResult, **kwargs: Any) -> None:
        counts.told.append(task_result.id)

    hub.add(counts)
    task_enqueued.connect(hear)
    yield counts.told
    task_enqueued.disconnect(hear)
    hub.remove(counts)


@EACH_WAY
def test_outside_a_transaction_it_is_pushed_at_once(way: Way, memory: MemoryStore) -> None:
    result = way(sample.note, "x")
    assert backend().get_result(result.id).status is TaskResultStatus.READY


@EACH_WAY
def test_in_one_it_is_pushed_and_told_at_the_commit(
    way: Way, memory: MemoryStore, told: list[str]
) -> None:
    with transaction.atomic():
        result = way(sample.note, "x")
        assert (result.status, result.args) == (TaskResultStatus.READY, ["x"])
        with transaction.atomic():
            way(sample.note, "y")
        assert bodies(memory) == []
        with pytest.raises(TaskResultDoesNotExist):
            result.refresh()
        assert told == []
    assert bodies(memory) == ["x", "y"]
    assert told[:2] == ["submitted", result.id]
    result.refresh()


@EACH_WAY
def test_a_rollback_leaves_neither_message_nor_lock(
    way: Way, memory: MemoryStore, told: list[str]
) -> None:
    unique = sample.note.using(unique=True)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        way(unique, "x")
        raise ZeroDivisionError
    assert (bodies(memory), memory._locks, told) == ([], {}, [])
    assert unique.enqueue("x") is not None


@EACH_WAY
def test_a_savepoint_takes_back_its_own(way: Way, memory: MemoryStore) -> None:
    unique = sample.note.using(unique=True)
    with transaction.atomic():
        way(sample.note, "kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            way(unique, "taken back")
            raise ZeroDivisionError
        way(unique, "kept")
    assert bodies(memory) == ["kept", "kept"]
    assert len(memory._locks) == 1


def test_duplicates_are_found_at_the_commit(memory: MemoryStore, told: list[str]) -> None:
    unique = sample.note.using(unique=True)
    with transaction.atomic():
        first, second = unique.enqueue("x"), unique.enqueue("x")
        assert first is not None
        assert second is not None
    assert bodies(memory) == ["x"]
    first.refresh()
    with pytest.raises(TaskResultDoesNotExist):
        second.refresh()
    assert told == ["submitted", first.id, "duplicate"]
    with transaction.atomic():
        late = unique.using(on_duplicate="existing").enqueue("x")
    assert late is not None
    assert late.id != first.id


@EACH_WAY
def test_on_commit_false_does_not_wait(way: Way, memory: MemoryStore) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        way(sample.note.using(on_commit=False), "x")
        assert bodies(memory) == ["x"]
        raise ZeroDivisionError
    assert bodies(memory) == ["x"]


def test_on_commit_true_is_the_default(memory: MemoryStore) -> None:
    with transaction.atomic():
        sample.note.using(on_commit=True).enqueue("x")
        assert bodies(memory) == []
    assert bodies(memory) == ["x"]


def test_a_bulk_may_have_both(memory: MemoryStore, told: list[str]) -> None:
    at_once = sample.note.using(on_commit=False, unique=True)
    with transaction.atomic():
        answers = backend().enqueue_many(
            [
                (sample.note, [1], {}),
                (at_once, [2], {}),
                (at_once, [2], {}),
                (sample.note, [3], {}),
            ]
        )
        assert bodies(memory) == [2]
    assert bodies(memory) == [2, 1, 3]
    assert [each for each in told if each in ("submitted", "duplicate")] == [
        "submitted",
        "duplicate",
        "submitted",
        "submitted",
    ]
    assert [answer and answer.args for answer in answers] == [[1], [2], None, [3]]


def test_what_cannot_be_enqueued_is_told_before_the_commit(memory: MemoryStore) -> None:
    with transaction.atomic():
        with pytest.raises(TypeError, match="bytes"):
            sample.note.enqueue(b"x")
        sample.note.enqueue("x")
    assert bodies(memory) == ["x"]


def test_a_store_that_is_down_at_the_commit_is_told_there(
    memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(MemoryStore, "push_sync", down)
    with pytest.raises(StoreUnavailable, match="down"), transaction.atomic():
        Group.objects.create(name="x")
        sample.note.enqueue("x")
    assert Group.objects.count() == 1, "the transaction itself is committed"


# -- with a worker in the same process


@pytest.fixture
def beside() -> Iterator[tuple[Ear, contextvars.Context]]:
    """A request's context, its runtime living in another thread's loop."""
    with working() as worker:
        worker.ear.wait_open()
        context = contextvars.copy_context()
        context.run(current.set, worker.runtime)
        yield worker.ear, context


@EACH_WAY
def test_a_requests_transaction_is_waited_for(
    way: Way, beside: tuple[Ear, contextvars.Context], memory: MemoryStore
) -> None:
    def rolled_back() -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            way(sample.note, "rolled back")
            raise ZeroDivisionError

    def committed() -> None:
        with transaction.atomic():
            way(sample.note, "committed")
            assert sample.SEEN == []
            assert memory._entries == {}

    ear, context = beside
    in_request(context, rolled_back)
    in_request(context, committed)
    ear.wait(1)
    assert sample.SEEN == ["committed"]


async def test_sync_code_of_an_async_request_waits_and_the_request_itself_does_not(
    memory: MemoryStore, change: Change
) -> None:
    change(VTASKS_DRAIN_TIMEOUT=0)
    waiting = sample.waits_on_loop

    def work() -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            waiting.enqueue()
            async_to_sync(waiting.aenqueue)()
            assert memory._entries == {}
            raise ZeroDivisionError

    async with embedded():
        await sync_to_async(work)()
        assert memory._entries == {}
        result = await waiting.aenqueue()
        assert (await waiting.aget_result(result.id)).id == result.id
