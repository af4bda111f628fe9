"""What a task's context tells, and what it keeps: across retries, releases and crashes."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.tasks import TaskContext

from tests.django import asking, sample
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, done, run, working
from tests.processes import wait_for
from vtasks_asgi import VTaskContext, notes
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.note import Progress, decode_note, load_saved
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.db.models import Message
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.database.sqlite.store import SQLiteStore


def stored() -> Any:
    """The checkpoint of the one message there is."""
    return load_saved(decode_note(bytes(Message.objects.get().note or b"")))


def told(result: AnyResult) -> Progress | None:
    """The progress of this moment."""
    result.refresh()
    return result.progress


def test_it_is_djangos_and_more() -> None:
    result = done(asking.tells_context.enqueue("argument"))
    assert result.return_value == [1, f"{result.id}:1", False, False]
    assert issubclass(VTaskContext, TaskContext)


def test_its_fence_differs_for_each_attempt() -> None:
    result = asking.tells_context.enqueue()
    Message.objects.update(attempt=4)
    run(1)
    result.refresh()
    assert result.return_value[1] == f"{result.id}:5"


def test_a_task_sees_that_its_worker_is_stopping() -> None:
    result = asking.awaits_stop.enqueue()
    with working() as worker:
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        worker.runtime.stop()
        worker.ear.wait(1)
    result.refresh()
    assert result.return_value == "stopped by itself"


def test_metadata_goes_with_the_call() -> None:
    assert done(asking.tells_metadata.enqueue()).return_value == {"from": "the decorator"}


def test_metadata_of_one_call_replaces_the_tasks() -> None:
    used = asking.tells_metadata.using(metadata={"request": "abc", "n": [1, None]})
    assert done(used.enqueue()).return_value == {"request": "abc", "n": [1, None]}
    assert asking.tells_metadata.metadata == {"from": "the decorator"}
    assert hash(asking.tells_metadata) is not None


class TestNotes:
    @SYNC_AND_ASYNC
    def test_a_retry_goes_on_where_the_last_attempt_was(self, kind: str) -> None:
        result: AnyResult = getattr(asking, f"{kind}resumes").enqueue()
        run(3)
        result.refresh()
        assert result.return_value == [3, 3]
        assert result.progress == Progress(3, 3, "page 3")
        assert result.progress.fraction == 1.0

    def test_there_are_none_at_first(self) -> None:
        assert asking.resumes.enqueue().progress is None

    def test_they_are_seen_while_it_runs(self) -> None:
        result = asking.notes_then_waits.enqueue({"page": 7})
        with working():
            assert sample.MEETING.arrived.acquire(timeout=20.0)
            assert stored() == {"page": 7}
            assert wait_for(lambda: told(result), "progress") == Progress(1, 2, "half")
            sample.MEETING.go.set()
        assert sample.SEEN == [True]
        result.refresh()
        assert result.progress == Progress(1, 2, "half"), "kept with its result"

    def test_a_release_keeps_them(self, change: Change) -> None:
        asking.anotes_then_waits.enqueue([1, 2])
        change(VTASKS_DRAIN_TIMEOUT=0)
        with working() as worker:
            assert sample.MEETING.arrived.acquire(timeout=20.0)
        assert [type(outcome) for _, outcome in worker.ear.outcomes] == [Release]
        assert (stored(), Message.objects.get().attempt) == ([1, 2], 0)

    def test_the_last_change_is_never_too_late(
        self, change: Change, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is in the claim, and so in whatever outcome is written, even a release."""
        monkeypatch.setattr(notes, "PAUSE", 1000.0)
        result = asking.notes_often.enqueue(500)
        run(1)
        result.refresh()
        assert result.progress == Progress(500, 500)

    def test_writes_are_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[bytes | None] = []
        save = SQLiteStore.save

        async def count(self: SQLiteStore, claim: Claim) -> bool:
            written.append(claim.note)
            return await save(self, claim)

        monkeypatch.setattr(SQLiteStore, "save", count)
        asking.notes_often.enqueue(2000)
        began = time.monotonic()
        run(1)
        assert 1 <= len(written) <= 2 + (time.monotonic() - began) / notes.PAUSE

    @pytest.mark.parametrize("fail", [False, True])
    def test_of_a_transactional_task_are_part_of_its_transaction(
        self, fail: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a checkpoint could tell of rows that were rolled back."""
        monkeypatch.setattr(notes, "PATIENCE", 1000.0)  # for a lock of its own it would wait
        result = asking.notes_together.enqueue(fail)
        run(2 if fail else 1)
        result.refresh()
        assert (result.return_value, result.progress) == (1, Progress(1))
        assert list(Group.objects.values_list("name", flat=True)) == ["page 0"]
        assert set(sample.SEEN) == {True}

    def test_a_lost_lease_is_told_and_writes_nothing(self) -> None:
        asking.notes_then_waits.enqueue("first")

        class Thief(Listener):
            def started(self, claim: Claim, task: str, waited: float) -> None:
                claim.token = "somebody else's"

        thief = Thief()
        hub.add(thief)
        try:
            with working():
                assert sample.MEETING.arrived.acquire(timeout=20.0)
                assert Message.objects.get().note is None
                sample.MEETING.go.set()
        finally:
            hub.remove(thief)
        assert sample.SEEN == [False]

    def test_a_store_that_is_away_costs_no_attempt(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def away(self: SQLiteStore, claim: Claim) -> bool:
            raise StoreUnavailable("away")

        monkeypatch.setattr(SQLiteStore, "save", away)
        result = asking.resumes.enqueue(1)
        run(1)
        result.refresh()
        assert result.return_value == [1, 1]
        assert result.progress == Progress(1, 1, "page 1")
        assert any("not written yet: away" in record.getMessage() for record in caplog.records)

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("object", "the checkpoint is a object, which is not JSON-serialisable"),
            ("nan", "the checkpoint is nan, which JSON cannot carry"),
            ("huge", "the checkpoint: 20000002 bytes of JSON, the limit is"),
        ],
    )
    def test_what_cannot_be_kept_is_refused(self, kind: str, error: str) -> None:
        [told] = done(asking.saves.enqueue(kind)).errors
        assert error in told.traceback

    def test_a_coroutine_is_told_to_await(self) -> None:
        [told] = done(asking.saves_on_the_loop.enqueue()).errors
        assert "use asave()" in told.traceback

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ((-1, None, ""), "done is -1"),
            (("1", None, ""), "done is '1'"),
            ((1, "2", ""), "total is '2'"),
            ((1, 2, 3), "message is a int; it must be a text"),
        ],
    )
    def test_progress_that_makes_no_sense(self, arguments: tuple[Any, ...], error: str) -> None:
        [told] = done(asking.progresses.enqueue(*arguments)).errors
        assert error in told.traceback

    def test_who_notes_nothing_pays_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notes.Notes, "__init__", lambda *args, **kwargs: 1 / 0)
        assert done(asking.tells_context.enqueue()).errors == []


def test_a_crash_keeps_what_was_written() -> None:
    result = asking.notes_then_waits.enqueue("before the crash")
    with working(worker="dies"):
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        Message.objects.update(token="taken over", worker="dead", lease_until=0.0)
        sample.MEETING.go.set()
    assert stored() == "before the crash"
    assert Message.objects.get().state == Message.State.RUNNING
    with working() as worker:
        worker.ear.wait(1)
        assert sample.MEETING.arrived.acquire(timeout=20.0)
    result.refresh()
    assert (result.return_value, result.attempts) == ("went", 2)
