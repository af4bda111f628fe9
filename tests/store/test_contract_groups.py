"""Groups: a record that is open before its members run, and that exactly one look completes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from django.db import transaction

from tests.store.engines import Engine
from tests.store.helpers import ODD_NAMES, ids, message, now, push, take
from tests.store.test_contract_joining import DATABASES, JOINING
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.base import FullStore, Joining
from vtasks_asgi.store.groups import LOOKS, GroupRecord, Mark, Member, NewGroup

PATIENCE, KEEP = 60.0, 100
SUCCEEDED, FAILED = Member.SUCCEEDED, Member.FAILED


async def opened(
    store: FullStore, count: int = 2, *, plan: bytes = b"plan"
) -> tuple[str, list[str]]:
    """A group of that many new messages: its id, and theirs."""
    id, messages = new_id(), [message() for _ in range(count)]
    found = await store.open_group(NewGroup(id, plan, KEEP), messages)
    assert [each.stored for each in found.receipts] == [True] * count
    return id, [each.id for each in messages]


async def found(store: FullStore, id: str, *, members: bool = False) -> GroupRecord:
    record = await store.find_group(id, members=members)
    assert record is not None
    return record


async def mark(
    store: FullStore, group: str, members: Sequence[str], state: Member = SUCCEEDED
) -> list[str]:
    """The ids of the groups that are complete."""
    told = await store.mark_members([Mark(group, each, state) for each in members])
    return [each.id for each in told]


async def test_a_group_and_its_messages_are_stored_together(
    engine: Engine, store: FullStore
) -> None:
    other = await engine.opened()
    id, members = await opened(store, 3, plan=b"\x00\xff plan")
    record = await found(other, id, members=True)
    assert record == GroupRecord(
        id, b"\x00\xff plan", 3, 3, 0, record.created_at, members=dict.fromkeys(members, Member(0))
    )
    assert list(record.members) == members
    assert record.created_at == pytest.approx(await now(store), abs=0.01)
    assert (await found(store, id)).members == {}
    assert ids(await take(other)) == members


async def test_the_last_mark_completes_it(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    id, (first, second, third) = await opened(store, 3)
    assert await mark(store, id, [second]) == []
    assert await mark(other, id, [first], FAILED) == []
    [told] = await store.mark_members([Mark(id, third, SUCCEEDED)])
    assert (told.id, told.plan, told.total, told.pending, told.failed) == (id, b"plan", 3, 0, 1)
    record = await found(other, id, members=True)
    assert record.members == {first: FAILED, second: SUCCEEDED, third: SUCCEEDED}
    assert not record.closed


async def test_it_is_told_again_until_it_is_closed(store: FullStore) -> None:
    id, members = await opened(store)
    assert await mark(store, id, members) == [id]
    assert await mark(store, id, members[:1]) == [id]
    await store.close_groups([id])
    assert await mark(store, id, members) == []
    record = await found(store, id)
    assert (record.closed, record.pending) == (True, 0)


async def test_marking_again_counts_once_and_the_last_word_counts(store: FullStore) -> None:
    id, (first, second, _) = await opened(store, 3)
    for _ in range(3):
        await mark(store, id, [first], FAILED)
    record = await found(store, id)
    assert (record.pending, record.failed) == (2, 1)
    await mark(store, id, [first])
    await mark(store, id, [second], FAILED)
    await mark(store, id, [second, second])
    record = await found(store, id)
    assert (record.pending, record.failed) == (1, 0)


async def test_only_what_waits_if_so_asked(store: FullStore) -> None:
    id, (first, second) = await opened(store)
    await mark(store, id, [first])
    marks = [Mark(id, first, FAILED), Mark(id, second, FAILED)]
    [told] = await store.mark_members(marks, waiting_only=True)
    assert told.failed == 1
    assert (await found(store, id, members=True)).members == {first: SUCCEEDED, second: FAILED}


async def test_marks_of_many_groups_at_once(store: FullStore) -> None:
    groups = [await opened(store) for _ in range(3)]
    marks = [Mark(id, member, SUCCEEDED) for id, members in groups for member in members]
    told = await store.mark_members(marks[1:])
    assert sorted(each.id for each in told) == sorted(id for id, _ in groups[1:])


async def test_what_is_unknown_is_no_error(store: FullStore) -> None:
    id, members = await opened(store)
    assert await mark(store, "nobody", members) == []
    assert await mark(store, id, ["stranger", *ODD_NAMES]) == []
    assert await mark(store, "not ASCII ü", ["x"]) == []
    assert (await found(store, id)).pending == 2
    await store.close_groups(["nobody", "ü"])
    for unknown in ("nobody", "ü", "", "x" * 100):
        assert await store.find_group(unknown) is None
    assert await store.mark_members([]) == []
    await store.close_groups([])


async def test_one_without_members_is_complete_at_once(store: FullStore) -> None:
    answer = await store.open_group(NewGroup("empty", b"plan", KEEP), [])
    assert answer.receipts == []
    assert answer.completed is not None
    assert (answer.completed.id, answer.completed.total) == ("empty", 0)
    assert (await found(store, "empty")).pending == 0


async def test_who_is_refused_is_no_member(store: FullStore) -> None:
    await store.push([replace(message(), unique="held")])
    refused, stored = replace(message(), unique="held"), message()
    answer = await store.open_group(NewGroup("group", b"", KEEP), [refused, stored])
    assert [each.stored for each in answer.receipts] == [False, True]
    assert answer.completed is None
    assert list((await found(store, "group", members=True)).members) == [stored.id]
    assert await mark(store, "group", [stored.id]) == ["group"]
    assert (await found(store, "group")).total == 1


async def test_all_are_refused(store: FullStore) -> None:
    await store.push([replace(message(), unique="held")])
    refused = replace(message(), unique="held")
    answer = await store.open_group(NewGroup("group", b"plan", KEEP), [refused])
    assert answer.completed is not None
    assert (answer.completed.total, answer.completed.plan) == (0, b"plan")


async def test_members_of_many_queues(store: FullStore) -> None:
    messages = [message(name) for name in ODD_NAMES]
    await store.open_group(NewGroup("spread"), messages)
    for each in messages:
        assert ids(await take(store, queue=each.queue)) == [each.id]
    assert await mark(store, "spread", [each.id for each in messages]) == ["spread"]


async def test_a_large_one(store: FullStore) -> None:
    id, members = await opened(store, 2 * LOOKS + 500)
    assert list((await found(store, id, members=True)).members) == members
    assert await mark(store, id, members[1:]) == []
    assert (await found(store, id)).pending == 1
    assert await mark(store, id, members[:1]) == [id]


async def test_two_marks_of_the_last_two_at_once(engine: Engine, store: FullStore) -> None:
    """However they meet, somebody is told that it is complete."""
    other = await engine.opened()
    for _ in range(20):
        id, (first, second) = await opened(store)
        told = await asyncio.gather(mark(store, id, [first]), mark(other, id, [second]))
        assert [id] in told
        assert (await found(store, id)).pending == 0


async def test_marks_in_opposite_orders_do_not_block_each_other(
    engine: Engine, store: FullStore
) -> None:
    other = await engine.opened()
    groups = [await opened(store, 20) for _ in range(4)]
    pairs = [(id, member) for id, members in groups for member in members]
    marks = [Mark(id, member, SUCCEEDED) for id, member in pairs]
    rounds = [marks[start : start + 8] for start in range(0, len(marks), 8)]
    works = [store.mark_members(some) for some in rounds]
    works += [other.mark_members(some[::-1]) for some in reversed(rounds)]
    told = await asyncio.gather(*works)
    assert {each.id for found in told for each in found} == {id for id, _ in groups}


async def test_it_is_kept_for_a_while(engine: Engine, store: FullStore) -> None:
    id, members = await opened(store)
    await engine.advance(10 * KEEP)
    await store.sweep_groups(10, patience=PATIENCE)
    assert await mark(store, id, members) == [id]
    await store.close_groups([id])
    await engine.advance(KEEP / 2)
    await store.close_groups([id])  # which makes it no younger
    assert (await found(store, id)).closed
    await engine.advance(KEEP / 2 + 1)
    assert await store.find_group(id) is None
    assert await store.sweep_groups(10, patience=0.0) == []
    assert await mark(store, id, members) == []
    again = await store.open_group(NewGroup(id, b"", KEEP), [])
    assert again.completed is not None
    assert (await found(store, id, members=True)).members == {}


async def test_open_groups_are_handed_out_in_turn(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    first, members = await opened(store)
    await engine.advance(PATIENCE / 2)
    second, _ = await opened(store, 1)
    await mark(store, first, members[:1])
    assert await store.sweep_groups(10, patience=PATIENCE) == []
    await engine.advance(PATIENCE / 2 + 1)
    [told] = await other.sweep_groups(10, patience=PATIENCE)
    assert (told.id, list(told.members), told.pending) == (first, members[1:], 1)
    assert await store.sweep_groups(10, patience=PATIENCE) == []
    await engine.advance(PATIENCE + 1)
    looks = [await store.sweep_groups(1, patience=PATIENCE) for _ in range(3)]
    assert [len(each) for each in looks] == [1, 1, 0]
    assert {each.id for found in looks for each in found} == {first, second}
    assert await store.sweep_groups(0, patience=0.0) == []
    assert len(await store.sweep_groups(10, patience=0.0)) == 2


async def test_a_complete_one_is_handed_out_until_it_is_closed(
    engine: Engine, store: FullStore
) -> None:
    id, members = await opened(store)
    await mark(store, id, members, FAILED)
    await engine.advance(PATIENCE + 1)
    [told] = await store.sweep_groups(10, patience=PATIENCE)
    assert (told.id, told.members, told.pending, told.failed) == (id, {}, 0, 2)
    assert told.plan == b"plan"
    await store.close_groups([id])
    await engine.advance(PATIENCE + 1)
    assert await store.sweep_groups(10, patience=PATIENCE) == []


async def test_to_complete_it_is_a_look(engine: Engine, store: FullStore) -> None:
    id, (first, second) = await opened(store)
    await engine.advance(PATIENCE + 1)
    await mark(store, id, [first])
    await mark(store, id, [second])
    assert await store.sweep_groups(10, patience=PATIENCE) == []
    await engine.advance(PATIENCE + 1)
    assert [each.id for each in await store.sweep_groups(10, patience=PATIENCE)] == [id]


async def test_a_large_one_is_looked_at_in_parts(store: FullStore) -> None:
    _, members = await opened(store, LOOKS + 10)
    looks = [(await store.sweep_groups(1, patience=0.0))[0].members for _ in range(3)]
    assert [len(each) for each in looks] == [LOOKS, 10, LOOKS]
    assert [*looks[0], *looks[1]] == members


async def test_from_another_thread(engine: Engine, store: FullStore) -> None:
    each = message()
    answer = await engine.in_thread(lambda: store.open_group_sync(NewGroup("sync"), [each]))
    assert [receipt.stored for receipt in answer.receipts] == [True]
    record = await engine.in_thread(lambda: store.find_group_sync("sync", members=True))
    assert record == await found(store, "sync", members=True)
    assert await engine.in_thread(lambda: store.find_group_sync("nobody")) is None
    assert ids(await take(store)) == [each.id]


async def test_pushing_goes_on_beside_it(store: FullStore) -> None:
    (id, members), pushed = await asyncio.gather(opened(store, 50), push(store, 50))
    assert sorted(ids(await take(store))) == sorted([*members, *pushed])
    assert (await found(store, id)).pending == 50


@JOINING
async def test_marks_from_another_thread(engine: Engine, store: FullStore) -> None:
    id, members = await opened(store)
    assert isinstance(store, Joining)
    marks = [Mark(id, each, SUCCEEDED) for each in members]
    told = await engine.in_thread(lambda: store.mark_members_sync(marks))
    assert [each.id for each in told] == [id]
    await engine.in_thread(lambda: store.close_groups_sync([id]))
    assert (await found(store, id)).closed


@DATABASES
async def test_a_rollback_leaves_neither_group_nor_mark(engine: Engine, store: FullStore) -> None:
    id, members = await opened(store)
    mine: list[Message] = [message()]

    def work() -> None:
        assert isinstance(store, Joining)
        with transaction.atomic(using=engine.alias):
            store.open_group_sync(NewGroup("undone"), mine)
            marks = [Mark(id, each, SUCCEEDED) for each in members]
            assert len(store.mark_members_sync(marks)) == 1
            transaction.set_rollback(True, using=engine.alias)

    await engine.in_thread(work)
    assert await store.find_group("undone") is None
    assert ids(await take(store)) == members
    assert (await found(store, id)).pending == 2
