"""Tasks for groups, and for what comes after a task."""

from typing import Any

from django.contrib.auth.models import Group as Row

from vtasks_asgi import Backoff, GroupProgress, VTaskContext, task
from vtasks_asgi.exceptions import DiscardTask

AT_ONCE = Backoff(base=0.0)

#: What callbacks and successors saw; each test begins with an empty one.
SAW: list[Any] = []


@task
def double(number: int) -> int:
    return number * 2


@task
async def adouble(number: int) -> int:
    return number * 2


@task(result_ttl=0)
async def silent(number: int) -> int:
    return number * 2


@task(max_attempts=1)
def broken(number: int) -> int:
    raise ValueError(number)


@task(max_attempts=3, backoff=AT_ONCE, takes_context=True)
async def third_time_lucky(context: VTaskContext) -> int:
    if context.attempt < 3:
        raise ConnectionError
    return context.attempt


@task
async def discarded() -> None:
    raise DiscardTask("of no use")


@task(takes_context=True)
async def member(context: VTaskContext) -> str | None:
    return context.group.id if context.group else None


@task(unique=True, takes_context=True)
async def unique(context: VTaskContext, key: str) -> str:
    return key


@task(debounce=5, unique_key="all")
def debounced() -> None: ...


@task(takes_context=True)
async def complete(context: VTaskContext, what: str = "complete") -> None:
    """An async callback."""
    assert context.group is not None
    progress = await context.group.aprogress()
    values = [each and each.status.name for each in await context.group.aresults()]
    SAW.append((what, context.group.id, progress, values))


@task(takes_context=True)
def told(context: VTaskContext, what: str = "told") -> None:
    """A sync one."""
    assert context.group is not None
    values = [each and each.status.name for each in context.group.results()]
    SAW.append((what, context.group.id, context.group.progress(), values))


@task(takes_context=True, result_ttl=0)
async def last(context: VTaskContext, *given: Any) -> Any:
    """What comes after: notes what it was given, and by whom."""
    parent = context.parent
    SAW.append(([*given], None if parent is None else parent.value))
    return [*given]


@task(takes_context=True)
async def bigger(context: VTaskContext, by: int) -> int:
    assert context.parent is not None
    value: int = context.parent.value + by
    return value


@task
def shapeless() -> object:
    return object()


@task(transactional=True)
def stamp(name: str) -> str:
    Row.objects.create(name=name)
    return name


@task(transactional=True, max_attempts=1)
def stamp_and_fail(name: str) -> None:
    Row.objects.create(name=name)
    raise ValueError(name)


def saw(what: str, group: str, total: int, failed: int, *values: str | None) -> Any:
    """What a callback notes of a group that has ended."""
    return what, group, GroupProgress(total, total - failed, failed, 0), [*values]
