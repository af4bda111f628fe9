"""All scenarios, in the order they are run and printed."""

from benchmarks.scenario import Scenario
from benchmarks.scenarios import batch, crowd, enqueue, http, latency, memory, process, wrapper

SCENARIOS: tuple[Scenario, ...] = (
    process.SCENARIO,
    *enqueue.SCENARIOS,
    *latency.SCENARIOS,
    http.SCENARIO,
    wrapper.SCENARIO,
    memory.SCENARIO,
    crowd.SCENARIO,
    batch.SCENARIO,
)
