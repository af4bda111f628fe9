"""Medians, percentiles and the ratio of two sides, round by round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """One metric over the rounds."""

    median: float
    low: float
    high: float
    values: list[float]


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values), list(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, each round with its own neighbour in time; on a noisy machine that tells
    more than the ratio of two medians."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` (0…1) of ``values`` does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]
