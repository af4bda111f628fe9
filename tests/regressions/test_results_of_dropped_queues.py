"""``get_result`` raised InvalidTask for a message of a queue that the settings no longer named."""

import pytest
from django.tasks import task_backends
from django.tasks.exceptions import InvalidTask

from tests.django import sample
from tests.django.conftest import Change, change, clean
from tests.django.everywhere import each_backend
from tests.django.helpers import run

__all__ = ["change", "clean", "each_backend"]


@pytest.fixture(autouse=True)
def queues(each_backend: object, change: Change) -> None:
    """Each test on each kind of store."""
    change(VTASKS_QUEUES=["default", "old"])


def test_a_result_is_found_whatever_became_of_its_queue(change: Change) -> None:
    ran = sample.add.using(queue_name="old", priority=7).enqueue(1, 2)
    run(1)
    waits = sample.add.using(queue_name="old").enqueue(3)
    change(VTASKS_QUEUES=["default"])
    for result in (task_backends["default"].get_result(ran.id), sample.add.get_result(ran.id)):
        assert (result.status, result.return_value) == ("SUCCESSFUL", 3)
        assert (result.task.queue_name, result.task.priority) == ("old", 7)
    found = task_backends["default"].get_result(waits.id)
    assert (found.status, found.args, found.task.queue_name) == ("READY", [3], "old")
    ran.refresh()
    with pytest.raises(InvalidTask, match="Queue 'old' is not valid"):
        found.task.enqueue(3)
