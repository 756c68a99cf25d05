"""Gallery files: where they are, and whether a file is a gallery at all.

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

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from visavis.errors import GalleryFull, GalleryUnusable

from .faults import damaged, result_code

APPLICATION_ID = 0x76697376
"""``visv``; in the header of every gallery file."""

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


def locate(where: str | os.PathLike[str], *, create: bool, reading: bool = False) -> Location:
    """Find the file, making an empty one of mode 0600 where ``create`` allows it.

    Raises
    ------
    GalleryUnusable
        No such file, not a file, no right to read it, or a URL that is not SQLite's.
    GalleryFull
        When the disk has no room for one more file.
    """
    path, wants_reading_only = _parsed(where)
    wants_reading_only = wants_reading_only or reading
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


def _parsed(where: str | os.PathLike[str]) -> tuple[Path, bool]:
    text = os.fsdecode(where)
    if "://" not in text:
        if not text or text == ":memory:" or "\0" in text:
            raise GalleryUnusable("a gallery is a file; name a path for it")
        return Path(text), False
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # What cannot be read may hold a password, so it is not repeated.
        raise GalleryUnusable(
            "the gallery's URL cannot be read; name a file, sqlite:///path or "
            "postgresql://user@host/database"
        ) from None
    if url.get_backend_name() != "sqlite":
        raise GalleryUnusable(
            f"galleries on {url.get_backend_name()} are not supported; name a file, "
            "sqlite:///path or postgresql://user@host/database"
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
        if blocked and not journal_bytes(path):
            return "immutable"
    except sqlite3.DatabaseError:
        pass  # not a database, or damaged: said when it is opened
    return "ro"


def refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Raise GalleryUnusable for a database that holds something else."""
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
        refuse_foreign(db, path)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (page,) = db.execute("PRAGMA page_size").fetchone()
    return path.stat().st_size < int(pages) * int(page) and not journal_bytes(path)


def journal_bytes(path: Path) -> int:
    """Size of the write-ahead log beside the file; 0 when there is none."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except OSError:
        return 0
