"""Where the codes lie: blocks of rows, to which rows are added and from which they are removed."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from .codes import Spread, quantise
from .identifiers import Identifiers, Keys
from .memory import zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

ROWS = 1 << 16
"""Rows in a block: as many as 16 bits number."""

_FEW = 16
"""So many ids are looked up one by one, and the people are counted as they come and go."""

_SMALL = 1024
"""A block is not tidied up for less than a quarter of so many rows."""


class Block:
    """Up to 65,536 rows that never move. Rows are added at the end; a removed one has scale 0.

    Only the first ``count`` rows are published. Memory that was not written yet costs nothing.

    Attributes
    ----------
    codes, scales
        (65536, D) int8 and (65536,) uint16, see `quantise`.
    rows
        (65536, D) float32, what the codes stand for; None where they are fetched instead.
    templates, persons
        Ids of the rows; the persons' are halves where the vectors are fetched, for whose they are
        is fetched with them.
    count, dead
        Rows published, and how many of them were removed.
    """

    __slots__ = ("codes", "count", "dead", "persons", "rows", "scales", "spread", "templates")

    def __init__(self, length: int, *, keep: bool) -> None:
        self.codes = zeros((ROWS, length), np.int8)
        self.scales = zeros(ROWS, np.uint16)
        self.rows = zeros((ROWS, length), np.float32) if keep else None
        self.templates, self.persons = Keys(ROWS), Keys(ROWS, whole=keep)
        self.spread = Spread()
        self.count = self.dead = 0

    @property
    def bytes_held(self) -> int:
        """Memory that the published rows take."""
        return self.count * bytes_a_row(self.codes.shape[1], keep=self.rows is not None)

    def let_go(self) -> None:
        """Keep the codes and halves of the persons' ids alone; the rest is fetched from now on."""
        self.rows = None
        self.persons = self.persons.halved()

    def wipe(self, rows: NDArray[np.int64] | slice) -> None:
        """Overwrite the numbers of rows that are dead, or of a block that is given up."""
        self.codes[rows] = 0
        if self.rows is not None:
            self.rows[rows] = 0


def bytes_a_row(length: int, *, keep: bool) -> int:
    """Memory that one row takes: code, scale, ids of 16 and 8 bytes and their order."""
    return length + 2 + 18 + 10 + (4 * length + 8 if keep else 0)


class Moved(Exception):
    """Rows are elsewhere now; the search has to start again."""


