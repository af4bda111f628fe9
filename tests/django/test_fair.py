"""``fair_key``: refused where it is wrong, a line at enqueue, turns at the worker."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.tasks import task_backends
from django.tasks.exceptions import InvalidTask

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import each_backend
from tests.django.helpers import NO_ROWS, embedded, rows, run
from vtasks_asgi import task
from vtasks_asgi.core.line import line_of
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.schedule import Entry, Every

__all__ = ["each_backend"]

worked: list[str] = []


@pytest.fixture(autouse=True)
def nothing_worked() -> Iterator[None]:
    worked.clear()
    yield
    worked.clear()


@task(fair_key=lambda tenant, *_, **__: f"tenant-{tenant}")
def serve(tenant: str, number: int = 0) -> None:
    worked.append(f"{tenant}{number}")


@task
async def plainly(number: int) -> None:
    worked.append(f"-{number}")


def plain_function() -> None: ...


def message_of(made: Any, *args: Any, **kwargs: Any) -> Message:
    """The message that an enqueue would push."""
    backend: Any = task_backends["default"]
    [prepared] = backend._prepare([(made, args, kwargs)])
    message: Message = prepared.message
    return message


@pytest.mark.parametrize("key", ["", 5, b"x", ["a"], True], ids=repr)
def test_a_wrong_key_is_refused_and_the_fix_named(key: Any) -> None:
    error = "fair_key must be a text, or a function of the task's arguments returning one"
    with pytest.raises(InvalidTask, match=f"^plain_function: {error}"):
        task(fair_key=key)(plain_function)
    with pytest.raises(InvalidTask, match=error):
        sample.note.using(fair_key=key)


@pytest.mark.parametrize("key", [None, "", 5, b"x"], ids=repr)
def test_a_key_function_returns_text_or_nothing_is_written(key: Any) -> None:
    wrong = sample.note.using(fair_key=lambda value: key)
    with pytest.raises(InvalidTask, match=r"sample\.note: its fair_key returned "):
        wrong.enqueue(1)
    assert rows() == NO_ROWS


def test_equal_keys_are_one_line_whatever_the_task() -> None:
    assert message_of(sample.note, 1).line is None
    assert message_of(sample.note.using(fair_key="acme"), 1).line == line_of("acme")
    assert message_of(sample.anote.using(fair_key="acme"), 2).line == line_of("acme")
    assert message_of(serve, "acme", number=3).line == line_of("tenant-acme")
    assert message_of(serve.using(fair_key="ünï\ud800"), "x").line == line_of("ünï\ud800")
    assert message_of(serve.using(priority=5), "acme").line == line_of("tenant-acme")


def test_a_tick_has_the_key_of_its_task() -> None:
    backend: Any = task_backends["default"]
    entry = Entry(name="x", task=serve.module_path, schedule=Every(60), args=("acme",))
    assert backend.tick_message(entry, 1_800_000_000.0).line == line_of("tenant-acme")


@pytest.mark.usefixtures("each_backend")
async def test_every_way_to_enqueue_gives_the_line(change: Change) -> None:
    """A flood by one way, and a single one by each of the others: it is among the first."""
    change(VTASKS_QUEUES=["default", "elsewhere"])
    backend: Any = task_backends["default"]
    async with embedded(queues=["elsewhere"]) as runtime:
        await backend.aenqueue_many([(serve, ["flood", n], {}) for n in range(40)])
        await serve.aenqueue("single")
        await backend.aenqueue_many([(serve, ["bulk"], {}), (serve, ["bulk", 1], {})])
        await plainly.aenqueue(0)
        store = runtime.store
        claims = (await store.claim("default", 5, worker="w", lease=30.0)).claims
    bodies = [claim.body for claim in claims]
    for word in (b'"flood"', b'"single"', b'"bulk"', b"plainly"):
        assert any(word in body for body in bodies[:4])


@pytest.mark.usefixtures("each_backend")
def test_a_thread_gives_the_line_as_well() -> None:
    backend: Any = task_backends["default"]
    backend.enqueue_many([(serve, ["flood", n], {}) for n in range(5)])
    serve.enqueue("single")
    run(6, concurrency=1)
    assert "single0" in worked[:2]
    assert [each for each in worked if each != "single0"] == [f"flood{n}" for n in range(5)]


@pytest.mark.usefixtures("each_database")
def test_a_worker_lets_keys_take_turns() -> None:
    for n in range(30):
        serve.enqueue("flood", n)
        plainly.enqueue(n)
    serve.using(priority=1).enqueue("flood", 99)
    for n in range(3):
        serve.enqueue("small", n)
    run(64, concurrency=1)
    assert worked[0] == "flood99"
    assert all(worked.index(f"small{n}") <= 3 * (n + 1) for n in range(3)), "three take turns"
    for kind in ("flood", "-"):
        own = [each.removeprefix(kind) for each in worked[1:] if each.startswith(kind)]
        assert own == [str(n) for n in range(30)]
