"""The tasks measured: the same functions, declared with Django's own decorator, on every side."""

import time

from django.tasks import task

from benchmarks.sides.ledger import arrivals, ledger


@task
async def noop(number: int) -> None:
    """Do nothing but be counted."""
    ledger.add(number)


@task
async def stamp(sent: int) -> None:
    """Note how long ago ``sent`` (nanoseconds, the machine's monotonic clock) is."""
    arrivals.append(time.monotonic_ns() - sent)
    ledger.add(0)


@task
async def beat() -> None:
    """For a schedule: nothing at all."""
