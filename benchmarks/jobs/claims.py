"""Claim batches through our storage contract and time each; what other sides have is not alike."""

import time
from typing import Any

from benchmarks.sides.base import Side
from vtasks_asgi.assembly import find_backend
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.store.base import Settlement

LEASE = 60.0


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    batch, took = params["batch"], []
    assert side.enqueue_many is not None
    store = find_backend("default").make_store()
    await store.open()
    try:
        for _ in range(params["rounds"]):
            await side.enqueue_many("noop", [(number,) for number in range(batch)])
            begin = time.perf_counter()
            claimed = await store.claim("default", batch, worker="benchmark", lease=LEASE)
            took.append(time.perf_counter() - begin)
            assert len(claimed.claims) == batch, "another batch than the one just enqueued"
            await store.settle([Settlement(claim, Done(b"[]")) for claim in claimed.claims])
    finally:
        await store.aclose()
    return {"took": took}
