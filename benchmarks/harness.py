"""Runs scenarios: rounds of all sides, interleaved, in alternating order."""

import sys
import time

from benchmarks.bench import Bench
from benchmarks.neighbours import Neighbours, calm
from benchmarks.outcome import Outcome
from benchmarks.process import WrongCount
from benchmarks.scenario import Sample, Scenario
from benchmarks.side import Side


async def run(
    bench: Bench,
    scenario: Scenario,
    sides: list[Side],
    rounds: int,
    *,
    smoke: bool,
    patience: float = 0.0,
) -> Outcome:
    """Measure ``sides`` in ``rounds``; wrong counts and time limits end the scenario.

    ``patience`` is how many seconds to wait for a calm machine before each sample. A side that is
    not installed is left out, and the outcome says so.
    """
    outcome = Outcome(bench.engine.name, scenario)
    outcome.absent = {side.name: reason for side in sides if (reason := side.missing())}
    there = [side for side in sides if side.name not in outcome.absent]
    sizes = scenario.smoke if smoke else scenario.sizes
    for number in range(rounds):
        for side in there if number % 2 == 0 else reversed(there):
            await calm(patience)
            begin, neighbours = time.perf_counter(), Neighbours()
            try:
                sample = await scenario.measure(bench, side, sizes[side.package])
            except (WrongCount, TimeoutError) as error:
                reason = str(error) or "did not finish its work in time"
                outcome.failure = f"{side.name}, round {number + 1}: {reason}"
                return outcome
            sample["others"] = neighbours.share()
            outcome.samples[side.name].append(sample)
            _progress(outcome, number, side, sample, time.perf_counter() - begin)
    return outcome


def _progress(outcome: Outcome, number: int, side: Side, sample: Sample, took: float) -> None:
    scenario = outcome.scenario
    numbers = ", ".join(
        f"{sample[metric.name]:,.{metric.digits}f} {metric.unit}"
        for metric in scenario.metrics
        if metric.name in sample
    )
    sys.stderr.write(
        f"{outcome.store} {scenario.name} round {number + 1} {side.name}: {numbers}"
        f" (took {took:.1f} s, others used {sample['others']:.0f} % of the machine)\n"
    )