@dataclass(frozen=True, slots=True)
class View:
    """A block as it was when a search began."""

    block: Block
    persons: Keys
    count: int
    spread: Spread


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows as they were when a search began.

    Attributes
    ----------
    views
        The blocks that hold a living row.
    rows
        Living rows, about: some may be removed meanwhile.
    people
        Different people; None when they were not counted.
    names
        Turns keys into ids.
    generation
        Another one means that rows are elsewhere.
    """

    views: tuple[View, ...]
    rows: int
    people: int | None
    names: Identifiers
    generation: int


class Shelf:
    """The blocks of a searcher. One thread changes them at a time; the others take snapshots.

    Parameters
    ----------
    keep
        Bytes of float32 vectors up to which they are kept beside their codes; None: always.
    """

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        self.lock = Lock()  # held only for moments
        self._generation = 0
        self.clear()

    def __len__(self) -> int:
        return self._live

    @property
    def people_known(self) -> int | None:
        """Number of different people; None after many came or went at once."""
        return self._people

    @property
    def bytes_held(self) -> int:
        """Memory that the rows take."""
        return sum(block.bytes_held for block in self._blocks)

    def snapshot(self) -> Snapshot:
        """Give the rows as they are."""
        with self.lock:
            views = tuple(
                View(b, b.persons, b.count, b.spread) for b in self._blocks if b.count > b.dead
            )
            return Snapshot(views, self._live, self._people, self._names, self._generation)

    def check(self, snapshot: Snapshot) -> None:
        """Raise Moved when rows of the snapshot are elsewhere; the lock must be held."""
        if snapshot.generation != self._generation:
            raise Moved

    # What follows is called by one thread at a time.

    def clear(self, coming: int = 0) -> None:
        """Forget everything; ``coming`` is how many rows are about to be added, if that is known.

        Too many for their vectors to be kept are then not kept at first either.
        """
        with self.lock:
            self._generation += 1
            self._blocks: list[Block] = []
            self._names = Identifiers()
            self._live, self._coming = 0, coming
            self._people: int | None = 0
            self._keeping = True

    def count_people(self) -> int:
        """Count the different people."""
        if self._people is None:
            self._people = _different(self._blocks)
        return self._people

    def add(
        self,
        templates: Sequence[str],
        persons: Sequence[str],
        vectors: NDArray[np.float32],
        *,
        again: bool,
    ) -> None:
        """Add rows; ``again`` when some of the templates may be here already."""
        keys, owners = self._names.pack(templates), self._names.pack(persons)
        if again:
            known = {n for n, _, _ in self._find(keys)}
            new = [n for n in range(len(keys)) if n not in known]
            keys, owners, vectors = keys[new], owners[new], vectors[new]
        if not len(keys):
            return
        people = self._people
        if people is not None:
            people = None if len(owners) > _FEW else people + self._absent(owners)
        self._make_room(len(keys), vectors.shape[1])
        written = []
        for block, start, part in self._stretches(len(keys), vectors.shape[1]):
            end = start + len(keys[part])
            spread = quantise(vectors[part], block.codes[start:end], block.scales[start:end])
            if block.rows is not None:
                block.rows[start:end] = vectors[part]
            block.templates.put(start, keys[part])
            block.persons.put(start, owners[part])
            written.append((block, end, spread))
        self._publish(written, people)

    def remove(self, templates: Sequence[str]) -> None:
        """Remove rows and overwrite their numbers; ids that are not here are passed over."""
        if not templates or not self._blocks:
            return
        found: dict[Block, list[int]] = {}
        for _, block, row in self._find(self._names.pack(templates)):
            found.setdefault(block, []).append(row)
        owners = [
            self._bury(block, np.array(sorted(set(rows)), np.int64))
            for block, rows in found.items()
        ]
        if owners and self._people is not None:
            gone = np.concatenate(owners)
            self._people = None if len(gone) > _FEW else self._people - self._absent(gone)
        for block in found:
            if block.dead == block.count or 4 * block.dead >= max(block.count, _SMALL):
                self._tidy(block)

    def _bury(self, block: Block, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        with self.lock:
            block.scales[rows] = 0  # before the numbers, see `ExactSearcher`
            block.dead += len(rows)
            self._live -= len(rows)
        block.wipe(rows)
        return block.persons.pairs(rows)

    def _tidy(self, block: Block) -> None:
        """Write the living rows of a block once more, at the end, and give the block up."""
        live = np.flatnonzero(block.scales[: block.count])
        written = []
        for other, start, part in self._stretches(len(live), block.codes.shape[1], but=block):
            rows, end = live[part], start + len(live[part])
            other.codes[start:end] = block.codes[rows]
            other.scales[start:end] = block.scales[rows]
            if other.rows is not None and block.rows is not None:
                other.rows[start:end] = block.rows[rows]
            other.templates.put(start, block.templates.pairs(rows))
            other.persons.put(start, block.persons.pairs(rows))
            written.append((other, end, block.spread))
        self._publish(written, self._people, instead=block)
        block.wipe(slice(None))

    def _make_room(self, rows: int, length: int) -> None:
        """Let go of the vectors when they are to be more than was allowed."""
        rows = max(self._live + rows, self._coming)
        if self._keep is None or not self._keeping or 4 * length * rows <= self._keep:
            return
        with self.lock:
            self._keeping = False  # for good: blocks with and without do not mix
            for block in self._blocks:
                block.let_go()

    def _stretches(
        self, rows: int, length: int, but: Block | None = None
    ) -> Iterator[tuple[Block, int, slice]]:
        """Give places for new rows: block, first row there, and which of the new rows."""
        block = self._blocks[-1] if self._blocks and self._blocks[-1] is not but else None
        done = 0
        while done < rows:
            if block is None or block.count == ROWS or done:
                block = Block(length, keep=self._keeping)
            start = block.count
            part = slice(done, min(rows, done + ROWS - start))
            yield block, start, part
            done = part.stop

    def _publish(
        self,
        written: list[tuple[Block, int, Spread]],
        people: int | None,
        instead: Block | None = None,
    ) -> None:
        """Let searches see rows that were written, all at once, in place of a block or not."""
        with self.lock:
            for block, end, spread in written:
                self._live += end - block.count
                block.spread = block.spread.over(spread)
                block.count = end
                if block not in self._blocks:
                    self._blocks.append(block)
            if instead is not None:
                self._generation += 1
                self._live -= instead.count - instead.dead
                self._blocks.remove(instead)
            self._people = people

    def _find(self, keys: NDArray[np.uint64]) -> Iterator[tuple[int, Block, int]]:
        """Give (which key, block, row) of every living row that holds one of the keys."""
        for block in self._blocks:
            if len(keys) <= _FEW:
                hits: Iterator[tuple[int, int]] = (
                    (n, row)
                    for n, pair in enumerate(keys.tolist())
                    for row in block.templates.rows(pair, block.count)
                )
            else:
                hits = block.templates.rows_of_many(keys, block.count)
            yield from ((n, block, row) for n, row in hits if block.scales[row])

    def _absent(self, owners: NDArray[np.uint64]) -> int:
        """Count the different people among few keys who have no living row."""
        return sum(
            not any(
                block.scales[row]
                for block in self._blocks
                for row in block.persons.rows(pair, block.count)
            )
            for pair in set(map(tuple, owners.tolist()))
        )


def _different(blocks: Sequence[Block]) -> int:
    """Count the different people of living rows."""
    if not blocks:
        return 0
    alive = [np.flatnonzero(block.scales[: block.count]) for block in blocks]
    high = np.concatenate([b.persons.high[r] for b, r in zip(blocks, alive, strict=True)])
    if not len(high):
        return 0
    lows = [
        b.persons.low[r] for b, r in zip(blocks, alive, strict=True) if b.persons.low is not None
    ]
    if not lows:
        return len(np.unique(high))
    low = np.concatenate(lows)
    order = np.argsort(high)
    other = high[order[1:]] != high[order[:-1]]
    if np.any(~other & (low[order[1:]] != low[order[:-1]])):  # half an id is not enough
        return len(np.unique(np.stack([high, low], axis=1), axis=0))
    return 1 + int(np.count_nonzero(other))
