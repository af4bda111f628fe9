"""Django's signals for what is run in batches: each message has its own."""

import pytest

from tests.django import batch_tasks
from tests.django.batch_tasks import poisoned
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC, run
from tests.django.test_signals import Connect, Heard, connect
from vtasks_asgi.backends.database import DatabaseTaskBackend

__all__ = ["connect"]


@SYNC_AND_ASYNC
def test_each_message_of_a_batch_is_told_once_an_attempt(
    connect: Connect, kind: str, change: Change
) -> None:
    """However often the function is called to find out which of them makes it fail."""
    change(VTASKS_BATCH_QUEUES={"b": {"count": 4, "timeout": 0.05}})
    batch_tasks.ANSWER[:] = [poisoned(2)]
    heard = Heard(connect)
    task = batch_tasks.aload if kind else batch_tasks.load
    results = [task.using(queue_name="b").enqueue(number=n) for n in range(4)]  # type: ignore[call-arg]
    run(5)
    told = [(name, said["id"], said["status"]) for name, said in heard.told if name != "enqueued"]
    ids = [result.id for result in results]
    good = [id for id in ids if id != ids[2]]
    assert [id for name, id, _ in told if name == "started"] == [*ids, ids[2]]
    second = [("started", ids[2], "RUNNING"), ("finished", ids[2], "FAILED")]
    done = [("finished", id, "SUCCESSFUL") for id in good]
    assert sorted(told[4:]) == sorted(done + second)
    [last] = [said for _, said in heard.told if said["status"] == "FAILED"]
    assert (last["errors"], last["worker_ids"]) == (["builtins.ValueError"] * 2, ["me", "me"])
    assert heard.senders == {DatabaseTaskBackend}


def test_djangos_own_log_of_a_failed_batch_has_the_traceback(
    caplog: pytest.LogCaptureFixture, change: Change
) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 4, "timeout": 0.05}})
    batch_tasks.ANSWER[:] = [lambda items: [ValueError("in its place") for _ in items]]
    batch_tasks.once.using(queue_name="b").enqueue(number=1)  # type: ignore[call-arg]
    run(1)
    [line] = [r for r in caplog.records if r.name == "django.tasks" and r.levelname == "ERROR"]
    assert line.exc_info
    assert str(line.exc_info[1]) == "in its place"
