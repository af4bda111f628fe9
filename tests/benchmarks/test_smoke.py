"""A very short run of the benchmark writes what it should, and every scenario is complete."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engines import ENGINES
from benchmarks.scenario import Scenario
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = [
    pytest.param(scenario, id=f"{store}-{scenario.name}")
    for store, scenarios in SCENARIOS.items()
    for scenario in scenarios
]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_smoke_run_writes_the_numbers_of_our_side(tmp_path: Path) -> None:
    written = tmp_path / "numbers.json"
    command = [sys.executable, "benchmarks/run.py", "--smoke", "--store", "sqlite"]
    command += ["--side", "ours", "--only", "enqueue-sequential"]
    command += ["--json", str(written), "--dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(written.read_text())
    assert numbers["smoke"] is True
    assert {"cpu", "cores", "kernel", "python", "sqlite", "django"} <= numbers["machine"].keys()
    scenario = numbers["stores"]["sqlite"]["enqueue-sequential"]
    assert scenario["failure"] is None
    rate = scenario["sides"]["ours"]["rate"]
    assert rate["low"] == rate["median"] == rate["high"] == rate["values"][0] > 0
    assert scenario["targets"][0]["met"] is None, "without the peer there is no ratio"
    assert "| `enqueue-sequential`, tasks/s |" in written.with_suffix(".md").read_text()


def test_every_store_has_an_engine() -> None:
    assert SCENARIOS.keys() == ENGINES.keys()


@pytest.mark.parametrize("scenario", EVERYTHING)
def test_a_scenario_has_sizes_and_metrics_for_its_sides_and_targets(scenario: Scenario) -> None:
    packages = {side.package for side in scenario.sides}
    assert packages == scenario.sizes.keys() >= scenario.smoke.keys()
    assert {t.metric for t in scenario.targets} <= {m.name for m in scenario.metrics}
    names = [side.name for side in scenario.sides]
    assert len(names) == len(set(names)), "samples are kept by name"
    assert {target.side for target in scenario.targets} <= set(names)
    assert {peer.name for peer in scenario.peers} <= set(names)


@pytest.mark.parametrize("scenario", EVERYTHING)
def test_a_smoke_run_shows_each_package_once(scenario: Scenario) -> None:
    shown = [side.package for side in scenario.chosen(smoke=True)]
    assert sorted(shown) == sorted(scenario.smoke)
