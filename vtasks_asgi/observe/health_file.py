"""A file that is rewritten while the worker is healthy: its age is a liveness probe.

It is written from the event loop on purpose: a loop that hangs stops writing.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vtasks_asgi.core.errors import VTasksError
from vtasks_asgi.runtime.health import Health, Status

#: Seconds between two writes; a probe should allow for several.
INTERVAL = 5.0

_HEALTHY = frozenset({Status.OK, Status.DRAINING})


class HealthFile:
    """Keeps ``path`` fresh while ``health()`` is ok or draining, and removes it at the end.

    Args:
        path: the value of ``VTASKS_HEALTH_CHECK_FILE``.
        health: returns the present ``Health``.
        interval: seconds between two looks.
    """

    def __init__(
        self, path: str | Path, health: Callable[[], Health], *, interval: float = INTERVAL
    ) -> None:
        self.path = Path(path)
        self._health = health
        self._interval = interval
        self._written: str | None = None

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            VTasksError: the file cannot be written; the message names setting and path.
        """
        try:
            while True:
                self.beat()
                await asyncio.sleep(self._interval)
        finally:
            self.remove()

    def beat(self) -> bool:
        """Write the file if healthy; whether it was.

        Raises:
            VTasksError: as ``run``.
        """
        health = self._health()
        if health.status not in _HEALTHY:
            return False
        content = f"{health.status} {os.getpid()} {time.time():.3f}\n"
        self._replace(content)
        self._written = content
        return True

    def check(self) -> None:
        """Try whether the file could be written, for a clear error before the worker starts.

        Raises:
            VTasksError: as ``run``.
        """
        if self.path.is_dir():
            raise self._unwritable("it is a directory")
        try:
            with tempfile.TemporaryFile(dir=self.path.parent):
                pass
        except OSError as error:
            raise self._unwritable(error.strerror) from error

    def remove(self) -> None:
        """Delete the file, unless another worker has written it since. Legal twice."""
        # An overlapping successor keeps its own file.
        with contextlib.suppress(OSError):
            if self._written is not None and self.path.read_text() == self._written:
                self.path.unlink()
        self._written = None

    def _replace(self, content: str) -> None:
        # mkstemp and rename: no reader sees half a file, and a planted symlink is not followed.
        temporary = ""
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            with open(handle, "w") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise self._unwritable(error.strerror) from error

    def _unwritable(self, reason: str | None) -> VTasksError:
        return VTasksError(
            f"VTASKS_HEALTH_CHECK_FILE {str(self.path)!r} cannot be written ({reason}); name a"
            " file in an existing directory that this user may write to"
        )
