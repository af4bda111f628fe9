"""The outside ledger: what ran, written by the tasks themselves and counted away from the queue.

Every process appends fixed-width records to a file of its own, each with one ``write`` of a file
opened with O_APPEND: a kill -9 loses none and tears none, for the page cache survives it. Times
are CLOCK_MONOTONIC in seconds, which all processes of a machine share.

Counting follows the total-queue algebra of Jepsen (``jepsen.checker/total-queue``): only what was
acknowledged can be lost, and what was asked for without an answer may have an effect or none.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

#: One record: kind, number of the run within its process, pid, time, key, newline.
_RECORD = "{:1} {:>8} {:>10} {:>20.6f} {:<46}\n"
WIDTH = len(_RECORD.format("S", 0, 0, 0.0, ""))
MAX_KEY = 46

#: A run that ended so shortly before its process died may not have been settled yet (seconds).
SETTLING = 3.0


class Kind(StrEnum):
    """``ASKED`` and ``ACCEPTED`` enclose an enqueue; the others are the stages of a run."""

    ASKED = "A"
    ACCEPTED = "O"
    START = "S"
    EFFECT = "E"
    END = "D"
    CUT = "C"


class Pen:
    """Writes this process's records; a forked or spawned process gets a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._file = -1
        self._runs = 0

    def write(self, kind: Kind, key: str, run: int = 0) -> None:
        """Append one record.

        Raises:
            ValueError: the key is longer than ``MAX_KEY`` or not one ASCII word.
        """
        if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable() and " " not in key):
            raise ValueError(f"{key!r} cannot be a key of the ledger")
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._folder.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.open(self._folder / f"{self._pid}.records", flags, 0o600)
        record = _RECORD.format(kind, run, self._pid, time.monotonic(), key)
        os.write(self._file, record.encode("ascii"))

    @contextmanager
    def run(self, key: str) -> Iterator[None]:
        """Enclose the work of one run: its effect is the end of the work."""
        self._runs += 1
        number = self._runs
        self.write(Kind.START, key, number)
        try:
            yield
        except BaseException:
            self.write(Kind.CUT, key, number)
            raise
        self.write(Kind.EFFECT, key, number)
        self.write(Kind.END, key, number)


@dataclass(slots=True)
class Run:
    """One execution of a key in one process; ``cut`` is when it was cancelled or raised."""

    key: str
    pid: int
    start: float
    effect: float | None = None
    end: float | None = None
    cut: float | None = None

    def in_flight(self, at: float) -> bool:
        """Had it started, and neither ended nor been cut, at that time?"""
        over = self.end or self.cut
        return self.start <= at and (over is None or over > at)


@dataclass(slots=True)
class Fault:
    """What was done to a process: killed, or frozen ``until`` a later time."""

    pid: int
    at: float
    name: str = "kill"
    until: float | None = None

    def explains(self, run: Run) -> bool:
        """Could this fault be why the run's message was run again?"""
        if run.pid != self.pid or run.start > (self.until or self.at):
            return False
        return run.end is None or run.end > self.at - SETTLING


@dataclass(slots=True)
class Book:
    """The ledger of all processes at one moment."""

    asked: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    runs: list[Run] = field(default_factory=list)

    def by_key(self) -> dict[str, list[Run]]:
        """The runs of each key, in the order of their starts."""
        runs: dict[str, list[Run]] = defaultdict(list)
        for run in sorted(self.runs, key=lambda run: run.start):
            runs[run.key].append(run)
        return dict(runs)

    def of(self, key: str) -> list[Run]:
        """The runs of one key, in the order of their starts."""
        return self.by_key().get(key, [])

    def in_flight(self, pid: int, at: float | None = None) -> list[Run]:
        """What that process was running at that time, default now."""
        moment = time.monotonic() if at is None else at
        return [run for run in self.runs if run.pid == pid and run.in_flight(moment)]

    def effects(self) -> Counter[str]:
        return Counter(run.key for run in self.runs if run.effect is not None)

    def lost(self) -> set[str]:
        """Acknowledged, and without effect."""
        return set(self.accepted) - set(self.effects())

    def unexpected(self) -> set[str]:
        """Effects nobody asked for. Ticks are asked for by the schedule; see ``ticks``."""
        return {key for key in self.effects() if key not in self.asked and "@" not in key}

    def ticks(self, schedule: str) -> list[int]:
        """The ticks of a schedule that had an effect, by their time in epoch seconds."""
        keys = (key.rpartition("@") for key in self.effects())
        return sorted(int(at) for name, _, at in keys if name == schedule)

    def missing_ticks(self, schedule: str) -> set[int]:
        """Of a schedule with a tick each second: those between the first and the last."""
        seen = self.ticks(schedule)
        return set(range(seen[0], seen[-1])) - set(seen) if seen else set()

    def recovered(self) -> set[str]:
        """Asked for without an answer, and done all the same."""
        return set(self.effects()) & (set(self.asked) - set(self.accepted))

    def duplicated(self) -> set[str]:
        """Keys with more than one effect."""
        return {key for key, count in self.effects().items() if count > 1}

    def unexplained(self, faults: Iterable[Fault]) -> list[tuple[Run, Run]]:
        """Repeated runs that no fault of the earlier run's process explains.

        A run that was cut does not count: the worker let go of it.
        """
        faults = list(faults)
        return [
            (earlier, later)
            for runs in self.by_key().values()
            for earlier, later in pairwise(runs)
            if earlier.cut is None and not any(fault.explains(earlier) for fault in faults)
        ]


