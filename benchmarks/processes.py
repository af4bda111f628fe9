"""Memory and processor time of a process and all its descendants, from Linux's /proc."""

import os
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """``root`` and every process below it."""
    children = defaultdict(list)
    for pid in (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        if stat := _stat(pid):
            children[int(stat[1])].append(pid)
    found = [root]
    for pid in found:
        found.extend(children[pid])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, none when it has just ended."""
    try:
        # The name in parentheses may hold spaces and parentheses of its own.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def spent(pid: int) -> float:
    """Processor seconds of one process, and of those of its children that it has waited for."""
    return sum(map(int, _stat(pid)[11:15])) / os.sysconf("SC_CLK_TCK")


def cpu(root: int) -> float:
    """Processor seconds of ``root`` and all its descendants, those included that have ended."""
    return sum(map(spent, tree(root)))


def memory(pid: int) -> dict[str, float]:
    """MiB: ``rss`` counts all pages, ``pss`` shared ones by share, ``private`` leaves them out."""
    sums: dict[str, float] = defaultdict(float)
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        lines = []  # it has just ended
    for line in lines:
        name, kilobytes = line.split()[:2]
        sums[name] += int(kilobytes) / 1024
    private = sums["Private_Clean:"] + sums["Private_Dirty:"]
    return {"rss": sums["Rss:"], "pss": sums["Pss:"], "private": private}


def total(root: int) -> dict[str, float]:
    """The sums over the tree, and how many processes that is."""
    each = [memory(pid) for pid in tree(root)]
    sums = {kind: sum(one[kind] for one in each) for kind in ("rss", "pss", "private")}
    return {**sums, "processes": len(each)}
