"""What follows a message: stored before its end, and groups completed whatever happens."""

import asyncio
from typing import Any

import pytest

from tests.runtime.helpers import DONE, NOTHING, QUEUE, Scene, turns
from vtasks_asgi.core.envelope import MAX_ENCODED, Call, decode, encode
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.follow import COMPLETE, GROUP, Follow, Successor, encode_plan, failure_of
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Retry
from vtasks_asgi.runtime import sweep
from vtasks_asgi.runtime.follow import AT_ONCE, Followers
from vtasks_asgi.runtime.sweep import Sweeper
from vtasks_asgi.store.base import Claim, Settlement, State
from vtasks_asgi.store.groups import Member, NewGroup

PLAN = encode_plan(
    {COMPLETE: Successor(Call("call.back", [], {}, 0.0), Message("", "back", b""))},
    max_size=MAX_ENCODED,
)
THEN = Message("then", "back", encode(Call("a.then", [], {}, 0.0)))


def in_group(group: str) -> Message:
    return Message(new_id(), QUEUE, encode(Call("a.task", [], {}, 0.0, meta={GROUP: group})))


async def ends_well(claim: Claim) -> Outcome:
    return Done(NOTHING, None, 60.0, follow=failure_of(claim.body))


async def opened(scene: Scene, count: int = 2) -> list[str]:
    peer = await scene.store.peer()
    messages = [in_group("g") for _ in range(count)]
    await peer.open_group(NewGroup("g", PLAN, 60), messages)
    return [each.id for each in messages]


async def called(scene: Scene) -> list[str]:
    """The tasks that were enqueued because others have ended."""
    peer = await scene.store.peer()
    found, _ = await peer.browse("back", State.READY, limit=100)
    return [decode(record.body).task for record in found]


async def bench(count: int = 2) -> tuple[Scene, Followers, list[Claim]]:
    """Members of a group in hand, without a runtime."""
    scene = Scene()
    await scene.memory.open()
    await opened(scene, count)
    claims = (await scene.memory.claim(QUEUE, 10, worker="w", lease=60.0)).claims
    return scene, Followers(scene.store, scene.fake.now), claims


def ended(claim: Claim, **fields: Any) -> Settlement:
    return Settlement(claim, Done(NOTHING, None, 60.0, follow=Follow("g", **fields)))


async def test_messages_without_a_group_ask_for_nothing_more() -> None:
    scene = Scene()
    await scene.push(5)
    async with scene.alive():
        await scene.store.until_settled(5)
        await turns()
    for verb in ("mark_members", "close_groups", "find_group", "open_group"):
        assert scene.store.calls[verb] == 0


async def test_the_last_one_calls_and_closes() -> None:
    scene = Scene(ends_well)
    await opened(scene)
    async with scene.alive():
        await scene.store.until_settled(2)
        await turns()
    assert await called(scene) == ["call.back"]
    peer = await scene.store.peer()
    group = await peer.find_group("g")
    assert group is not None and (group.pending, group.closed) == (0, True)


async def test_marks_come_before_the_end_and_callbacks_after() -> None:
    scene = Scene(ends_well)
    [id] = await opened(scene, 1)
    gate = scene.store.hold("settle")
    async with scene.alive():
        await gate.reached.wait()
        peer = await scene.store.peer()
        group = await peer.find_group("g", members=True)
        assert group is not None and group.members == {id: Member.SUCCEEDED}
        assert await called(scene) == []
        gate.opened.set()
        await scene.store.until_settled(1)
        await turns()
    assert await called(scene) == ["call.back"]


@pytest.mark.parametrize("verb", ["mark_members", "push", "close_groups", "settle"])
@pytest.mark.parametrize("committed", [False, True])
async def test_what_fails_is_repeated_and_nothing_is_doubled(verb: str, committed: bool) -> None:
    async def work(claim: Claim) -> Outcome:
        return Done(NOTHING, None, 60.0, follow=Follow("g", then=THEN))

    scene = Scene(work)
    await opened(scene, 1)
    scene.store.fail(verb, committed=committed)
    async with scene.alive():
        await scene.store.changes.until(lambda: scene.store.calls["close_groups"] > 0)
        await scene.recorder.until("service_recovered")
    assert sorted(await called(scene)) == ["a.then", "call.back"]
    peer = await scene.store.peer()
    group = await peer.find_group("g")
    assert group is not None and group.closed


async def test_a_full_store_still_lets_others_be_settled() -> None:
    """Nothing can be pushed, so what has a successor waits; the others make room."""

    async def work(claim: Claim) -> Outcome:
        follow = Follow(then=THEN) if claim.id == waits else None
        return Done(NOTHING, None, 60.0, follow=follow)

    scene = Scene(work)
    waits, *others = await scene.push(4)
    scene.store.fail("push", times=3)
    async with scene.alive():
        await scene.store.changes.until(lambda: scene.store.calls["push"] >= 4)
        await scene.store.until_settled(4)
        await turns()
    first = [each.claim.id for each in scene.store.settlements[0]]
    assert waits not in first
    assert set(first) <= set(others)
    assert (await scene.store.record(waits)).state is State.DONE
    assert await called(scene) == ["a.then"]


