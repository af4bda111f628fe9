"""``python benchmarks/run.py``: measure this package and others on each store, side by side.

The exit code is 1 when work was lost, repeated or not finished, never because of a speed.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import harness, machine, report  # noqa: E402
from benchmarks.awake import awake  # noqa: E402
from benchmarks.bench import Bench  # noqa: E402
from benchmarks.engines import ENGINES  # noqa: E402
from benchmarks.engines.engine import Engine  # noqa: E402
from benchmarks.outcome import Outcome  # noqa: E402
from benchmarks.scenario import Scenario  # noqa: E402
from benchmarks.scenarios import SCENARIOS  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def arguments() -> argparse.Namespace:
    everything = [scenario for scenarios in SCENARIOS.values() for scenario in scenarios]
    names = sorted({scenario.name for scenario in everything})
    packages = sorted({side.package for scenario in everything for side in scenario.sides})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="tiny counts, one round: does it work")
    add("--store", action="append", choices=tuple(SCENARIOS), help="repeatable (default: all)")
    add("--only", action="append", choices=names, metavar="NAME", help="repeatable")
    add("--side", action="append", choices=packages, metavar="PACKAGE", help="repeatable")
    add("--rounds", type=int, help="of every scenario (default 3)")
    add("--long", action="store_true", help="also what takes many minutes")
    add("--json", type=Path, help="default benchmarks/results/<time>.json")
    add("--dir", type=Path, help="where databases go (default: a temporary one)")
    add(
        "--calm",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="before each sample wait so long at most for other processes to be quiet",
    )
    add("--awake", action="store_true", help="keep the processors from halting")
    add("--list", action="store_true", help="print the scenarios and end")
    return parser.parse_args()


def chosen(options: argparse.Namespace, store: str) -> Iterator[Scenario]:
    """The scenarios of a store that were asked for."""
    for scenario in SCENARIOS[store]:
        asked = options.only is None or scenario.name in options.only
        if asked and (options.long or not scenario.long) and (scenario.smoke or not options.smoke):
            yield scenario


async def measure(
    options: argparse.Namespace, engine: Engine, workdir: Path, outcomes: list[Outcome]
) -> None:
    """All that was asked for on one engine, added to ``outcomes`` as it comes."""
    bench = Bench(workdir, engine, patience=60.0 if options.smoke else 300.0)
    rounds = options.rounds or (1 if options.smoke else 3)
    for scenario in chosen(options, engine.name):
        sides = scenario.chosen(smoke=options.smoke)
        wanted = [side for side in sides if not options.side or side.package in options.side]
        if wanted:
            outcomes.append(
                await harness.run(
                    bench, scenario, wanted, rounds, smoke=options.smoke, patience=options.calm
                )
            )


async def measure_all(
    options: argparse.Namespace, engines: list[Engine], workdir: Path, outcomes: list[Outcome]
) -> None:
    """One engine after another; a smoke run, whose numbers mean nothing, has no need to wait."""
    works = [measure(options, engine, workdir, outcomes) for engine in engines]
    if options.smoke:
        await asyncio.gather(*works)
    else:
        for work in works:
            await work


def main() -> int:
    options = arguments()
    stores = options.store or list(SCENARIOS)
    if options.list:
        for store in stores:
            for scenario in SCENARIOS[store]:
                sys.stdout.write(f"{store:10}{scenario.name:24}{scenario.title}\n")
        return 0
    missing = {store: reason for store in stores if (reason := ENGINES[store].missing())}
    for store, reason in missing.items():
        sys.stderr.write(f"NOT MEASURED: {store}: {reason}\n")
    outcomes = run(options, [ENGINES[store] for store in stores if store not in missing])
    incomplete = bool(missing) and bool(os.environ.get("CI"))
    return 1 if incomplete or any(outcome.failure for outcome in outcomes) else 0


def run(options: argparse.Namespace, kinds: list[type[Engine]]) -> list[Outcome]:
    """Start the engines, measure on them, and write down what was found, however it ends."""
    now, outcomes = datetime.now(UTC), list[Outcome]()
    tempfile.tempdir = options.dir and str(options.dir)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, ExitStack() as running:
        engines = [running.enter_context(kind()) for kind in kinds]
        versions = {engine.name: engine.version for engine in engines}
        host = machine.describe(Path(scratch), versions, awake=options.awake)
        try:
            with awake() if options.awake else nullcontext():
                asyncio.run(measure_all(options, engines, Path(scratch), outcomes))
        finally:
            _write(options, host, outcomes, now)
    return outcomes


def _write(
    options: argparse.Namespace, host: dict[str, str], outcomes: list[Outcome], now: datetime
) -> None:
    """The table to standard output, everything to a file, and beside it a table for documents."""
    outcomes.sort(key=lambda outcome: list(SCENARIOS).index(outcome.store))
    sys.stdout.write(report.table(host, outcomes, smoke=options.smoke) + "\n")
    path = options.json or RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = report.as_json(host, outcomes, smoke=options.smoke, started=now.isoformat())
    path.write_text(json.dumps(numbers, indent=1) + "\n")
    path.with_suffix(".md").write_text(report.markdown(outcomes))
    sys.stdout.write(f"\nwritten to {path} and {path.with_suffix('.md').name}\n")


if __name__ == "__main__":
    sys.exit(main())
