"""Which process holds something that is written down, and whether it is known to have died.

A number alone is not enough: it is given again after a death, and every container counts its own.
So a process is named by the machine's boot, the namespaces it counts in, its number and the moment
it began; only who shares boot and namespaces can say anything about it.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_STATE, _BEGAN = 0, 19
"""Fields of ``/proc/PID/stat`` after the name, see proc(5): its state, and the clock ticks from the
boot to its beginning."""
_OVER = {"Z", "X", "x"}
"""It has ended; whoever started it has not asked how."""


def this_process() -> str:
    """Name this process; empty where the system does not say enough."""
    number = os.getpid()
    where, stat = _where(), _stat(number)
    return f"{where}:{number}:{stat[_BEGAN]}" if where and stat else ""


def has_died(name: str) -> bool:
    """Tell whether a process is known to be gone; False when that cannot be known here."""
    where, number, began = ["", "", *name.rsplit(":", 2)][-3:]
    if not where or where != _where() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is there, and not ours to signal
        pass
    stat = _stat(int(number))
    # A process of somebody else may be hidden; then its number alone says that it lives.
    return bool(stat) and (stat[_STATE] in _OVER or stat[_BEGAN] != began)


def _where() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        spaces = [str((_PROC / "self/ns" / kind).readlink()) for kind in ("pid", "time")]
    except (OSError, ValueError):
        return ""
    return "/".join([boot, *spaces])


def _stat(number: int) -> list[str]:
    try:
        told = (_PROC / str(number) / "stat").read_text("utf-8", "replace")
    except OSError:
        return []
    # The name before it stands in parentheses and may hold anything.
    return told.rpartition(")")[2].split()
