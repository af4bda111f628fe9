"""An operator's word holds while workers die: the cancelled run no more, the paused wait."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.processes import wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0


def letters(it: Project) -> list[tuple[str, str, int]]:
    """Id, reason and crashes of each dead letter."""
    client = it.client()
    found: list[dict[str, Any]] = client.do("letters")
    return [(each["id"], each["reason"], each["crashes"]) for each in found]


def test_a_running_coroutine_is_cancelled_by_a_command(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker) as it:
        client, worker = it.client(), it.worker()
        id = client.do("enqueue", "gated", "cancelled")
        wait_for(lambda: it.book().in_flight(worker.pid), "the run")
        it.manage("vtasks", "cancel", id)
        wait_for(lambda: not it.book().in_flight(worker.pid), "the end of the run")
        [run] = it.book().of("cancelled")
        assert run.cut
        assert not run.effect
        wait_for(lambda: it.rows("deadletter"), "the dead letter")
        result = client.do("result", id)
        assert (result["status"], result["attempts"]) == ("FAILED", 1)
        assert result["errors"] == ["vtasks_asgi.core.errors.TaskCancelled"]


def test_what_was_cancelled_is_not_run_again_when_its_worker_is_killed(
    tmp_path: Path, broker: Broker
) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        client, first = it.client(), it.worker()
        id = client.do("enqueue", "gated_sync", "cancelled")
        other = client.do("enqueue", "gated_sync", "other")
        wait_for(lambda: len(it.book().in_flight(first.pid)) == 2, "the runs")
        it.manage("vtasks", "cancel", id)
        first.kill()
        second = it.worker()
        wait_for(lambda: it.book().in_flight(second.pid), "the other one's second run")
        wait_for(lambda: it.rows("deadletter"), "the dead letter")
        assert len(it.book().of("cancelled")) == 1
        assert letters(it) == [(id, "cancelled", 1)]
        it.open_gate(f"other-{second.pid}")
        assert it.rests(2 * LEASE)
        assert client.do("result", other)["status"] == "SUCCESSFUL"
        assert len(it.book().of("cancelled")) == 1


def test_a_pause_outlives_the_workers_and_loses_nothing(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        client, first = it.client(), it.worker()
        client.do("enqueue", "nap", "before")
        assert it.rests(0.2)
        it.manage("vtasks", "pause", "--queue", "default")
        for number in range(20):
            client.do("enqueue", "nap", f"paused{number}")
        first.kill()
        second = it.worker()
        time.sleep(2.0)  # for what must not happen
        assert len(it.book().runs) == 1
        assert len(it.rows()) == 20
        it.manage("vtasks", "resume", "--queue", "default")
        assert it.rests(0.5)
        assert {run.pid for run in it.book().runs if run.key != "before"} == {second.pid}
        assert it.complaints() == []
