"""Calls that arrive while a write is in flight share the next one, and nothing else."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.runtime.helpers import turns
from vtasks_asgi.store.group_commit import HALVED, GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable


class Log:
    """The write: waits at a gate, fails as told, answers each item with its double."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Semaphore(0)
        self.error: Callable[[list[int]], BaseException | None] = lambda items: None

    async def __call__(self, items: list[int]) -> list[int]:
        self.groups.append(items)
        await self.gate.acquire()
        if error := self.error(items):
            raise error
        return [item * 2 for item in items]

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self.gate.release()


def calls(group: GroupCommit[int, int], *batches: list[int]) -> list["asyncio.Task[list[int]]"]:
    return [asyncio.create_task(group.commit(batch)) for batch in batches]


async def test_those_who_come_during_a_write_share_the_next_one() -> None:
    log = Log()
    group = GroupCommit(log)
    first = calls(group, [1])
    await turns()
    later = calls(group, [2, 3], [], [4])
    await turns()
    assert log.groups == [[1]]
    log.let(2)
    assert await asyncio.gather(*first, *later) == [[2], [4, 6], [], [8]]
    assert log.groups == [[1], [2, 3, 4]]


async def test_nobody_is_told_before_the_own_write_is_done() -> None:
    log = Log()
    group = GroupCommit(log)
    [first] = calls(group, [1])
    await turns()
    [second] = calls(group, [2])
    log.let()
    await turns()
    assert (first.done(), second.done()) == (True, False)
    log.let()
    await second


async def test_after_a_rest_it_writes_again() -> None:
    log = Log()
    group = GroupCommit(log)
    log.let(2)
    assert await group.commit([1]) == [2]
    await turns()
    assert await group.commit([2]) == [4]


async def test_an_error_reaches_exactly_those_whose_items_were_written() -> None:
    log = Log()
    log.error = lambda items: ValueError("full") if 2 in items else None
    group = GroupCommit(log)
    [before] = calls(group, [1])
    await turns()
    broken = calls(group, [2], [3])
    await turns()
    log.let(2)
    results = await asyncio.gather(before, *broken, return_exceptions=True)
    assert results[0] == [2]
    assert [str(error) for error in results[1:]] == ["full", "full"]
    log.let()
    assert await group.commit([4]) == [8], "the next ones are none of its concern"


@pytest.mark.parametrize("when", ["waiting", "written"])
async def test_a_caller_that_gives_up_harms_nobody(when: str) -> None:
    log = Log()
    group = GroupCommit(log)
    [first] = calls(group, [1])
    await turns()
    leaves, stays = calls(group, [2], [3])
    await turns()
    if when == "written":
        log.let()
        await turns()
        assert log.groups[-1] == [2, 3]
    leaves.cancel()
    await turns()
    log.let(2)
    assert await stays == [6]
    assert await first == [2]
    assert log.groups == [[1], [2, 3]], "what was handed in is written all the same"
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_a_caller_that_gave_up_keeps_no_error_from_the_others() -> None:
    log = Log()
    log.error = lambda items: ValueError("full")
    group = GroupCommit(log)
    leaves, stays = calls(group, [1], [2])
    await turns()
    leaves.cancel()
    await turns()
    log.let()
    with pytest.raises(ValueError, match="full"):
        await stays
    log.error = lambda items: None
    log.let()
    assert await group.commit([3]) == [6]


async def test_the_caller_who_began_the_write_may_leave_too() -> None:
    log = Log()
    group = GroupCommit(log)
    first, second = calls(group, [1], [2])
    await turns()
    first.cancel()
    log.let(2)
    assert await second == [4]
    assert [item for written in log.groups for item in written] == [1, 2]


async def test_groups_are_bounded_and_no_call_is_split() -> None:
    log = Log()
    group = GroupCommit(log, limit=4)
    [first] = calls(group, [0])
    await turns()
    later = calls(group, [1, 2], [3], [4, 5], [6], [7, 8, 9, 10, 11, 12])
    log.let(100)
    assert [len(result) for result in await asyncio.gather(first, *later)] == [1, 2, 1, 2, 1, 6]
    assert log.groups == [[0], [1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11, 12]]


async def test_a_cancelled_write_cancels_those_who_wait_for_it() -> None:
    log = Log()
    log.error = lambda items: asyncio.CancelledError() if 1 in items else None
    group = GroupCommit(log)
    [caller] = calls(group, [1])
    log.let()
    with pytest.raises(asyncio.CancelledError):
        await caller
    log.let()
    async with asyncio.timeout(5.0):
        assert await group.commit([2]) == [4]


