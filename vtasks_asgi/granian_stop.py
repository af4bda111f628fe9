"""How Granian's worker learns that it shall stop: once, and also of what came while it booted.

Granian 2.8 puts each SIGINT and SIGTERM into a channel with room for one, and takes out one. The
third waits for room while it holds the GIL, so the worker is frozen until it is killed. Ctrl-C is
two (the terminal's SIGINT, the supervisor's SIGTERM), and uvloop reports a signal twice that comes
while it reads another. Until Granian sets its handlers, a forked worker has the supervisor's, which
only note the signal.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any


class Stop:
    """What Granian does at the first stop signal; in its eyes an event loop to set handlers of."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.heard = False
        self._loop = loop
        self._told = False
        self._tell: Callable[[], object] = lambda: None

    def add_signal_handler(self, number: int, callback: Callable[..., object], *args: Any) -> None:
        """As of a loop, whose own handler it sets as well, for that wakes the loop."""
        self._tell = partial(callback, *args)
        self._loop.add_signal_handler(number, self.tell)
        signal.signal(number, self._hear)

    def tell(self) -> None:
        """Let Granian stop, if that was not done before."""
        self.heard = True
        if not self._told:
            self._told = True
            self._tell()

    def _hear(self, number: int, frame: object) -> None:
        self.heard = True
        # Granian runs its loop twice, and uvloop forgets signals that come in between.
        self._loop.call_soon_threadsafe(self.tell)


def mend() -> None:
    """Mend Granian's handlers before they are set, which is when the application was imported.

    Under another server, or a Granian that sets them in another way, this does nothing.
    """
    module = sys.modules.get("granian._signals")
    known = getattr(module, "set_loop_signals", None)
    if module is None or known is None or known.__module__ == __name__:
        return

    def set_loop_signals(loop: asyncio.AbstractEventLoop) -> object:
        inherited = signal.getsignal(signal.SIGTERM)
        stop = Stop(loop)
        event = known(stop)
        if getattr(getattr(inherited, "__self__", None), "interrupt_signal", False):
            stop.tell()
        return event

    vars(module)["set_loop_signals"] = set_loop_signals


def heard() -> bool:
    """Has Granian been told to stop already? Ask before its handlers are replaced."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return isinstance(owner, Stop) and owner.heard
