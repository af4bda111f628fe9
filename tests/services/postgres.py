"""PostgreSQL, and PgBouncer in front of it."""

import secrets
import signal
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tests.services.service import Service, program

_BIN = "/usr/lib/postgresql/*/bin"
INITDB = (f"{_BIN}/initdb", "initdb")
SERVER = (f"{_BIN}/postgres", "postgres")
USER, DATABASE = "vtasks", "postgres"


class Postgres(Service):
    """One cluster with ``fsync`` on, as in production. ``config`` sets any of its parameters."""

    name = "postgres"
    programs = (INITDB, SERVER)
    account = "postgres"
    # SIGTERM would wait until every client has left.
    stop_signal = signal.SIGINT

    def __init__(self, **config: str | int) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(12)
        self.data = self.folder / "data"
        self._config: dict[str, object] = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "shared_buffers": "64MB",
            **config,
        }

    def prepare(self) -> None:
        if self.data.exists():
            return
        password = self.write("password", self.password)
        options = ["--auth=scram-sha-256", f"--pwfile={password}", f"--username={USER}"]
        encoding = ["--encoding=UTF8", "--locale=C.UTF-8"]
        # What initdb wrote needs no disk yet; the server syncs all that it writes itself.
        self.run(program(*INITDB), "--no-sync", "-D", self.data, *options, *encoding)

    def command(self) -> list[str]:
        parameters = [f"--{name}={value}" for name, value in self._config.items()]
        return [program(*SERVER), "-D", str(self.data), *parameters]

    def answers(self) -> bool:
        try:
            ((data,),) = self.ask("SHOW data_directory")
        except psycopg.OperationalError:
            return False
        assert Path(data) == self.data, "somebody else has the port"
        return True

    def immediate_restart(self) -> None:
        """Stop without a checkpoint, so that it starts with recovery; clients are cut off."""
        self.stop(signal.SIGQUIT)
        self.start()

    @property
    def url(self) -> str:
        return _url(self.port, self.password)

    def create(self, name: str) -> str:
        """Make another database; its name."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    @property
    def database(self) -> dict[str, Any]:
        """An entry of Django's DATABASES."""
        return _database(self.port, self.password)

    def ask(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, in a connection and a transaction of its own."""
        return _ask(self.url, query, values)


class PgBouncer(Service):
    """A pool in transaction mode before a running ``Postgres``: each transaction may get another
    connection, so nothing that lives in a session can be relied on.
    """

    name = "pgbouncer"
    programs = (("pgbouncer",),)
    account = "postgres"

    def __init__(self, server: Postgres, *, pool_size: int = 10) -> None:
        super().__init__()
        self._server = server
        users = self.write("users.txt", f'"{USER}" "{server.password}"\n')
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": self.folder,
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "pool_mode": "transaction",
            "default_pool_size": pool_size,
            "admin_users": USER,
        }
        target = f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
        text = target + "".join(f"{name} = {value}\n" for name, value in lines.items())
        self._file = self.write("pgbouncer.ini", text)

    def command(self) -> list[str]:
        return [program("pgbouncer"), str(self._file)]

    def answers(self) -> bool:
        try:
            ((data,),) = self.ask("SHOW data_directory")
        except psycopg.OperationalError:
            return False
        assert Path(data) == self._server.data, "somebody else has the port"
        return True

    @property
    def url(self) -> str:
        return _url(self.port, self._server.password)

    @property
    def database(self) -> dict[str, Any]:
        """An entry of Django's DATABASES, as Django's documentation wants it for such a pool."""
        entry = _database(self.port, self._server.password)
        return entry | {"DISABLE_SERVER_SIDE_CURSORS": True}

    def ask(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, in a connection and a transaction of its own."""
        return _ask(self.url, query, values)


def _url(port: int, password: str) -> str:
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def _database(port: int, password: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE,
        "USER": USER,
        "PASSWORD": password,
        "HOST": "127.0.0.1",
        "PORT": port,
    }


def _ask(url: str, query: LiteralString, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, connect_timeout=10, prepare_threshold=None) as connection:
        cursor = connection.execute(query, values or None)
        return cursor.fetchall() if cursor.description else []
