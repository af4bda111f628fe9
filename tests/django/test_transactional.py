"""Transactional tasks: what they do and their end are one transaction, and so happen once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, connections
from django.tasks.exceptions import InvalidTask

from tests.django import sample
from tests.django.conftest import EACH_DATABASE, Change
from tests.django.helpers import done, rows, run, working
from vtasks_asgi import Backoff, joint, task
from vtasks_asgi.core.outcome import Dead, Done, Release, Retry
from vtasks_asgi.db.models import Message

pytestmark = EACH_DATABASE

AT_ONCE = Backoff(base=0.0)

#: What the next runs do besides leaving a group behind, one after the other.
SCRIPT: list[Any] = []


@pytest.fixture(autouse=True)
def script() -> Iterator[None]:
    SCRIPT.clear()
    yield
    Group.objects.all().delete()


@task(transactional=True, max_attempts=3, backoff=AT_ONCE)
def effect(name: str) -> Any:
    Group.objects.create(name=name)
    return SCRIPT.pop(0)() if SCRIPT else connection.in_atomic_block


def fail() -> None:
    raise ValueError("broken")


def elsewhere[T](work: Callable[[], T]) -> T:
    """In another thread, so on another connection."""

    def call() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result(30)


def effects() -> int:
    return elsewhere(Group.objects.count)


def outcomes(found: list[tuple[str, Any]]) -> list[type]:
    return [type(outcome) for _, outcome in found]


def test_its_effects_and_its_result_are_kept() -> None:
    result = done(effect.enqueue("x"))
    assert result.return_value is True
    assert effects() == 1
    assert rows() == {"messages": 0, "results": 1, "dead": 0}


def test_no_result_is_kept_of_one_without() -> None:
    effect.using(result_ttl=0).enqueue("x")
    run(1)
    assert effects() == 1
    assert rows() == {"messages": 0, "results": 0, "dead": 0}


def test_the_settler_has_nothing_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[Any] = []
    with working() as worker:
        original = worker.runtime.store.settle

        async def spy(settlements: Any) -> Any:
            settled.extend(settlements)
            return await original(settlements)

        monkeypatch.setattr(worker.runtime.store, "settle", spy)
        effect.enqueue("x")
        sample.note.enqueue("y")
        worker.ear.wait(2)
    assert len(settled) == 1


def test_a_failure_takes_its_effects_back_and_is_tried_again() -> None:
    SCRIPT.append(fail)
    result = effect.enqueue("x")
    assert outcomes(run(2)) == [Retry, Done]
    result.refresh()
    assert (result.attempts, len(result.errors)) == (2, 1)
    assert effects() == 1


def test_of_one_that_fails_for_good_nothing_is_left_but_the_letter() -> None:
    SCRIPT.extend([fail] * 3)
    effect.enqueue("x")
    assert outcomes(run(3)) == [Retry, Retry, Dead]
    assert effects() == 0
    assert rows()["dead"] == 1


def test_a_return_value_that_cannot_be_kept_takes_the_effects_back() -> None:
    SCRIPT.append(object)
    effect.enqueue("x")
    assert outcomes(run(1)) == [Dead]
    assert effects() == 0


def test_what_it_enqueues_belongs_to_it() -> None:
    def enqueue_and_fail() -> None:
        sample.note.enqueue("taken back")
        fail()

    def enqueue() -> None:
        sample.note.enqueue("kept")

    SCRIPT.extend([enqueue_and_fail, enqueue])
    effect.enqueue("x")
    run(3)
    assert sample.SEEN == ["kept"]


def steal() -> None:
    """Somebody else takes the message over, as after a freeze."""
    Message.objects.filter(state=2).update(token="stolen")


def test_who_has_lost_the_lease_leaves_nothing_behind() -> None:
    alone = connection.vendor == "sqlite"  # where nobody else can write meanwhile
    SCRIPT.append(steal if alone else lambda: elsewhere(steal))
    effect.enqueue("x")
    assert outcomes(run(1)) == [Release]
    assert effects() == 0
    kept = Message.objects.get()
    assert alone or (kept.state, kept.token) == (2, "stolen")


def dangle() -> None:
    Permission.objects.create(name="x", codename="x", content_type_id=999_999)


def test_what_only_the_commit_finds_wrong_is_the_tasks_failure() -> None:
    SCRIPT.extend([dangle, dangle])
    effect.enqueue("x")
    found = run(3)
    assert outcomes(found) == [Retry, Retry, Done]
    assert isinstance(second := found[1][1], Retry)
    assert b"IntegrityError" in second.history
    assert effects() == 1


def hang_up() -> None:
    """The server ends this connection while the task believes that all is well."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()

    def terminate() -> None:
        with connection.cursor() as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])

    elsewhere(terminate)


def test_a_database_that_fails_at_the_end_is_not_the_tasks_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("it takes a server to hang up")
    monkeypatch.setattr(joint, "PAUSE", 0.0)
    SCRIPT.extend([hang_up, hang_up, hang_up, hang_up])
    result = effect.enqueue("x")
    assert outcomes(run(5)) == [Release] * 4 + [Done]
    result.refresh()
    assert result.attempts == 1
    assert effects() == 1


def test_a_coroutine_cannot_be_transactional() -> None:
    with pytest.raises(InvalidTask, match="only a synchronous function can be transactional"):

        @task(transactional=True)
        async def coroutine() -> None: ...


def test_it_is_true_or_false() -> None:
    wrong: Any = 1
    with pytest.raises(InvalidTask, match="transactional must be True or False"):
        task(transactional=wrong)(sample.add.func)


def test_batches_have_no_transaction_of_their_own(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"many": {"count": 10, "timeout": 1.0}})
    with pytest.raises(InvalidTask, match="is transactional, but each message of a batch"):
        effect.using(queue_name="many").enqueue("x")


def test_a_backend_without_a_database_refuses_it(change: Change) -> None:
    valkey = {
        "BACKEND": "vtasks_asgi.backends.valkey.ValkeyTaskBackend",
        "OPTIONS": {"BROKER_URL": "valkey://127.0.0.1:1/0"},
    }
    database = {"BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend"}
    change(TASKS={"default": database, "elsewhere": valkey})
    with pytest.raises(InvalidTask, match=r"effect: .*DatabaseTaskBackend.*TASKS\['elsewhere'\]"):
        effect.using(backend="elsewhere")
