"""Four workers, a producer and an ORM writer on one SQLite file, all at full speed."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.ledger import Book, Verdict, Word
from tests.processes import wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

WORKERS = 4
QUEUES = [f"own-{number}" for number in range(WORKERS)]
ALL_QUEUES = ",".join(["default", *QUEUES])
#: Seconds without a start while others started; the promise of GUARANTEES F48.
STARVED = 5.0
#: Long enough for somebody to starve.
SECONDS, EACH = 8.0, 8


def contend(it: Project) -> Verdict:
    """Every worker consumes the common queue, and feeds it from a fountain of its own."""
    writer, producer = it.client(), it.client()
    workers = [it.worker("--queue", "default", "--queue", queue) for queue in QUEUES]
    for queue in QUEUES:
        writer.do("enqueue", "fountain", queue, SECONDS, EACH, queue=queue)
    writer.do("scribble", "orm")
    producer.do("feed", "sync", [["nap", []], ["doze", []]], 0.0)
    ends = [it.folder / "gates" / f"{queue}-ended" for queue in QUEUES]
    wait_for(lambda: all(end.exists() for end in ends), "the fountains end", 120)
    written, fed = writer.do("rest"), producer.do("rest")
    quiet = it.rests(silence=1, timeout=120)
    broken = lock_errors(it)
    book = it.book()
    pauses = {worker.name: _longest_pause(book, worker.pid) for worker in workers}
    broken += [f"{name} starved for {s:.1f} s" for name, s in pauses.items() if s > STARVED]
    broken += [f"{w.name} got no work" for w in workers if not _starts(book, w.pid)]
    if not (written and fed):
        broken.append(f"{written} ORM transactions and {fed} sync enqueues, so no contention")
    return it.judged(quiet=quiet, also=broken)


def lock_errors(it: Project) -> list[str]:
    """Lines of any process that tell of a lock."""
    return [
        f"{process.name} told: {line}"
        for process in it.processes
        for line in process.text.splitlines()
        if "locked" in line
    ]


def _starts(book: Book, pid: int) -> list[float]:
    return sorted(run.start for run in book.runs if run.pid == pid)


def _longest_pause(book: Book, pid: int) -> float:
    """The longest time that process started nothing while there was something to start."""
    first = min(run.start for run in book.runs)
    last = max(run.start for run in book.runs)
    moments = [first, *_starts(book, pid), last]
    return max(later - earlier for earlier, later in pairwise(moments))


def test_nobody_hears_of_a_lock_and_nobody_starves(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_QUEUES=ALL_QUEUES) as it:
        verdict = contend(it)
        assert verdict.word is Word.KEPT, verdict
        assert it.complaints() == []


def test_control_without_patience_the_harness_reads_of_locks(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_QUEUES=ALL_QUEUES, MUTANT="impatient") as it:
        client = it.client()
        for queue in QUEUES[:2]:
            client.do("enqueue", "fountain", queue, SECONDS, EACH, queue=queue)
            it.worker("--queue", "default", "--queue", queue)
        client.do("scribble", "orm")
        wait_for(lambda: lock_errors(it), "somebody tells of a lock")
        client.do("rest")
