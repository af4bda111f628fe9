"""Pushing from a coroutine, on the loop that opened the store, where no transaction can be open."""

import asyncio
from collections.abc import Sequence

from vtasks_asgi import lanes, results
from vtasks_asgi.backends.answers import Prepared, Pushed, accepted, answer, holders
from vtasks_asgi.results import AnyResult
from vtasks_asgi.runtime.active import runtime_of
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.store.base import FullStore, Receipt

#: Calls from which on their results are made while the store is at work on them.
MEANWHILE = 32


def store_here(alias: str) -> FullStore | None:
    """The store of the runtime in whose loop the calling coroutine runs, if it does."""
    runtime = runtime_of(alias)
    if runtime is not None and runtime.is_mine() and not lanes.in_sync_caller():
        return runtime.store
    return None


async def push_one(store: FullStore, call: Prepared, alias: str) -> AnyResult | None:
    """Push one call; its result, or None for a duplicate."""
    message = call.message
    receipts = await store.push([message])
    if receipts[0].holder is not None:
        return (await _answered(store, [call], receipts, alias)).answers[0]
    hub.submitted(call.call.task, message.queue, 1)
    return results.accepted(call.task, message, call.call, alias)


async def push_many(store: FullStore, calls: Sequence[Prepared], alias: str) -> Pushed:
    """Push many calls in one step."""
    messages = [each.message for each in calls]
    if len(calls) < MEANWHILE:
        return await _answered(store, calls, await store.push(messages), alias)
    pushing = asyncio.create_task(store.push(messages))
    try:
        await asyncio.sleep(0)  # until it waits for the store
        ready = [accepted(each, alias) for each in calls]
        return await _answered(store, calls, await pushing, alias, ready)
    finally:
        pushing.cancel()


async def _answered(
    store: FullStore,
    calls: Sequence[Prepared],
    receipts: Sequence[Receipt],
    alias: str,
    ready: list[AnyResult] | None = None,
) -> Pushed:
    wanted = holders(calls, receipts)
    found = await store.lookup(wanted) if wanted else {}
    return answer(calls, receipts, found, alias, ready)
