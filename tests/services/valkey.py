"""Valkey, or Redis 7 where Debian has no Valkey."""

import functools
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import valkey

from tests.services.certificates import Certificates, certificates
from tests.services.service import Service, program

SERVERS = ("valkey-server", "redis-server")


class Valkey(Service):
    """One server. By default every write is in its append-only file before it is acknowledged.

    ``aof=False`` keeps nothing over a restart. ``tls`` leaves no port without it. ``users`` are
    ACL rules by name, kept in a file; the default user may do everything, without a password,
    unless named there. ``config`` is any line of the configuration file.
    """

    name = "valkey"
    programs = (SERVERS, ("openssl",))

    def __init__(
        self,
        *,
        aof: bool = True,
        tls: bool = False,
        unix_socket: bool = False,
        users: Mapping[str, str] | None = None,
        config: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__()
        self.socket = self.folder / "valkey.sock" if unix_socket else None
        self.certificates: Certificates | None = certificates(self.folder) if tls else None
        self._lines: dict[str, object] = {
            "bind": "127.0.0.1",
            "port": 0 if tls else self.port,
            "dir": self.folder,
            "save": '""',
            "appendonly": "yes" if aof else "no",
            "enable-debug-command": "local",
            "repl-diskless-sync-delay": 0,
        }
        if self.certificates:
            self._lines |= _tls(self.port, self.certificates)
        if self.socket:
            self._lines["unixsocket"] = self.socket
        if users:
            everybody = {"default": "on nopass ~* &* +@all"} | dict(users)
            rules = "".join(f"user {name} {rules}\n" for name, rules in everybody.items())
            self._lines["aclfile"] = self.write("users.acl", rules)
        self._lines |= config or {}

    @classmethod
    def missing(cls) -> str | None:
        if reason := super().missing():
            return reason
        return None if _version(program(*SERVERS)) >= 7 else "Redis is older than 7"

    @property
    def url(self) -> str:
        """For a client's ``from_url``; with TLS the client needs the authority as well."""
        return f"{'valkeys' if self.certificates else 'valkey'}://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> valkey.Valkey:
        """A client, to be closed by whoever asks for it; it verifies a certificate."""
        if self.certificates:
            options = {"ssl": True, "ssl_ca_certs": str(self.certificates.authority)} | options
        return valkey.Valkey(host="127.0.0.1", port=self.port, **options)

    def ask(self, *words: str | int) -> Any:
        """The answer to one command, strings decoded."""
        with self.client(decode_responses=True) as client:
            return client.execute_command(*words)

    def empty(self) -> None:
        """Delete every key."""
        self.ask("FLUSHALL", "SYNC")

    def prepare(self) -> None:
        # Cluster nodes and sentinels write their state where they found their configuration.
        if not self._file.exists():
            lines = "".join(f"{name} {value}\n" for name, value in self._lines.items())
            self.write(self._file.name, lines)

    @property
    def _file(self) -> Path:
        return self.folder / "valkey.conf"

    def command(self) -> list[str]:
        return [program(*SERVERS), str(self._file)]

    def answers(self) -> bool:
        try:
            server = self.ask("INFO", "server")
        except (valkey.ConnectionError, valkey.TimeoutError, valkey.BusyLoadingError):
            return False
        assert server["process_id"] == self.pid, "somebody else has the port"
        return True


def _tls(port: int, files: Certificates) -> dict[str, object]:
    return {
        "tls-port": port,
        "tls-ca-cert-file": files.authority,
        "tls-cert-file": files.certificate,
        "tls-key-file": files.key,
        "tls-auth-clients": "no",
    }


@functools.cache
def _version(server: str) -> int:
    """The major version."""
    told = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"v=(\d+)\.", told.stdout)
    return int(found[1]) if found else 0
