"""Batch queues on each store, in a real worker."""

from typing import Any

import pytest

from tests.django.conftest import Change
from tests.django.helpers import refreshed, run
from tests.seeds import world
from tests.seeds.samples import run_sample
from tests.seeds.world import SEEN

pytestmark = pytest.mark.usefixtures("store")


def batches(name: str) -> dict[str, Any]:
    """The setting of a sample; but a test need not wait as long."""
    found: dict[str, Any] = run_sample(name)["VTASKS_BATCH_QUEUES"]
    assert (found["batch_queue"]["count"], found["batch_queue"]["timeout"]) == (100, 5.0)
    found["batch_queue"]["timeout"] = 0.2
    return found


def test_the_settings_name_a_task(change: Change, capsys: pytest.CaptureFixture[str]) -> None:
    change(VTASKS_BATCH_QUEUES=batches("readme/batch-settings"))
    run_sample("readme/batch-enqueue", single_widget_task=world.sample_app.single_widget_task)
    run(10, queues=["batch_queue"])
    told = capsys.readouterr().out
    assert "Processing a batch of 10 widgets.\n" in told
    assert "  - Processing widget IDs: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n" in told


def test_each_task_has_its_own(change: Change, capsys: pytest.CaptureFixture[str]) -> None:
    change(VTASKS_BATCH_QUEUES=batches("guide/batch-settings"))
    task = world.guide_batch.process_widgets_batch
    run_sample("guide/batch-enqueue", process_widgets_batch=task)
    run(10, queues=["batch_queue"])
    assert SEEN == [list(range(10)), True]
    assert "Processed 10 widgets\n" in capsys.readouterr().out


def test_items_are_grouped_by_task(change: Change) -> None:
    """ "... groups them by task type, and calls your function with the batch.\""""
    change(VTASKS_BATCH_QUEUES=batches("guide/batch-settings"))
    tasks = [world.guide_batch.process_widgets_batch, world.myapp.process_batch] * 2
    results = [
        each.using(queue_name="batch_queue").enqueue(widget_id=number, item_id=number)
        for number, each in enumerate(tasks)
    ]
    run(4, queues=["batch_queue"])
    assert sorted(seen for seen in SEEN if seen is not True) == [[0, 2], [1, 3]]
    assert {str(result.status) for result in refreshed(*results)} == {"SUCCESSFUL"}
