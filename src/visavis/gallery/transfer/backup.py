"""A backup: one file that holds what one consistent view of a gallery did, whatever others write.

It is a gallery's file like any other, with one more table that says what it is and what it must
digest to. It is written under another name, looked at again, and only then given its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, text

from visavis.errors import CopyRefused, GalleryBusy, GalleryError, GalleryFull, VisavisError
from visavis.gallery.database import tables
from visavis.gallery.database.faults import explained
from visavis.gallery.database.files import journal_bytes
from visavis.gallery.database.lease import held
from visavis.gallery.database.sqlite import open_file
from visavis.gallery.database.store import Store
from visavis.gallery.database.times import now
from visavis.gallery.records import copies
from visavis.gallery.records.people import newest
from visavis.gallery.trail.audit import Deed

from .copying import Copying

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from visavis.gallery.trail.scribe import Scribe

    from .contents import Contents, Told

_BESIDE = ("", "-wal", "-shm", "-journal", "-searcher")


@dataclass(frozen=True, slots=True)
class Backup:
    """What came of a backup.

    Attributes
    ----------
    id
        By which the gallery's list of copies names it.
    contents
        Rows by table, and the digest; found alike in the gallery and in the file.
    sequence
        Number of the change log up to which it holds everything.
    size
        Bytes of the file.
    recorded
        False when the gallery could only be read, so that its audit log does not know of it.
    """

    id: str
    file: Path
    contents: Contents
    sequence: int
    size: int
    recorded: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """What a backup's file says of itself."""

    id: str
    at: str
    digest: str


def back_up(
    store: Store, scribe: Scribe, file: Path, *, force: bool = False, told: Told | None = None
) -> Backup:
    """Write a backup of a gallery; see `Gallery.backup`."""
    file = file.absolute()
    _refuse(store, file, force=force)
    part = file.with_name(f".{file.name}.part")
    key = uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(_alone(part))
        _unlink(part)
        if store.writable:
            begun = {"copy": key, "step": "begin", "place": str(file)}
            _note(store, scribe, begun)
        try:
            made = _made(store, part, key, told)
            replaced = [mark.id for mark in [mark_of(file)] if mark] if file.exists() else []
            if store.writable:
                _note(store, scribe, _end(made, replaced))
            _put_in_place(part, file)
        except BaseException as fault:
            _unlink(part)
            if store.writable and isinstance(fault, VisavisError | KeyboardInterrupt):
                with suppress(VisavisError):
                    _note(store, scribe, {"copy": key, "step": "undone"})
            raise
    size = file.stat().st_size
    return Backup(key, file, made.contents, made.sequence, size, store.writable)


def mark_of(file: Path) -> Mark | None:
    """Read what a file says of itself; None when it is no backup of ours."""
    try:
        database = open_file(file, create=False, reading=True)
        with closing(Store(database, database.connect(1.0))) as store, store.read() as db:
            return read_mark(db)
    except GalleryError:
        return None


def read_mark(db: Connection) -> Mark | None:
    """Read the same in a transaction."""
    there = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'backup'"
    if not db.exec_driver_sql(there).scalar_one():
        return None
    row = db.exec_driver_sql("SELECT id, at, digest FROM backup").one_or_none()
    return None if row is None else Mark(*map(str, row))


@dataclass(frozen=True, slots=True)
class _Made:
    id: str
    contents: Contents
    sequence: int


def _made(store: Store, part: Path, key: str, told: Told | None) -> _Made:
    with closing(Store.open(part, create=True, patience=1.0)) as target, store.read() as source:
        begin(source, target)
        contents = Copying(source, target.write, (store.where, str(part)), told).run()
        sequence = newest(source)
        with target.write() as db:
            db.exec_driver_sql("CREATE TABLE backup (id TEXT, at TEXT, digest TEXT, counts TEXT)")
            row = {"id": key, "at": now(), "digest": contents.digest}
            row["counts"] = json.dumps(contents.counts)
            db.execute(text("INSERT INTO backup VALUES (:id, :at, :digest, :counts)"), row)
            target.set_unfinished(db, unfinished=False)
    _settle(part)
    return _Made(key, contents, sequence)


def begin(source: Connection, target: Store) -> None:
    """Make an empty gallery the unfinished copy of another, which nobody takes for a gallery."""
    row = source.execute(select(tables.gallery)).one()
    with target.write() as db:
        db.execute(tables.gallery.update().values(**row._asdict()))
        target.set_unfinished(db, unfinished=True)


def _end(made: _Made, replaced: list[str]) -> dict[str, object]:
    counts = made.contents.counts
    numbers = {"people": counts["person"], "templates": counts["template"]}
    known = {"copy": made.id, "step": "end", "digest": made.contents.digest}
    return {**known, **numbers, "snapshot": made.sequence, "replaces": replaced}


def _refuse(store: Store, file: Path, *, force: bool) -> None:
    if file.is_dir():
        raise CopyRefused(f"{file} is a folder; name a file for the backup")
    if not file.parent.is_dir():
        raise CopyRefused(
            f"there is no folder {file.parent} for the backup; make it, or name another"
        )
    if not file.exists():
        return
    if store.path is not None and store.path.samefile(file):
        raise CopyRefused(f"{file} is the gallery itself; name another file for the backup")
    if not force:
        raise CopyRefused(f"{file} is there already; name another file, or --force to replace it")
    if journal_bytes(file):
        raise CopyRefused(
            f"{file} is a gallery in use, or was not closed: it has a journal; name another file"
        )


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    lock = part.with_name(f"{part.name}-lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock, 0.0))
        except GalleryBusy as busy:
            raise GalleryBusy(
                f"another process is making the same backup ({part.with_name(part.name[1:-5])}); "
                "wait for it, or name another file"
            ) from busy
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _note(store: Store, scribe: Scribe, details: Mapping[str, object]) -> None:
    with store.write() as db:
        scribe.write(db, [Deed(copies.BACKUP, "", dict(details))])


def _settle(part: Path) -> None:
    """Have one file of it, that can be read where nothing may be written, and have it on disk."""
    with explained(str(part)), closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(part: Path, file: Path) -> None:
    try:
        for beside in _BESIDE[1:]:
            file.with_name(file.name + beside).unlink(missing_ok=True)
        part.replace(file)
        if os.name == "posix":
            handle = os.open(file.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as fault:
        raise GalleryFull(f"the backup cannot be put at {file} ({fault.strerror})") from fault


def _unlink(part: Path) -> None:
    for beside in _BESIDE:
        part.with_name(part.name + beside).unlink(missing_ok=True)
