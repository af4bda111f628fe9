"""Fill the queue with ``count`` no-ops through the backend's bulk call; not measured."""

from typing import Any

from django.tasks import task_backends

from benchmarks.sides.base import Side
from benchmarks.sides.tasks import noop

CHUNK = 2_000


def main(side: Side, params: dict[str, Any]) -> None:
    backend: Any = task_backends["default"]
    count = params["count"]
    for begin in range(0, count, CHUNK):
        numbers = range(begin, min(begin + CHUNK, count))
        backend.enqueue_many([(noop, (number,), {}) for number in numbers])
