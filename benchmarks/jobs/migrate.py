"""Make the tables."""

from typing import Any

from django.core.management import call_command

from benchmarks.sides.base import Side


def main(side: Side, params: dict[str, Any]) -> None:
    call_command("migrate", verbosity=0)
