"""Limits on PostgreSQL, where a claim of what has some is a second step."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.store.helpers import QUEUE, ids, push, reclaim, take
from tests.store.test_contract_limits import claim, limited, push_limited
from tests.store.test_postgres import database, opened
from vtasks_asgi.core.errors import StoreError, StoreUnavailable
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.store.database.postgres.plan import Plan
from vtasks_asgi.store.database.postgres.runner import Runner

__all__ = ["database"]  # a fixture that every test here uses

ONE = Limit("key", 1)


@pytest.fixture
def fails_in_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Runner.run

    async def broken(self: Runner, make: Callable[[], Plan[Any]], **options: Any) -> Any:
        if options.get("transaction"):
            raise StoreUnavailable("away")
        return await run(self, make, **options)

    monkeypatch.setattr(Runner, "run", broken)


@pytest.mark.usefixtures("fails_in_transactions")
async def test_what_the_first_step_took_is_handed_out_if_the_second_fails() -> None:
    async with opened() as store:
        await push_limited(store, ONE)
        with pytest.raises(StoreError, match="away"):
            await claim(store)
        [free] = await push(store)
        claimed = await claim(store)
        assert (ids(claimed.claims), claimed.next_due) == ([free], 0.0)


async def test_claims_without_limits_are_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[bool] = []
    run = Runner.run

    async def counted(self: Runner, make: Callable[[], Plan[Any]], **options: Any) -> Any:
        steps.append(options.get("transaction", False))
        return await run(self, make, **options)

    async with opened() as store:
        await push(store, 3)
        monkeypatch.setattr(Runner, "run", counted)
        assert len(await take(store)) == 3
        assert await reclaim(store) == []
        assert steps == [False, False]
        await store.push(limited(ONE, 1))
        assert len(await take(store, queue=QUEUE)) == 1
        assert steps[2:] == [False, False, True]
