"""Descendants, CPU time and memory of processes, from the kernel."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
#: The source of CPU time and memory; systems without it do not measure them.
AVAILABLE = (_PROC / "self" / "smaps_rollup").exists()


def tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    try:
        children = (_PROC / f"{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid] + [found for child in children for found in tree(int(child))]


def cpu_seconds(pids: list[int]) -> float:
    """Return the seconds of CPU that *pids* have used."""
    return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def name(pid: int) -> str:
    """Return the name of a process; an ended one has none."""
    try:
        return (_PROC / f"{pid}/comm").read_text().strip()
    except OSError:
        return ""


def memory_mb(pid: int) -> dict[str, float]:
    """Return the resident memory of a process, its share of it, and what is its own, in MB."""
    kilobytes = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)
    for line in (_PROC / f"{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in kilobytes:
            kilobytes[name] = int(value.split()[0])
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    megabytes = {"rss_mb": kilobytes["Rss"], "pss_mb": kilobytes["Pss"], "uss_mb": own}
    return {name: value / 1024 for name, value in megabytes.items()}


def _ticks(pid: int) -> int:
    try:
        fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
