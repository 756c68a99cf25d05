"""Time several pieces of work in turn, so that a machine whose speed drifts treats all alike."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def one_core() -> None:
    """Keep this process, and every thread it starts, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def interleaved(
    works: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 3
) -> dict[str, list[float]]:
    """Run each piece of work once a round; gives milliseconds by name, a value a round."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warmup + rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number >= warmup:
                taken[name].append((time.perf_counter() - start) * 1000)
    return taken


def ratio(taken: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """Give the median over the rounds of slow / fast."""
    return median(s / f for s, f in zip(taken[slow], taken[fast], strict=True))
