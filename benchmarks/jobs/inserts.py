"""Insert a row for each of ``count`` tasks, one by one or, with ``batch``, many in a statement.

The time runs from before the worker is started until the table has all rows, which is looked at
every few milliseconds.
"""

import asyncio
import time
from typing import Any, ClassVar

from django.db import connection, models  # noqa: TID251 - a table of the site's own
from django.tasks import task, task_backends

from benchmarks.jobs.cpu import cpu_seconds
from benchmarks.sides.base import Side

LOOK_EVERY = 0.005


class Row(models.Model):
    """What is inserted."""

    number = models.IntegerField()
    objects: ClassVar[models.Manager["Row"]] = models.Manager()

    class Meta:
        app_label = "benchmarks"


@task
def insert_row(number: int) -> None:
    """The work done singly."""
    Row.objects.create(number=number)


@task
def insert_rows(items: list[dict[str, Any]]) -> None:
    """The same work for a batch."""
    Row.objects.bulk_create(Row(number=item["args"][0]) for item in items)


def prepare(params: dict[str, Any]) -> None:
    """The empty table, and the queue full."""
    with connection.schema_editor() as editor:
        editor.create_model(Row)
    backend: Any = task_backends["default"]
    one = insert_rows if params["batch"] else insert_row
    backend.enqueue_many([(one, (number,), {}) for number in range(params["count"])])


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    count = params["count"]
    await asyncio.to_thread(prepare, params)
    cpu, begin = cpu_seconds(), time.perf_counter()
    async with side.worker(params["concurrency"]):
        # The highest key is quicker to find than the number of rows.
        while not await Row.objects.filter(pk__gte=count).aexists():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY)
        while await Row.objects.acount() < count:  # noqa: ASYNC110 - keys may have gaps
            await asyncio.sleep(LOOK_EVERY)
        seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
    rows = await Row.objects.acount()
    different = await Row.objects.values("number").distinct().acount()
    return {"seconds": seconds, "cpu": cpu, "rows": rows, "different": different}
