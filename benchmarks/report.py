"""The outcomes as tables for people and as JSON for machines."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.scenario import Metric, Target
from benchmarks.side import Side
from benchmarks.stats import Spread

#: What the harness adds to every sample.
OTHERS = Metric("others", "% of the machine used by other processes")
#: In tables, where a side was not measured.
NOTHING = "\N{EN DASH}"


def table(machine: dict[str, str], outcomes: Sequence[Outcome], *, smoke: bool) -> str:
    """Everything, ready to print. A smoke run's numbers are too small to be judged."""
    lines = [f"{name:>14}  {value}" for name, value in machine.items()]
    for outcome in outcomes:
        lines += ["", f"{outcome.store} {outcome.scenario.name}: {outcome.scenario.title}"]
        lines += _rows(outcome)
        lines += [f"  absent  {side}: {why}" for side, why in outcome.absent.items()]
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
            found = outcome.spread(side.name, metric.name)
            if found is None:
                continue
            row = f"  {side.name:<{width}}  {_number(found, metric)}"
            if against := _against(outcome, side, metric):
                row += f"   peer x {against.median:.3g} ({against.low:.3g}-{against.high:.3g})"
            yield row


def _against(outcome: Outcome, side: Side, metric: Metric) -> Spread | None:
    """The ratio to the best peer, where it says something."""
    says = metric.compared and side not in outcome.scenario.peers
    return outcome.ratio(side.name, metric.name) if says else None


def _number(found: Spread, metric: Metric) -> str:
    median, low, high = (
        f"{value:,.{metric.digits}f}" for value in (found.median, found.low, found.high)
    )
    return f"{metric.name:<10} {median:>10} {metric.unit:<16} ({low} - {high})"


def _verdict(outcome: Outcome, target: Target) -> str:
    value = outcome.judged(target)
    what = f"{target.side}: {target.metric} {_bound(target)}"
    if value is None:
        return f"  ----    {what}: not measured"
    return f"  {'PASS' if target.met(value) else 'MISS'}    {what}: {value:.3g}"


def _bound(target: Target) -> str:
    sign = "at least" if target.at_least else "at most"
    return f"{sign} {target.bound:g}{' x peer' if target.ratio else ''}"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """For the documentation: a table a store, a row a metric, a column a side."""
    by_store: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_store.setdefault(outcome.store, []).append(outcome)
    return "\n".join(_store(store, found) for store, found in by_store.items())


def _store(store: str, outcomes: Sequence[Outcome]) -> str:
    names = [side.name for outcome in outcomes for side in outcome.scenario.sides]
    sides = [name for name in dict.fromkeys(names) if any(name in o.samples for o in outcomes)]
    lines = [f"### {store}", "", _line(["scenario", *sides, "must reach"])]
    lines.append("|" + "---|" * (len(sides) + 2))
    for outcome in outcomes:
        for metric in outcome.scenario.metrics:
            cells = [_cell(outcome, side, metric) for side in sides]
            targets = [t for t in outcome.scenario.targets if t.metric == metric.name]
            bounds = [f"{_bound(target)} ({target.side})" for target in targets]
            if set(cells) != {NOTHING}:
                title = f"`{outcome.scenario.name}`, {metric.unit or metric.name}"
                lines.append(_line([title, *cells, "; ".join(bounds)]))
    return "\n".join([*lines, ""])


def _cell(outcome: Outcome, name: str, metric: Metric) -> str:
    found = outcome.spread(name, metric.name)
    if found is None:
        return NOTHING
    side = next(side for side in outcome.scenario.sides if side.name == name)
    against = _against(outcome, side, metric)
    return f"{found.median:,.{metric.digits}f}" + (f" ({against.median:.3g} x)" if against else "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(
    machine: dict[str, str], outcomes: Sequence[Outcome], *, smoke: bool, started: str
) -> dict[str, Any]:
    """The same, with every single value."""
    stores: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        stores.setdefault(outcome.store, {})[outcome.scenario.name] = _scenario(outcome)
    return {
        "version": 2,
        "started": started,
        "smoke": smoke,
        "machine": machine,
        "stores": stores,
    }


def _scenario(outcome: Outcome) -> dict[str, Any]:
    scenario = outcome.scenario
    measured = [side for side in scenario.sides if side.name in outcome.samples]
    return {
        "title": scenario.title,
        "failure": outcome.failure,
        "absent": outcome.absent,
        "units": {metric.name: metric.unit for metric in (*scenario.metrics, OTHERS)},
        "sides": {
            side.name: {
                metric.name: asdict(found)
                for metric in (*scenario.metrics, OTHERS)
                if (found := outcome.spread(side.name, metric.name))
            }
            for side in measured
        },
        "ratios": {
            side.name: {
                metric.name: asdict(found)
                for metric in scenario.metrics
                if (found := _against(outcome, side, metric))
            }
            for side in measured
            if side not in scenario.peers
        },
        "targets": [_target(outcome, target) for target in scenario.targets],
    }


def _target(outcome: Outcome, target: Target) -> dict[str, Any]:
    value = outcome.judged(target)
    met = None if value is None else target.met(value)
    return asdict(target) | {"value": value, "met": met}
