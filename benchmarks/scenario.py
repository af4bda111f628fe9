"""What a scenario is: a measurement of one side, the sides it compares, and what we promise."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bench import Bench


@dataclass(frozen=True, slots=True)
class Side:
    """``package`` names the adapter, ``env`` what its settings read besides the database."""

    name: str
    package: str
    env: Mapping[str, str] = field(default_factory=dict)


OURS = Side("ours", "ours")
OURS_BARE = Side("ours, results off", "ours", {"BENCH_RESULT_TTL": "0"})
#: Django logs two lines at INFO for every task run through its API, which is its default level;
#: the peer does not go through that API.
OURS_LOGGED = Side("ours, Django logs INFO", "ours", {"BENCH_DJANGO_LOGS": "INFO"})
PEER = Side("peer", "peer")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of every sample, how it is printed, and whether its ratio says anything."""

    name: str
    unit: str
    digits: int = 0
    compared: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a metric of ``OURS``, or, with ``ratio``, on ours over the peer's."""

    metric: str
    bound: float
    at_least: bool
    ratio: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


type Sizes = Mapping[str, Any]
type Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``measure`` gives one sample of one side, and raises ``WrongCount`` when work went missing.

    ``sizes`` and ``smoke`` are keyed by package.
    """

    name: str
    title: str
    measure: Callable[[Bench, Side, Sizes], Awaitable[Sample]]
    sides: tuple[Side, ...]
    metrics: tuple[Metric, ...]
    sizes: Mapping[str, Sizes]
    smoke: Mapping[str, Sizes]
    targets: tuple[Target, ...] = ()
