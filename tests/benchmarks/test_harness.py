"""The benchmark harness: fair turns, ratios of neighbours in time, and wrong counts noticed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, report
from benchmarks.bench import Bench, conserved
from benchmarks.engines.sqlite import SQLite
from benchmarks.outcome import Outcome
from benchmarks.process import WrongCount
from benchmarks.scenario import Metric, Sample, Scenario, Sizes, Target
from benchmarks.side import Side
from benchmarks.stats import percentile

OURS, SLOW, QUICK = Side("ours", "ours"), Side("slow", "slow"), Side("quick", "quick")
ABSENT = Side("absent", "absent", needs="no_such_package.at_all")

type Measure = Callable[[Bench, Side, Sizes], Awaitable[Sample]]


@pytest.mark.parametrize(
    "numbers", [[0, 1, 2], [0, 1, 2, 3, 3], [0, 1, 1, 4], [0, 0, 3, 3]], ids=str
)
def test_lost_and_repeated_work_is_noticed(numbers: list[int]) -> None:
    with pytest.raises(WrongCount, match="due"):
        conserved(OURS, _counted(numbers), 4)


def test_all_work_once_is_accepted() -> None:
    conserved(OURS, _counted([2, 0, 3, 1]), 4)


def _counted(numbers: list[int]) -> dict[str, Any]:
    squares = sum(number * number for number in numbers)
    return {"executed": len(numbers), "total": sum(numbers), "squares": squares}


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7


def test_rounds_alternate_and_ratios_are_to_the_best_neighbour(tmp_path: Path) -> None:
    order: list[str] = []
    rates = {
        "slow": iter([5.0, 1.0, 5.0]),
        "quick": iter([10.0, 20.0, 1.0]),
        "ours": iter([600.0, 1000.0, 200.0]),
    }

    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        order.append(side.name)
        return {"rate": next(rates[side.name])}

    outcome = _run(measure, tmp_path, SLOW, QUICK, OURS)
    turn = ["slow", "quick", "ours"]
    assert order == turn + turn[::-1] + turn
    found = outcome.ratio("ours", "rate")
    assert found is not None
    assert sorted(found.values) == [40, 50, 60]
    assert "MISS    ours: rate at least 55 x peer: 50" in report.table({}, [outcome], smoke=False)
    assert "MISS" not in report.table({}, [outcome], smoke=True)
    assert "| 600 (50 x) | at least 55 x peer (ours) |" in report.markdown([outcome])


def test_the_best_of_what_is_better_when_less_is_the_least(tmp_path: Path) -> None:
    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        return {"rate": 1.0, "cpu": {"slow": 9.0, "quick": 4.0, "ours": 2.0}[side.name]}

    found = _run(measure, tmp_path, SLOW, QUICK, OURS).ratio("ours", "cpu")
    assert found is not None
    assert found.median == 0.5


def test_a_wrong_count_ends_the_scenario_and_is_reported(tmp_path: Path) -> None:
    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        if side is OURS:
            raise WrongCount("2 of 3")
        return {"rate": 1.0}

    outcome = _run(measure, tmp_path, QUICK, OURS)
    assert outcome.failure == "ours, round 1: 2 of 3"
    assert len(outcome.samples["quick"]) == 1
    assert "FAILED  ours, round 1: 2 of 3" in report.table({}, [outcome], smoke=True)


def test_a_side_that_is_not_installed_is_left_out_and_named(tmp_path: Path) -> None:
    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        return {"rate": 2.0}

    outcome = _run(measure, tmp_path, ABSENT, QUICK, OURS)
    assert outcome.failure is None
    assert "absent" not in outcome.samples
    assert "absent: there is no no_such_package" in report.table({}, [outcome], smoke=True)
    found = outcome.ratio("ours", "rate")
    assert found is not None
    assert found.median == 1, "the best of those that are there"


def test_without_peers_there_is_no_ratio(tmp_path: Path) -> None:
    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        return {"rate": 2.0}

    assert _run(measure, tmp_path, ABSENT, OURS).ratio("ours", "rate") is None


def _run(measure: Measure, tmp_path: Path, *sides: Side) -> Outcome:
    scenario = Scenario(
        name="made-up",
        title="numbers out of thin air",
        measure=measure,
        sides=sides,
        metrics=(
            Metric("rate", "tasks/s", compared=True),
            Metric("cpu", "µs", compared=True, less=True),
        ),
        sizes={side.package: {} for side in sides},
        smoke={},
        peers=tuple(side for side in sides if side is not OURS),
        targets=(Target("rate", 55.0, at_least=True, ratio=True),),
    )
    with SQLite() as engine:
        bench = Bench(tmp_path, engine)
        return asyncio.run(harness.run(bench, scenario, list(sides), 3, smoke=False))
