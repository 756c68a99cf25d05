"""A searcher outside filled from the gallery, and every row of it held against the gallery.

There is no way back to be made: the gallery has all that the searcher has, and the searcher not
all that the gallery has. Whoever wants to search without it drops it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import CopyDiffers
from visavis.gallery.search.searchers import catch_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.gallery.search.milvus import MilvusSearcher, Registry

    from .contents import Told

PORTION = 8_192
"""Rows that are read back at a time."""
_TRIES = 5
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Filled:
    """What the searcher holds.

    Attributes
    ----------
    name
        Of the collection.
    templates
        Rows, counted there.
    digest
        SHA-256 of template and person of every row in the order of the change log, found alike in
        the gallery and in the searcher; every vector was held against its own as well.
    """

    name: str
    templates: int
    digest: str


def fill(searcher: MilvusSearcher, gallery: Registry, told: Told | None = None) -> Filled:
    """Send what a searcher lacks, then read all of it back.

    Parameters
    ----------
    told
        Called after every portion that was sent or read back, with log entries done and in all.

    Raises
    ------
    SearchUnavailable
    CopyDiffers
        When what it gives back is not what the gallery holds.
    """
    for _ in range(_TRIES):
        catch_up(searcher, gallery, told)
        before = gallery.info().sequence
        mine, theirs, count = _read_back(searcher, gallery, told)
        rows = searcher.count()
        if mine == theirs and rows == count:
            return Filled(searcher.name, rows, theirs)
        if gallery.info().sequence == before:
            break
    raise CopyDiffers(
        f"{searcher.name} in Milvus holds {rows} rows that digest to {theirs[:16]}, and the "
        f"gallery {count} that digest to {mine[:16]}; drop it (--drop) and fill it again"
    )


def _read_back(
    searcher: MilvusSearcher, gallery: Registry, told: Told | None
) -> tuple[str, str, int]:
    """Digest the gallery's rows and the searcher's, and count the gallery's."""
    mine, theirs, count = hashlib.sha256(), hashlib.sha256(), 0
    since, mark, more = 0, "", True
    while more:
        changes = gallery.changes(since, mark, PORTION)
        since, mark, more = changes.sequence, changes.mark, changes.more
        there = searcher.rows(changes.added)
        turned = searcher.turned(changes.vectors)
        for template, person, own in zip(changes.added, changes.persons, turned, strict=True):
            mine.update(_line(template, person))
            if template in there:
                whose, vector = there[template]
                theirs.update(_line(template, whose, alike=_alike(own, vector)))
        count += len(changes.added)
        if told:
            told(since, gallery.info().sequence)
    return mine.hexdigest(), theirs.hexdigest(), count


def _alike(own: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    # Turned in portions of another size, a vector may be rounded otherwise.
    return own.shape == other.shape and float(np.abs(own - other).max()) <= _ROUNDING


def _line(template: str, person: str, *, alike: bool = True) -> bytes:
    return f"{template}{person}{'' if alike else '!'}\n".encode()
