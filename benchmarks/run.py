"""``python benchmarks/run.py``: measure this package against django-vtasks, side by side.

The exit code is 1 when work was lost, repeated or not finished, never because of a speed.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import harness, machine, report  # noqa: E402
from benchmarks.bench import Bench  # noqa: E402
from benchmarks.scenarios import SCENARIOS  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def arguments() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--smoke", action="store_true", help="tiny counts, one round: does it work")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="repeatable")
    parser.add_argument("--rounds", type=int, help="of every scenario (default 3)")
    parser.add_argument("--side", action="append", choices=("ours", "peer"), help="repeatable")
    parser.add_argument("--json", type=Path, help="default benchmarks/results/<time>.json")
    parser.add_argument("--dir", type=Path, help="where databases go (default: a temporary one)")
    parser.add_argument(
        "--calm",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="before each sample wait so long at most for other processes to be quiet",
    )
    parser.add_argument("--list", action="store_true", help="print the scenarios and end")
    return parser.parse_args()


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


async def measure(options: argparse.Namespace, workdir: Path) -> list[harness.Outcome]:
    bench = Bench(workdir, patience=30.0 if options.smoke else 300.0)
    rounds = options.rounds or (1 if options.smoke else 3)
    outcomes = []
    for scenario in SCENARIOS:
        if options.only and scenario.name not in options.only:
            continue
        wanted = [s for s in scenario.sides if not options.side or s.package in options.side]
        outcomes.append(
            await harness.run(
                bench, scenario, wanted, rounds, smoke=options.smoke, patience=options.calm
            )
        )
    return outcomes


def main() -> int:
    options = arguments()
    if options.list:
        for scenario in SCENARIOS:
            sys.stdout.write(f"{scenario.name:24}{scenario.title}\n")
        return 0
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as scratch:
        host = machine.describe(Path(scratch))
        outcomes = asyncio.run(measure(options, Path(scratch)))
    sys.stdout.write(report.table(host, outcomes, smoke=options.smoke) + "\n")
    path = options.json or RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = report.as_json(host, outcomes, smoke=options.smoke, started=now.isoformat())
    path.write_text(json.dumps(numbers, indent=1) + "\n")
    sys.stdout.write(f"\nwritten to {path}\n")
    return 1 if any(outcome.failure for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
