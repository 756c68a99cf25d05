"""Photographs to encodings, each only once: what was embedded before is kept by its digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

import visavis
from visavis.encode import embed
from visavis.errors import InputRefused, ProtocolRefused
from visavis.image import digest_of, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.engine import Engine

_WAITING = 256
"""Results written together."""
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A photograph's encoding, or why there is none.

    Attributes
    ----------
    digest
        SHA-256 of the file.
    vector
        (D,) float32 unit vector; None when it failed to be acquired.
    failure
        ``code: message`` of the refusal; empty when there is a vector.
    quality
        The detector's score, in [0, 1]: of the quality measures the one that falls for every
        cause alike.
    """

    digest: str
    vector: NDArray[np.float32] | None
    failure: str
    quality: float


class Encodings:
    """Embeds photographs with an engine, in parallel, and remembers the results.

    Parameters
    ----------
    cache
        Folder for what was embedded; None remembers nothing. What lies there is biometric data
        of the people in the photographs.
    workers
        Photographs worked on side by side.
    """

    def __init__(self, engine: Engine, cache: Path | None, workers: int = 1) -> None:
        self._engine = engine
        self._workers = workers
        self._cache = cache
        config = engine.config
        # Whatever decides which face is embedded and how belongs to the name of the cache.
        choice = (
            visavis.__version__,
            config.limits,
            config.pick,
            astuple(config.detection),
            config.detector,
            config.clear_subject,
        )
        self._key = hashlib.sha256(repr((engine.encoder.id, choice)).encode()).hexdigest()[:24]
        self.embedded = 0

    def of(
        self,
        images: Path,
        names: Iterable[str],
        told: Callable[[int], None] = lambda _: None,
        change: Callable[[bytes], bytes | NDArray[np.uint8]] | None = None,
    ) -> dict[str, Encoded]:
        """Give every photograph's encoding by name.

        Parameters
        ----------
        images
            The folder that the names are relative to.
        told
            Called with 1 after each photograph.
        change
            Spoils each photograph before it is embedded; then nothing is remembered.
        """
        wanted = list(dict.fromkeys(names))
        found: dict[str, Encoded] = {}
        with self._stored() as store, ThreadPoolExecutor(self._workers) as pool:

            def work(name: str) -> Encoded:
                return self._one(images / name, store if change is None else {}, change)

            waiting: list[Encoded] = []
            for start in range(0, len(wanted), _WAITING):
                some = wanted[start : start + _WAITING]
                try:
                    for name, encoded in zip(some, pool.map(work, some), strict=True):
                        found[name] = encoded
                        if encoded.digest and encoded.digest not in store:
                            waiting.append(encoded)
                        told(1)
                finally:  # an interruption loses nothing that was told
                    if change is None:
                        self._keep(waiting, store)
                    waiting.clear()
        return found

    def _one(
        self,
        path: Path,
        store: dict[str, Encoded],
        change: Callable[[bytes], bytes | NDArray[np.uint8]] | None,
    ) -> Encoded:
        try:
            data = read_bytes(path, self._engine.config.limits)
        except InputRefused as refused:
            return Encoded("", None, f"{refused.code}: {refused}", 0.0)
        digest = digest_of(data)
        if digest in store:
            return store[digest]
        self.embedded += 1
        try:
            taken = self._engine.read(data if change is None else change(data))
            seen = self._engine.sight.subject(taken)
            vector = embed(self._engine.encoder, [seen.crop])[0].vector
            return Encoded(digest, vector, "", seen.sighting.face.score)
        except InputRefused as refused:
            return Encoded(digest, None, f"{refused.code}: {refused}", 0.0)

    @contextlib.contextmanager
    def _stored(self) -> Iterator[dict[str, Encoded]]:
        """Give what was embedded before, by digest."""
        store: dict[str, Encoded] = {}
        if self._cache is not None:
            with self._database() as db:
                for digest, vector, failure, quality in db.execute("SELECT * FROM encoding"):
                    array = None if vector is None else np.frombuffer(vector, "<f4")
                    if array is not None and not abs(array @ array - 1) < _ROUNDING:
                        raise sqlite3.DatabaseError("an encoding is not of unit length")
                    store[digest] = Encoded(digest, array, failure, quality)
        yield store

    def _keep(self, encoded: list[Encoded], store: dict[str, Encoded]) -> None:
        if self._cache is None or not encoded:
            return
        rows = [
            (
                e.digest,
                None if e.vector is None else e.vector.astype("<f4").tobytes(),
                e.failure,
                e.quality,
            )
            for e in encoded
        ]
        with self._database() as db, db:
            db.executemany("INSERT OR REPLACE INTO encoding VALUES (?, ?, ?, ?)", rows)
        store.update((e.digest, e) for e in encoded)

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        assert self._cache is not None
        folder = self._cache / "encodings"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{self._key}.db"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        try:
            db = sqlite3.connect(path, timeout=30)
        except sqlite3.DatabaseError as fault:
            raise _unusable(path, fault) from fault
        try:
            db.execute(
                "CREATE TABLE IF NOT EXISTS encoding "
                "(digest TEXT PRIMARY KEY, vector BLOB, failure TEXT, quality REAL)"
            )
            yield db
        except sqlite3.DatabaseError as fault:
            raise _unusable(path, fault) from fault
        finally:
            db.close()


def _unusable(path: Path, fault: sqlite3.DatabaseError) -> ProtocolRefused:
    return ProtocolRefused(
        f"{path}: the encodings remembered here cannot be used ({fault}); delete it, and they are "
        "made anew"
    )