async def test_a_cancelled_write_harms_nobody_who_came_after_it() -> None:
    log = Log()
    log.error = lambda items: asyncio.CancelledError() if 1 in items else None
    group = GroupCommit(log)
    [caller] = calls(group, [1])
    await turns()
    [behind] = calls(group, [2])
    await turns()
    log.let(2)
    done, _ = await asyncio.wait({caller, behind}, timeout=5.0)
    assert done == {caller, behind}
    assert caller.cancelled()
    assert await behind == [4]


# -- two writes in flight


def half(count: int) -> list[list[int]]:
    """What ``count`` calls of one item each become when nothing is in flight."""
    middle = (count + 1) // 2
    return [list(range(middle)), list(range(middle, count))]


async def test_many_who_come_at_once_are_cut_in_two_and_both_are_written() -> None:
    log = Log()
    group = GroupCommit(log, flights=2)
    callers = calls(group, *([number] for number in range(HALVED + 1)))
    await turns()
    assert log.groups == half(HALVED + 1)
    log.let(2)
    assert await asyncio.gather(*callers) == [[2 * number] for number in range(HALVED + 1)]


async def test_few_who_come_at_once_stay_together() -> None:
    log = Log()
    group = GroupCommit(log, flights=2)
    callers = calls(group, *([number] for number in range(HALVED - 1)))
    await turns()
    assert log.groups == [list(range(HALVED - 1))]
    log.let()
    await asyncio.gather(*callers)


async def test_who_comes_during_one_write_is_written_beside_it_and_a_third_waits() -> None:
    log = Log()
    group = GroupCommit(log, flights=2)
    first = calls(group, [1])
    await turns()
    second = calls(group, [2])
    await turns()
    third = calls(group, [3], [4])
    await turns()
    assert log.groups == [[1], [2]]
    log.let(3)
    assert await asyncio.gather(*first, *second, *third) == [[2], [4], [6], [8]]
    assert log.groups == [[1], [2], [3, 4]]


async def test_few_wait_for_a_large_write_and_go_with_who_comes_back_from_it() -> None:
    log = Log()
    group = GroupCommit(log, flights=2)

    async def twice(number: int) -> None:
        await group.commit([number])
        await group.commit([100 + number])

    large = [asyncio.create_task(twice(number)) for number in range(HALVED - 1)]
    await turns()
    small = calls(group, [50], [51])
    await turns()
    assert log.groups == [list(range(HALVED - 1))]
    log.let()
    await turns()
    back = [50, 51, *(100 + number for number in range(HALVED - 1))]
    assert [item for written in log.groups[1:] for item in written] == back
    assert len(log.groups) == 3, "they are enough to be cut in two"
    log.let(2)
    await asyncio.gather(*large, *small)


async def test_an_error_of_one_of_two_writes_reaches_only_its_own() -> None:
    log = Log()
    log.error = lambda items: ValueError("full") if 0 in items else None
    group = GroupCommit(log, flights=2)
    callers = calls(group, *([number] for number in range(HALVED)))
    await turns()
    broken, good = half(HALVED)
    assert log.groups == [broken, good]
    log.let(2)
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(each) for each in results[: len(broken)]] == ["full"] * len(broken)
    assert results[len(broken) :] == [[2 * number] for number in good]
    log.let()
    assert await group.commit([7]) == [14]


async def test_a_caller_of_one_of_two_writes_that_gives_up_harms_nobody() -> None:
    log = Log()
    group = GroupCommit(log, flights=2)
    callers = calls(group, *([number] for number in range(HALVED)))
    await turns()
    callers[0].cancel()
    callers[-1].cancel()
    log.let(2)
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[-1], asyncio.CancelledError)
    assert results[1:-1] == [[2 * number] for number in range(1, HALVED - 1)]
    assert log.groups == half(HALVED), "what was handed in is written all the same"


async def test_writes_that_end_out_of_order_answer_their_own() -> None:
    gates = {0: asyncio.Event(), HALVED - 1: asyncio.Event()}

    async def write(items: list[int]) -> list[int]:
        await gates[0 if 0 in items else HALVED - 1].wait()
        return [item * 2 for item in items]

    group = GroupCommit(write, flights=2)
    callers = calls(group, *([number] for number in range(HALVED)))
    await turns()
    gates[HALVED - 1].set()
    await turns()
    assert [each.done() for each in callers] == [False] * (HALVED // 2) + [True] * (HALVED // 2)
    gates[0].set()
    assert await asyncio.gather(*callers) == [[2 * number] for number in range(HALVED)]


async def test_two_that_land_in_one_turn_are_two_again_and_no_smaller() -> None:
    log = Log()
    group = GroupCommit(log, flights=2)

    async def twice(number: int) -> None:
        await group.commit([number])
        await group.commit([number])

    callers = [asyncio.create_task(twice(number)) for number in range(2 * HALVED)]
    await turns()
    log.let(2)
    await turns()
    assert log.groups == 2 * half(2 * HALVED)
    log.let(2)
    await asyncio.gather(*callers)
