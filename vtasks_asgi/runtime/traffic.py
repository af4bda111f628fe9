"""Requests come first: whether the loop is serving any, and what the worker then allows itself.

A burst of tasks delays every request that arrives meanwhile, on the loop and on the interpreter's
lock. So while requests come in, the worker takes few messages at a time and rests in between.
"""

from vtasks_asgi.core.clock import Clock

#: Seconds after the last request during which the worker holds back.
RECENT = 0.1
#: Messages taken at once while requests come in, and the rest after each such round (seconds).
POLITE_BATCH = 32
POLITE_PAUSE = 0.002


class Traffic:
    """Noted by the web server's side, asked by the worker's; both on the same loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = float("-inf")

    def note(self) -> None:
        """A request arrived."""
        self._last = self._clock.monotonic()

    @property
    def flows(self) -> bool:
        """Have requests arrived lately?"""
        return self._clock.monotonic() - self._last < RECENT
