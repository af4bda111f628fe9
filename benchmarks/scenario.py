"""What a scenario is: a measurement of one side, the sides it compares, and what we promise."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.catalogue import OURS
from benchmarks.side import Side


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of every sample, how it is printed, and whether its ratio says anything.

    ``less`` is better when that is True. A sample may lack a metric its store does not have.
    """

    name: str
    unit: str
    digits: int = 0
    compared: bool = False
    less: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a metric of ``side``, or, with ``ratio``, on its ratio to the best peer's."""

    metric: str
    bound: float
    at_least: bool
    ratio: bool = False
    side: str = OURS.name

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


type Sizes = Mapping[str, Any]
type Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``measure`` gives one sample of one side, and raises ``WrongCount`` when work went missing.

    ``sizes`` and ``smoke`` are keyed by package; a smoke run leaves out what ``smoke`` does not
    name. Ratios are to the best of ``peers`` in the same round. ``long`` ones run only if asked.
    """

    name: str
    title: str
    measure: Callable[[Bench, Side, Sizes], Awaitable[Sample]]
    sides: tuple[Side, ...]
    metrics: tuple[Metric, ...]
    sizes: Mapping[str, Sizes]
    smoke: Mapping[str, Sizes]
    peers: tuple[Side, ...] = ()
    targets: tuple[Target, ...] = ()
    long: bool = False

    def chosen(self, *, smoke: bool) -> tuple[Side, ...]:
        """The sides of a run; a smoke run shows each package once."""
        if not smoke:
            return self.sides
        firsts = {side.package: side for side in reversed(self.sides)}
        return tuple(side for side in firsts.values() if side.package in self.smoke)[::-1]

    def metric(self, name: str) -> Metric:
        """The metric of that name."""
        return next(metric for metric in self.metrics if metric.name == name)


def counts(also: Sizes | None = None, **by_package: int) -> dict[str, Sizes]:
    """Sizes that are a number of tasks each, and what they all have besides."""
    return {package: {"count": count, **(also or {})} for package, count in by_package.items()}
