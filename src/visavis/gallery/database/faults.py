"""The one place where a database's complaint becomes an error of ours, with a cure."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from visavis.errors import (
    GalleryBusy,
    GalleryError,
    GalleryFull,
    GalleryReadOnly,
    GalleryUnreachable,
    GalleryUnusable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# By the beginning of SQLite's result code or PostgreSQL's SQLSTATE, the first that fits.
# IOERR_WRITE is what SQLite makes of a quota or a file size limit (EDQUOT, EFBIG); only ENOSPC
# becomes FULL.
_CASES: tuple[tuple[tuple[str, ...], type[GalleryError], str], ...] = (
    (
        ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "53100"),
        GalleryFull,
        "the gallery {where} cannot grow: the disk is full or a quota is reached; nothing of the "
        "change was stored. Free some space and try again",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "57014", "40"),
        GalleryBusy,
        "the gallery {where} is locked by another process; try again, or end the process that "
        "holds it",
    ),
    (
        ("SQLITE_READONLY", "25006"),
        GalleryReadOnly,
        "the gallery {where} may not be written by this user; make the file and its folder, or "
        "the server, writable, or write to another gallery",
    ),
    (
        ("53",),
        GalleryBusy,
        "the server of the gallery {where} has no connection or memory left ({cause}); try again, "
        "or raise its limits",
    ),
    (
        ("08", "57P"),
        GalleryUnreachable,
        "the server of the gallery {where} does not answer ({cause}); see that it runs and try "
        "again. A change that was under way was stored as a whole or not at all: look which",
    ),
    (
        ("42501",),
        GalleryUnusable,
        "this user may not do that with the gallery {where} ({cause}); grant them the rights, or "
        "connect as the user who made it",
    ),
    (
        ("tls missing",),
        GalleryUnusable,
        "the server of the gallery {where} does not speak TLS, and the URL asks for it ({cause}); "
        "switch it on there (ssl = on), or, on a network that nobody else hears, write "
        "sslmode=disable",
    ),
    (
        ("tls needed",),
        GalleryUnusable,
        "the server of the gallery {where} takes encrypted connections alone ({cause}); write "
        "sslmode=verify-full into the URL",
    ),
    (
        ("tls untrusted",),
        GalleryUnusable,
        "the server of the gallery {where} does not prove who it is ({cause}); name the file of "
        "the certificate that signed its own (sslrootcert=...), and the host as it is named there",
    ),
    (
        ("28",),
        GalleryUnusable,
        "the server refuses this user of the gallery {where} ({cause}); check user and password "
        "(in the URL, PGPASSWORD or ~/.pgpass)",
    ),
    (
        ("3D",),
        GalleryUnusable,
        "the server has no such database: {where} ({cause}); make one with createdb",
    ),
    (
        ("22021", "22P05"),
        GalleryUnusable,
        "the database of the gallery {where} cannot hold every letter ({cause}); make one with "
        "createdb --encoding=UTF8 --template=template0",
    ),
    (
        ("SQLITE_NOTADB",),
        GalleryUnusable,
        "{where} is not a gallery; name a gallery file, or a new path to begin one",
    ),
    (
        ("SQLITE_CORRUPT", "SQLITE_FORMAT", "XX001", "XX002", "42P01", "42703"),
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
        ("SQLITE_IOERR", "58"),
        GalleryUnusable,
        "the disk fails under the gallery {where} ({cause}); check the disk, then restore from a "
        "backup if the gallery no longer opens",
    ),
    (
        ("SQLITE_CONSTRAINT", "23"),
        GalleryError,
        "the gallery {where} refused the change ({cause})",
    ),
)

# A server that refuses a connection says why in words only. They may be translated; then the cure
# of the last case is given together with those words.
_REFUSALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("too many c", "remaining connection slots"), "53300"),
    (("does not support SSL",), "tls missing"),
    (("no encryption",), "tls needed"),
    (("password", "authentication failed", "pg_hba.conf", "role "), "28000"),
    (("certificate verify", "server certificate", "root certificate"), "tls untrusted"),
    (("database ",), "3D000"),
    (("",), "08006"),
)

_OTHERWISE = "the gallery {where} does not answer as a gallery does ({cause}); restore a backup"


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the database raises inside the block into a GalleryError.

    Raises
    ------
    GalleryFull, GalleryBusy, GalleryReadOnly, GalleryUnreachable, GalleryUnusable, GalleryError
        By the database's own result code.
    """
    try:
        yield
    except UnicodeDecodeError as fault:  # SQLite quotes damaged text in its own complaint
        raise damaged(where, "text that cannot be read") from fault
    except (sqlite3.Error, SQLAlchemyError) as fault:
        raise _translated(fault, where) from fault


def result_code(fault: BaseException) -> str:
    """Give SQLite's name of what went wrong, such as ``SQLITE_BUSY``, or an SQLSTATE, else ""."""
    inner = fault.orig if isinstance(fault, DBAPIError) else fault
    code = getattr(inner, "sqlite_errorname", None) or getattr(inner, "sqlstate", None)
    if not code and isinstance(fault, OperationalError) and hasattr(inner, "pgconn"):
        said = str(inner)
        return next(code for words, code in _REFUSALS if any(word in said for word in words))
    return str(code or "")


def damaged(where: str, cause: str) -> GalleryUnusable:
    """Make the error for content that no gallery of ours would hold."""
    return GalleryUnusable(f"the gallery {where} is damaged ({cause}); restore it from a backup")


def _translated(fault: BaseException, where: str) -> GalleryError:
    if isinstance(fault, PoolTimeout):
        return GalleryBusy(f"too many threads use the gallery {where} at once; try again")
    cause = _cause(fault)
    code = result_code(fault)
    for beginnings, kind, message in _CASES:
        if code.startswith(beginnings):
            return kind(message.format(where=where, cause=cause))
    return GalleryUnusable(_OTHERWISE.format(where=where, cause=cause))


def _cause(fault: BaseException) -> str:
    inner = fault.orig if isinstance(fault, DBAPIError) else fault
    # PostgreSQL's details quote the row, which may be somebody's; its first line does not.
    first = getattr(getattr(inner, "diag", None), "message_primary", None)
    return " ".join(str(first or inner).split())
