"""``manage.py benchmark_vtasks``: how fast this machine enqueues and runs tasks on its store."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vtasks_asgi.assembly import find_backend
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import VTasksError
from vtasks_asgi.management.benchmark import (
    NAP,
    QUEUE,
    TASK_TYPES,
    Plan,
    Times,
    clean,
    measure,
    waiting,
)
from vtasks_asgi.management.loop import on_loop


class Command(BaseCommand):
    """Uses a queue of its own and leaves nothing behind."""

    help = f"Measures how many tasks a second are enqueued and run, in the queue {QUEUE!r}."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--backend-alias", help="Alias in TASKS. Default VTASKS_BACKEND.")
        parser.add_argument(
            "--task-type",
            choices=TASK_TYPES,
            default="noop",
            help=f"Does nothing, sleeps {NAP * 1000:g} ms, or does nothing in a thread.",
        )
        parser.add_argument("--count", type=int, default=1000, help="Tasks. Default 1000.")
        parser.add_argument(
            "--concurrency", type=int, default=50, help="How many at once. Default 50."
        )
        parser.add_argument(
            "--payload-size", type=int, default=0, help="Bytes of each argument. Default 0."
        )
        parser.add_argument(
            "--force", action="store_true", help="Delete what an earlier run left in the queue."
        )

    def handle(self, *args: Any, **given: Any) -> None:
        for name, least in (("count", 1), ("concurrency", 1), ("payload_size", 0)):
            if given[name] < least:
                raise CommandError(f"--{name.replace('_', '-')} must be at least {least}")
        plan = Plan(given["task_type"], given["count"], given["concurrency"], given["payload_size"])
        try:
            backend = find_backend(given["backend_alias"] or options().backend)
            times = on_loop(_benchmark(backend, plan, force=given["force"]))
        except (VTasksError, ValueError) as error:  # among the latter a payload over the cap
            raise CommandError(str(error)) from error
        self._tell(backend, plan, times)

    def _tell(self, backend: VTasksBackend, plan: Plan, times: Times) -> None:
        self.stdout.write(
            f"{plan.count} {plan.task_type} tasks of {plan.payload_size} bytes,"
            f" {plan.concurrency} at once, backend {backend.alias!r}"
            f" ({type(backend).__qualname__})"
        )
        for what, seconds in (("Enqueued", times.enqueue), ("Processed", times.process)):
            rate = plan.count / seconds
            self.stdout.write(f"{what:9} {rate:10,.0f} tasks/s  ({seconds:.3f} s)")


async def _benchmark(backend: VTasksBackend, plan: Plan, *, force: bool) -> Times:
    if force:
        await clean(backend)
    if count := await waiting(backend):
        raise CommandError(
            f"the queue {QUEUE!r} holds {count} messages: another benchmark is running, or an"
            " earlier one was killed; --force deletes them"
        )
    return await measure(backend, plan)
