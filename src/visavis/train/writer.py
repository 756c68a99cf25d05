"""Writes a pack so that it may be killed at any moment, and goes on where it was.

What was settled stands in a ledger (SQLite) that is committed after the crops it speaks of are on
the disk. On the way back in, a shard is cut to what the ledger knows. The index is written from
the ledger at the end, and ``pack.json`` last of all.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import shutil
import sqlite3
import time
import zlib
from typing import IO, TYPE_CHECKING, Any, Self

from visavis.errors import PackRefused, PackUnwritable
from visavis.train.columns import Index
from visavis.train.layout import (
    LEDGER,
    PACK,
    REFUSED,
    ROWS,
    SCHEMA,
    index_digest,
    shard_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARD = 256 * 1024 * 1024
"""Bytes after which a new shard is begun."""
_PATIENCE = 1.0
"""Seconds of work that a kill may cost."""

_TABLES = """
CREATE TABLE IF NOT EXISTS made (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS image (
    row INTEGER PRIMARY KEY, person BLOB, source BLOB, photograph BLOB,
    shard INTEGER, offset INTEGER, length INTEGER, crc32 INTEGER);
CREATE INDEX IF NOT EXISTS photographs ON image (photograph);
CREATE TABLE IF NOT EXISTS refused (
    id INTEGER PRIMARY KEY, person BLOB, source BLOB, code TEXT, message BLOB);
"""


class PackWriter:
    """Appends crops, person by person, to a pack that is not whole yet.

    Attributes
    ----------
    settled
        Entries of the folder that are dealt with for good, to be skipped when it goes on.
    images
        Crops written.
    """

    def __init__(self, path: Path, identity: dict[str, Any], shard: int = SHARD) -> None:
        self._path = path
        self._most = shard
        self._file: IO[bytes] | None = None
        self._saved = time.monotonic()
        with _writing(path):
            (path / "shards").mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path / LEDGER, timeout=0.5, isolation_level=None)
        try:
            with _writing(path):
                self._begin(identity)
        except BaseException:
            self.close()
            raise

    def _begin(self, identity: dict[str, Any]) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN IMMEDIATE")
        known = dict(self._db.execute("SELECT key, value FROM made"))
        wanted = {key: json.dumps(value, sort_keys=True) for key, value in identity.items()}
        if not known:
            known = wanted | {"settled": "0"}
            self._db.executemany("INSERT INTO made VALUES (?, ?)", known.items())
            self._commit()
        check_same(self._path, {key: known.get(key) for key in wanted}, wanted)
        self.settled = int(known["settled"])
        last = self._db.execute(
            "SELECT row, shard, offset + length FROM image ORDER BY row DESC LIMIT 1"
        ).fetchone()
        row, shard, end = last or (-1, 0, 0)
        self._shard, self._at, self.images = int(shard), int(end), int(row) + 1
        for path in (self._path / "shards").iterdir():
            if path > shard_path(self._path, self._shard):
                path.unlink()
        self._open(self._at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave; what is not saved is done again the next time."""
        self._db.close()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def same(self, photograph: bytes) -> tuple[str, str] | None:
        """Give person and path of an image made from the same bytes, when there is one."""
        found = self._db.execute(
            "SELECT person, source FROM image WHERE photograph = ?", (photograph,)
        ).fetchone()
        return (os.fsdecode(found[0]), os.fsdecode(found[1])) if found else None

    def images_of(self, person: str) -> int:
        """Count the crops of a person."""
        # The last rows are the last person's: no index is needed.
        found = self._db.execute("SELECT person FROM image ORDER BY row DESC")
        return sum(1 for _ in itertools.takewhile(lambda row: os.fsdecode(row[0]) == person, found))

    def reason(self) -> str:
        """Give the first reason for which anything was left out."""
        found = self._db.execute("SELECT source, code, message FROM refused ORDER BY id").fetchone()
        return f"{os.fsdecode(found[0])}: {found[1]}: {os.fsdecode(found[2])}" if found else "none"

    def add(self, person: str, source: str, photograph: bytes, jpeg: bytes) -> None:
        """Append a crop; raises PackUnwritable, as everything here that writes.

        Parameters
        ----------
        photograph
            Digest of the file it was cut from.
        """
        with _writing(self._path):
            if self._at and self._at + len(jpeg) > self._most:
                self._sync()
                self._shard, self._at = self._shard + 1, 0
                self._open(0)
            assert self._file is not None
            self._file.write(jpeg)
            place = (self._shard, self._at, len(jpeg), zlib.crc32(jpeg))
            named = (os.fsencode(person), os.fsencode(source), photograph)
            self._db.execute(
                "INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (self.images, *named, *place)
            )
        self._at += len(jpeg)
        self.images += 1

    def refuse(self, person: str, source: str, code: str, message: str) -> None:
        """Note what was left out, and why."""
        with _writing(self._path):
            self._db.execute(
                "INSERT INTO refused (person, source, code, message) VALUES (?, ?, ?, ?)",
                (os.fsencode(person), os.fsencode(source), code, os.fsencode(message)),
            )

    def settle(self) -> None:
        """Count one entry as dealt with, and save when it is time."""
        self.settled += 1
        if time.monotonic() - self._saved > _PATIENCE:
            self.save()

    def save(self) -> None:
        """Bring everything so far to the disk."""
        with _writing(self._path):
            self._sync()
            self._db.execute(
                "UPDATE made SET value = ? WHERE key = 'settled'", (str(self.settled),)
            )
            self._commit()
        self._saved = time.monotonic()

    def finish(self, facts: dict[str, Any]) -> None:
        """Write index, list of refusals and ``pack.json``, and drop the ledger."""
        self.save()
        with _writing(self._path):
            self._db.execute("COMMIT")
            staged = self._path / "index.part"
            shutil.rmtree(staged, ignore_errors=True)
            shutil.rmtree(self._path / "index", ignore_errors=True)
            staged.mkdir()
            counts = self._index(staged)
            staged.rename(self._path / "index")
            digest = index_digest(self._path, facts["alignment"])
            reasons = self._refusals()
            shards = [shard_path(self._path, n).stat().st_size for n in range(self._shard + 1)]
            whole = {"schema": SCHEMA, **facts, **counts, "digest": digest, "refused": reasons}
            _durable(self._path / PACK, json.dumps(whole | {"shards": shards}, indent=1) + "\n")
            self.close()
            drop_ledger(self._path)

    def _open(self, size: int) -> None:
        if self._file is not None:
            self._file.close()
        path = shard_path(self._path, self._shard)
        path.touch()
        if path.stat().st_size < size:
            raise PackRefused(
                f"{self._path}: {path.name} is shorter than what was packed into it; delete the "
                "folder and pack again"
            )
        self._file = path.open("r+b", buffering=1024 * 1024)
        self._file.truncate(size)
        self._file.seek(size)

    def _sync(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())

    def _commit(self) -> None:
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def _index(self, folder: Path) -> dict[str, int]:
        """Write the index from the ledger; gives the counts."""
        people, last = 0, None
        with Index(folder) as index:
            columns = ", ".join(ROWS)
            found = self._db.execute(f"SELECT person, source, {columns} FROM image ORDER BY row")  # noqa: S608
            for row, (person, source, *numbers) in enumerate(found):
                if person != last:
                    people += 1
                    index.text("names", person)
                    index.number("offsets", row)
                    last = person
                index.text("sources", source)
                for name, number in zip(ROWS, numbers, strict=True):
                    index.number(name, number)
            index.number("offsets", self.images)
        return {"people": people, "images": self.images}

    def _refusals(self) -> dict[str, int]:
        """Write ``refused.csv``; gives how many of each code."""
        rows = self._db.execute("SELECT person, source, code, message FROM refused ORDER BY id")
        path = self._path / REFUSED
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("person", "photograph", "code", "message")]
            )
            csv.writer(file, lineterminator="\n").writerows(
                (os.fsdecode(person), os.fsdecode(source), code, os.fsdecode(message))
                for person, source, code, message in rows
            )
        counted = self._db.execute("SELECT code, count(*) FROM refused GROUP BY code ORDER BY code")
        return dict(counted.fetchall())


