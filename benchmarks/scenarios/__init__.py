"""All scenarios by store, in the order they are run and printed."""

from benchmarks.scenario import Scenario
from benchmarks.scenarios import mariadb, postgres, sqlite, valkey

SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "sqlite": sqlite.SCENARIOS,
    "valkey": valkey.SCENARIOS,
    "postgres": postgres.SCENARIOS,
    "mariadb": mariadb.SCENARIOS,
}
