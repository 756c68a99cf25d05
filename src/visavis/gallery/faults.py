"""The one place where a database's complaint becomes an error of ours, with a cure."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from visavis.errors import (
    GalleryBusy,
    GalleryError,
    GalleryFull,
    GalleryReadOnly,
    GalleryUnusable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# By the beginning of SQLite's result code, the first that fits. IOERR_WRITE is what SQLite makes
# of a quota or a file size limit (EDQUOT, EFBIG); only ENOSPC becomes FULL.
_CASES: tuple[tuple[tuple[str, ...], type[GalleryError], str], ...] = (
    (
        ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"),
        GalleryFull,
        "the gallery {where} cannot grow: the disk is full or a quota is reached; nothing of the "
        "change was stored. Free some space and try again",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        GalleryBusy,
        "the gallery {where} is locked by another process; try again, or end the process that "
        "holds it",
    ),
    (
        ("SQLITE_READONLY",),
        GalleryReadOnly,
        "the gallery {where} may not be written by this user; make the file and its folder "
        "writable, or write to another gallery",
    ),
    (
        ("SQLITE_NOTADB",),
        GalleryUnusable,
        "{where} is not a gallery; name a gallery file, or a new path to begin one",
    ),
    (
        ("SQLITE_CORRUPT", "SQLITE_FORMAT"),
        GalleryUnusable,
        "the gallery {where} is damaged ({cause}); restore it from a backup",
    ),
    (
        ("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
        GalleryUnusable,
        "the gallery {where} cannot be opened ({cause}); see that the file is there and that this "
        "user may read it",
    ),
    (
        ("SQLITE_IOERR",),
        GalleryUnusable,
        "the disk fails under the gallery {where} ({cause}); check the disk, then restore from a "
        "backup if the gallery no longer opens",
    ),
    (
        ("SQLITE_CONSTRAINT",),
        GalleryError,
        "the gallery {where} refused the change ({cause})",
    ),
)

_OTHERWISE = "the gallery {where} does not answer as a gallery does ({cause}); restore a backup"


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the database raises inside the block into a GalleryError.

    Raises
    ------
    GalleryFull, GalleryBusy, GalleryReadOnly, GalleryUnusable, GalleryError
        By the database's own result code.
    """
    try:
        yield
    except UnicodeDecodeError as fault:  # SQLite quotes damaged text in its own complaint
        raise damaged(where, "text that cannot be read") from fault
    except (sqlite3.Error, SQLAlchemyError) as fault:
        raise _translated(fault, where) from fault


def result_code(fault: BaseException) -> str:
    """Give SQLite's name of what went wrong, such as ``SQLITE_BUSY``; empty when unknown."""
    inner = fault.orig if isinstance(fault, DBAPIError) else fault
    return str(getattr(inner, "sqlite_errorname", "") or "")


def damaged(where: str, cause: str) -> GalleryUnusable:
    """Make the error for content that no gallery of ours would hold."""
    return GalleryUnusable(f"the gallery {where} is damaged ({cause}); restore it from a backup")


def _translated(fault: BaseException, where: str) -> GalleryError:
    if isinstance(fault, PoolTimeout):
        return GalleryBusy(f"too many threads use the gallery {where} at once; try again")
    cause = str(fault.orig if isinstance(fault, DBAPIError) else fault)
    code = result_code(fault)
    for beginnings, kind, message in _CASES:
        if code.startswith(beginnings):
            return kind(message.format(where=where, cause=cause))
    return GalleryUnusable(_OTHERWISE.format(where=where, cause=cause))
