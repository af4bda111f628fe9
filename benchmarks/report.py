"""The outcome as a table for people and as JSON for machines."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.harness import Outcome
from benchmarks.scenario import PEER, Metric, Target
from benchmarks.stats import Spread

#: What the harness adds to every sample.
OTHERS = Metric("others", "% of the machine used by other processes")


def table(machine: dict[str, str], outcomes: Sequence[Outcome], *, smoke: bool) -> str:
    """Everything, ready to print. A smoke run's numbers are too small to be judged."""
    lines = [f"{name:>14}  {value}" for name, value in machine.items()]
    for outcome in outcomes:
        lines += ["", f"{outcome.scenario.name}: {outcome.scenario.title}"]
        lines += _rows(outcome)
        lines += _noise(outcome)
        if not smoke:
            lines += [_verdict(outcome, target) for target in outcome.scenario.targets]
        if outcome.failure:
            lines.append(f"  FAILED  {outcome.failure}")
    return "\n".join(lines)


def _noise(outcome: Outcome) -> Iterator[str]:
    """Say so when the machine was not ours alone."""
    shares = [sample["others"] for samples in outcome.samples.values() for sample in samples]
    if shares and max(shares) > 5:
        low, high = f"{min(shares):.0f}", f"{max(shares):.0f}"
        yield f"  noise   other processes used {low} - {high} % of the machine"


def _rows(outcome: Outcome) -> Iterator[str]:
    width = max(len(side.name) for side in outcome.scenario.sides)
    for metric in outcome.scenario.metrics:
        for side in outcome.scenario.sides:
            found = outcome.spread(side, metric.name)
            if found is None:
                continue
            row = f"  {side.name:<{width}}  {_number(found, metric)}"
            compared = metric.compared and side is not PEER
            against = outcome.ratio(side, metric.name) if compared else None
            if against:
                row += f"   peer x {against.median:.3g} ({against.low:.3g}-{against.high:.3g})"
            yield row


def _number(found: Spread, metric: Metric) -> str:
    median, low, high = (
        f"{value:,.{metric.digits}f}" for value in (found.median, found.low, found.high)
    )
    return f"{metric.name:<10} {median:>10} {metric.unit:<11} ({low} - {high})"


def _verdict(outcome: Outcome, target: Target) -> str:
    value = outcome.judged(target)
    sign = "at least" if target.at_least else "at most"
    what = f"{target.metric} {sign} {target.bound:g}{' x peer' if target.ratio else ''}"
    if value is None:
        return f"  ----    {what}: not measured"
    return f"  {'PASS' if target.met(value) else 'MISS'}    {what}: {value:.3g}"


def as_json(
    machine: dict[str, str], outcomes: Sequence[Outcome], *, smoke: bool, started: str
) -> dict[str, Any]:
    """The same, with every single value."""
    return {
        "version": 1,
        "started": started,
        "smoke": smoke,
        "machine": machine,
        "scenarios": {outcome.scenario.name: _scenario(outcome) for outcome in outcomes},
    }


def _scenario(outcome: Outcome) -> dict[str, Any]:
    scenario = outcome.scenario
    return {
        "title": scenario.title,
        "failure": outcome.failure,
        "units": {metric.name: metric.unit for metric in (*scenario.metrics, OTHERS)},
        "sides": {
            side.name: {
                metric.name: asdict(found)
                for metric in (*scenario.metrics, OTHERS)
                if (found := outcome.spread(side, metric.name))
            }
            for side in scenario.sides
        },
        "ratios": {
            side.name: {
                metric.name: asdict(found)
                for metric in scenario.metrics
                if metric.compared and (found := outcome.ratio(side, metric.name))
            }
            for side in scenario.sides
            if side is not PEER
        },
        "targets": [_target(outcome, target) for target in scenario.targets],
    }


def _target(outcome: Outcome, target: Target) -> dict[str, Any]:
    value = outcome.judged(target)
    met = None if value is None else target.met(value)
    return asdict(target) | {"value": value, "met": met}
