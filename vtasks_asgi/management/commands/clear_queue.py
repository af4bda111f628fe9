"""``manage.py clear_queue``: deletes what waits, or what has failed."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vtasks_asgi.assembly import find_backend, opened
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.core.message import DEFAULT_QUEUE
from vtasks_asgi.exceptions import VTasksError
from vtasks_asgi.management.loop import on_loop
from vtasks_asgi.store.base import QueueStats, State

#: Exit code when nothing was deleted because nobody said yes; 1 is any error.
EXIT_UNCONFIRMED = 3

WAITING = (State.READY, State.DELAYED)
FAILED = (State.DEAD,)


class Command(BaseCommand):
    """Running messages and the results of finished ones are left alone, whatever the options."""

    help = "Deletes waiting messages, or with --failed dead letters. Running ones are left alone."
    requires_system_checks: list[str] = []  # noqa: RUF012 - for emergencies

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--backend-alias", help="Alias in TASKS. Default VTASKS_BACKEND.")
        parser.add_argument(
            "--queue",
            action="append",
            help=f"Queue to clear; repeatable. Default {DEFAULT_QUEUE!r}, with --failed all.",
        )
        parser.add_argument(
            "--all-queues",
            action="store_true",
            help="Clear every queue, also those that are no longer in the settings.",
        )
        parser.add_argument(
            "--failed", action="store_true", help="Delete dead letters instead of what waits."
        )
        parser.add_argument("--force", action="store_true", help="Do not ask.")

    def handle(self, *args: Any, **given: Any) -> None:
        if given["queue"] and given["all_queues"]:
            raise CommandError("give --queue or --all-queues, not both")
        states = FAILED if given["failed"] else WAITING
        try:
            backend = find_backend(given["backend_alias"] or options().backend)
            stats = on_loop(_stats(backend, _queues(backend, given)))
            self._show(backend, stats, given)
            if not given["force"]:
                _confirm()
            deleted = on_loop(_purge(backend, list(stats), states))
        except VTasksError as error:
            raise CommandError(str(error)) from error
        for queue, count in deleted.items():
            self.stdout.write(f"{queue}: deleted {count}")

    def _show(
        self,
        backend: VTasksBackend,
        stats: dict[str, QueueStats],
        given: dict[str, Any],
    ) -> None:
        what = "dead letters" if given["failed"] else "waiting messages"
        self.stdout.write(f"To be deleted from backend {backend.alias!r}, {what}:")
        configured = {*options().queues, *backend.queues}
        for queue, found in stats.items():
            count = found.dead if given["failed"] else found.ready + found.delayed
            known = "" if queue in configured else ", not in the settings"
            self.stdout.write(f"  {queue}: {count} ({found.running} running stay{known})")


def _queues(backend: VTasksBackend, given: dict[str, Any]) -> list[str] | None:
    """Those that are named; None for all there are."""
    named = given["queue"]
    if named:
        return [named] if isinstance(named, str) else list(dict.fromkeys(named))
    return None if given["all_queues"] or given["failed"] else [DEFAULT_QUEUE]


def _confirm() -> None:
    try:
        answer = input("Type 'yes' to delete them: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() != "yes":
        raise CommandError(
            "Nothing was deleted; --force does not ask.", returncode=EXIT_UNCONFIRMED
        )


async def _stats(backend: VTasksBackend, queues: list[str] | None) -> dict[str, QueueStats]:
    async with opened(backend) as store:
        if queues is not None:
            return await store.stats(queues)
        configured = dict.fromkeys([*options().queues, *sorted(backend.queues)])
        stats = await store.stats(list(configured | dict.fromkeys(await store.known_queues())))
    # A store may know the names of queues that have been empty for long.
    return {
        queue: found
        for queue, found in stats.items()
        if queue in configured or found.ready or found.delayed or found.running or found.dead
    }


async def _purge(
    backend: VTasksBackend, queues: list[str], states: tuple[State, ...]
) -> dict[str, int]:
    async with opened(backend) as store:
        return {
            queue: sum([await store.purge(queue, state) for state in states]) for queue in queues
        }
