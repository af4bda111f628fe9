"""The ledger itself: what it counts, and that each of its verdicts can be reached."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger import Book, Fault, Kind, Ledger, Pen, Run, Word, judge
from tests.processes import ROOT


def run(key: str, pid: int, start: float, end: float | None = None) -> Run:
    return Run(key, pid, start, effect=end, end=end)


def book(*runs: Run, asked: str = "ab", accepted: str = "ab") -> Book:
    it = Book(runs=list(runs))
    it.asked.update(asked)
    it.accepted.update(accepted)
    return it


def test_records_of_a_run_and_of_a_cut_one(tmp_path: Path) -> None:
    pen = Pen(tmp_path / "ledger")
    pen.write(Kind.ASKED, "a")
    with pen.run("a"):
        pass
    with pytest.raises(ZeroDivisionError), pen.run("b"):
        raise ZeroDivisionError
    found = Ledger(tmp_path / "ledger").read()
    assert found.asked == {"a": 1} and not found.accepted
    done, cut = found.by_key()["a"][0], found.by_key()["b"][0]
    assert done.effect and done.end and not done.cut
    assert cut.cut and not cut.effect


def test_records_survive_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, pathlib; from tests.ledger import *; pen = Pen(pathlib.Path('ledger'))\n"
        "for n in range(1000): pen.write(Kind.ASKED, str(n))\n"
        "with pen.run('x'): os.kill(os.getpid(), 9)"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=False
    )
    found = Ledger(tmp_path / "ledger").read()
    assert done.returncode == -9
    assert len(found.asked) == 1000
    assert found.of("x")[0].in_flight(found.of("x")[0].start)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "x" * 47, "ä"])
def test_keys_that_would_break_a_record_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="cannot be a key"):
        Pen(tmp_path).write(Kind.ASKED, key)


def test_everything_done_once_is_kept() -> None:
    verdict = judge(book(run("a", 1, 1, 2), run("b", 1, 1, 2)), quiet=True)
    assert verdict.word is Word.KEPT


def test_acknowledged_without_effect_is_lost() -> None:
    verdict = judge(book(run("a", 1, 1, 2), run("b", 1, 1)), quiet=True)
    assert verdict.word is Word.BROKEN
    assert "lost: 1 (b)" in verdict.reasons


def test_without_an_answer_nothing_can_be_lost() -> None:
    found = book(run("a", 1, 1, 2), accepted="")
    assert judge(found, quiet=True).word is Word.KEPT
    assert found.recovered() == {"a"}


def test_what_is_missing_before_the_queue_rests_is_no_loss() -> None:
    assert judge(book(run("a", 1, 1, 2)), quiet=False).word is Word.INVALID


def test_an_effect_nobody_asked_for() -> None:
    found = book(run("a", 1, 1, 2), run("b", 1, 1, 2), run("c", 1, 1, 2), run("s@7", 1, 1, 2))
    assert judge(found, quiet=True).reasons == ["unexpected: 1 (c)"]


def test_a_second_run_needs_a_fault_that_explains_it() -> None:
    found = book(run("a", 1, 1), run("a", 2, 5, 6), run("b", 2, 1, 2))
    assert judge(found, quiet=True).reasons == ["run again without a fault: 1 (a)"]
    assert judge(found, [Fault(2, 1.5)], quiet=True).word is Word.BROKEN  # another process
    assert judge(found, [Fault(1, 0.5)], quiet=True).word is Word.BROKEN  # before it began
    assert judge(found, [Fault(1, 2.0)], quiet=True).word is Word.KEPT


def test_a_run_long_over_is_not_explained_by_a_later_kill() -> None:
    again = run("a", 2, 50, 51)
    found = book(run("a", 1, 1, 2), again, run("b", 1, 29, 31))
    assert judge(found, [Fault(1, 30.0)], quiet=True).word is Word.BROKEN


def test_a_fault_that_met_nothing_proves_nothing() -> None:
    found = book(run("a", 1, 1, 2), run("b", 1, 1, 2))
    assert judge(found, [Fault(1, 2.5)], quiet=True).word is Word.VACUOUS
    assert judge(found, [Fault(1, 1.5), Fault(1, 2.5)], quiet=True).word is Word.VACUOUS


def test_ticks_between_the_first_and_the_last() -> None:
    runs = [run(f"each@{at}", 1, at, at) for at in (100, 101, 103, 105)]
    found = book(*runs, run("other@102", 1, 1, 2))
    assert found.ticks("each") == [100, 101, 103, 105]
    assert found.missing_ticks("each") == {102, 104}
