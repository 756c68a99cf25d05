"""Search in Milvus: for galleries that outgrow one machine, and for machines that share one.

What lies in Milvus is derived and can be thrown away. It holds ids and turned vectors, and says up
to which entry of the gallery's change log it has them; that is written after the rows of a portion
are acknowledged, so whoever crashes in between is followed by one who sends the portion again.
An answer counts only when the rows are found complete after the search; otherwise they are sent
again, and where that does not help there is an error, never a wrong "not recognized".
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import numpy as np

from visavis.errors import SearchUnavailable, TemplateRefused
from visavis.gallery.database.vectors import unit_rows
from visavis.gallery.secrets.protection import derived
from visavis.gallery.secrets.rotation import secret_rotation

from .exact import Hit, nearest_first
from .milvus_collection import CollectionGone, Eraser, MilvusAddress, MilvusCollection, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from visavis.gallery.records.changes import Changes
    from visavis.gallery.records.outcomes import GalleryInfo
    from visavis.values import PersonId, TemplateId

_TRIES = 5
_LEASE = 12
"""Times the timeout of one question that another process may take to send a portion."""


class Registry(Protocol):
    """What is asked of the gallery: `Gallery` fits."""

    def info(self) -> GalleryInfo:
        """Its id, sequence number and sizes."""

    @property
    def size(self) -> int:
        """Number of people."""

    def changes(self, since: int, mark: str = "", limit: int = ...) -> Changes:
        """Tell what happened since."""

    def alone(self, patience: float) -> AbstractContextManager[None]:
        """Keep other processes from sending changes."""

    def vectors_of(self, ids: Sequence[TemplateId]) -> dict[TemplateId, NDArray[np.float32]]:
        """Vectors of those who are still enrolled."""


class MilvusSearcher:
    """Finds people through a Milvus server or file; see `Searcher`.

    Every method may raise SearchUnavailable. Distances are computed here, from the gallery's own
    vectors: Milvus only proposes.

    Parameters
    ----------
    secret
        The gallery's own; vectors are turned by a matrix made from it before they leave.
    """

    def __init__(self, gallery: Registry, address: MilvusAddress, secret: bytes) -> None:
        self._gallery = gallery
        self._secret = secret
        self._family = f"visavis_{gallery.info().id}_"
        key = derived(secret, "name of a Milvus collection")[:6].hex()
        self._collection = MilvusCollection(address, self._family + key)
        self._lock = RLock()
        self._state: State | None = None
        self._nobody: Changes | None = None  # the gallery was found empty there
        self._seen = ""  # stamp up to which searches see the rows
        self._checked = ""  # generation that was counted against the gallery
        self._lost = ""  # generation that lacks rows
        self._matrix = np.empty((0, 0), dtype=np.float32)
        self._eraser = Eraser(self._collection)

    @property
    def name(self) -> str:
        """The collection's name in Milvus."""
        return self._collection.name

    @property
    def sequence(self) -> int:
        """Up to where Milvus has the change log, whoever put it there; asks Milvus."""
        with self._lock:
            state = self._look()
            if state is not None:
                return state.sequence
            return self._nobody.sequence if self._nobody else 0

    @property
    def mark(self) -> str:
        """The mark that goes with the ``sequence`` told last."""
        with self._lock:
            if self._state is not None:
                return self._state.mark
            return self._nobody.mark if self._nobody else ""

    @property
    def people(self) -> int:
        """Number of different people."""
        return self._gallery.size

    def __len__(self) -> int:
        return self._state.count if self._state else 0

    def close(self) -> None:
        """Finish an erasure and let go of the connection; a second call does nothing."""
        self._eraser.finish()
        with self._lock:
            self._collection.close()

    def update(self, changes: Changes) -> None:
        """Send changes to Milvus, unless somebody else was quicker; see `Searcher.update`."""
        with self._lock, self._alone(), suppress(CollectionGone):
            known = self._state
            state = self._look()
            if _place(state) != _place(known):
                return  # another process has moved it: ask the gallery again from there
            if changes.full:
                state = self._begun(changes)
            elif state is not None and state.sequence != changes.since:
                raise ValueError(
                    f"changes from {changes.since} on do not follow {state.sequence}; ask the "
                    "gallery for changes(searcher.sequence, searcher.mark)"
                )
            elif state is None and changes.added:
                state = self._made(changes)
            if state is None:
                self._nobody = changes
                return
            self._send(state, changes)

    def nearest(self, probes: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """Find up to k different people for each probe, see `Searcher.nearest`."""
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one person")
        exact = unit_rows(probes)
        for _ in range(_TRIES):
            state = self._state
            try:
                found = self._found(state, exact, k)
                if self._complete(state):
                    return found
            except CollectionGone:
                pass
            self._catch_up()
        raise SearchUnavailable(
            f"Milvus at {self._collection.address.uri} did not hold the whole gallery "
            f"{_TRIES} times: something else removes its rows, or two galleries with one id share "
            "it; give each a database of its own (milvus://host:port/database)"
        )

    def holding(self, templates: Sequence[TemplateId]) -> set[TemplateId]:
        """Which of the templates Milvus still finds, in this and in earlier collections.

        To check an erasure: of somebody removed there is none.
        """
        found: set[TemplateId] = set()
        for name in self._collection.beginning(self._family):
            other = MilvusCollection(self._collection.address, name)
            try:
                found |= other.holding(templates, strong=True)
            except CollectionGone:
                continue
            finally:
                other.close()
        return found

    def count(self) -> int:
        """Count the rows that Milvus has of this gallery, once it has seen all that was sent."""
        try:
            return self._collection.count(strong=True)
        except CollectionGone:
            return 0

    def rows(
        self, templates: Sequence[TemplateId]
    ) -> dict[TemplateId, tuple[PersonId, NDArray[np.float32]]]:
        """Give person and turned vector of those of the templates that Milvus has."""
        try:
            return self._collection.rows(templates)
        except CollectionGone:
            return {}

    def turned(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn vectors (N, D) as they are before they leave."""
        if not len(vectors):
            return vectors
        turned: NDArray[np.float32] = vectors @ self._turn(vectors.shape[1])
        return turned

    def drop(self) -> None:
        """Drop all that Milvus holds of this gallery; the next search fills it again."""
        with self._lock, self._alone():
            for name in self._collection.beginning(self._family):
                self._collection.drop(name)
            self._state = None

    def _alone(self) -> AbstractContextManager[None]:
        """Send nothing while another process does."""
        return self._gallery.alone(_LEASE * self._collection.address.timeout)

    # Where it stands

    def _look(self) -> State | None:
        """Read the state, and tell a collection that cannot be used from one that can."""
        state = self._collection.state()
        if state is not None and state.generation == self._lost:
            state = None
        if state is not None:
            self._nobody = None
            index = self._collection.address.index
            if state.index != index:
                raise SearchUnavailable(
                    f"the collection {self.name} in Milvus has the index {state.index}, and "
                    f"{index} is asked for; ask for ?index={state.index}, or drop the collection: "
                    "it is filled again from the gallery"
                )
        self._state = state
        return state

    def _complete(self, state: State | None) -> bool:
        """Tell whether the rows are all there, and were when they were searched in ``state``."""
        with self._lock:
            if state is None:
                return self._look() is None and not self._gallery.info().templates
            for _ in range(_TRIES):
                before = self._look()
                if before is None or before.generation != state.generation:
                    return False
                self._see(before)
                rows = self._collection.count()
                if before.allows(rows) and self._agrees(before, rows):
                    return True
                # Others may have moved on between the two questions; and before everything is
                # sent again, Milvus is asked in the way that waits for all.
                rows = self._collection.count(strong=True)
                if before == self._look() and not before.allows(rows):
                    break
            self._lost = state.generation
            return False

    def _agrees(self, state: State, rows: int) -> bool:
        """Count a collection once against the gallery itself, when both are at one point."""
        if not state.resting:
            # More was on its way than this gallery knows of: it was put back from a backup.
            return not self._gallery.changes(state.sequence, state.mark, 1).empty
        if self._checked == state.generation:
            return True
        info = self._gallery.info()
        if info.sequence != state.sequence:
            return True  # later, when they are
        if info.templates != rows:
            return False
        self._checked = state.generation
        return True

    def _see(self, state: State) -> None:
        if state.stamp != self._seen:
            self._collection.catch_sight(state.dimension)
            self._seen = state.stamp

    def _catch_up(self) -> None:
        from .searchers import catch_up  # noqa: PLC0415 - it imports this module

        with self._lock:
            catch_up(self, self._gallery)

    # Sending

    def _begun(self, changes: Changes) -> State | None:
        """Forget everything, also what lies under earlier secrets."""
        for name in self._collection.beginning(self._family):
            self._collection.drop(name)
        return self._made(changes) if changes.added else None

    def _made(self, changes: Changes) -> State:
        dimension = changes.vectors.shape[1]
        index = self._collection.address.index
        state = State(uuid4().hex, uuid4().hex, dimension, index, 0, "", 0)
        self._collection.make(state)
        return state

    def _send(self, state: State, changes: Changes) -> None:
        """Bring one portion in, and write down first that it comes and then that it is there."""
        if changes.added and changes.vectors.shape[1] != state.dimension:
            self._lost = state.generation
            return  # the gallery has another encoder: it is made anew
        collection = self._collection
        added, base = set(changes.added), state.count
        self._see(state)
        if not state.resting:
            # Somebody crashed half way through: what is there is counted, not concluded.
            added -= collection.holding(changes.added)
            base = collection.count()
            self._checked = ""
        gone = collection.holding(changes.removed)
        coming = replace(
            state, stamp=uuid4().hex, count=base, adding=len(added), removing=len(gone)
        )
        collection.put(coming)
        collection.remove(sorted(gone))
        if changes.added:
            turned = changes.vectors @ self._turn(state.dimension)
            collection.add(changes.added, changes.persons, turned)
        self._state = replace(
            coming,
            stamp=uuid4().hex,
            sequence=changes.sequence,
            mark=changes.mark,
            count=base + len(added) - len(gone),
            adding=0,
            removing=0,
        )
        collection.put(self._state)
        self._see(self._state)
        if gone:
            self._eraser.wanted()

    def _turn(self, dimension: int) -> NDArray[np.float32]:
        if len(self._matrix) != dimension:
            self._matrix = secret_rotation(self._secret, dimension)
        return self._matrix

    # Searching

    def _found(self, state: State | None, probes: NDArray[np.float64], k: int) -> list[list[Hit]]:
        if state is None or not state.count:
            return [[] for _ in probes]
        if probes.shape[1] != state.dimension:
            raise TemplateRefused(
                f"the probe has {probes.shape[1]} numbers and the gallery's templates have "
                f"{state.dimension}; use the gallery's encoder"
            )
        with self._lock:
            self._see(state)
            turned = (probes @ self._turn(state.dimension)).astype(np.float32)
        # Some more than asked for, since a person may have several templates, and since Milvus
        # computes in float32 on turned vectors, where two that are equally near may change places.
        limit = 4 * k + 4
        proposed = self._collection.near(turned, limit)
        vectors = self._gallery.vectors_of([t for rows in proposed for t, _ in rows])
        return [
            self._settled(probe, self._more(row, rows, vectors, k, limit), vectors)[:k]
            for probe, row, rows in zip(probes, turned, proposed, strict=True)
        ]

    def _more(
        self,
        probe: NDArray[np.float32],
        rows: list[tuple[TemplateId, PersonId]],
        vectors: dict[TemplateId, NDArray[np.float32]],
        k: int,
        limit: int,
    ) -> list[tuple[TemplateId, PersonId]]:
        """Ask again without those found, while templates of few people fill the answer."""
        people = {person for _, person in rows}
        full = len(rows) == limit
        while full and len({person for t, person in rows if t in vectors}) < k:
            more = self._collection.near(probe[None], limit, sorted(people))[0]
            vectors |= self._gallery.vectors_of([template for template, _ in more])
            people |= {person for _, person in more}
            rows = rows + more
            full = len(more) == limit
        return rows

    def _settled(
        self,
        probe: NDArray[np.float64],
        rows: Iterable[tuple[TemplateId, PersonId]],
        vectors: dict[TemplateId, NDArray[np.float32]],
    ) -> list[Hit]:
        """Measure in float64; whoever was removed in the meantime is left out."""
        nearest: dict[PersonId, Hit] = {}
        for template, person in rows:
            if template not in vectors:
                continue
            difference = vectors[template].astype(np.float64) - probe
            hit = Hit(person, template, min(float(difference @ difference), 4.0))
            rival = nearest.get(person)
            if rival is None or nearest_first(hit) < nearest_first(rival):
                nearest[person] = hit
        return sorted(nearest.values(), key=nearest_first)


def _place(state: State | None) -> tuple[str, int, str] | None:
    return None if state is None else (state.generation, state.sequence, state.mark)
