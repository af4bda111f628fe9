"""A measured process: ``python -m benchmarks.child JOB PARAMS_AS_JSON``.

It talks to the harness in JSON objects, one a line: on stdout events, on stdin orders.
"""

import asyncio
import inspect
import json
import sys
from importlib import import_module
from typing import Any

import django
import uvloop

from benchmarks.complaints import Complaints
from benchmarks.sides.base import current


def say(event: str, **facts: Any) -> None:
    """Tell the harness."""
    sys.stdout.write(json.dumps({"event": event} | facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    job, params = sys.argv[1], json.loads(sys.argv[2])
    django.setup()
    side = current()
    work = import_module(f"benchmarks.jobs.{job}").main
    if inspect.iscoroutinefunction(work):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(work(side, params))
    else:
        result = work(side, params)
    complaints = {"complaints": Complaints.total, "locked": Complaints.locked}
    say("result", **(result or {}), **complaints)


if __name__ == "__main__":
    main()
