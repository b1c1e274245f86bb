"""How much memory this process may still take: what the machine has free, and its control groups.

A container's limit is a control group's, which the machine's own figures do not show. Pages of
files count as free, since the system takes them back when it needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 1 << 60  # version 1 writes "no limit" as a number near 2⁶³


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many bytes are free, as far as can be told.

    Args:
        proc: Where the kernel tells of processes.
        groups: Where it tells of control groups, version 1 or 2.
    """
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *_group_room(proc, groups)]))


def _group_room(proc: Path, groups: Path) -> Iterator[int]:
    """What each group that this process is in, and each group above it, leaves free."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "")
            base = groups
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            base = groups / "memory"
        else:
            continue
        # A container sees its own group as the root, whatever it is called outside.
        place = Path(name.lstrip("/"))
        for group in (place, *place.parents):
            room = _room(base / group, *names)
            if room is not None:
                yield room


def _room(group: Path, limit: str, usage: str, prefix: str) -> int | None:
    """What a group leaves free; None if it has no limit, or is not there."""
    try:
        most = int((group / limit).read_text())
        taken = int((group / usage).read_text())
        told = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        stat = {words[0]: int(words[1]) for words in told if len(words) == 2}
    except (OSError, ValueError):  # "max" is no number
        return None
    if most >= _UNLIMITED:
        return None
    files = stat.get(f"{prefix}active_file", 0) + stat.get(f"{prefix}inactive_file", 0)
    return most - taken + files
