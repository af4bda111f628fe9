"""The benchmark harness: it measures, writes what it should, and notices wrong counts."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, report
from benchmarks.bench import Bench, WrongCount, conserved
from benchmarks.scenario import OURS, PEER, Metric, Sample, Scenario, Side, Sizes, Target
from benchmarks.scenarios import SCENARIOS
from benchmarks.stats import percentile

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_smoke_run_writes_the_numbers_of_our_side(tmp_path: Path) -> None:
    written = tmp_path / "numbers.json"
    command = [sys.executable, "benchmarks/run.py", "--smoke", "--side", "ours"]
    command += ["--only", "enqueue-sequential", "--json", str(written), "--dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(written.read_text())
    assert numbers["smoke"] is True
    assert {"cpu", "cores", "kernel", "python", "sqlite", "django"} <= numbers["machine"].keys()
    scenario = numbers["scenarios"]["enqueue-sequential"]
    assert scenario["failure"] is None
    rate = scenario["sides"]["ours"]["rate"]
    assert rate["low"] == rate["median"] == rate["high"] == rate["values"][0] > 0
    assert scenario["targets"][0]["met"] is None, "without the peer there is no ratio"


def test_every_scenario_has_sizes_and_metrics_for_its_sides_and_targets() -> None:
    for scenario in SCENARIOS:
        packages = {side.package for side in scenario.sides}
        assert packages == scenario.sizes.keys() == scenario.smoke.keys()
        assert {t.metric for t in scenario.targets} <= {m.name for m in scenario.metrics}


@pytest.mark.parametrize(
    "numbers", [[0, 1, 2], [0, 1, 2, 3, 3], [0, 1, 1, 4], [0, 0, 3, 3]], ids=str
)
def test_lost_and_repeated_work_is_noticed(numbers: list[int]) -> None:
    with pytest.raises(WrongCount, match="due"):
        conserved("ours", _counted(numbers), 4)


def test_all_work_once_is_accepted() -> None:
    conserved("ours", _counted([2, 0, 3, 1]), 4)


def _counted(numbers: list[int]) -> dict[str, Any]:
    squares = sum(number * number for number in numbers)
    return {"executed": len(numbers), "total": sum(numbers), "squares": squares}


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7


def test_rounds_alternate_and_ratios_pair_neighbours(tmp_path: Path) -> None:
    order: list[str] = []
    rates = {"peer": iter([10.0, 20.0, 10.0]), "ours": iter([600.0, 1000.0, 400.0])}

    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        order.append(side.name)
        return {"rate": next(rates[side.name])}

    outcome = _run(measure, tmp_path, rounds=3)
    assert order == ["peer", "ours", "ours", "peer", "peer", "ours"]
    found = outcome.ratio(OURS, "rate")
    assert found is not None
    assert sorted(found.values) == [40, 50, 60]
    assert "MISS    rate at least 55 x peer: 50" in report.table({}, [outcome], smoke=False)
    assert "MISS" not in report.table({}, [outcome], smoke=True)


def test_a_wrong_count_ends_the_scenario_and_is_reported(tmp_path: Path) -> None:
    async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        if side is OURS:
            raise WrongCount("2 of 3")
        return {"rate": 1.0}

    outcome = _run(measure, tmp_path, rounds=3)
    assert outcome.failure == "ours, round 1: 2 of 3"
    assert len(outcome.samples["peer"]) == 1
    assert "FAILED  ours, round 1: 2 of 3" in report.table({}, [outcome], smoke=True)


def _run(measure: Any, tmp_path: Path, *, rounds: int) -> harness.Outcome:
    scenario = Scenario(
        name="made-up",
        title="numbers out of thin air",
        measure=measure,
        sides=(PEER, OURS),
        metrics=(Metric("rate", "tasks/s"),),
        sizes={"peer": {}, "ours": {}},
        smoke={"peer": {}, "ours": {}},
        targets=(Target("rate", 55.0, at_least=True, ratio=True),),
    )
    sides = list(scenario.sides)
    return asyncio.run(harness.run(Bench(tmp_path), scenario, sides, rounds, smoke=False))
