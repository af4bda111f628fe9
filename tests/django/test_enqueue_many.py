"""Many at once, from any thread, on a backend whose options may be wrong."""

import threading
from typing import Any

import pytest
from django.db import connection, connections
from django.tasks import TaskResultStatus, task_backends

from tests.django import sample
from tests.django.conftest import EACH_DATABASE, Change
from tests.django.helpers import NO_ROWS, arows, rows, stored
from vtasks_asgi.backends.base import Item, VTasksBackend
from vtasks_asgi.db.models import Message
from vtasks_asgi.exceptions import ConfigurationError, StoreUnavailable

pytestmark = EACH_DATABASE

TWO_QUEUES = {
    "TASKS": {
        "default": {
            "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
            "QUEUES": ["default", "mail"],
        }
    }
}


def backend() -> VTasksBackend:
    found = task_backends["default"]
    assert isinstance(found, VTasksBackend)
    return found


class TestMany:
    def test_results_come_in_order(self) -> None:
        items: list[Item] = [(sample.add, [n], {"b": 1}) for n in range(10)]
        results = stored(backend().enqueue_many(items))
        assert [result.args for result in results] == [[n] for n in range(10)]
        assert rows()["messages"] == 10
        assert [sample.add.get_result(r.id).args for r in results] == [[n] for n in range(10)]

    async def test_asynchronously_too(self) -> None:
        items: list[Item] = [(sample.aadd, (n,), {}) for n in range(10)]
        results = stored(await backend().aenqueue_many(items))
        assert [result.args for result in results] == [[n] for n in range(10)]
        assert (await arows())["messages"] == 10

    def test_nothing_is_a_legal_many(self) -> None:
        assert backend().enqueue_many([]) == []
        assert rows() == NO_ROWS

    def test_any_iterable_will_do(self) -> None:
        results = backend().enqueue_many((sample.add, (n,), {}) for n in range(3))
        assert len(results) == 3

    def test_all_are_checked_before_any_is_written(self) -> None:
        with pytest.raises(TypeError, match="bytes"):
            backend().enqueue_many(
                [(sample.add, [1], {}), (sample.echo, [b"x"], {}), (sample.add, [2], {})]
            )
        assert rows() == NO_ROWS

    def test_queue_name_among_the_kwargs_selects_the_queue(self, change: Change) -> None:
        change(**TWO_QUEUES)
        kwargs = {"b": 1, "queue_name": "mail"}
        [result] = stored(backend().enqueue_many([(sample.add, [1], kwargs)]))
        message = Message.objects.get()
        assert message.queue == "mail"
        assert (result.kwargs, result.task.queue_name) == ({"b": 1}, "mail")
        assert kwargs == {"b": 1, "queue_name": "mail"}, "the caller's own dict is left alone"

    def test_unless_the_function_has_a_parameter_of_that_name(self, change: Change) -> None:
        change(**TWO_QUEUES)
        items: list[Item] = [(sample.wants_queue_name, [], {"queue_name": "mail"})]
        [result] = stored(backend().enqueue_many(items))
        assert Message.objects.get().queue == "default"
        assert result.kwargs == {"queue_name": "mail"}

    def test_using_is_honoured_for_each(self, change: Change) -> None:
        change(**TWO_QUEUES)
        backend().enqueue_many(
            [(sample.add.using(priority=n, queue_name="mail"), [n], {}) for n in range(3)]
        )
        stored = Message.objects.order_by("seq").values_list("queue", "priority")
        assert list(stored) == [("mail", 0), ("mail", 1), ("mail", 2)]


def test_any_thread_may_enqueue() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                sample.add.enqueue(1)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows()["messages"] == 40


def test_missing_tables_are_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE vtasks_message RENAME TO elsewhere")
    try:
        with pytest.raises(StoreUnavailable, match=r"manage\.py migrate"):
            sample.add.enqueue(1)
        with pytest.raises(StoreUnavailable, match=r"manage\.py migrate"):
            sample.add.get_result("x")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO vtasks_message")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"RESULT_TTL": "1h"}, r"\['RESULT_TTL'\] must be a number of at least 0"),
        ({"RESULT_TTL": -1}, r"\['RESULT_TTL'\] must be a number of at least 0"),
        ({"RESULT_TTL": True}, r"\['RESULT_TTL'\] must be a number of at least 0"),
        ({"MAX_PAYLOAD": 10}, r"\['MAX_PAYLOAD'\] must be a number of at least 1024"),
        ({"BROKER_URL": "redis://"}, "unknown key 'BROKER_URL'; known are DATABASE"),
        ({"DATABASE": "nowhere"}, "'nowhere', which is not in DATABASES"),
    ],
    ids=str,
)
def test_wrong_options_of_the_backend_are_named(
    change: Change, options: dict[str, Any], error: str
) -> None:
    name = "vtasks_asgi.backends.database.DatabaseTaskBackend"
    change(TASKS={"default": {"BACKEND": name, "OPTIONS": options}})
    with pytest.raises(ConfigurationError, match=error) as raised:
        sample.add.enqueue(1)
    assert "TASKS['default']['OPTIONS']" in str(raised.value)


def test_the_ancestors_name_of_the_backend_works(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "vtasks_asgi.backends.postgres.PostgresTaskBackend"}})
    assert sample.add.enqueue(1).status is TaskResultStatus.READY
