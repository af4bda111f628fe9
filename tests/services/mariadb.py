"""MariaDB."""

import atexit
import importlib.util
import secrets
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from tests.services.service import Service, program

INSTALL = ("mariadb-install-db", "mysql_install_db")
SERVER = ("mariadbd", "mysqld")
USER = DATABASE = "vtasks"


class MariaDB(Service):
    """One server with Debian's durability: each commit is on disk. ``options`` are its own."""

    name = "mariadb"
    programs = (INSTALL, SERVER)
    account = "mysql"
    #: Made once a session and copied: with a busy disk, installing takes a minute and a half.
    _fresh: ClassVar[Path | None] = None

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(12)
        self.data = self.folder / "data"
        self.socket = self.folder / "mariadb.sock"
        self._options = options

    @classmethod
    def missing(cls) -> str | None:
        if reason := super().missing():
            return reason
        here = importlib.util.find_spec("MySQLdb")
        return None if here else "mysqlclient is not installed (make mysql)"

    def prepare(self) -> None:
        if self.data.exists():
            return
        if MariaDB._fresh is None:
            MariaDB._fresh = self._installed()
        self.run("cp", "-a", MariaDB._fresh, self.data)
        words = f"'{USER}'@'%'"
        self.write(
            "init.sql",
            f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS {words} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {words};\n",
        )

    def _installed(self) -> Path:
        """A data folder as new, until the session ends."""
        folder = Path(tempfile.mkdtemp(prefix="vt-mariadb-new-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        if self._runs_as:
            shutil.chown(folder, self._runs_as)
        data = folder / "data"
        # The server's own super user gets no password and no way in but its account's socket.
        new = ["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"]
        self.run(program(*INSTALL), "--no-defaults", f"--datadir={data}", *new)
        return data

    def command(self) -> list[str]:
        return [
            program(*SERVER),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=64M",
            *self._options,
        ]

    def answers(self) -> bool:
        import MySQLdb

        try:
            ((data,),) = self.ask("SELECT @@datadir")
        except MySQLdb.OperationalError:
            return False
        assert Path(data) == self.data, "somebody else has the port"
        return True

    @property
    def database(self) -> dict[str, Any]:
        """An entry of Django's DATABASES."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": DATABASE,
            "USER": USER,
            "PASSWORD": self.password,
            "HOST": "127.0.0.1",
            "PORT": self.port,
        }

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, in a connection and a transaction of its own."""
        import MySQLdb

        address = {"host": "127.0.0.1", "port": self.port, "connect_timeout": 10}
        login = {"user": USER, "password": self.password, "database": DATABASE}
        with closing(MySQLdb.connect(**address, **login)) as connection:
            cursor = connection.cursor()
            cursor.execute(query, values or None)
            rows = list(cursor.fetchall())
            connection.commit()
            return rows
