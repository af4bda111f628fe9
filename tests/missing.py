"""What a test does without a program that it needs: skip on a laptop, fail with CI set."""

import os

import pytest


def need(name: str, missing: str | None) -> None:
    """Go on when nothing is missing; otherwise the test, or all that ask for the fixture, end here.

    A skipped test proves nothing, so continuous integration has to bring every service.
    """
    if not missing:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{name}: {missing}")
    pytest.skip(f"{name}: {missing}")
