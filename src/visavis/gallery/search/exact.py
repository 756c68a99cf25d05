"""Who is near: the seam that every search engine fills, and the exact one in memory.

A searcher is derived from the registry and can be thrown away: before a search the engine asks
``gallery.changes(searcher.sequence, searcher.mark)`` and hands the answer to ``searcher.update``,
again while ``more`` follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from visavis.errors import TemplateRefused
from visavis.gallery.database.vectors import unit_rows
from visavis.values import PersonId, TemplateId

from .blocks import Moved, Shelf
from .rescore import Rescoring, located
from .scan import shortlists

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from visavis.gallery.records.changes import Changes, Owned

    from .blocks import Snapshot


class Fetch(Protocol):
    """Gives the vectors of templates and whose they are; those that are gone are left out."""

    def __call__(self, ids: Sequence[TemplateId], /) -> Mapping[TemplateId, Owned]:
        """Look them up."""


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
    def mark(self) -> str:
        """The mark of the last changes applied; empty at first."""

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

    def close(self) -> None:
        """Let go of memory and connections; a second call does nothing."""

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
    """Looks at every template: first at int8 codes, then at those in float32 that may be nearest.

    The codes come with a bound on their error, and every row that may be among the nearest by that
    bound is compared in float64. So the answer is that of a full comparison, ties included.

    A search reads the rows as they were when it began, without holding up updates or other
    searches. That is sound because rows never move, a removed row's scale is set to 0 before its
    numbers are overwritten, and a search that comes upon a row that is gone starts again.

    Parameters
    ----------
    fetch
        Gives the vectors of templates and whose they are: ``gallery.owned_vectors_of``. None
        keeps all vectors in memory.
    keep
        Bytes of vectors up to which they stay in memory even so.
    """

    def __init__(self, fetch: Fetch | None = None, keep: int = 256 << 20) -> None:
        self._fetch = fetch
        self._writing = Lock()
        self._shelf = Shelf(None if fetch is None else keep)
        self._sequence, self._mark = 0, ""

    @property
    def sequence(self) -> int:
        """The registry's sequence number up to which this searcher knows."""
        return self._sequence

    @property
    def mark(self) -> str:
        """The registry's name for that entry of its log."""
        return self._mark

    @property
    def people(self) -> int:
        """Number of different people."""
        known = self._shelf.people_known
        if known is None:
            with self._writing:
                known = self._shelf.count_people()
        return known

    @property
    def bytes_held(self) -> int:
        """Memory that the rows take, vectors kept among them."""
        return self._shelf.bytes_held

    def __len__(self) -> int:
        return len(self._shelf)

    def close(self) -> None:
        """Let go of the memory; the searcher is then as new."""
        with self._writing:
            self._shelf.clear()
            self._sequence, self._mark = 0, ""

    def update(self, changes: Changes) -> None:
        """Apply changes, see `Searcher.update`."""
        with self._writing:
            asked_now = changes.since == self._sequence
            if changes.full and (asked_now or changes.sequence > self._sequence):
                self._shelf.clear(changes.templates)
            elif changes.sequence <= self._sequence:
                return  # another thread was quicker
            elif changes.since > self._sequence:
                raise ValueError(
                    f"changes from {changes.since} on do not follow {self._sequence}; ask the "
                    "gallery for changes(searcher.sequence)"
                )
            again = not (asked_now or changes.full)
            self._shelf.add(changes.added, changes.persons, changes.vectors, again=again)
            self._shelf.remove(changes.removed)
            self._sequence, self._mark = changes.sequence, changes.mark

    def nearest(self, probes: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find up to k different people for each probe, see `Searcher.nearest`."""
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one person")
        exact = unit_rows(probes)
        spare = 0
        while True:
            try:
                hits, gone = self._search(exact, k, spare)
            except Moved:
                continue
            if gone <= spare:
                return hits
            spare = gone  # whoever comes behind those has to be found as well

    def _search(
        self, probes: NDArray[np.float64], k: int, spare: int
    ) -> tuple[list[list[Hit]], int]:
        """Search once for k people and ``spare`` more; tell also how many rows were gone."""
        now = self._shelf.snapshot()
        if not now.views:
            return [[] for _ in probes], 0
        length = now.views[0].block.codes.shape[1]
        if probes.shape[1] != length:
            raise TemplateRefused(
                f"the probe has {probes.shape[1]} numbers and the gallery's templates have "
                f"{length}; use the gallery's encoder"
            )
        # Of halves of ids fewer people may be counted than there are; that decides something only
        # where k is more than all of them, and of so few no two are alike (see `Keys`).
        wanted = max(1, min(k, now.rows if now.people is None else now.people)) + spare
        # Few are fetched at first: how near they are often settles it. 16 cost little more than 1.
        first = 4 * wanted + 12 if now.views[0].block.rows is None else now.rows
        each = [
            Rescoring(probe, short, first)
            for probe, short in zip(probes, shortlists(now.views, probes, wanted), strict=True)
        ]
        owners: dict[TemplateId, PersonId] = {}
        while True:
            due = [one.due() for one in each]
            if not any(map(len, due)):
                break
            there, rows = self._vectors(now, np.concatenate(due), owners)
            ends = np.cumsum([len(some) for some in due])[:-1]
            parts = zip(each, np.split(there, ends), np.split(rows, ends), strict=True)
            for one, mine, vectors in parts:
                one.take(mine, vectors)
        return [_named(now, one, owners)[:k] for one in each], max(one.gone for one in each)

    def _vectors(
        self, now: Snapshot, at: NDArray[np.int64], owners: dict[TemplateId, PersonId]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Give which rows are still there, and their vectors; whose are fetched is noted."""
        there = np.zeros(len(at), np.bool_)
        rows = np.zeros((len(at), now.views[0].block.codes.shape[1]), np.float32)
        wanted: dict[int, TemplateId] = {}
        with self._shelf.lock:
            self._shelf.check(now)
            for view, where, numbers in located(now.views, at):
                there[where] = view.block.scales[numbers] != 0
                if view.block.rows is not None:
                    rows[where] = view.block.rows[numbers]
                else:
                    keys = view.block.templates.pairs(numbers).tolist()
                    ids = [TemplateId(now.names.name(*key)) for key in keys]
                    wanted |= dict(zip(where.tolist(), ids, strict=True))
        if wanted and self._fetch is not None:
            found = self._fetch(list(dict.fromkeys(wanted.values())))
            for n, template in wanted.items():
                owned = found.get(template)
                if owned is None:
                    there[n] = False
                else:
                    rows[n], owners[template] = owned.vector, owned.person
        return there, rows


def _named(now: Snapshot, settled: Rescoring, owners: Mapping[TemplateId, PersonId]) -> list[Hit]:
    """Name the nearest people, each by their nearest template.

    By whole ids: until here two people of whom half an id is alike counted as one, which can only
    have made more rows be looked at.
    """
    at, distances = settled.nearest()
    nearest: dict[PersonId, Hit] = {}
    for view, where, numbers in located(now.views, at):
        pairs = view.block.templates.pairs(numbers).tolist()
        templates = [TemplateId(now.names.name(*pair)) for pair in pairs]
        if view.persons.low is None:
            persons = [owners[template] for template in templates]
        else:
            pairs = view.persons.pairs(numbers).tolist()
            persons = [PersonId(now.names.name(*pair)) for pair in pairs]
        for hit in map(Hit, persons, templates, distances[where].tolist()):
            rival = nearest.get(hit.person)
            if rival is None or nearest_first(hit) < nearest_first(rival):
                nearest[hit.person] = hit
    return sorted(nearest.values(), key=nearest_first)


def nearest_first(hit: Hit) -> tuple[float, str, str]:
    """Sort key: by distance, then by ids, so that ties come out alike on every machine."""
    return hit.distance, hit.person, hit.template
