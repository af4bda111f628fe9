"""What the engines' queries about limits share."""

from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

from vtasks_asgi.core.limits import Limit
from vtasks_asgi.store.base import Claim

#: Keys whose messages wait that one reclaim looks after: all where there are no more, else some
#: from a random one on, for most keys are the digits of a hash.
SWEEP_LIMIT = 100


def limit_of(
    key: str | None = None, count: int | None = None, interval: float | None = None
) -> Limit | None:
    """From the three columns."""
    return None if key is None else Limit(key, count, interval)


def columns_of(limit: Limit | None) -> tuple[str | None, int | None, float | None]:
    """The three columns."""
    return (None, None, None) if limit is None else (limit.key, limit.concurrency, limit.interval)


def bounded(claims: Sequence[Claim]) -> set[str]:
    """The keys of which it counts how many run."""
    return {c.limit.key for c in claims if c.limit is not None and c.limit.concurrency is not None}


def some_keys(find: Callable[[str, int], list[Any]]) -> list[Any]:
    """``find`` gives so many at most from a key on, in order."""
    found = find("", SWEEP_LIMIT + 1)
    return found if len(found) <= SWEEP_LIMIT else find(token_hex(32), SWEEP_LIMIT)
