"""What is wrong with a training set, before days are spent on it: counts, damage, twins, labels."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from visavis.errors import PackRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.train.pack import Damage, Pack

    Encode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    """(N, side, side, 3) uint8 RGB to (N, D) float32 unit rows."""

_BLOCK = 1024
"""Rows compared with as many at once: two matrices of 4 MB."""
_TOGETHER = 128
"""Crops decoded at once."""
_MOST = 100_000
"""Findings of a kind that are listed; beyond, they are only counted."""
_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 500)
"""Where the groups of people by number of images begin."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What an encoder is asked to say of a pack.

    Attributes
    ----------
    encode
        Crops to unit vectors.
    encoder
        Its name, for the record.
    tau
        An image that more images of somebody else than of its own person are as near to as this
        is likely mislabelled: take the threshold of a search among all images.
    unlike
        An image farther than this from every other of its person is likely not theirs.
    twin
        Two images no farther apart are likely one photograph, cropped, scaled or compressed anew,
        or two of one moment. Of SFace's d, whose nearest pairs of LFW are such up to here; an
        encoder with another spread of distances needs another.
    workers
        Crops encoded side by side.
    """

    encode: Encode
    encoder: str
    tau: float
    unlike: float
    twin: float = 0.1
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image that an encoder doubts.

    Attributes
    ----------
    own
        d to the nearest other image of its person; None when there is none.
    other, who, near
        d to the nearest image of somebody else, their name, and that image.
    """

    row: int
    source: str
    person: str
    own: float | None
    other: float | None
    who: str
    near: str


@dataclass(frozen=True, slots=True)
class Twins:
    """Two images that are likely one photograph."""

    a: str
    b: str
    distance: float
    same_person: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Attributes
    ----------
    histogram
        Smallest number of images of a group, and how many people are in it.
    index_whole
        False when a file of the index is not the one that was written.
    damaged
        Images that cannot be read; None when nothing was read.
    mislabelled
        Within tau of more images of somebody else than of their own person.
    unlike
        Far from all others of their person, and not near to somebody else.
    twins, mislabelled, unlike
        None when no encoder was asked.
    """

    path: Path
    facts: dict[str, Any]
    bytes: int
    histogram: tuple[tuple[int, int], ...]
    index_whole: bool = True
    damaged: tuple[Damage, ...] | None = None
    encoder: str = ""
    tau: float | None = None
    twins: tuple[Twins, ...] | None = None
    mislabelled: tuple[Suspect, ...] | None = None
    unlike: tuple[Suspect, ...] | None = None


def histogram(offsets: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Count people by number of images: from 1, from 2, from 3, from 5, from 10, and so on."""
    counts, _ = np.histogram(np.diff(offsets), [*_EDGES, np.inf])
    return tuple((edge, int(count)) for edge, count in zip(_EDGES, counts, strict=True))