async def test_a_cancelled_member_that_ran_has_failed() -> None:
    async def work(claim: Claim) -> Outcome:
        await (await scene.store.peer()).cancel([claim.id])
        return Retry(NOTHING, 0.0)

    scene = Scene(work)
    [id] = await opened(scene, 1)
    async with scene.alive():
        await scene.store.until_settled(1)
        await turns()
    assert await called(scene) == ["call.back"]
    peer = await scene.store.peer()
    group = await peer.find_group("g", members=True)
    assert group is not None and group.members == {id: Member.FAILED}


async def test_one_who_comes_late_calls_nobody_again() -> None:
    scene, followers, claims = await bench(1)
    await followers.before([ended(claims[0])])
    scene.fake.advance(AT_ONCE + 1)
    await scene.memory.close_groups(["g"])  # by somebody who has called back meanwhile
    await followers.after()
    assert await called(scene) == []
    assert not followers.owing


async def test_one_who_comes_late_calls_if_nobody_has() -> None:
    scene, followers, claims = await bench(1)
    await followers.before([ended(claims[0])])
    scene.fake.advance(AT_ONCE + 1)
    await followers.after()
    assert await called(scene) == ["call.back"]


async def test_a_callback_closes_its_group_before_it_can_be_forgotten() -> None:
    scene, followers, claims = await bench(1)
    await followers.before([Settlement(claims[0], Done(NOTHING, follow=Follow(ended="g")))])
    group = await scene.memory.find_group("g")
    assert group is not None and group.closed


async def test_all_workers_that_are_told_push_the_same() -> None:
    scene, followers, claims = await bench(2)
    other = Followers(scene.store, scene.fake.now)
    await followers.before([ended(claims[0]), ended(claims[1])])
    await other.before([ended(claims[1])])
    await asyncio.gather(followers.after(), other.after())
    assert await called(scene) == ["call.back"]


async def test_what_is_stored_newly_is_announced_once() -> None:
    told: list[str] = []

    async def announce(message: Message) -> None:
        told.append(message.id)

    scene, _, claims = await bench(1)
    followers = Followers(scene.store, scene.fake.now, announce)
    for _ in range(2):
        await followers.before([ended(claims[0], then=THEN)])
    await followers.after()
    assert told[0] == THEN.id
    assert len(told) == 2


# -- sweeping


async def swept(scene: Scene) -> int:
    return await Sweeper(scene.store, Followers(scene.store, scene.fake.now)).sweep(0.0, 10)


async def members(scene: Scene) -> list[Member]:
    group = await scene.memory.find_group("g", members=True)
    assert group is not None
    return list(group.members.values())


async def test_what_ended_unseen_is_found() -> None:
    scene, followers, claims = await bench(4)
    dead, done, gone, running = claims
    settle = scene.memory.settle
    await settle([Settlement(dead, Dead(NOTHING, "broken")), Settlement(done, DONE)])
    await settle([Settlement(gone, Done(NOTHING))])
    assert await swept(scene) == 0
    pending, well, badly = Member.PENDING, Member.SUCCEEDED, Member.FAILED
    assert await members(scene) == [badly, well, badly, pending]
    assert await called(scene) == []
    await followers.before([ended(running)])
    assert await swept(scene) == 1
    assert await called(scene) == ["call.back"]
    assert await swept(scene) == 0


async def test_a_member_marked_while_it_is_looked_for_keeps_its_mark() -> None:
    """It has ended well and left no result; it was pending when the sweep began."""
    scene, followers, claims = await bench(1)
    gate = scene.store.hold("lookup")
    sweeping = asyncio.create_task(swept(scene))
    await gate.reached.wait()
    await followers.before([ended(claims[0])])
    await scene.memory.settle([Settlement(claims[0], Done(NOTHING))])
    gate.opened.set()
    await sweeping
    assert await members(scene) == [Member.SUCCEEDED]


async def test_a_complete_group_that_nobody_finished_is_finished() -> None:
    scene, followers, claims = await bench(1)
    await followers.before([ended(claims[0])])
    assert await swept(scene) == 1
    assert await called(scene) == ["call.back"]


async def test_the_runtime_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.01)
    monkeypatch.setattr(sweep, "PATIENCE", 0.0)
    scene = Scene()
    peer = await scene.store.peer()
    await peer.open_group(NewGroup("g", PLAN, 60), [])
    async with scene.alive():
        await scene.store.changes.until(lambda: scene.store.calls["claim"] > 0)
        async with asyncio.timeout(10):
            while not await called(scene):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    assert await called(scene) == ["call.back"]


async def test_an_outage_of_the_sweep_hinders_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.01)
    scene = Scene()
    scene.store.fail("sweep_groups", times=2, error=StoreUnavailable("for the test"))
    async with scene.alive():
        await scene.recorder.until("service_failed")
        await scene.push(1)
        await scene.store.until_settled(1)
