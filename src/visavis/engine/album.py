"""What is remembered of a folder's faces: a SQLite file, written as the work goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from visavis.errors import EncoderMismatch, InputRefused
from visavis.values import Advice, Embedding, Face, Quality, Sighting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from visavis.engine.core import Engine

SCHEMA = 1
"""Of the file."""

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS photograph (digest TEXT PRIMARY KEY, code TEXT, message TEXT);
CREATE TABLE IF NOT EXISTS face (
  digest TEXT NOT NULL REFERENCES photograph (digest) ON DELETE CASCADE,
  number INTEGER NOT NULL, seen TEXT NOT NULL, vector BLOB NOT NULL, cluster INTEGER,
  PRIMARY KEY (digest, number));
CREATE TABLE IF NOT EXISTS named (cluster INTEGER PRIMARY KEY, person TEXT NOT NULL);
"""
_UNNAME = """
DELETE FROM named
WHERE cluster NOT IN (SELECT cluster FROM face WHERE cluster IS NOT NULL)
"""
_OURS = 0x56764661
"""Marks the file, so that no other database is taken for one (SQLite's application_id)."""
_ROUNDING = 1e-3

FaceKey = tuple[str, int]
"""A photograph's digest, and which of its faces, the largest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """One photograph's faces with their encodings, or why it could not be used."""

    digest: str
    faces: tuple[tuple[Sighting, Embedding], ...] = ()
    code: str = ""
    message: str = ""


