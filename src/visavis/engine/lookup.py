"""Who of the gallery is near: the searcher, caught up, and the people who may be recognised."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from visavis.engine.config import EngineConfig
    from visavis.gallery import Gallery, Hit, Searcher
    from visavis.values import Person, PersonId


class Standing(NamedTuple):
    """A searcher, and the entry of the change log up to which it knows at least."""

    searcher: Searcher
    sequence: int
    mark: str


class Lookup:
    """Searches one gallery with one searcher, which is opened when it is first needed.

    May be used from several threads.
    """

    def __init__(self, gallery: Gallery, config: EngineConfig) -> None:
        self._gallery = gallery
        self._config = config
        self._searcher: Searcher | None = None
        self._lock = Lock()

    def close(self) -> None:
        """Let go of the searcher's memory and connections."""
        if self._searcher is not None:
            self._searcher.close()

    def fresh(self) -> Searcher:
        """Give the searcher, caught up with the gallery."""
        with self._lock:
            return self._caught_up()

    def standing(self) -> Standing:
        """Give it together with where it is now."""
        with self._lock:
            searcher = self._caught_up()
            return Standing(searcher, searcher.sequence, searcher.mark)

    def nearest(
        self, searcher: Searcher, vectors: NDArray[np.float32], k: int
    ) -> tuple[list[list[Hit]], dict[PersonId, Person]]:
        """Find up to k people for each face who are enrolled and may be recognised now.

        Who was removed since the searcher looked, or whose consent has ended, does not take
        anybody's place: then more people are asked for.
        """
        now, wanted = datetime.now(UTC), k
        while True:
            found = searcher.nearest(vectors, wanted)
            there = self._gallery.people_of([hit.person for hits in found for hit in hits])
            people = {key: person for key, person in there.items() if not person.expired(now)}
            kept = [[hit for hit in hits if hit.person in people][:k] for hits in found]
            short = any(
                len(some) < k and len(hits) >= wanted
                for some, hits in zip(kept, found, strict=True)
            )
            if not short:
                return kept, people
            wanted *= 4

    def _caught_up(self) -> Searcher:
        from visavis.gallery.search.searchers import catch_up, open_searcher  # noqa: PLC0415

        if self._searcher is None:
            self._searcher = open_searcher(
                self._config.search, self._gallery, token=self._config.search_token
            )
        catch_up(self._searcher, self._gallery)
        return self._searcher
