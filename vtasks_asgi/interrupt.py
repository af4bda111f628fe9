"""Stops a function in another thread by raising there; that very call, and never what comes next.

CPython raises an exception set by ``PyThreadState_SetAsyncExc`` at the thread's next bytecode: not
while it waits in C code, and maybe only when the call is over and the thread does something else.
So both sides compete for one ticket. If the call's end has it, nobody will raise. If the interrupt
has it, the end waits until the exception is set, and takes back what has not arrived by then.
"""

import threading
from collections.abc import Callable

from vtasks_asgi.core.errors import TaskInterrupt


class Interruptible[T]:
    """``call`` it in one thread; ``interrupt`` it from another. Once each."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._ticket = [None]
        # A bare lock: an exception in the middle of anything written in Python could leave it held.
        self._set = threading.Lock()
        self._set.acquire()
        #: The thread it runs in, None before it has begun.
        self.thread: int | None = None

    def __call__(self) -> T:
        """Do the work. Once this has returned or raised, no exception is on its way.

        Raises:
            TaskInterrupt: it was interrupted, maybe before it began.
        """
        self.thread = threading.get_ident()
        try:
            if not self._ticket:
                raise TaskInterrupt
            return self._work()
        finally:
            self._end()

    def _end(self) -> None:
        try:
            self._ticket.pop()
        except IndexError:
            self._set.acquire()
            _raise_in(threading.get_ident(), None)

    def interrupt(self) -> None:
        """Raise ``TaskInterrupt`` in it, if it has not ended; never waits."""
        try:
            self._ticket.pop()
        except IndexError:
            return
        if self.thread is not None:
            _raise_in(self.thread, TaskInterrupt)
        self._set.release()


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Set the exception that the thread raises next, or take it back."""
    import ctypes  # noqa: PLC0415 - most processes never need it

    error = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)