class Album:
    """Remembers faces by their photograph's digest, and the cluster each was in.

    The file holds encodings, which are biometric data: only its owner may read it. No photograph
    is in it. What is removed is overwritten.

    Parameters
    ----------
    path
        None remembers nothing beyond this object.

    Raises
    ------
    InputRefused
        When the file cannot be used.
    EncoderMismatch
        When it was made with another encoder, or another way of finding faces.
    """

    def __init__(self, path: Path | None, engine: Engine) -> None:
        self._where = "memory" if path is None else str(path)
        self._encoder = engine.encoder.id
        with self._told():
            if path is not None:
                if not path.parent.is_dir():
                    raise InputRefused(f"there is no folder {path.parent}")
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
            self._db = sqlite3.connect(":memory:" if path is None else path, timeout=30)
            try:
                self._claim()
                self._db.execute("PRAGMA secure_delete = ON")
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.executescript(_TABLES)
                self._bind(_made_by(engine))
            except BaseException:
                self._db.close()
                raise

    def _claim(self) -> None:
        (mark,) = self._db.execute("PRAGMA application_id").fetchone()
        if mark != _OURS:
            if self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
                raise InputRefused(f"{self._where} is another kind of file; name another one")
            self._db.execute(f"PRAGMA application_id = {_OURS}")

    def _bind(self, maker: str) -> None:
        with self._db:
            for name, value in {"schema": str(SCHEMA), "maker": maker, "next": "1"}.items():
                self._db.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, value))
        about = dict(self._db.execute("SELECT name, value FROM about"))
        if about["schema"] != str(SCHEMA):
            raise InputRefused(f"{self._where}: written by a newer visavis than this one")
        if about["maker"] != maker:
            raise EncoderMismatch(
                f"{self._where} remembers faces of another encoder, or found in another way; "
                "use the encoder it was made with, name another file, or delete it"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def known(self) -> frozenset[str]:
        """Give the digests of the photographs that need not be looked at again."""
        with self._told():
            return frozenset(row[0] for row in self._db.execute("SELECT digest FROM photograph"))

    def add(self, some: Iterable[Remembered]) -> None:
        """Remember photographs, all in one transaction; those known already stay as they are."""
        with self._told(), self._db:
            for one in some:
                new = self._db.execute(
                    "INSERT OR IGNORE INTO photograph VALUES (?, ?, ?)",
                    (one.digest, one.code, one.message),
                ).rowcount
                if new:
                    self._db.executemany(
                        "INSERT INTO face VALUES (?, ?, ?, ?, NULL)",
                        [
                            (one.digest, number, _spelt(seen), _packed(embedding))
                            for number, (seen, embedding) in enumerate(one.faces)
                        ],
                    )

    def keep_only(self, digests: Iterable[str]) -> None:
        """Forget every photograph but these."""
        gone = self.known() - set(digests)
        with self._told(), self._db:
            self._db.executemany(
                "DELETE FROM photograph WHERE digest = ?", [(digest,) for digest in sorted(gone)]
            )

    def refused(self) -> dict[str, tuple[str, str]]:
        """Give code and message of the photographs that could not be used, by digest."""
        with self._told():
            rows = self._db.execute("SELECT digest, code, message FROM photograph WHERE code != ''")
            return {digest: (code, message) for digest, code, message in rows}

    def faces(self) -> Iterator[tuple[FaceKey, Sighting, Embedding]]:
        """Give every face, by digest and number."""
        query = "SELECT digest, number, seen, vector FROM face ORDER BY digest, number"
        with self._told():
            for digest, number, seen, packed in self._db.execute(query):
                try:
                    sighting, vector = _read(seen), np.frombuffer(packed, "<f4")
                    length = float(vector @ vector)
                except (ValueError, KeyError, TypeError) as fault:
                    raise sqlite3.DatabaseError("a face cannot be read") from fault
                if not abs(length - 1) < _ROUNDING:
                    raise sqlite3.DatabaseError("an encoding is not of unit length")
                yield (digest, number), sighting, Embedding(vector, self._encoder)

    def clusters(self) -> dict[FaceKey, int]:
        """Give the cluster each face was in, where it was in one."""
        with self._told():
            rows = self._db.execute(
                "SELECT digest, number, cluster FROM face WHERE cluster IS NOT NULL"
            )
            return {(digest, number): cluster for digest, number, cluster in rows}

    @property
    def next_cluster(self) -> int:
        """The lowest number that no cluster ever had."""
        with self._told():
            (value,) = self._db.execute("SELECT value FROM about WHERE name = 'next'").fetchone()
            return int(value)

    def settle(self, clusters: Mapping[FaceKey, int]) -> None:
        """Remember which face is in which cluster; the others are in none."""
        following = max(self.next_cluster, 1 + max(clusters.values(), default=0))
        with self._told(), self._db:
            self._db.execute("UPDATE face SET cluster = NULL")
            self._db.executemany(
                "UPDATE face SET cluster = ? WHERE digest = ? AND number = ?",
                [(cluster, *face) for face, cluster in clusters.items()],
            )
            self._db.execute("UPDATE about SET value = ? WHERE name = 'next'", (str(following),))
            self._db.execute(_UNNAME)

    def name(self, cluster: int, person: str) -> None:
        """Remember as whom a cluster was enrolled."""
        with self._told(), self._db:
            self._db.execute("INSERT OR REPLACE INTO named VALUES (?, ?)", (cluster, person))

    def names(self) -> dict[int, str]:
        """Give as whom clusters were enrolled."""
        with self._told():
            return dict(self._db.execute("SELECT cluster, person FROM named"))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as fault:
            raise InputRefused(f"{self._where} cannot be used or written: {fault}") from fault
        except OSError as fault:
            raise InputRefused(f"{self._where} cannot be written: {fault.strerror}") from fault
        except sqlite3.DatabaseError as fault:
            raise InputRefused(
                f"{self._where}: what is remembered of the faces is damaged ({fault}); delete it, "
                "and they are looked at anew"
            ) from fault


def _made_by(engine: Engine) -> str:
    config = engine.config
    how = (engine.encoder.id, config.limits, astuple(config.detection), config.detector)
    return hashlib.sha256(repr(how).encode()).hexdigest()[:24]


def _packed(embedding: Embedding) -> bytes:
    return embedding.vector.astype("<f4").tobytes()


def _spelt(seen: Sighting) -> str:
    face = seen.face
    told: dict[str, Any] = {
        "box": [float(v) for v in face.box],
        "landmarks": [[float(v) for v in point] for point in face.landmarks],
        "score": float(face.score),
        "quality": {k: v if k == "advice" else float(v) for k, v in asdict(seen.quality).items()},
    }
    return json.dumps(told)


def _read(spelt: str) -> Sighting:
    told = json.loads(spelt)
    x, y, width, height = told["box"]
    landmarks = np.array(told["landmarks"], np.float32).reshape(5, 2)
    quality = told["quality"]
    advice = tuple(Advice(each) for each in quality.pop("advice"))
    face = Face((x, y, width, height), landmarks, told["score"])
    return Sighting(face, Quality(**quality, advice=advice))
