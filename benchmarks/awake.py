"""Keeps every processor from halting, for what is measured as round trips.

A halted processor of a virtual machine is tens of µs away from its next process. A sequential
enqueue sleeps twice, once on either side, so on an idle machine much of it is that. These loops are
of the scheduler's idle class: whoever wants the processor has it at once.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SPIN = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"


@contextmanager
def awake() -> Iterator[list[int]]:
    """One endless loop for each processor until the end of the block; their process ids."""
    cores = sorted(os.sched_getaffinity(0))
    loops = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in cores]
    try:
        for loop, core in zip(loops, cores, strict=True):
            os.sched_setaffinity(loop.pid, {core})
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
