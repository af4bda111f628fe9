"""A worker that is not beside its server: every byte takes a millisecond each way."""

import time
from dataclasses import replace
from statistics import median

import valkey

from benchmarks.bench import Bench
from benchmarks.engines.valkey import Valkey
from benchmarks.measures import process
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side
from tests.services.relay import Relay

WAY = 0.001
METRICS = (*process.METRICS, Metric("round_trip", "ms measured", 2))


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    """As ``process``, with a relay in between once the tasks wait."""
    count, engine = sizes["count"], bench.engine
    assert isinstance(engine, Valkey)
    async with bench.place(side, task="noop", count=count) as place:
        with Relay(engine.server.port) as relay:
            relay.requests.delay = relay.replies.delay = WAY
            away = replace(side, env={**side.env, "BENCH_BROKER": engine.url(place, relay.port)})
            round_trip = _round_trip(relay.port)
            found = await process.drained(
                bench, away, place, count=count, concurrency=sizes["concurrency"]
            )
    return found | {"round_trip": round_trip}


def _round_trip(port: int) -> float:
    """Milliseconds from a question to its answer."""
    took = []
    with valkey.Valkey(port=port) as client:
        client.ping()
        for _ in range(20):
            begin = time.perf_counter()
            client.ping()
            took.append(time.perf_counter() - begin)
    return median(took) * 1e3
