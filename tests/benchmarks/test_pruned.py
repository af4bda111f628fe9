"""The script that weighs a pruned worker: it runs, and tells both weights."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(180)
def test_it_tells_both_weights() -> None:
    command = [sys.executable, "benchmarks/pruned.py", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for kind in ("rss", "pss", "private"):
        [line] = [line for line in done.stdout.splitlines() if line.startswith(kind)]
        whole, pruned = float(line.split()[1]), float(line.split()[4])
        assert 10 < pruned <= whole + 5
