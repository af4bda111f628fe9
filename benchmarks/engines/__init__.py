"""The engines by name, in the order they are measured."""

from benchmarks.engines.engine import Engine
from benchmarks.engines.mariadb import MariaDB
from benchmarks.engines.postgres import Postgres
from benchmarks.engines.sqlite import SQLite
from benchmarks.engines.valkey import Valkey

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (SQLite, Valkey, Postgres, MariaDB)
}
