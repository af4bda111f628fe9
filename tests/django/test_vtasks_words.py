"""Durations, ages and tables of ``manage.py vtasks``, and its exit codes."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from vtasks_asgi.management.words import age, duration, table


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10x", "-5m", "0s", "1h 5m", "nan", "9" * 400 + "d"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(CommandError, match="is no duration"):
        call_command("vtasks", "pause", "--queue", "mail", f"--for={text}")


def test_durations_and_ages() -> None:
    texts = ["90s", "10m", "1h30m", "2d", "1.5h"]
    assert [duration(text) for text in texts] == [90.0, 600.0, 5400.0, 172800.0, 5400.0]
    ages = [None, 0.2, 119.0, 120.0, 7200.0, 200000.0]
    assert [age(each) for each in ages] == ["-", "0s", "119s", "2m", "2h", "2d"]
    assert table(("A", "B"), [("x", 1), ("long", 10)]) == "A      B\nx      1\nlong  10"


@pytest.mark.timeout(180)
def test_from_the_shell() -> None:
    """Exit codes as a shell sees them; usage errors are argparse's own."""
    command = [sys.executable, "-m", "django", "vtasks"]
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    for arguments, code in ((["nonsense"], 2), (["cancel"], 2), (["pause"], 1)):
        done = subprocess.run(
            [*command, *arguments], env=environ, capture_output=True, check=False, text=True
        )
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr
