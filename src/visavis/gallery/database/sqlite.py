"""All that is SQLite's own: PRAGMAs, locks, the journal."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

from visavis.errors import GalleryUnusable

from .faults import explained, result_code
from .files import APPLICATION_ID, Location, journal_bytes, locate, recognise, refuse_foreign
from .lease import held

if TYPE_CHECKING:
    import os
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection, Engine

_CACHED_CONNECTIONS = 4


class File:
    """A gallery in a file; see `store.Database`."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._identity = location.identity()

    @property
    def where(self) -> str:
        """The path."""
        return str(self._location.path)

    @property
    def path(self) -> Path:
        """The gallery's file."""
        return self._location.path

    @property
    def writable(self) -> bool:
        """False when the gallery can only be read."""
        return self._location.mode == "rw"

    @property
    def reading(self) -> dict[str, Any]:
        """Execution options of a transaction that reads."""
        return {}

    @property
    def writing(self) -> dict[str, Any]:
        """Execution options of a transaction that writes."""
        return {"writes": True}

    def connect(self, patience: float) -> Engine:
        """Make the pool of connections; ``patience`` is how long to wait for a lock, in seconds."""
        return _pool(self._location, patience)

    def recognise(self, db: Connection) -> None:
        """Do nothing: the file was looked at before it was connected to."""

    def lock(self, db: Connection) -> None:
        """Do nothing: the lock came with ``BEGIN IMMEDIATE``."""

    def found(self, db: Connection) -> None:
        """Do nothing: the file is there."""

    def alone(self, engine: Engine, patience: float) -> AbstractContextManager[None]:  # noqa: ARG002
        """Hold a lease beside the file; whoever enrols is not held up by it."""
        return held(self.path.with_name(f"{self.path.name}-searcher"), patience)

    def stamp(self, db: Connection) -> None:
        """Mark the file as a gallery, in the transaction that makes its tables."""
        db.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    def require_there(self) -> None:
        """Raise GalleryUnusable when the file was deleted or replaced."""
        if self._location.identity() != self._identity:
            raise GalleryUnusable(
                f"the gallery {self.where} was deleted or replaced while it was open; open it again"
            )

    def scrub(self, engine: Engine) -> bool:
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

    def remains(self, *, scrubbed: bool) -> tuple[str, ...]:
        """Say where bytes of erased rows may still lie."""
        return () if scrubbed else ("unused parts of the file, and its journal",)

    def bytes_on_disk(self, db: Connection) -> int:  # noqa: ARG002
        """Size of the gallery's file and its write-ahead log."""
        return self.path.stat().st_size + journal_bytes(self.path)


def open_file(where: str | os.PathLike[str], *, create: bool, reading: bool = False) -> File:
    """Find or make the file and see that it is a gallery; raises what `locate` raises."""
    location = locate(where, create=create, reading=reading)
    with explained(str(location.path)):
        recognise(location)
    return File(location)


def _pool(location: Location, patience: float) -> Engine:

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
        hide_parameters=True,  # names and vectors do not belong into messages
    )

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        # A transaction that reads first and then writes fails at once when somebody wrote in
        # between; taking the write lock at the beginning waits in line instead.
        writes = db.get_execution_options().get("writes", False)
        db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _prepare(db: sqlite3.Connection, location: Location, patience: float) -> None:
    # A file may come from anywhere: its own views and triggers are not to be trusted.
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp_store = MEMORY")  # no biometrics in temporary files
    # SQLite's own folds ASCII alone.
    db.create_function("lower", 1, _lower, deterministic=True)
    if location.mode == "rw":
        refuse_foreign(db, location.path)
        _use_write_ahead_log(db, location.path, patience)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
    else:
        db.execute("PRAGMA query_only = ON")


def _lower(text: str | None) -> str | None:
    return text.lower() if isinstance(text, str) else text


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
