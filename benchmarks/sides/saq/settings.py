"""saq knows nothing of Django; what it is asked for here is the server."""

from benchmarks.sides.common import *  # noqa: F403

INSTALLED_APPS: list[str] = []
