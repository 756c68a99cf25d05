"""All that is SQLite's own: files, URIs, PRAGMAs, locks, the journal.

A file is looked at before it is opened for good, so that naming another application's database
by mistake leaves it as it was. The look goes through SQLite and not through ``open()``: closing a
file descriptor drops every POSIX lock that this process holds on the file, also those of a
gallery that is open at the time (https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from visavis.errors import GalleryFull, GalleryUnusable

from .faults import damaged, result_code

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

APPLICATION_ID = 0x76697376
"""``visv``; in the header of every gallery file."""

_CACHED_CONNECTIONS = 4
_SMALLEST_DATABASE = 512


@dataclass(frozen=True, slots=True)
class Location:
    """Where a gallery's file is and whether it may be written.

    ``mode`` is ``rw``, ``ro``, or ``immutable`` for a folder in which not even SQLite's lock
    files can be made: the file is then read without locks.
    """

    path: Path
    mode: str

    @property
    def uri(self) -> str:
        """What sqlite3 opens; it never makes a missing file."""
        how = "immutable=1" if self.mode == "immutable" else f"mode={self.mode}"
        return f"{self.path.absolute().as_uri()}?{how}"

    def identity(self) -> tuple[int, int] | None:
        """Device and inode, or None when nothing is there."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def locate(where: str | os.PathLike[str], *, create: bool) -> Location:
    """Find the file, making an empty one of mode 0600 where ``create`` allows it.

    Raises
    ------
    GalleryUnusable
        No such file, not a file, no right to read it, or a URL that is not SQLite's.
    GalleryFull
        When the disk has no room for one more file.
    """
    path, wants_reading_only = _parsed(where)
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        if not create or wants_reading_only:
            raise GalleryUnusable(f"there is no gallery at {path}; enrol somebody first") from None
        _make(path)
        return Location(path, "rw")
    except (OSError, ValueError) as fault:
        raise _unreachable(path, fault) from fault
    if not stat.S_ISREG(kind):
        raise GalleryUnusable(f"{path} is not a file; a gallery is one file: name a path for it")
    if not os.access(path, os.R_OK):
        raise GalleryUnusable(f"{path} may not be read by this user; change its permissions")
    # SQLite makes its journal beside the file, so the folder counts as much as the file.
    writable = os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)
    if wants_reading_only or not writable:
        return Location(path, _reading_mode(path))
    return Location(path, "rw")


def recognise(location: Location) -> None:
    """Refuse a file that is neither a gallery nor empty, without touching it.

    Raises
    ------
    GalleryUnusable
        When it is no SQLite database, another application's, or shorter than it says.
    """
    if 0 < location.path.stat().st_size < _SMALLEST_DATABASE:  # SQLite would write over it
        raise GalleryUnusable(f"{location.path} is not a gallery; name another path")
    try:
        if _looks_cut(location.path):
            time.sleep(0.05)  # or another process was shortening the file just then
            if _looks_cut(location.path):
                raise damaged(str(location.path), "its end is missing")
    except sqlite3.DatabaseError as fault:
        # A checkpoint in progress looks like damage from here: the connection decides later.
        if not result_code(fault).startswith("SQLITE_CORRUPT"):
            raise


def connect(location: Location, patience: float) -> Engine:
    """Make the pool of connections; ``patience`` is how long to wait for a lock, in seconds."""

    def dial() -> sqlite3.Connection:
        db = sqlite3.connect(
            location.uri,
            uri=True,
            timeout=patience,
            isolation_level=None,  # BEGIN is ours, see `begin`
            check_same_thread=False,
        )
        try:
            _prepare(db, location, patience)
        except BaseException:
            db.close()
            raise
        return db

    engine = create_engine(
        "sqlite://",
        creator=dial,
        poolclass=QueuePool,
        pool_size=_CACHED_CONNECTIONS,
        max_overflow=-1,
    )

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        # A transaction that reads first and then writes fails at once when somebody wrote in
        # between; taking the write lock at the beginning waits in line instead.
        writes = db.get_execution_options().get("writes", False)
        db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def stamp(db: Connection) -> None:
    """Mark the file as a gallery, in the transaction that makes its tables."""
    db.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")


