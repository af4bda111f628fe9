"""Which messages run, when, and what becomes of those that cannot."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import AnyResult, refreshed, rows, run, working
from vtasks_asgi import assembly
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.db.models import DeadLetter, Message
from vtasks_asgi.runtime.config import RuntimeConfig


def test_tasks_may_enqueue_tasks() -> None:
    parents = [sample.enqueues.enqueue("from a thread"), sample.aenqueues.enqueue("from the loop")]
    run(4)
    assert sorted(sample.SEEN) == ["from a thread", "from the loop"]
    for parent in refreshed(*parents):
        assert sample.note.get_result(parent.return_value).is_finished


def test_messages_run_by_priority_then_age() -> None:
    for name, priority in [("a", 0), ("b", 100), ("c", -100), ("d", 100), ("e", 0)]:
        sample.anote.using(priority=priority).enqueue(name)
    run(5, concurrency=1)
    assert sample.SEEN == ["b", "d", "a", "e", "c"]


def test_a_message_does_not_run_before_its_time() -> None:
    sample.note.using(run_after=timezone.now() + timedelta(hours=1)).enqueue("late")
    sample.note.using(run_after=timezone.now() - timedelta(hours=1)).enqueue("due")
    run(1)
    assert sample.SEEN == ["due"]
    assert rows()["messages"] == 1


def test_an_idle_worker_begins_a_delayed_message_when_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at its next look. ``tests/runtime/test_due.py`` shows how late it is at the most."""
    monkeypatch.setattr(assembly, "RuntimeConfig", partial(RuntimeConfig, poll=3600.0))
    with working() as worker:
        worker.ear.wait_open()
        for number in range(5):
            due = timezone.now() + timedelta(seconds=0.2)
            result = sample.anote.using(run_after=due).enqueue(number)
            result.wait(20.0)
            assert result.started_at is not None
            assert result.started_at >= due


def test_only_the_queues_asked_for_are_consumed() -> None:
    sample.note.enqueue("default")
    with working(queues=["default"]) as worker:
        worker.ear.wait(1)
    assert sample.SEEN == ["default"]


def test_an_unknown_task_is_parked_and_burns_no_attempt() -> None:
    result = sample.add.enqueue(1)
    neighbour = sample.add.enqueue(2)
    _rename(result, "tests.django.sample.from_a_newer_release")
    with working() as worker:
        worker.ear.wait(1)
    neighbour.refresh()
    assert neighbour.is_finished
    message = Message.objects.get(uid=result.id)
    assert (message.state, message.attempt) == (Message.State.DELAYED, 0)
    assert message.run_at is not None
    assert message.run_at > timezone.now().timestamp() + 5.0


def _rename(result: AnyResult, name: str) -> None:
    """Let a stored message name another task."""
    call = decode(bytes(Message.objects.get(uid=result.id).body))
    call.task = name
    Message.objects.filter(uid=result.id).update(body=encode(call))


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"{}", b'{"v":99}', b"[" * 500])
def test_a_corrupt_message_is_a_dead_letter_and_its_neighbours_run(body: bytes) -> None:
    _, corrupt, _ = (sample.anote.enqueue(name) for name in ("before", "", "after"))
    Message.objects.filter(uid=corrupt.id).update(body=body)
    run(3)
    assert sorted(sample.SEEN) == ["after", "before"]
    dead = DeadLetter.objects.get()
    assert (dead.uid, dead.reason, bytes(dead.body)) == (corrupt.id, "undecodable", body)
    assert b"MessageUndecodable" in bytes(dead.history or b"")


def test_what_runs_too_long_at_the_end_is_given_back(change: Change) -> None:
    sample.waits_on_loop.enqueue()
    change(VTASKS_DRAIN_TIMEOUT=0)
    with working() as worker:
        worker.ear.wait_started(1)
        assert sample.MEETING.arrived.acquire(timeout=20.0)
    message = Message.objects.get()
    assert (message.state, message.attempt) == (Message.State.READY, 0)
    assert [type(outcome) for _, outcome in worker.ear.outcomes] == [Release]
