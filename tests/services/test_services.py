"""Each service starts, answers, freezes, and comes back with its data when it was killed."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import valkey

from benchmarks.processes import tree
from tests.missing import need
from tests.processes import wait_for
from tests.services.mariadb import MariaDB
from tests.services.postgres import PgBouncer, Postgres
from tests.services.service import Service, find, lives
from tests.services.valkey import Valkey

pytestmark = [pytest.mark.server, pytest.mark.slow]

KINDS = [Valkey, Postgres, MariaDB]


def started[S: Service](it: S) -> S:
    """It, running; or the test ends here."""
    need(it.name, it.missing())
    return it.start()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """One of each kind, for this test alone."""
    with request.param() as it:
        yield started(it)


def keep(it: Service, value: str) -> None:
    """Have it store a value."""
    if isinstance(it, Valkey):
        it.ask("SET", "kept", value)
    elif isinstance(it, Postgres | MariaDB):
        it.ask("CREATE TABLE kept (value varchar(20))")
        it.ask("INSERT INTO kept VALUES (%s)", value)


def kept(it: Service) -> str:
    """The value it was given."""
    if isinstance(it, Valkey):
        return str(it.ask("GET", "kept"))
    assert isinstance(it, Postgres | MariaDB)
    ((value,),) = it.ask("SELECT value FROM kept")
    return str(value)


def states(pids: list[int]) -> set[str]:
    """The letters that Linux has for what these processes do.

    One that had just ended is left out: it stays a zombie for as long as its parent is frozen.
    """
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in pids]
    return {stat.rpartition(")")[2].split()[0] for stat in stats} - {"Z"}


def test_what_it_acknowledged_survives_kill_and_stop(service: Service) -> None:
    keep(service, "a value")
    pid, port = service.pid, service.port
    service.kill()
    assert not service.alive
    service.start()
    assert kept(service) == "a value"
    assert (service.pid != pid, service.port) == (True, port)
    service.restart()
    assert kept(service) == "a value"
    service.stop()
    assert service.process.popen.returncode == 0, service.text


def test_frozen_not_one_of_its_processes_moves_and_thawed_it_goes_on(service: Service) -> None:
    keep(service, "a value")
    frozen = service.freeze()
    everybody = tree(service.pid)
    # A child that was ending when its parent was stopped may be gone since: no harm.
    assert set(everybody) <= set(frozen)
    wait_for(lambda: states(everybody) == {"T"}, "all stand still")
    service.thaw()
    assert kept(service) == "a value"


def test_closed_it_leaves_nothing(service: Service) -> None:
    everybody = service.freeze()
    service.close()
    assert not service.folder.exists()
    assert not any(map(lives, everybody))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_somebody_elses_server_is_told_from_ours(kind: type[Service]) -> None:
    with kind() as ours, kind() as theirs:
        started(theirs)
        started(ours)
        ours.port = theirs.port
        if isinstance(ours, Postgres | MariaDB) and isinstance(theirs, Postgres | MariaDB):
            assert not ours.answers(), "a password of its own keeps us out"
            ours.password = theirs.password
        with pytest.raises(AssertionError, match="somebody else"):
            ours.answers()


def test_one_that_ends_at_once_is_reported_with_its_log() -> None:
    with Valkey(config={"no-such-option": 1}) as it:
        with pytest.raises(AssertionError, match="no-such-option"):
            started(it)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Postgres, "programs", (("no-such-server", "/no/such/*/server"), ("sh",)))
    assert Postgres.missing() == "not installed: no-such-server or /no/such/*/server"
    assert find("/bin/s[h]") == "/bin/sh"


# --- Valkey ---------------------------------------------------------------------------------------


def test_valkey_without_its_file_forgets() -> None:
    with Valkey(aof=False) as it:
        started(it)
        keep(it, "a value")
        it.restart()
        assert kept(it) == "None"


def test_valkey_with_tls_is_verified_and_has_no_plain_port() -> None:
    with Valkey(tls=True) as it:
        assert started(it).url == f"valkeys://127.0.0.1:{it.port}/0"
        keep(it, "a value")
        with valkey.Valkey(port=it.port, ssl=True) as stranger:  # knows no such authority
            with pytest.raises(valkey.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                stranger.ping()
        with valkey.Valkey(port=it.port) as plain, pytest.raises(valkey.ConnectionError):
            plain.ping()


def test_valkey_on_a_socket_with_users_and_options() -> None:
    rules = {"app": "on >secret ~vt:* +@all -@dangerous"}
    with Valkey(unix_socket=True, users=rules, config={"maxmemory": "7mb"}) as it:
        started(it)
        assert it.ask("CONFIG", "GET", "maxmemory") == ["maxmemory", str(7 * 2**20)]
        with valkey.Valkey(
            unix_socket_path=str(it.socket), username="app", password="secret"
        ) as app:
            assert app.set("vt:a", "1")
            with pytest.raises(valkey.exceptions.NoPermissionError):
                app.set("other", "1")


def test_the_shared_valkey_can_be_emptied(valkey: Valkey) -> None:
    keep(valkey, "a value")
    valkey.empty()
    assert valkey.ask("DBSIZE") == 0


# --- PostgreSQL -----------------------------------------------------------------------------------


def test_postgres_is_durable_and_restarts_at_once_under_its_clients() -> None:
    with Postgres(max_connections=17) as it:
        started(it)
        keep(it, "a value")
        assert it.ask("SHOW fsync") == [("on",)]
        assert it.ask("SHOW max_connections") == [("17",)]
        with psycopg.connect(it.url) as connection:
            connection.execute("SELECT 1")
            it.immediate_restart()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert kept(it) == "a value"
        assert "automatic recovery in progress" in it.text


def test_pgbouncer_pools_transactions(postgres: Postgres) -> None:
    with PgBouncer(postgres, pool_size=1) as it:
        started(it)
        with psycopg.connect(it.url, prepare_threshold=None) as first:
            with psycopg.connect(it.url, prepare_threshold=None) as second:
                pids = []
                for connection in (first, second):
                    pids += connection.execute("SELECT pg_backend_pid()").fetchall()
                    connection.commit()
        assert pids[0] == pids[1], "both clients had a server connection of their own"
        it.stop(signal.SIGINT)
