"""Processor time of this process, all threads."""

import resource


def cpu_seconds() -> float:
    """User and system time so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
