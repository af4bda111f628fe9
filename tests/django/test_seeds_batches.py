"""The ancestor's samples of batches in a real worker; see ``tests/testing/test_seeds.py`` too."""

from typing import Any

import pytest

from tests.django.conftest import Change
from tests.django.helpers import refreshed, run
from vtasks_asgi import task

#: What the tasks of the samples did: the ids they found in one call.
DONE: list[list[int]] = []


class Widget:
    """A model as far as the sample needs one."""

    class objects:
        @staticmethod
        def filter(*, id__in: list[int]) -> "Widget":
            DONE.append(id__in)
            return Widget()

    def update(self, *, processed: bool) -> int:
        return len(DONE[-1])


# -- README: the settings name a task, which gets what others were enqueued for


@task
def process_widgets_batch(tasks: list[Any]) -> None:
    """Processes a batch of widgets."""
    print(f"Processing a batch of {len(tasks)} widgets.")  # noqa: T201
    widget_ids = [task["kwargs"]["widget_id"] for task in tasks]
    # Your batch processing logic here
    print(f"  - Processing widget IDs: {widget_ids}")  # noqa: T201
    DONE.append(widget_ids)


@task
def single_widget_task(widget_id: int) -> None:
    """A dummy task to be processed in a batch."""


README = """
VTASKS_BATCH_QUEUES = {
    "batch_queue": {
        "count": 100,  # Max number of tasks to fetch at once
        "timeout": 5.0,  # Max time to wait for tasks
        "task": "tests.django.test_seeds_batches.process_widgets_batch",
    }
}
"""

README_ENQUEUE = """
# Enqueueing multiple tasks to the batch_queue
for i in range(10):
    single_widget_task.enqueue(widget_id=i, queue_name="batch_queue")
"""

# -- guide: each task of the queue gets its own


@task
def process_widgets(tasks: list[dict[str, Any]]) -> None:
    """Processes a batch of widgets."""
    widget_ids = [task["kwargs"]["widget_id"] for task in tasks]
    Widget.objects.filter(id__in=widget_ids).update(processed=True)
    print(f"Processed {len(widget_ids)} widgets")  # noqa: T201


GUIDE = """
VTASKS_BATCH_QUEUES = {
    "batch_queue": {
        "count": 100, # Max tasks to fetch at once
        "timeout": 5.0, # Max seconds to wait for tasks
    }
}
"""

GUIDE_ENQUEUE = """
for i in range(10):
    process_widgets_batch.using(queue_name="batch_queue").enqueue(widget_id=i)
"""

# -- README: Deployment

COMMAND = """
# Run a worker for a batch queue
python manage.py runworker --queue=batch_queue
"""


@pytest.mark.parametrize(
    ("settings", "enqueue", "names"),
    [
        (README, README_ENQUEUE, {"single_widget_task": single_widget_task}),
        (GUIDE, GUIDE_ENQUEUE, {"process_widgets_batch": process_widgets}),
    ],
    ids=["readme", "guide"],
)
def test_the_samples_run_as_they_say(
    settings: str, enqueue: str, names: dict[str, Any], change: Change
) -> None:
    DONE.clear()
    exec(settings, names)
    batches = names["VTASKS_BATCH_QUEUES"]
    assert batches["batch_queue"]["timeout"] == 5.0
    batches["batch_queue"]["timeout"] = 0.1  # the test need not wait as long
    change(VTASKS_BATCH_QUEUES=batches)
    exec(enqueue, names)
    [queue] = [line.partition("--queue=")[2] for line in COMMAND.splitlines() if "--queue" in line]
    run(10, queues=[queue])
    assert [list(range(10))] == DONE


def test_items_are_grouped_by_task(change: Change) -> None:
    """ "... groups them by task type, and calls your function with the batch.\""""
    DONE.clear()
    change(VTASKS_BATCH_QUEUES={"batch_queue": {"count": 100, "timeout": 0.1}})
    results: list[Any] = [
        each.using(queue_name="batch_queue").enqueue(widget_id=number)  # type: ignore[call-arg]
        for number, each in enumerate([process_widgets, process_widgets_batch] * 2)
    ]
    run(4)
    assert sorted(DONE) == [[0, 2], [1, 3]]
    assert {str(result.status) for result in refreshed(*results)} == {"SUCCESSFUL"}
