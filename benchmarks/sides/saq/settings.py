"""saq knows nothing of Django; what it is asked for here is the server."""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import BROKER, RESULTS

__all__ = ["BROKER", "RESULTS"]

INSTALLED_APPS: list[str] = []
