"""Groups with a real worker, on every backend: the callback comes once, after all have ended."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.tasks.exceptions import InvalidTask

from tests.django.conftest import Change
from tests.django.everywhere import each_backend
from tests.django.group_tasks import (
    SAW,
    adouble,
    broken,
    complete,
    debounced,
    discarded,
    double,
    member,
    saw,
    silent,
    third_time_lucky,
    told,
    unique,
)
from tests.django.helpers import PATIENCE, run, working
from vtasks_asgi import Group, GroupProgress, agroup, get_group, group
from vtasks_asgi.exceptions import GroupDoesNotExist
from vtasks_asgi.store.groups import Member
from vtasks_asgi.tasks import backend_of

__all__ = ["each_backend"]
EVERYWHERE = pytest.mark.usefixtures("each_backend")
DONE, LOST = "SUCCESSFUL", "FAILED"


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    SAW.clear()
    yield
    SAW.clear()


@EVERYWHERE
def test_the_callback_comes_once_all_have_ended() -> None:
    made = group([double.item(1), adouble.item(2), broken.item(3)], on_complete=complete)
    assert made.progress() == GroupProgress(3, 0, 0, 3)
    assert not made.progress().done
    run(4)
    assert SAW == [saw("complete", made.id, 3, 1, DONE, DONE, LOST)]
    found = get_group(made.id)
    assert found.progress() == GroupProgress(3, 2, 1, 0)
    assert found.progress().done
    assert list(found.members().values()) == [Member.SUCCEEDED, Member.SUCCEEDED, Member.FAILED]
    assert [each and each.id for each in found.results()] == list(found.members())
    assert [each.return_value for each in found.results()[:2] if each] == [2, 4]


@EVERYWHERE
def test_from_a_worker_and_in_a_coroutine() -> None:
    async def work() -> Group:
        made = await agroup(
            [adouble.item(number) for number in range(20)], on_complete=told.item("all")
        )
        progress = await made.await_done(PATIENCE)
        assert progress == GroupProgress(20, 20, 0, 0) == await made.aprogress()
        results = await made.aresults()
        assert [each.return_value for each in results if each] == list(range(0, 40, 2))
        assert set((await made.amembers()).values()) == {Member.SUCCEEDED}
        return made

    with working() as it:
        made = asyncio.run(work())
        it.ear.wait(21)
    assert SAW == [saw("all", made.id, 20, 0, *[DONE] * 20)]


@EVERYWHERE
def test_success_and_failure_have_callbacks_of_their_own() -> None:
    callbacks: Any = {
        "on_complete": complete,
        "on_success": complete.item("success"),
        "on_failure": complete.item("failure"),
    }
    well = group([double.item(1)], **callbacks)
    badly = group([broken.item(1), double.item(1)], **callbacks)
    run(7)
    expected = [(what, well.id) for what in ("complete", "success")]
    expected += [(what, badly.id) for what in ("complete", "failure")]
    assert sorted(each[:2] for each in SAW) == sorted(expected)


@EVERYWHERE
def test_an_empty_group_is_complete_at_once() -> None:
    made = group([], on_complete=told)
    assert made.progress() == GroupProgress(0, 0, 0, 0)
    assert made.wait(0.0).done
    run(1)
    assert SAW == [saw("told", made.id, 0, 0)]


@EVERYWHERE
def test_members_without_a_result_are_counted() -> None:
    made = group([silent.item(1), silent.item(2)], on_complete=complete)
    run(3)
    assert SAW == [saw("complete", made.id, 2, 0, None, None)]


@EVERYWHERE
def test_a_retried_member_has_not_ended() -> None:
    made = group([third_time_lucky.item()], on_complete=complete)
    run(4)
    assert SAW == [saw("complete", made.id, 1, 0, DONE)]


@EVERYWHERE
def test_a_member_refused_as_a_duplicate_is_none() -> None:
    unique.enqueue("a")
    made = group([unique.item("a"), unique.item("b"), unique.item("b")], on_complete=complete)
    assert made.progress().total == 1
    run(3)
    assert SAW == [saw("complete", made.id, 1, 0, DONE)]


@EVERYWHERE
def test_all_refused_is_empty() -> None:
    unique.enqueue("a")
    made = group([unique.item("a")], on_complete=complete)
    run(2)
    assert SAW == [saw("complete", made.id, 0, 0)]


@EVERYWHERE
def test_members_of_several_queues_with_other_tasks_between(change: Change) -> None:
    change(VTASKS_QUEUES={"default": {}, "low": {}})
    items = [adouble.using(queue_name=name).item(1) for name in ("default", "low")]
    made = group(items, on_complete=complete.using(queue_name="low"))
    double.enqueue(1)
    run(4)
    assert SAW == [saw("complete", made.id, 2, 0, DONE, DONE)]


@EVERYWHERE
def test_a_member_that_expires_or_is_discarded_has_failed() -> None:
    late = adouble.using(expires=0.001)
    made = group([late.item(1), discarded.item(), adouble.item(1)], on_complete=complete)
    run(4)
    assert SAW == [saw("complete", made.id, 3, 2, LOST, LOST, DONE)]


@EVERYWHERE
def test_what_a_member_knows() -> None:
    made = group([member.item()])
    alone = member.enqueue()
    run(2)
    [result] = made.results()
    assert result is not None and result.return_value == made.id
    alone.refresh()
    assert alone.return_value is None


@EVERYWHERE
def test_a_dead_member_put_back_calls_nobody_again() -> None:
    made = group([broken.item(1), adouble.item(1)], on_complete=complete)
    run(3)
    [id] = [id for id, state in made.members().items() if state is Member.FAILED]
    with working() as it:
        store = it.runtime.store
        it.ear.wait_open()
        loop: Any = it.runtime._loop
        assert asyncio.run_coroutine_threadsafe(store.requeue([id]), loop).result(PATIENCE) == 1
        it.ear.wait(1)
    assert made.progress() == GroupProgress(2, 1, 1, 0)
    assert len(SAW) == 1


@EVERYWHERE
def test_two_workers_end_the_last_two_at_once() -> None:
    """Many groups of two, so that some meet; no callback is missing and none comes twice."""
    with working(worker="one", concurrency=4) as one, working(worker="two", concurrency=4):
        made = [group([adouble.item(1), silent.item(2)], on_complete=complete) for _ in range(40)]
        waiting = [each.wait(PATIENCE) for each in made]
        assert all(progress == GroupProgress(2, 2, 0, 0) for progress in waiting)
        one.ear.wait(120)  # it hears both
    assert sorted(each[1] for each in SAW) == sorted(each.id for each in made)


@EVERYWHERE
def test_a_member_that_waits_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker sees that, so the next sweep does."""
    monkeypatch.setattr("vtasks_asgi.runtime.sweep.EVERY", 0.05)
    monkeypatch.setattr("vtasks_asgi.runtime.sweep.PATIENCE", 0.0)
    made = group([double.item(1), double.item(2)], on_complete=complete)
    [first, _] = made.members()
    backend_of("default").cancel(first)
    run(2)
    assert SAW == [saw("complete", made.id, 2, 1, LOST, DONE)]


