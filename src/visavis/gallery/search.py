"""Who is near: the seam that every search engine fills, and the exact one in memory.

A searcher is derived from the registry and can be thrown away: before a search the engine asks
``gallery.changes(searcher.sequence)`` and hands the answer to ``searcher.update``.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from visavis.errors import TemplateRefused

from .vectors import ROUNDING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.values import PersonId, TemplateId

    from .changes import Changes

_BLOCK = 1 << 24
"""Numbers in one block of cosines (64 MiB), so that many probes do not fill the memory."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A person near a probe, by their nearest template; distance is squared Euclidean, [0, 4]."""

    person: PersonId
    template: TemplateId
    distance: float


class Searcher(Protocol):
    """Finds the enrolled people nearest to a face. Safe to share between threads."""

    @property
    def sequence(self) -> int:
        """The registry's sequence number up to which this searcher knows; 0 at first."""

    @property
    def people(self) -> int:
        """Number of different people it can find."""

    def __len__(self) -> int:
        """Count the templates."""

    def update(self, changes: Changes) -> None:
        """Apply changes; those it has seen already change nothing.

        Raises
        ------
        ValueError
            When they begin after ``sequence``: something in between would be missed.
        """

    def nearest(self, probes: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find up to k different people for each probe.

        Parameters
        ----------
        probes
            (N, D) float32 unit rows.
        k
            At least 1.

        Returns
        -------
        list of list of Hit
            N lists, each nearest first; shorter than k when fewer people are enrolled.

        Raises
        ------
        TemplateRefused
            When probes are not finite unit rows of the gallery's length.
        """


class ExactSearcher:
    """Compares with every template, in float32, and settles the nearest in float64.

    Rows lie without gaps: the last one moves into the place of a removed one, whose numbers are
    overwritten. One lock orders updates and searches; a search is bound by the memory's speed, so
    two at once would not be faster.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._sequence = 0
        self._forget()

    @property
    def sequence(self) -> int:
        """The registry's sequence number up to which this searcher knows."""
        return self._sequence

    @property
    def people(self) -> int:
        """Number of different people."""
        return len(self._counts)

    def __len__(self) -> int:
        return len(self._templates)

    def update(self, changes: Changes) -> None:
        """Apply changes, see `Searcher.update`."""
        with self._lock:
            asked_now = changes.since == self._sequence
            if changes.full and (asked_now or changes.sequence > self._sequence):
                self._forget()
            elif changes.sequence <= self._sequence:
                return  # another thread was quicker
            elif changes.since > self._sequence:
                raise ValueError(
                    f"changes from {changes.since} on do not follow {self._sequence}; ask the "
                    "gallery for changes(searcher.sequence)"
                )
            self._add(changes)
            self._remove(changes.removed)
            self._sequence = changes.sequence

    def nearest(self, probes: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find up to k different people for each probe, see `Searcher.nearest`."""
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one person")
        exact = _unit_rows(probes)
        with self._lock:
            if not self._templates:
                return [[] for _ in exact]
            if exact.shape[1] != self._rows.shape[1]:
                raise TemplateRefused(
                    f"the probe has {exact.shape[1]} numbers and the gallery's templates have "
                    f"{self._rows.shape[1]}; use the gallery's encoder"
                )
            hits: list[list[Hit]] = []
            step = max(1, _BLOCK // len(self._templates))
            live = self._rows[: len(self._templates)]
            for start in range(0, len(exact), step):
                block = exact[start : start + step]
                cosines = block.astype(np.float32) @ live.T
                hits += [self._settled(p, c, k) for p, c in zip(block, cosines, strict=True)]
            return hits

    def _settled(
        self, probe: NDArray[np.float64], cosines: NDArray[np.float32], k: int
    ) -> list[Hit]:
        """Name the k nearest people among rows whose cosines (M,) are known to float32."""
        wanted = min(k, len(self._counts))
        # Both cosines of a comparison may be off by D roundings, and the rows' length by a few.
        slack = np.float32((2 * len(probe) + 64) * 2.0**-24)
        bound = self._cosine_of_person(cosines, wanted) - slack
        rows = np.flatnonzero(cosines >= bound)
        difference = self._rows[rows].astype(np.float64) - probe
        distances = np.einsum("nd,nd->n", difference, difference)
        nearest: dict[PersonId, Hit] = {}
        for row, distance in zip(rows.tolist(), distances.tolist(), strict=True):
            hit = Hit(self._persons[row], self._templates[row], min(distance, 4.0))
            rival = nearest.get(hit.person)
            if rival is None or _order(hit) < _order(rival):
                nearest[hit.person] = hit
        return sorted(nearest.values(), key=_order)[:k]

    def _cosine_of_person(self, cosines: NDArray[np.float32], wanted: int) -> np.float32:
        """Give a cosine that at least ``wanted`` different people reach."""
        size = len(cosines)
        take = min(size, 2 * wanted)
        while take < size:
            rows = np.argpartition(cosines, size - take)[size - take :]
            if len({self._persons[row] for row in rows.tolist()}) >= wanted:
                return np.float32(cosines[rows].min())
            take = min(size, 4 * take)
        return np.float32(cosines.min())

    def _forget(self) -> None:
        self._rows = np.empty((0, 0), dtype=np.float32)  # (capacity, D)
        self._templates: list[TemplateId] = []
        self._persons: list[PersonId] = []
        self._row_of: dict[TemplateId, int] = {}
        self._counts: dict[PersonId, int] = {}

    def _add(self, changes: Changes) -> None:
        new = [n for n, template in enumerate(changes.added) if template not in self._row_of]
        if not new:
            return
        used = len(self._templates)
        self._reserve(used + len(new), changes.vectors.shape[1])
        self._rows[used : used + len(new)] = (
            changes.vectors if len(new) == len(changes.added) else changes.vectors[new]
        )
        for n in new:
            person = changes.persons[n]
            self._row_of[changes.added[n]] = len(self._templates)
            self._templates.append(changes.added[n])
            self._persons.append(person)
            self._counts[person] = self._counts.get(person, 0) + 1

    def _reserve(self, rows: int, width: int) -> None:
        if not self._templates:
            self._rows = np.zeros((rows, width), dtype=np.float32)
        elif rows > len(self._rows):
            # Half as much again each time: adding one by one stays linear over all.
            larger = np.zeros((max(rows, len(self._rows) * 3 // 2 + 16), width), dtype=np.float32)
            larger[: len(self._templates)] = self._rows[: len(self._templates)]
            self._rows = larger

    def _remove(self, templates: tuple[TemplateId, ...]) -> None:
        for template in templates:
            row = self._row_of.pop(template, None)
            if row is None:
                continue
            person = self._persons[row]
            self._counts[person] -= 1
            if not self._counts[person]:
                del self._counts[person]
            last = len(self._templates) - 1
            if row != last:
                self._rows[row] = self._rows[last]
                self._templates[row] = self._templates[last]
                self._persons[row] = self._persons[last]
                self._row_of[self._templates[row]] = row
            self._rows[last] = 0.0
            self._templates.pop()
            self._persons.pop()


def _order(hit: Hit) -> tuple[float, str, str]:
    return hit.distance, hit.person, hit.template


def _unit_rows(probes: NDArray[np.float32]) -> NDArray[np.float64]:
    if probes.ndim != 2:
        raise TemplateRefused(f"probes are rows (N, D), not {probes.shape}")
    exact = probes.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    if not np.all(np.abs(lengths - 1.0) <= 1e-3):
        raise TemplateRefused("a probe is not a finite unit vector; see what the encoder gave")
    lengths[np.abs(lengths - 1.0) <= ROUNDING] = 1.0  # the same vector is at distance 0
    unit: NDArray[np.float64] = exact / lengths[:, None]
    return unit