class Ledger:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Book:
        """Everything written so far."""
        book = Book()
        runs: dict[tuple[int, int], Run] = {}
        for path in sorted(self.folder.glob("*.records")):
            content = path.read_bytes()
            for start in range(0, len(content) - len(content) % WIDTH, WIDTH):
                _enter(book, runs, content[start : start + WIDTH].decode("ascii"))
        book.runs = list(runs.values())
        return book


def _enter(book: Book, runs: dict[tuple[int, int], Run], record: str) -> None:
    kind, number, pid, at, key = record.split()
    which = int(pid), int(number)
    match Kind(kind):
        case Kind.ASKED:
            book.asked[key] += 1
        case Kind.ACCEPTED:
            book.accepted[key] += 1
        case Kind.START:
            runs[which] = Run(key, int(pid), float(at))
        case Kind.EFFECT:
            runs[which].effect = float(at)
        case Kind.END:
            runs[which].end = float(at)
        case Kind.CUT:
            runs[which].cut = float(at)


class Word(StrEnum):
    """``KEPT`` is the only green one.

    ``VACUOUS``: a fault met nothing in flight, so nothing was proven. ``INVALID``: the queue did
    not come to rest, so what is missing may merely be waiting.
    """

    KEPT = "kept"
    BROKEN = "broken"
    VACUOUS = "vacuous"
    INVALID = "invalid"


@dataclass(slots=True)
class Verdict:
    """The outcome of one scenario, with its reasons and some figures for the reader."""

    word: Word
    reasons: list[str] = field(default_factory=list)
    figures: str = ""

    def __str__(self) -> str:
        return "; ".join([str(self.word), *self.reasons, self.figures])


def judge(
    book: Book,
    faults: Sequence[Fault] = (),
    *,
    quiet: bool,
    also: Sequence[str] = (),
    must_hit: bool = True,
) -> Verdict:
    """Count.

    Args:
        quiet: did the queue come to rest, with every worker alive?
        also: promises of the scenario's own that were broken, a sentence each.
        must_hit: is a fault that met no run in flight a reason to call it vacuous?
    """
    hits = sum(len(book.in_flight(fault.pid, fault.at)) for fault in faults)
    figures = (
        f"{len(book.accepted)} accepted, {len(book.runs)} runs, {len(faults)} faults that hit"
        f" {hits} runs, {len(book.duplicated())} keys with a second effect"
    )
    broken = [*also, *_broken(book, faults, quiet=quiet)]
    if broken:
        return Verdict(Word.BROKEN, broken, figures)
    if not quiet:
        return Verdict(Word.INVALID, ["the queue did not come to rest"], figures)
    missed = [fault for fault in faults if not book.in_flight(fault.pid, fault.at)]
    if missed and must_hit:
        return Verdict(Word.VACUOUS, [f"{len(missed)} faults hit no run in flight"], figures)
    return Verdict(Word.KEPT, [], figures)


def _broken(book: Book, faults: Sequence[Fault], *, quiet: bool) -> list[str]:
    broken = []
    if quiet and (lost := book.lost()):
        broken.append(f"lost: {_some(lost)}")
    if unexpected := book.unexpected():
        broken.append(f"unexpected: {_some(unexpected)}")
    if again := book.unexplained(faults):
        broken.append(f"run again without a fault: {_some(run.key for run, _ in again)}")
    return broken


def _some(keys: Iterable[str]) -> str:
    every = sorted(keys)
    return f"{len(every)} ({', '.join(every[:5])}{', ...' if len(every) > 5 else ''})"