# -- transactions


@pytest.mark.parametrize("committed", [True, False])
@EVERYWHERE
def test_a_group_belongs_to_the_transaction(each_backend: dict[str, Any], committed: bool) -> None:
    alias = each_backend.get("OPTIONS", {}).get("DATABASE", "default")
    with transaction.atomic(using=alias):
        made = group([adouble.item(1)], on_complete=complete)
        nothing = group([], on_complete=complete.item("nothing"))
        transaction.set_rollback(not committed, using=alias)
    if committed:
        run(3)
        assert {each[0] for each in SAW} == {"complete", "nothing"}
    else:
        for each in (made, nothing):
            with pytest.raises(GroupDoesNotExist):
                each.progress()
        double.enqueue(1)
        run(1)
        assert SAW == []


# -- mistakes


def test_what_is_wrong_is_said_before_anything_is_written() -> None:
    wrong: list[tuple[Any, Any, str]] = [
        ([debounced.item()], {}, "debounced"),
        ([double, None], {}, "None"),
        ([()], {}, "leave it out"),
        (["double"], {}, "report.item"),
        ([(double, 1, {})], {}, "report.item"),
        ([double.item(1)], {"on_complete": "complete"}, "on_complete must be"),
        ([double.item(1)], {"on_failure": (complete,)}, "on_failure must be"),
        ([double.item(1)], {"result_ttl": -1}, "result_ttl"),
    ]
    for items, options, word in wrong:
        with pytest.raises(InvalidTask, match=word):
            group(items, **options)
    unfit: Any = object()
    with pytest.raises(TypeError, match="args"):
        group([double.item(1)], on_complete=complete.item(unfit))
    with pytest.raises(GroupDoesNotExist):
        get_group("nobody").progress()
    assert run_nothing() == []


def run_nothing() -> list[Any]:
    with working() as it:
        it.ear.wait_open()
    return it.ear.outcomes


def test_a_group_is_of_one_backend(change: Change) -> None:
    memory = {"BACKEND": "vtasks_asgi.backends.memory.MemoryTaskBackend"}
    dummy = {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}
    change(TASKS={"default": memory, "other": memory, "dummy": dummy})
    other = double.using(backend="other")
    with pytest.raises(InvalidTask, match="one backend"):
        group([double.item(1), other.item(1)])
    with pytest.raises(InvalidTask, match=r"\.using\(backend='other'\)"):
        group([other.item(1)], on_complete=complete)
    assert group([other.item(1)]).backend == "other"
    assert group([], on_complete=complete.using(backend="other")).backend == "other"
    with pytest.raises(InvalidTask, match="none of ours"):
        group([double.using(backend="dummy").item(1)])


def test_it_is_waited_for_no_longer_than_asked() -> None:
    made = group([double.item(1)])
    with pytest.raises(TimeoutError, match=made.id):
        made.wait(0.01)
    with pytest.raises(TimeoutError, match=made.id):
        asyncio.run(made.await_done(0.01))


def test_items_are_those_of_enqueue_many() -> None:
    backend = backend_of("default")
    assert double.item(1) == (double, (1,), {})
    results = backend.enqueue_many([double.item(1), double.item(number=2)])
    made = group([(double, [number], {}) for number in (1, 2)])
    run(4)
    for result in results:
        result.refresh()
    values = [each.return_value for each in [*results, *made.results()] if each]
    assert values == [2, 4, 2, 4]
