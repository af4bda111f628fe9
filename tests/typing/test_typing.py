"""What editors and type checkers see: a task has its function's own signature."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).with_name("calls.py.txt")
FOUND = re.compile(r":(\d+): (error|note): (.*?)(?:  \[([\w-]+)\])?$")


def marks(kind: str) -> dict[int, str]:
    """Line numbers of the sample that end in this kind of mark, and what it says."""
    found = {}
    for number, line in enumerate(SAMPLE.read_text().splitlines(), 1):
        _, mark, text = line.partition(f"  # {kind}: ")
        if mark:
            found[number] = text
    return found


def mypy(sample: Path) -> list[tuple[int, str, str, str | None]]:
    """Lines, kinds, texts and codes of what mypy strict has to say."""
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(sample)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    lines = [FOUND.search(line) for line in run.stdout.splitlines()]
    return [(int(m[1]), m[2], m[3], m[4]) for m in lines if m]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_good_calls_pass_and_wrong_ones_are_errors(tmp_path: Path) -> None:
    sample = tmp_path / "calls.py"
    shutil.copy(SAMPLE, sample)
    told = mypy(sample)
    errors = {line: code for line, kind, _, code in told if kind == "error"}
    assert errors == marks("E")
    revealed = {
        line: text.removeprefix('Revealed type is "').removesuffix('"')
        for line, kind, text, _ in told
        if text.startswith("Revealed type")
    }
    assert {line: re.sub(r"builtins\.", "", text) for line, text in revealed.items()} == marks("R")
