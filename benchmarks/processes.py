"""Memory of a process and all its descendants, from Linux's /proc."""

from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """``root`` and every process below it."""
    children = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold spaces; the parent is the second field after it.
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            children[int(stat[1])].append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children[pid])
    return found


def memory(pid: int) -> dict[str, float]:
    """MiB: ``rss`` counts all pages, ``pss`` shared ones by share, ``private`` leaves them out."""
    sums: dict[str, float] = defaultdict(float)
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes = line.split()[:2]
        sums[name] += int(kilobytes) / 1024
    private = sums["Private_Clean:"] + sums["Private_Dirty:"]
    return {"rss": sums["Rss:"], "pss": sums["Pss:"], "private": private}


def total(root: int) -> dict[str, float]:
    """The sums over the tree, and how many processes that is."""
    each = [memory(pid) for pid in tree(root)]
    return {
        "pss": sum(one["pss"] for one in each),
        "private": sum(one["private"] for one in each),
        "processes": len(each),
    }
