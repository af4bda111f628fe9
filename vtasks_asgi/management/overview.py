"""``vtasks queues`` and ``schedule``, as rows."""

from dataclasses import asdict, dataclass
from typing import Any

from vtasks_asgi.assembly import opened, schedule_entries
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.core.schedule import Entry
from vtasks_asgi.management import words
from vtasks_asgi.store.base import QueueStats
from vtasks_asgi.store.control import Paused


@dataclass(frozen=True, slots=True)
class Queues:
    """The numbers of each queue, and what is paused."""

    stats: dict[str, QueueStats]
    paused: Paused

    def data(self) -> dict[str, Any]:
        """As JSON has it; times in ISO 8601, ages in seconds."""
        ends = self.paused.queues
        rows = [
            {"queue": name, **asdict(stats), "paused_until": words.moment(ends.get(name))}
            for name, stats in self.stats.items()
        ]
        tasks = self.paused.tasks.items()
        paused = [{"task": task, "until": words.moment(until)} for task, until in tasks]
        return {"queues": rows, "paused_tasks": paused}

    def text(self) -> str:
        """As people read it."""
        heads = ("QUEUE", "READY", "DELAYED", "RUNNING", "DEAD", "OLDEST", "PAUSED")
        rows = []
        for name, it in self.stats.items():
            paused = words.until(self.paused.queues.get(name)) if it.paused else "-"
            numbers = (it.ready, it.delayed, it.running, it.dead)
            rows.append((name, *numbers, words.age(it.oldest_ready), paused))
        lines = [words.table(heads, rows)]
        for task, until in self.paused.tasks.items():
            lines.append(f"task {task!r} is paused {words.until(until)}")
        return "\n".join(lines)


async def queues(backend: VTasksBackend) -> Queues:
    """Those of the settings, and those that are paused."""
    async with opened(backend) as store:
        paused = await store.paused()
        names = dict.fromkeys([*options().queues, *sorted(backend.queues), *paused.queues])
        return Queues(await store.stats(list(names)), paused)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the schedule: its last tick, the next ones, and how many are overdue.

    ``next`` is when their messages are due, up to ``jitter`` seconds after the ticks themselves;
    there is none of an entry that is not enabled.
    """

    entry: str
    task: str
    queue: str
    last: str | None
    overdue: int
    next: list[str | None]
    jitter: float
    enabled: bool


async def schedule(backend: VTasksBackend, count: int) -> list[Line]:
    """Every entry of VTASKS_SCHEDULE with its next ``count`` runs, by the store's clock.

    Raises:
        ConfigurationError: an entry is wrong.
    """
    entries = schedule_entries(backend)
    async with opened(backend) as store:
        ticks = await store.ticks([entry.name for entry in entries])
    return [
        _line(backend, entry, ticks.now, ticks.last.get(entry.name), count) for entry in entries
    ]


def _line(backend: VTasksBackend, entry: Entry, now: float, last: float | None, count: int) -> Line:
    message = backend.tick_message(entry, now)
    upcoming: list[str | None] = []
    at = now
    for _ in range(count if entry.enabled else 0):
        at = entry.schedule.next_boundary(at)
        upcoming.append(words.moment(entry.start(at) or at))
    overdue = len(entry.due(now, last)) if entry.enabled else 0
    return Line(
        entry.name,
        entry.task,
        message.queue,
        words.moment(last),
        overdue,
        upcoming,
        entry.jitter,
        bool(entry.enabled),
    )


def schedule_text(lines: list[Line]) -> str:
    """As people read it."""
    heads = ("ENTRY", "TASK", "QUEUE", "LAST", "OVERDUE", "JITTER", "NEXT")
    rows = []
    for line in lines:
        upcoming = ", ".join(at or "never" for at in line.next) if line.enabled else "disabled"
        jitter = words.age(line.jitter) if line.jitter else "-"
        known = (line.entry, line.task, line.queue, line.last or "-", line.overdue)
        rows.append((*known, jitter, upcoming))
    return words.table(heads, rows) if rows else "VTASKS_SCHEDULE has no entries"
