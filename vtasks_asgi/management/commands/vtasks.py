"""``manage.py vtasks``: what operators ask and do while the system runs."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vtasks_asgi.assembly import find_backend
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import VTasksError
from vtasks_asgi.management import control, overview, words
from vtasks_asgi.management.loop import on_loop

#: Exit code when some of what was to be cancelled has ended, or is unknown; 1 is any error.
EXIT_NOT_ALL = 3


class Command(BaseCommand):
    """Each subcommand is a method of its name."""

    help = "Cancels tasks, pauses queues and tasks, and shows queues and the schedule."
    requires_system_checks: list[str] = []  # noqa: RUF012 - for emergencies

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

        def add(verb: str, help: str) -> ArgumentParser:
            command: ArgumentParser = commands.add_parser(verb, help=help)
            command.add_argument("--backend", help="Alias in TASKS. Default VTASKS_BACKEND.")
            return command

        cancel = add("cancel", "Let tasks not run, or end, by the ids of their results.")
        cancel.add_argument("id", nargs="+", help="Id of a result.")
        pause = add("pause", "Let nothing more of a queue or a task begin, anywhere.")
        pause.add_argument(
            "--for",
            dest="seconds",
            type=words.duration,
            metavar="DURATION",
            help="Such as 10m; then it goes on by itself. Default until it is resumed.",
        )
        for command in (pause, add("resume", "Let a paused queue or task go on.")):
            command.add_argument("--queue", action="append", default=[], help="Repeatable.")
            command.add_argument("--task", action="append", default=[], help="Its dotted path.")
        queues = add("queues", "Show what is in each queue, and what is paused.")
        schedule = add("schedule", "Show when each entry of VTASKS_SCHEDULE runs next.")
        schedule.add_argument("--count", type=int, default=1, help="So many runs. Default 1.")
        for command in (queues, schedule):
            command.add_argument("--format", choices=["table", "json"], default="table")

    def handle(self, *args: Any, **given: Any) -> None:
        try:
            backend = find_backend(given["backend"] or options().backend)
            getattr(self, f"_{given['verb']}")(backend, given)
        except VTasksError as error:
            raise CommandError(str(error)) from error

    def _cancel(self, backend: VTasksBackend, given: dict[str, Any]) -> None:
        outcomes = on_loop(control.cancel(backend, given["id"]))
        for id, outcome in outcomes.items():
            self.stdout.write(f"{id}: {control.CANCELS[outcome]}")
        if missed := sum(not outcome for outcome in outcomes.values()):
            raise CommandError(
                f"{missed} of {len(outcomes)} could not be cancelled", returncode=EXIT_NOT_ALL
            )

    def _pause(self, backend: VTasksBackend, given: dict[str, Any]) -> None:
        queues, tasks = _named(given)
        self._tell(on_loop(control.pause(backend, queues, tasks, given["seconds"])))

    def _resume(self, backend: VTasksBackend, given: dict[str, Any]) -> None:
        self._tell(on_loop(control.resume(backend, *_named(given))))

    def _queues(self, backend: VTasksBackend, given: dict[str, Any]) -> None:
        found = on_loop(overview.queues(backend))
        self._tell([found.text() if given["format"] == "table" else json.dumps(found.data())])

    def _schedule(self, backend: VTasksBackend, given: dict[str, Any]) -> None:
        if given["count"] < 1:
            raise CommandError("--count must be at least 1")
        lines = on_loop(overview.schedule(backend, given["count"]))
        if given["format"] == "json":
            self._tell([json.dumps([asdict(line) for line in lines])])
        else:
            self._tell([overview.schedule_text(lines)])

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self.stdout.write(line)


def _named(given: dict[str, Any]) -> tuple[list[str], list[str]]:
    queues, tasks = dict.fromkeys(given["queue"]), dict.fromkeys(given["task"])
    if not queues and not tasks:
        raise CommandError("name a --queue or a --task")
    return list(queues), list(tasks)