def drop_ledger(path: Path) -> None:
    """Remove what only an unfinished pack needs."""
    for left in (f"{LEDGER}-journal", LEDGER):  # a kill leaves a journal that SQLite keeps
        (path / left).unlink(missing_ok=True)


def check_same(path: Path, known: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise PackRefused when a pack was begun from another folder or in another way."""
    other = [key for key, value in wanted.items() if known.get(key) != value]
    if other:
        told = "; ".join(
            "the folder's files have changed since"
            if key == "folder"
            else f"{key} was {known.get(key)}, now it is {wanted[key]}"
            for key in other
        )
        raise PackRefused(
            f"{path}: a pack of something else lies here: {told}; choose another folder to write "
            "to, or delete this one"
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what disk and ledger say into words."""
    try:
        yield
    except sqlite3.OperationalError as fault:
        if "locked" in str(fault):
            raise PackRefused(f"{path}: another process is packing into this folder") from fault
        raise _unwritable(path, fault) from fault
    except sqlite3.DatabaseError as fault:
        raise PackRefused(
            f"{path}: {LEDGER} is damaged ({fault}); delete the folder and pack again"
        ) from fault
    except OSError as fault:
        raise _unwritable(path, fault.strerror or fault) from fault


def _unwritable(path: Path, why: object) -> PackUnwritable:
    return PackUnwritable(
        f"{path}: cannot be written: {why}; make room or give leave, and run the same command "
        "again: it goes on where it was"
    )


def _durable(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    staged = path.with_name(f".{path.name}.part")
    with staged.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
