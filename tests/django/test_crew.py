"""The crew: every job is done once and answered, with as few threads as do not block."""

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from vtasks_asgi.crew import Crew

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
def crew() -> Iterator[Crew]:
    it = Crew()
    yield it
    it.close()


async def test_each_job_is_done_once_and_answered_in_its_own_context(crew: Crew) -> None:
    done: list[int] = []

    async def ask(number: int) -> tuple[int, str]:
        WHO.set(f"caller {number}")
        return await crew.run(lambda: note(number))

    def note(number: int) -> tuple[int, str]:
        done.append(number)
        return number, WHO.get()

    answers = await asyncio.gather(*map(ask, range(500)))
    assert answers == [(number, f"caller {number}") for number in range(500)]
    assert sorted(done) == list(range(500))


async def test_jobs_that_block_do_not_hold_up_the_others(crew: Crew) -> None:
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def block() -> bool:
        arrived.release()
        return gate.wait(20.0)

    blocked = [asyncio.ensure_future(crew.run(block)) for _ in range(50)]
    for _ in range(50):
        assert await asyncio.to_thread(arrived.acquire, timeout=20.0), "each has its own thread"
    assert await crew.run(lambda: "quick") == "quick"
    gate.set()
    assert await asyncio.gather(*blocked) == [True] * 50


async def test_idle_threads_are_used_before_new_ones_are_started(crew: Crew) -> None:
    names = set()
    for _ in range(100):
        names.add(await crew.run(lambda: threading.current_thread().name))
    assert len(names) <= 10  # some may still be on their way back when the next job comes


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
async def test_what_a_job_raises_reaches_its_caller_only(crew: Crew, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def ask() -> None:
        with pytest.raises(type(error)) as caught:
            await crew.run(fail)
        assert caught.value is error

    await asyncio.gather(ask(), crew.run(lambda: "fine"))


@pytest.mark.parametrize("error", [StopIteration(), GeneratorExit()])
async def test_what_no_future_may_carry_is_wrapped(crew: Crew, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        await crew.run(fail)


async def test_a_job_cancelled_while_it_waits_is_not_done(crew: Crew) -> None:
    gate, ran = threading.Event(), []
    first = asyncio.ensure_future(crew.run(lambda: gate.wait(20.0)))
    await asyncio.sleep(0)
    crew._call_somebody = lambda: None  # type: ignore[method-assign]  # nobody else comes
    second = asyncio.ensure_future(crew.run(lambda: ran.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    assert await first is True
    await asyncio.gather(second, return_exceptions=True)
    assert second.cancelled()
    assert ran == []


async def test_threads_end_when_the_crew_closes() -> None:
    crew = Crew()
    threads = {await crew.run(threading.current_thread) for _ in range(5)}
    crew.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, 20.0)
        assert not thread.is_alive()
