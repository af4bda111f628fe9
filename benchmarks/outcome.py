"""What a scenario gave: the samples of every side, round by round, and what they say together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.scenario import Sample, Scenario, Target
from benchmarks.stats import Spread, ratio, spread


@dataclass(slots=True)
class Outcome:
    """``samples`` are by side; ``absent`` are the sides that are not here, and why."""

    store: str
    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[str, str] = field(default_factory=dict)
    failure: str | None = None

    def values(self, side: str, metric: str) -> list[float]:
        """One a round; none when the side was not measured or has no such number."""
        samples = self.samples.get(side, [])
        return [sample[metric] for sample in samples if metric in sample]

    def spread(self, side: str, metric: str) -> Spread | None:
        values = self.values(side, metric)
        return spread(values) if values else None

    def ratio(self, side: str, metric: str) -> Spread | None:
        """``side`` over the best peer of the same round, if all measured every round."""
        peers = [peer for peer in self.scenario.peers if peer.name not in self.absent]
        values = self.values(side, metric)
        theirs = [self.values(peer.name, metric) for peer in peers]
        if not values or not theirs or any(len(each) != len(values) for each in theirs):
            return None
        best = self._best(metric, theirs)
        return ratio(values, best) if all(value > 0 for value in best) else None

    def _best(self, metric: str, theirs: Sequence[Sequence[float]]) -> list[float]:
        choose = min if self.scenario.metric(metric).less else max
        return [choose(each) for each in zip(*theirs, strict=True)]

    def judged(self, target: Target) -> float | None:
        """The number ``target`` is about."""
        found = (self.ratio if target.ratio else self.spread)(target.side, target.metric)
        return found.median if found else None
