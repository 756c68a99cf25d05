"""Looks through the raw bytes of files for what should no longer be in them.

Run as a program of its own: it reads a JSON order on standard input and writes a JSON answer.
Closing a file drops every lock that the process holds on it, also those of a gallery that is open
at the time (https://www.sqlite.org/howtocorrupt.html, 2.2), so the process that has the gallery
open cannot read its file. Standard library only: it starts within some 20 ms.

The order is ``{"files": [path], "needles": [{"what", "hex", "allowed": [[before, after]]}]}``;
``before`` and ``after`` are regular expressions over bytes (as Latin-1) that match what stands
directly around an occurrence that is no fault. The answer is ``[{"file", "what", "count"}]``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 24
CONTEXT = 1024
"""Bytes around an occurrence that the expressions may look at."""


def scan(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the occurrences that are not allowed, counted by file and needle."""
    needles = [
        (
            needle["what"],
            bytes.fromhex(needle["hex"]),
            [_around(before, after) for before, after in needle["allowed"]],
        )
        for needle in order["needles"]
    ]
    found = []
    for file in order["files"]:
        counts = [0] * len(needles)
        for window, begin, end in _windows(Path(file)):
            for n, (_, needle, allowed) in enumerate(needles):
                counts[n] += _count(window, begin, end, needle, allowed)
        found += [
            {"file": file, "what": needles[n][0], "count": count}
            for n, count in enumerate(counts)
            if count
        ]
    return found


def _windows(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Give pieces with their surroundings, and where in them a new occurrence may begin."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        before, piece = b"", file.read(CHUNK)
        while piece:
            following = file.read(CHUNK)
            window = before + piece + following[: 2 * CONTEXT]
            yield window, len(before), len(before) + len(piece)
            before, piece = piece[-CONTEXT:], following


def _count(
    window: bytes, begin: int, end: int, needle: bytes, allowed: list[tuple[Any, Any]]
) -> int:
    count, at = 0, window.find(needle, begin)
    while 0 <= at < end:
        before = window[max(0, at - CONTEXT) : at]
        after = window[at + len(needle) : at + len(needle) + CONTEXT]
        count += not any(b.search(before) and a.match(after) for b, a in allowed)
        at = window.find(needle, at + 1)
    return count


def _around(before: str, after: str) -> tuple[Any, Any]:
    return (
        re.compile(b"(?:" + before.encode("latin-1") + rb")\Z", re.DOTALL),
        re.compile(after.encode("latin-1"), re.DOTALL),
    )


if __name__ == "__main__":
    json.dump(scan(json.load(sys.stdin)), sys.stdout)
