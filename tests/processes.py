"""Real processes for tests: started, looked at, killed, and ended with everything they started."""

import http.client
import json
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.ledger import Fault

ROOT = Path(__file__).resolve().parent.parent

#: Seconds for a process to boot or to end when nothing is promised about it; machines are busy.
PATIENCE = 40.0
LOOK_EVERY = 0.02


def wait_for[T](look: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
    """Look until there is something, and return it.

    Raises:
        AssertionError: naming ``what`` did not come within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(LOOK_EVERY)
    return found


#: A system gives ports above these to whoever asks for any; a server that is still starting, or
#: about to come back, must find its own free. Sessions side by side have blocks of their own.
_BLOCK = 100
_FIRST = 10_000 + os.getpid() % 220 * _BLOCK
_PORTS = cycle(range(_FIRST, _FIRST + _BLOCK))


def free_port() -> int:
    """A port nobody listens on at this moment, and that nobody is likely to get soon."""
    for port in islice(_PORTS, _BLOCK):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port is free from {_FIRST} on")


class Process:
    """One started process, the leader of a group that ends with it."""

    spoken_to = False  # through its standard input and output

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        environment: dict[str, str],
        *,
        account: str | None = None,  # to run as, which only root may ask for
    ) -> None:
        self.name = name
        self.log = folder / "logs" / f"{name}.log"
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE if self.spoken_to else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.spoken_to else log,
                stderr=log,
                start_new_session=True,
                user=account,
                group=account and pwd.getpwnam(account).pw_gid,
                extra_groups=[] if account else None,
            )
        self.pid = self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def text(self) -> str:
        """Its log so far, standard error included."""
        return self.log.read_text(errors="replace")

    def kill(self, pid: int | None = None) -> Fault:
        """kill -9 the process, or one of its children."""
        victim = pid or self.pid
        fault = Fault(victim, time.monotonic())
        os.kill(victim, signal.SIGKILL)
        if pid is None:
            self.popen.wait(PATIENCE)
        return fault

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; the monotonic time just before."""
        at = time.monotonic()
        os.kill(self.pid, number)
        return at

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it lives on.
        """
        return self.popen.wait(timeout)

    def end(self) -> None:
        """kill -9 it and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(PATIENCE)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()


class Client(Process):
    """``tests.project.client``, one JSON object a line."""

    spoken_to = True

    def do(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Its answer.

        Raises:
            ClientError: what it did failed over there.
        """
        assert self.popen.stdin and self.popen.stdout
        line = json.dumps({"do": verb, "args": args, "kwargs": kwargs})
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()
        reply = json.loads(self.popen.stdout.readline())
        if "error" in reply:
            raise ClientError(reply["error"])
        return reply["answer"]


class ClientError(Exception):
    """Class and text of an exception in the client."""


@dataclass(slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


class Server(Process):
    """Granian. Its own process supervises; ``worker`` is one that serves and runs tasks."""

    port = 0

    def get(self, path: str, *, method: str = "GET", timeout: float = PATIENCE) -> Reply:
        """Ask once."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as it:
            it.request(method, path, headers={"Connection": "close"})
            answer = it.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answer.read(), headers)

    def answers(self, path: str) -> Reply | None:
        """The reply, None while nobody listens or the connection breaks."""
        assert self.alive, f"{self.name} ended with {self.popen.returncode}"
        try:
            return self.get(path)
        except (OSError, http.client.HTTPException):
            return None

    def wait_status(self, path: str, status: int, timeout: float = PATIENCE) -> Reply:
        """Ask until the answer has this status."""

        def look() -> Reply | None:
            reply = self.answers(path)
            return reply if reply and reply.status == status else None

        return wait_for(look, f"{path} answers {status}", timeout)

    def worker(self) -> int:
        """The process id of whoever answers; proves that it is of this project."""
        reply = self.get("/who").json()
        assert Path(reply["folder"]) == self.log.parent.parent, "somebody else has the port"
        return int(reply["pid"])
