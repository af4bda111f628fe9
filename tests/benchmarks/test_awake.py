"""Processors are kept from halting by loops that give way, and that count as nobody's load."""

import os
import time

from benchmarks.awake import awake
from benchmarks.neighbours import Neighbours
from benchmarks.processes import spent
from tests.processes import wait_for


def test_one_idle_loop_a_processor_until_the_end() -> None:
    cores = os.sched_getaffinity(0)
    with awake() as pids:
        wait_for(
            lambda: {os.sched_getscheduler(pid) for pid in pids} == {os.SCHED_IDLE}, "they give way"
        )
        assert [os.sched_getaffinity(pid) for pid in pids] == [{core} for core in sorted(cores)]
        wait_for(lambda: any(spent(pid) > 0.05 for pid in pids), "they spin")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_they_are_not_taken_for_neighbours() -> None:
    with awake() as pids:
        neighbours, begin = Neighbours(), sum(map(spent, pids))
        while (spun := sum(map(spent, pids)) - begin) < 0.2:
            time.sleep(0.02)
        elapsed = time.monotonic() - neighbours._begin
        everybody = 100 * (1 - spun / (elapsed * len(pids)))
        assert neighbours.share() <= everybody + 15
