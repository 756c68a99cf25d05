"""A training set of aligned crops, opened: mapped, not read.

The reader holds nothing in memory that grows with the number of images. What lies where on the
disk is told in ``layout``.
"""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from visavis.errors import PackRefused
from visavis.train.layout import (
    ROWS,
    WORD,
    check_size,
    damaged,
    index_digest,
    index_path,
    mapped,
    read_facts,
    shard_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Damage:
    """An image that cannot be read: its row, its photograph, and what is wrong."""

    row: int
    source: str
    why: str


class Pack:
    """An opened training set; may be read from several threads.

    Attributes
    ----------
    path
        Its folder.
    alignment
        Name of the template that the crops are cut to.
    side
        Crops are (side, side, 3) uint8 RGB.
    people
        How many.
    digest
        SHA-256 that names the content: two packs of one digest hold the same crops of the same
        people in the same order.
    offsets
        (people + 1,) int64, memory-mapped: rows ``offsets[p]:offsets[p + 1]`` are person p's.
    facts
        ``pack.json`` as it stands.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.facts = facts
        self.alignment: str = facts["alignment"]
        self.side: int = facts["side"]
        self.digest: str = facts["digest"]
        self.people: int = facts["people"]
        self._images: int = facts["images"]
        self._rows = {name: mapped(path, name, dtype, self._images) for name, dtype in ROWS.items()}
        self.offsets: NDArray[np.int64] = mapped(path, "offsets", WORD, self.people + 1)
        self._names = _Texts(path, "names", self.people)
        self._sources = _Texts(path, "sources", self._images)
        self._pool: ThreadPoolExecutor | None = None
        self._threads = 1

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a pack and check versions and sizes, not every byte; see `damaged` for that.

        Raises
        ------
        PackRefused
            For a folder that is no pack, one that is unfinished, of another version, or of which
            a file is missing or cut short; the message says what to do.
        """
        facts = read_facts(path)
        for number, size in enumerate(facts["shards"]):
            check_size(path, shard_path(path, number), size)
        pack = cls(path, facts)
        if pack.offsets[0] != 0 or pack.offsets[-1] != len(pack):
            raise damaged(path, "index/offsets.npy does not fit the number of images")
        return pack

    def __len__(self) -> int:
        return self._images

    def index_whole(self) -> bool:
        """Read the index and tell whether it is the one that was written."""
        return index_digest(self.path, self.alignment) == self.digest

    def name(self, person: int) -> str:
        """Give a person's name, which is that of their folder."""
        return self._names[person]

    def source(self, row: int) -> str:
        """Give the photograph of a row: its path relative to the folder that was packed."""
        return self._sources[row]

    def owners(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the person of each row."""
        found: NDArray[np.int64] = np.searchsorted(self.offsets, rows, side="right") - 1
        return found

    def read(self, rows: NDArray[np.int64], workers: int = 1) -> NDArray[np.uint8]:
        """Decode the crops of some rows, in their order.

        Parameters
        ----------
        rows
            (N,) int64, each in 0..len - 1; may repeat.
        workers
            Threads that decode side by side.

        Returns
        -------
        (N, side, side, 3) uint8 RGB.

        Raises
        ------
        PackRefused
            When an image is damaged, naming its photograph.
        """
        rows = np.asarray(rows, np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows must lie in 0..{len(self) - 1}")
        out = np.empty((len(rows), self.side, self.side, 3), np.uint8)
        # By place on the disk, so that each worker opens few shards.
        order = np.argsort(rows, kind="stable")
        parts = np.array_split(order, min(workers, max(1, len(rows))))
        if len(parts) == 1:
            found = self._fill(out, rows, parts[0])
        else:
            some = self._pooled(workers).map(lambda part: self._fill(out, rows, part), parts)
            found = next((damage for damage in list(some) if damage), None)
        if found:
            raise PackRefused(
                f"{self.path}: the crop of {found.source} (row {found.row}) {found.why}; the disk "
                "or a copy has damaged it: 'visavis data info' lists all such; pack again"
            )
        return out

    def damaged(self, rows: NDArray[np.int64]) -> list[Damage]:
        """Read some rows and give those that cannot be."""
        one = np.empty((1, self.side, self.side, 3), np.uint8)
        found = (self._fill(one, np.array([row]), np.zeros(1, np.int64)) for row in rows)
        return [damage for damage in found if damage]

    def _fill(
        self, out: NDArray[np.uint8], rows: NDArray[np.int64], places: NDArray[np.int64]
    ) -> Damage | None:
        """Decode ``rows[places]`` into ``out[places]``; gives the first that cannot be."""
        import simplejpeg  # noqa: PLC0415

        for place, row, data in self._bytes(rows, places):
            if zlib.crc32(data) != self._rows["crc32"][row]:
                return Damage(row, self.source(row), "is damaged: its checksum is another")
            try:
                crop = simplejpeg.decode_jpeg(data, "RGB", buffer=out[place])
            except ValueError as fault:
                return Damage(row, self.source(row), f"cannot be decoded: {fault}")
            if crop.shape != out.shape[1:]:
                return Damage(row, self.source(row), f"is {crop.shape}, not {out.shape[1:]}")
        return None

    def _bytes(
        self, rows: NDArray[np.int64], places: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, bytes]]:
        """Give place, row and JPEG of each; a shard is opened once for a run of its rows."""
        wanted = rows[places]
        shards, offsets, lengths = (self._rows[n][wanted] for n in ("shard", "offset", "length"))
        for start, end in _runs(shards):
            path = shard_path(self.path, int(shards[start]))
            try:
                with path.open("rb", buffering=0) as file:
                    for at in range(start, end):
                        file.seek(int(offsets[at]))
                        yield int(places[at]), int(wanted[at]), file.read(int(lengths[at]))
            except OSError as fault:
                raise damaged(self.path, f"{path.name}: {fault.strerror or fault}") from fault

    def _pooled(self, workers: int) -> ThreadPoolExecutor:
        if self._pool is None or self._threads < workers:
            self._pool, self._threads = ThreadPoolExecutor(workers), workers
        return self._pool


class _Texts:
    """Many texts as one mapped blob and where each begins."""

    def __init__(self, pack: Path, name: str, count: int) -> None:
        self._starts = mapped(pack, f"{name}_offsets", WORD, count + 1)
        path = index_path(pack, f"{name}.txt")
        check_size(pack, path, int(self._starts[-1]))
        self._blob = np.memmap(path, np.uint8, "r")

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self._starts) - 1:
            raise IndexError(number)
        raw = bytes(self._blob[self._starts[number] : self._starts[number + 1]])
        return raw.decode("utf-8", "surrogateescape")


def _runs(values: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Give start and end of each run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    starts = [0, *edges.tolist()]
    if len(values):
        yield from zip(starts, [*starts[1:], len(values)], strict=True)
