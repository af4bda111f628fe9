"""Slots: who may run, and that nobody who waits is passed over."""

import asyncio

from tests.runtime.helpers import turns
from vtasks_asgi.runtime.slots import Slots


async def test_a_slot_that_is_taken_is_free_once_it_is_given_back() -> None:
    slots = Slots(1)
    await slots.wait_free()
    slots.take()
    waiting = asyncio.create_task(slots.wait_free())
    await turns()
    assert (slots.free, waiting.done()) == (0, False)
    slots.give()
    await waiting
    assert slots.free == 1


async def test_what_is_promised_is_nobody_elses() -> None:
    slots = Slots(3)
    slots.promise(3)
    waiting = asyncio.create_task(slots.wait_free())
    await turns()
    assert not waiting.done()
    slots.redeem(3)
    await waiting
    assert slots.free == 3


async def test_who_waits_is_served_in_turn() -> None:
    """However quick one of them is to come back for more."""
    slots, order = Slots(1), []

    async def consume(name: str, times: int) -> None:
        for _ in range(times):
            await slots.wait_free()
            slots.take()
            order.append(name)
            asyncio.get_running_loop().call_soon(slots.give)

    async with asyncio.timeout(5):
        await asyncio.gather(consume("greedy", 20), consume("other", 5))
    assert order[1:11] == ["greedy", "other"] * 5


async def test_one_that_gives_up_waiting_holds_up_nobody() -> None:
    slots = Slots(1)
    slots.take()
    impatient, patient = [asyncio.create_task(slots.wait_free()) for _ in range(2)]
    await turns()
    impatient.cancel()
    slots.give()
    await patient
