"""A real server for tests: in a folder of its own, on a free port, gone with all it started."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from benchmarks.processes import PROC, tree
from tests.processes import Process, free_port, wait_for

SHOWN_OF_A_LOG = 20_000
# Debian keeps servers where only root's PATH leads, and PostgreSQL's where none does.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}


class Startable(ABC):
    """One server or several that belong together. ``with`` it, and call ``start``."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, None when it can."""

    @abstractmethod
    def start(self) -> Self:
        """Start, and return once it answers and is known to be ours."""

    @abstractmethod
    def close(self) -> None:
        """kill -9 what runs, and remove every file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Service(Startable):
    """One server. Its data outlives ``stop`` and ``kill``, until ``close``."""

    #: Programs it needs, each under any of these names.
    programs: ClassVar[tuple[tuple[str, ...], ...]]
    #: What ends it in order, at once, with clients connected.
    stop_signal = signal.SIGTERM
    #: For servers that refuse to be root: whose account to run under when we are.
    account: ClassVar[str | None] = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"vt-{self.name}-"))
        (self.folder / "logs").mkdir()
        self.port = free_port()
        self._process: Process | None = None
        self._runs_as = _account(self.account) if self.account else None
        if self._runs_as:
            shutil.chown(self.folder, self._runs_as)

    @classmethod
    def missing(cls) -> str | None:
        if not PROC.is_dir():
            return "a server's children are found through Linux's /proc, which is not here"
        lacking = [" or ".join(names) for names in cls.programs if not find(*names)]
        return f"not installed: {', '.join(lacking)}" if lacking else None

    # -- what each server says about itself

    @abstractmethod
    def command(self) -> list[str]:
        """The words that start it in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Does it answer a question?

        Raises:
            AssertionError: it does, but is somebody else's.
        """

    def prepare(self) -> None:
        """Make the files that it starts from; called before each start."""

    # -- life

    def start(self) -> Self:
        assert not self.alive, f"{self.name} runs already"
        self.prepare()
        self._process = Process(
            self.name, self.command(), self.folder, _ENVIRONMENT, account=self._runs_as
        )
        try:
            wait_for(self._ready, f"{self.name} answers")
        except BaseException:
            sys.stderr.write(self.text[-SHOWN_OF_A_LOG:])
            raise
        return self

    def _ready(self) -> bool:
        assert self.alive, f"{self.name} ended with {self.process.popen.returncode}: {self.text}"
        return self.answers()

    def stop(self, number: signal.Signals | None = None) -> None:
        """End it in order, or by this signal, and wait until it has."""
        self.process.signal(number or self.stop_signal)
        self.process.wait()

    def kill(self) -> None:
        """kill -9 it and its children, all at one moment: what a crash of the machine does."""
        victims = self.freeze()
        for pid in reversed(victims):  # the parent last, or it would see its children die
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not any(map(lives, victims)), f"{self.name} and its children are gone")

    def freeze(self) -> list[int]:
        """SIGSTOP it and its children, so that it is silent but its sockets stay open."""
        stopped: list[int] = []
        # The parent first: once it stands still, no child can be new.
        while news := [pid for pid in tree(self.pid) if pid not in stopped]:
            for pid in news:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped += news
        return stopped

    def thaw(self) -> None:
        """SIGCONT after ``freeze``."""
        for pid in reversed(tree(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop it, if it runs, and start it on the same port with the same data."""
        if self.alive:
            self.stop()
        self.start()

    def close(self) -> None:
        if self.alive:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- looking

    @property
    def process(self) -> Process:
        """The one that was started last."""
        assert self._process, f"{self.name} was never started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Is there a process, be it frozen?"""
        return self._process is not None and self._process.alive

    @property
    def text(self) -> str:
        """The log of all its starts."""
        return self.process.text

    # -- helpers of the servers

    def run(self, *command: str | Path) -> None:
        """Run a program to its end, under the account of the server.

        Raises:
            AssertionError: it failed; its output is shown.
        """
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            env=_ENVIRONMENT,
            user=self._runs_as,
            group=self._runs_as and pwd.getpwnam(self._runs_as).pw_gid,
            extra_groups=[] if self._runs_as else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"

    def write(self, name: str, text: str) -> Path:
        """A file in the folder that nobody but the server may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        if self._runs_as:
            shutil.chown(path, self._runs_as)
        return path


def find(*names: str) -> str | None:
    """The first program of these names; one with a slash is a pattern, whose last match counts."""
    for name in names:
        if "/" in name:
            found = sorted(map(str, Path("/").glob(name.lstrip("/"))))
            if found:
                return found[-1]
        elif path := shutil.which(name, path=_PATH):
            return path
    return None


def program(*names: str) -> str:
    """The path of a program that ``missing`` has found."""
    path = find(*names)
    assert path, f"not installed: {' or '.join(names)}"
    return path


def _account(wanted: str) -> str | None:
    """Whom to become: nobody else unless we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(wanted).pw_name
    except KeyError:
        return "nobody"


def lives(pid: int) -> bool:
    """Is it more than a zombie?"""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
