"""Unique tasks: while a message lives, its duplicates are refused, whoever sends them and how."""

from datetime import timedelta

from django.tasks import Task, TaskResultStatus
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import EACH_DATABASE, Change
from tests.django.helpers import arows, embedded, rows, run, working
from tests.django.unique_ways import EACH_WAY, Way, many, note
from vtasks_asgi import task
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.db.models import DeadLetter, Message, UniqueKey

pytestmark = EACH_DATABASE

TWO_QUEUES = {
    "TASKS": {
        "default": {
            "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
            "QUEUES": ["default", "mail"],
        }
    }
}


@EACH_WAY
def test_a_duplicate_is_refused_until_its_holder_has_ended(way: Way) -> None:
    assert way(note, "x") is not None
    assert way(note, "x") is None
    assert way(note, "y") is not None
    assert rows()["messages"] == 2
    run(2)
    assert sorted(sample.SEEN) == ["x", "y"]
    assert way(note, "x") is not None


async def test_in_a_runtime_too(change: Change) -> None:
    change(VTASKS_DRAIN_TIMEOUT=0)
    waiting = sample.waits_on_loop.using(unique=True)
    async with embedded():
        assert await waiting.aenqueue() is not None
        assert await waiting.aenqueue() is None
        existing = await waiting.using(on_duplicate="existing").aenqueue()
        assert existing is not None
        assert not existing.is_finished
    assert (await arows())["messages"] == 1


def test_a_running_holder_keeps_its_key() -> None:
    waiting = sample.waits_in_thread.using(unique=True)
    assert waiting.enqueue()
    with working() as worker:
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        assert waiting.enqueue() is None
        sample.MEETING.go.set()
        worker.ear.wait(1)
    assert waiting.enqueue()


def test_so_does_one_that_will_be_tried_again() -> None:
    failing = sample.fails_later.using(unique=True)
    assert failing.enqueue()
    run(1)
    assert Message.objects.get().state == Message.State.DELAYED
    assert failing.enqueue() is None


def test_and_one_whose_time_has_not_come() -> None:
    later = note.using(run_after=timezone.now() + timedelta(hours=1))
    assert later.enqueue("x")
    assert note.enqueue("x") is None


def test_a_dead_letter_has_given_its_key_up() -> None:
    failing = sample.fails.using(unique=True)
    assert failing.enqueue()
    run(1)
    assert DeadLetter.objects.count() == 1
    assert failing.enqueue()


# -- keys


def test_the_automatic_key_is_the_call() -> None:
    echo = sample.echo.using(unique=True)
    assert echo.enqueue(1, a=1, b=2)
    assert echo.enqueue(1, b=2, a=1) is None
    assert echo.enqueue(1, a=1, b=3)
    assert echo.enqueue(value=1, a=1, b=2), "the same by name is another call"
    assert sample.note.using(unique=True).enqueue(1)


def test_a_text_of_ones_own_is_the_key_whatever_the_arguments() -> None:
    keyed = sample.note.using(unique_key="x" * 10_000)
    assert keyed.enqueue(1)
    assert keyed.enqueue(2) is None
    assert sample.echo.using(unique_key="x" * 10_000).enqueue() is None, (
        "tasks share a queue's keys"
    )
    assert sample.note.using(unique_key="y").enqueue(1)


@task(unique_key=lambda user, **more: f"user-{user}")
def of_user(user: int, *, text: str = "") -> None: ...


def test_a_function_makes_the_key_of_the_arguments() -> None:
    assert of_user.enqueue(1, text="a")
    assert of_user.enqueue(user=1, text="b") is None
    assert of_user.enqueue(2, text="a")
    assert of_user.using(unique=False).enqueue(1)


def test_a_key_belongs_to_its_queue(change: Change) -> None:
    change(**TWO_QUEUES)
    assert note.enqueue(1)
    assert note.using(queue_name="mail").enqueue(1)
    assert many([(note, [1], {"queue_name": "mail"})]) == [None]


def test_tasks_that_are_not_unique_have_none() -> None:
    for plain in (sample.plain, sample.note, note.using(unique=False)):
        assert plain.enqueue(1)
        assert plain.enqueue(1)
    assert UniqueKey.objects.count() == 0


def test_a_task_of_djangos_own_class_is_taken_as_it_is() -> None:
    """As one is that was decorated while another backend was configured."""
    plain: Task[[int], int] = Task(
        func=sample.plain.func,
        priority=0,
        backend="default",
        queue_name="default",
        run_after=None,
    )
    for _ in range(2):
        [result] = many([(plain, [1], {})])
        assert result is not None
        assert result.task is plain
    assert rows()["messages"] == 2


# -- throttling


def test_a_throttled_key_outlives_its_task() -> None:
    throttled = note.using(ttl=60, remove_unique_on_complete=False)
    before = timezone.now().timestamp()
    assert throttled.enqueue("x")
    run(1)
    assert throttled.enqueue("x") is None
    assert note.enqueue("x") is None, "whoever asks"
    key = UniqueKey.objects.get()
    assert before + 60 <= key.until <= timezone.now().timestamp() + 60
    UniqueKey.objects.update(until=before)  # as if the time had passed
    assert throttled.enqueue("x")


def test_a_ttl_alone_changes_nothing() -> None:
    assert note.using(ttl=60).enqueue("x")
    run(1)
    assert note.using(ttl=60).enqueue("x")


# -- the holder's result


@EACH_WAY
def test_the_holders_result_instead_of_none(way: Way) -> None:
    adding = sample.add.using(unique=True, on_duplicate="existing")
    first = way(adding, 1)
    again = way(adding.using(priority=5), 1)
    assert first is not None
    assert again is not None
    assert (again.id, again.status, again.args) == (first.id, TaskResultStatus.READY, [1])
    assert rows()["messages"] == 1


def test_of_a_running_and_of_a_throttled_one_that_has_ended() -> None:
    waiting = sample.waits_in_thread.using(
        unique=True, ttl=60, remove_unique_on_complete=False, on_duplicate="existing"
    )
    first = waiting.enqueue()
    assert first is not None
    with working() as worker:
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        running = waiting.enqueue()
        assert running is not None
        assert (running.id, running.status) == (first.id, TaskResultStatus.RUNNING)
        sample.MEETING.go.set()
        worker.ear.wait(1)
    ended = waiting.enqueue()
    assert ended is not None
    assert (ended.id, ended.return_value) == (first.id, "went")


def test_none_when_the_holder_left_no_result() -> None:
    throttled = sample.traceless.using(
        unique=True, ttl=60, remove_unique_on_complete=False, on_duplicate="existing"
    )
    assert throttled.enqueue()
    run(1)
    assert throttled.enqueue() is None


def test_none_when_the_holder_cannot_be_shown() -> None:
    existing = sample.note.using(unique_key="x", on_duplicate="existing")
    first = existing.enqueue(1)
    assert first is not None
    message = Message.objects.get()
    call = decode(bytes(message.body))
    call.task = "not.registered"
    Message.objects.update(body=encode(call))
    assert existing.enqueue(1) is None
    Message.objects.update(body=b"damaged")
    assert existing.enqueue(1) is None
