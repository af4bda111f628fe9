"""Processor time of this process and of those it has started."""

import os
import resource

from benchmarks.processes import spent, tree


def cpu_seconds() -> float:
    """User and system time so far, of all threads and of all descendants."""
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = sum(map(spent, tree(os.getpid())[1:]))
    return sum(usage.ru_utime + usage.ru_stime for usage in own) + living
