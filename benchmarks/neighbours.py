"""How much of the machine other processes used during a measurement."""

import asyncio
import os
import time
from pathlib import Path

from benchmarks.processes import cpu


class Neighbours:
    """Started when made; ``share`` once the measured processes have been waited for."""

    def __init__(self) -> None:
        self._busy, self._own, self._begin = _busy(), cpu(os.getpid()), time.monotonic()

    def share(self) -> float:
        """Percent of all processor time since the start, without ours and our descendants'."""
        elapsed = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        theirs = (_busy() - self._busy) - (cpu(os.getpid()) - self._own)
        return max(0.0, 100 * theirs / elapsed)


async def calm(patience: float, *, percent: float = 10.0, probe: float = 1.0) -> None:
    """Wait until other processes use less than ``percent``, at most ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        neighbours = Neighbours()
        await asyncio.sleep(probe)
        if neighbours.share() < percent:
            return


def _busy() -> float:
    """Seconds all processors were not idle; 0 where there is no /proc."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
