"""Who awaits a prompt future goes on at once, and otherwise as with any future."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from tests.runtime.helpers import turns
from vtasks_asgi.store.prompt import Prompt, resume

WHO: ContextVar[str] = ContextVar("who")


def prompt() -> Prompt[int]:
    return Prompt(loop=asyncio.get_running_loop())


async def answer(future: Prompt[int], log: list[Any]) -> int:
    try:
        log.append(await future)
    except BaseException as error:
        log.append(type(error))
        raise
    return 0


def from_the_loop(call: Any, *args: Any) -> "asyncio.Future[None]":
    """Call it as transports call a protocol: from no task; what it raises is the result."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            call(*args)
        except (AssertionError, KeyboardInterrupt) as error:
            done.set_exception(RuntimeError(type(error).__name__))
        else:
            done.set_result(None)

    asyncio.get_running_loop().call_soon(run)
    return done


async def test_they_go_on_within_the_call_in_order_and_in_their_own_context() -> None:
    futures, log = [prompt(), prompt()], list[Any]()

    async def one(number: int) -> None:
        WHO.set(f"task {number}")
        await futures[number]
        log.append((WHO.get(), asyncio.current_task()))

    tasks = [asyncio.create_task(one(number)) for number in (0, 1)]
    await turns()

    def settle() -> None:
        for future in futures:
            future.set_result(1)
        assert log == []
        resume(futures)
        assert log == [("task 0", tasks[0]), ("task 1", tasks[1])]

    await from_the_loop(settle)


async def test_an_error_reaches_who_waits() -> None:
    future, log = prompt(), list[Any]()
    task = asyncio.create_task(answer(future, log))
    await turns()

    def settle() -> None:
        future.set_exception(ValueError("full"))
        resume([future])
        assert log == [ValueError]

    await from_the_loop(settle)
    with pytest.raises(ValueError, match="full"):
        await task


async def test_within_a_task_they_go_on_a_turn_later() -> None:
    future, log = prompt(), list[Any]()
    task = asyncio.create_task(answer(future, log))
    await turns()
    future.set_result(3)
    resume([future])
    assert log == []
    await task
    assert log == [3]


async def test_a_task_that_is_cancelled_goes_on_though_nobody_settles() -> None:
    future, log = prompt(), list[Any]()
    task = asyncio.create_task(answer(future, log))
    await turns()
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert log == [asyncio.CancelledError]
    assert future.cancelled()


async def test_one_cancelled_by_another_that_goes_on_before_it_is_resumed_once() -> None:
    futures, log = [prompt(), prompt()], list[Any]()

    async def cancels() -> None:
        await futures[0]
        second.cancel()

    first = asyncio.create_task(cancels())
    second = asyncio.create_task(answer(futures[1], log))
    await turns()

    def settle() -> None:
        for future in futures:
            future.set_result(1)
        resume(futures)

    await from_the_loop(settle)
    await asyncio.wait([first, second])
    assert log == [asyncio.CancelledError]


async def test_one_settled_before_anybody_awaits_it_is_there_at_once() -> None:
    future = prompt()
    future.set_result(4)
    resume([future])
    assert await future == 4


async def test_what_would_end_the_loop_keeps_nobody_from_going_on() -> None:
    class Interrupt:
        """Stands for a task whose step raises KeyboardInterrupt through the loop."""

        def resume(self) -> None:
            raise KeyboardInterrupt

    future, log = prompt(), list[Any]()
    task = asyncio.create_task(answer(future, log))
    await turns()
    future.set_result(5)
    with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
        await from_the_loop(resume, [Interrupt(), future])
    assert log in ([], [5])
    await task
    assert log == [5]