def inspect(
    pack: Pack,
    judge: Judge | None = None,
    *,
    fast: bool = False,
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> Inspection:
    """Inspect a pack.

    Memory does not grow with the images but for what is found: encodings lie in a temporary file,
    and are compared block by block. Comparing takes time that grows with the square of their
    number.

    Parameters
    ----------
    judge
        Without one, crops are only read.
    fast
        Count only; nothing is read.
    told
        Called with how many images have been read, and of how many.
    """
    size = sum(pack.facts["shards"])
    counts = histogram(pack.offsets)
    if fast:
        return Inspection(pack.path, pack.facts, size, counts)
    whole = pack.index_whole()
    if judge is None:
        damaged: list[Damage] = []
        for _ in _blocks(pack, damaged, told):
            pass
        return Inspection(pack.path, pack.facts, size, counts, whole, tuple(damaged))
    with tempfile.TemporaryFile() as file:
        vectors, rows, damaged = _encoded(pack, judge, file, told)
        found = _Search(pack, judge, vectors, rows)
        found.run()
    return Inspection(
        pack.path,
        pack.facts,
        size,
        counts,
        whole,
        tuple(damaged),
        judge.encoder,
        judge.tau,
        tuple(found.twins),
        tuple(found.mislabelled),
        tuple(found.unlike),
    )


def _blocks(
    pack: Pack, damaged: list[Damage], told: Callable[[int, int], None], workers: int = 1
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Give rows and crops of all that can be read; notes what cannot."""
    step = _TOGETHER * workers
    for start in range(0, len(pack), step):
        rows = np.arange(start, min(start + step, len(pack)), dtype=np.int64)
        try:
            crops = pack.read(rows, workers)
        except PackRefused:
            found = pack.damaged(rows)
            damaged += found
            rows = np.setdiff1d(rows, [each.row for each in found])
            crops = pack.read(rows, workers)
        yield rows, crops
        told(min(start + step, len(pack)), len(pack))


def _encoded(
    pack: Pack, judge: Judge, file: IO[bytes], told: Callable[[int, int], None]
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[Damage]]:
    """Encode all crops into a file; gives the mapped (N, D) vectors and the row of each."""
    damaged: list[Damage] = []
    kept: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    dimension = 0
    with ThreadPoolExecutor(judge.workers) as pool:
        for rows, crops in _blocks(pack, damaged, told, judge.workers):
            parts = [part for part in np.array_split(crops, judge.workers) if len(part)]
            for vectors in pool.map(judge.encode, parts):
                dimension = vectors.shape[1]
                file.write(np.ascontiguousarray(vectors, np.float32).tobytes())
            kept.append(rows)
    file.flush()
    found = np.concatenate(kept)
    if not len(found):
        return np.empty((0, 0), np.float32), found, damaged
    return np.memmap(file, np.float32, "r", shape=(len(found), dimension)), found, damaged


class _Search:
    """Compares every image with every other, a block with a block."""

    def __init__(
        self, pack: Pack, judge: Judge, vectors: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> None:
        self._pack = pack
        self._judge = judge
        self._vectors = vectors
        self._rows = rows
        self._owners = pack.owners(rows)
        self.twins: list[Twins] = []
        self.mislabelled: list[Suspect] = []
        self.unlike: list[Suspect] = []

    def run(self) -> None:
        """Fill the lists of what is found."""
        for start in range(0, len(self._rows), _BLOCK):
            self._judged(slice(start, min(start + _BLOCK, len(self._rows))))

    def _judged(self, block: slice) -> None:
        """Find the nearest of their own and of others for a block of images."""
        size = block.stop - block.start
        own, other = np.full(size, np.inf), np.full(size, np.inf)
        nearest = np.zeros(size, np.int64)
        for start in range(0, len(self._rows), _BLOCK):
            end = min(start + _BLOCK, len(self._rows))
            d = 2 - 2 * (self._vectors[block] @ self._vectors[start:end].T)
            same = self._owners[block, None] == self._owners[None, start:end]
            itself = np.arange(block.start, block.stop)[:, None] == np.arange(start, end)
            own = np.minimum(own, np.where(same & ~itself, d, np.inf).min(axis=1))
            others = np.where(same, np.inf, d)
            at = others.argmin(axis=1)
            here = others[np.arange(size), at]
            nearest = np.where(here < other, start + at, nearest)
            other = np.minimum(other, here)
            if start >= block.start:
                self._note_twins(d, block.start, start)
        self._note_suspects(block, own, other, nearest)

    def _note_twins(self, d: NDArray[np.float32], first: int, second: int) -> None:
        for a, b in np.argwhere(d <= self._judge.twin).tolist():
            left, right = first + a, second + b
            if left < right and len(self.twins) < _MOST:
                same = bool(self._owners[left] == self._owners[right])
                distance = max(0.0, float(d[a, b]))
                self.twins.append(Twins(self._source(left), self._source(right), distance, same))

    def _note_suspects(
        self,
        block: slice,
        own: NDArray[np.float64],
        other: NDArray[np.float64],
        nearest: NDArray[np.int64],
    ) -> None:
        wrong = np.zeros(len(own), bool)
        # One photograph under two names is told as twins already.
        near = (other <= self._judge.tau) & (other > self._judge.twin)
        for at in np.flatnonzero(near):
            wrong[at] = self._outvoted(block.start + int(at), int(nearest[at]))
        unlike = ~wrong & np.isfinite(own) & (own > self._judge.unlike)
        for flags, found in ((wrong, self.mislabelled), (unlike, self.unlike)):
            for at in np.flatnonzero(flags)[: max(0, _MOST - len(found))].tolist():
                found.append(
                    self._suspect(block.start + at, float(own[at]), float(other[at]), nearest[at])
                )

    def _outvoted(self, place: int, near: int) -> bool:
        """Tell whether more images of somebody else than of its own person are within tau.

        Being nearer to one image of theirs is not enough: that one may be in the wrong folder.
        """
        own, other = (
            np.searchsorted(self._owners, [owner, owner + 1])
            for owner in (self._owners[place], self._owners[near])
        )
        d = [2 - 2 * (self._vectors[a:b] @ self._vectors[place]) for a, b in (own, other)]
        votes = [int((each <= self._judge.tau).sum()) for each in d]
        return votes[1] > votes[0] - 1  # the image itself is among its own

    def _suspect(self, place: int, own: float, other: float, near: int) -> Suspect:
        apart = np.isfinite(other)
        return Suspect(
            int(self._rows[place]),
            self._source(place),
            self._pack.name(int(self._owners[place])),
            own if np.isfinite(own) else None,
            other if apart else None,
            self._pack.name(int(self._owners[near])) if apart else "",
            self._source(near) if apart else "",
        )

    def _source(self, place: int) -> str:
        return self._pack.source(int(self._rows[place]))