def scrub(engine: Engine) -> bool:
    """Leave only living rows in the file, and nothing in the write-ahead log.

    ``secure_delete`` zeroes a deleted row where it lies, but not the copies that moving it
    between pages left behind in unused space; those only go when every page is written anew
    (VACUUM). What the file system does with the blocks of a shortened file is out of reach.

    Returns
    -------
    bool
        False when a reader kept the log in use for as long as a lock is waited for.
    """
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy, _, _ = cursor.fetchone() or (1, 0, 0)
        cursor.close()
    finally:
        raw.close()
    return not busy


def bytes_on_disk(path: Path) -> int:
    """Size of the gallery's file and its write-ahead log."""
    return path.stat().st_size + _journal_bytes(path)


def _parsed(where: str | os.PathLike[str]) -> tuple[Path, bool]:
    text = os.fsdecode(where)
    if "://" not in text:
        if not text or text == ":memory:" or "\0" in text:
            raise GalleryUnusable("a gallery is a file; name a path for it")
        return Path(text), False
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as fault:
        raise GalleryUnusable(f"the gallery's URL cannot be read: {fault}") from fault
    if url.get_backend_name() != "sqlite":
        raise GalleryUnusable(
            f"galleries on {url.get_backend_name()} are not supported; name a file or "
            "sqlite:///path"
        )
    if not url.database or url.database == ":memory:":
        raise GalleryUnusable("a gallery is a file; name one: sqlite:///path")
    return Path(url.database.removeprefix("file:")), url.query.get("mode") == "ro"


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if not path.is_file():  # otherwise another process was quicker, which is as good
            raise GalleryUnusable(f"{path} cannot be made: a file stands in its way") from None
    except OSError as fault:
        raise _unreachable(path, fault) from fault


def _unreachable(path: Path, fault: Exception) -> GalleryUnusable | GalleryFull:
    if isinstance(fault, OSError) and fault.errno in {errno.ENOSPC, errno.EDQUOT}:
        return GalleryFull(f"no gallery can be made at {path}: the disk is full; free some space")
    return GalleryUnusable(
        f"no gallery can be opened at {path} ({fault}); choose a path this user may write to"
    )


def _reading_mode(path: Path) -> str:
    """Read with locks where SQLite can make or find its lock files, else without."""
    try:
        with closing(sqlite3.connect(Location(path, "ro").uri, uri=True)) as db:
            db.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError as fault:
        blocked = result_code(fault).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))
        if blocked and not _journal_bytes(path):
            return "immutable"
    except sqlite3.DatabaseError:
        pass  # not a database, or damaged: said when it is opened
    return "ro"


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    (mark,) = db.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION_ID:
        return
    (objects,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark or objects:
        raise GalleryUnusable(
            f"{path} is another application's database; name a gallery file, or a new path to "
            "begin one"
        )


def _looks_cut(path: Path) -> bool:
    """See whether the last page is whole; SQLite would take what is missing for zeros."""
    with closing(sqlite3.connect(Location(path, "immutable").uri, uri=True)) as db:
        _refuse_foreign(db, path)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (page,) = db.execute("PRAGMA page_size").fetchone()
    return path.stat().st_size < int(pages) * int(page) and not _journal_bytes(path)


def _journal_bytes(path: Path) -> int:
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        return 0


def _prepare(db: sqlite3.Connection, location: Location, patience: float) -> None:
    # A file may come from anywhere: its own views and triggers are not to be trusted.
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp_store = MEMORY")  # no biometrics in temporary files
    if location.mode == "rw":
        _refuse_foreign(db, location.path)
        _use_write_ahead_log(db, location.path, patience)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
    else:
        db.execute("PRAGMA query_only = ON")


def _use_write_ahead_log(db: sqlite3.Connection, path: Path, patience: float) -> None:
    """Switch the journal mode; two processes that make one gallery at once meet here.

    The switch does not wait for locks by itself, so this waits for it.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            answer: tuple[Any] = db.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as fault:
            if not result_code(fault).startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            if answer[0] != "wal":
                raise GalleryUnusable(
                    f"{path} lies on a file system without shared memory; keep the "
                    "gallery on a local disk"
                )
            return
