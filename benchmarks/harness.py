"""Runs scenarios: rounds of all sides, interleaved, in alternating order."""

import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.bench import Bench, WrongCount
from benchmarks.neighbours import Neighbours, calm
from benchmarks.scenario import OURS, PEER, Sample, Scenario, Side, Target
from benchmarks.stats import Spread, ratio, spread


@dataclass(slots=True)
class Outcome:
    """What a scenario gave: samples by side, round by round, or why it failed."""

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    failure: str | None = None

    def values(self, side: Side, metric: str) -> list[float]:
        return [sample[metric] for sample in self.samples[side.name]]

    def spread(self, side: Side, metric: str) -> Spread | None:
        values = self.values(side, metric)
        return spread(values) if values else None

    def ratio(self, side: Side, metric: str) -> Spread | None:
        """``side`` over the peer, only when both measured every round, and not nothing."""
        ours, theirs = self.values(side, metric), self.values(PEER, metric)
        comparable = ours and len(ours) == len(theirs) and all(value > 0 for value in theirs)
        return ratio(ours, theirs) if comparable else None

    def judged(self, target: Target) -> float | None:
        """The number ``target`` is about."""
        found = (self.ratio if target.ratio else self.spread)(OURS, target.metric)
        return found.median if found else None


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

    ``patience`` is how many seconds to wait for a calm machine before each sample.
    """
    outcome = Outcome(scenario)
    sizes = scenario.smoke if smoke else scenario.sizes
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
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
            _progress(scenario, number, side, sample, time.perf_counter() - begin)
    return outcome


def _progress(scenario: Scenario, number: int, side: Side, sample: Sample, took: float) -> None:
    numbers = ", ".join(
        f"{sample[metric.name]:,.{metric.digits}f} {metric.unit}" for metric in scenario.metrics
    )
    sys.stderr.write(
        f"{scenario.name} round {number + 1} {side.name}: {numbers}"
        f" (took {took:.1f} s, others used {sample['others']:.0f} % of the machine)\n"
    )
