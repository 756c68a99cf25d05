"""One gallery's database: transactions, and nothing about people.

`Database` is the seam: what SQLite and PostgreSQL do differently, and nothing else.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import select, update

from visavis.errors import (
    GalleryBusy,
    GalleryFull,
    GalleryReadOnly,
    GalleryTooNew,
    GalleryUnreachable,
    GalleryUnusable,
)

from . import migrations, sqlite, tables
from .faults import explained
from .spelled import Spelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection, Engine

_SERVERS = ("postgresql", "postgres")


class Database(Protocol):
    """What one kind of database does for a gallery."""

    @property
    def where(self) -> str:
        """The gallery as messages name it; never with a password."""

    @property
    def path(self) -> Path | None:
        """The gallery's file; None on a server."""

    @property
    def writable(self) -> bool:
        """False when the gallery can only be read."""

    @property
    def reading(self) -> dict[str, Any]:
        """Execution options of a transaction that reads one consistent view."""

    @property
    def writing(self) -> dict[str, Any]:
        """Execution options of a transaction that writes."""

    def connect(self, patience: float) -> Engine:
        """Make the pool of connections; ``patience`` is how long to wait for a lock, in seconds."""

    def recognise(self, db: Connection) -> None:
        """Refuse what is neither a gallery nor empty, and leave it as it was."""

    def lock(self, db: Connection) -> None:
        """Wait until no other process writes; held until the transaction ends."""

    def alone(self, engine: Engine, patience: float) -> AbstractContextManager[None]:
        """Keep out every other process that asks for the same; ends with this one at the latest."""

    def stamp(self, db: Connection) -> None:
        """Mark the database as a gallery, in the transaction that made its tables."""

    def found(self, db: Connection) -> None:
        """Make what the first table needs, in a transaction that writes."""

    def require_there(self) -> None:
        """Raise GalleryUnusable when the gallery that was opened has been taken away."""

    def scrub(self, engine: Engine) -> bool:
        """Leave only living rows in the tables; False when others were in the way."""

    def remains(self, *, scrubbed: bool) -> tuple[str, ...]:
        """Say in words where bytes of erased rows may still lie."""

    def bytes_on_disk(self, db: Connection) -> int:
        """Size of all that is stored."""


class Store:
    """Connections to one gallery; safe to share between threads.

    Every transaction first sees that the gallery is still the one that was opened: writing into a
    file that somebody deleted or replaced would be acknowledged and lost.
    """

    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine: Engine | None = engine
        self._reader = engine.execution_options(**database.reading)
        self._writer = engine.execution_options(**database.writing)
        self._id = ""
        self.schema_version = 0

    @classmethod
    def open(
        cls,
        where: str | os.PathLike[str],
        *,
        create: bool,
        patience: float,
        unfinished: bool = False,
    ) -> Store:
        """Connect and bring the schema up to date.

        Parameters
        ----------
        unfinished
            Opens a copy that was cut short too; see ``set_unfinished``.

        Raises
        ------
        GalleryUnusable, GalleryUnreachable, GalleryTooNew, GalleryReadOnly, GalleryBusy,
        GalleryFull, GalleryUnfinished, MissingExtra
            Each with what to do.
        """
        database = _database(where, create=create)
        store = cls(database, database.connect(patience))
        try:
            store._bring_up_to_date(unfinished=unfinished)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def path(self) -> Path | None:
        """The gallery's file; None on a server."""
        return self._database.path

    @property
    def writable(self) -> bool:
        """False when the gallery can only be read."""
        return self._database.writable

    @property
    def where(self) -> str:
        """The gallery as messages name it; never with a password."""
        return self._database.where

    @property
    def unfinished(self) -> bool:
        """True while this is a copy that is not finished."""
        return self.schema_version >= migrations.UNFINISHED

    def set_unfinished(self, db: Connection, *, unfinished: bool) -> None:
        """Have every visavis refuse this gallery while it is filled, or have it opened again.

        It is looked at anew which gallery this is, for it may have become another. When the
        transaction fails, this store is to be closed.
        """
        version = len(migrations.MIGRATIONS) + (migrations.UNFINISHED if unfinished else 0)
        db.execute(update(tables.schema_version).values(version=version))
        self._id = db.execute(select(tables.gallery.c.id)).scalar_one()
        self.schema_version = version

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give one consistent view for the length of the block."""
        self._live_engine()
        with explained(self.where), self._reader.begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give the only writer's transaction: stored as a whole at the end, or not at all.

        Raises
        ------
        GalleryReadOnly, GalleryBusy, GalleryFull, GalleryTooNew
            And nothing is stored.
        """
        with self._locked() as db:
            self._require_same(db)
            yield db

    def require_writable(self) -> None:
        """Raise GalleryReadOnly when nothing can be stored here."""
        if not self.writable:
            raise GalleryReadOnly(
                f"the gallery {self.where} is open for reading only; see that this user may "
                "write it (a file: and its folder), or write to another gallery"
            )

    def scrub(self) -> bool:
        """Rewrite the tables so that no byte of an erased row is left in them.

        False when that could not be finished, because of another process or of a full disk; the
        rows are gone all the same.
        """
        self.require_writable()
        engine = self._live_engine()
        try:
            with explained(self.where):
                return self._database.scrub(engine)
        except (GalleryBusy, GalleryFull, GalleryUnreachable):
            return False

    @contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """Keep out every other process that asks for the same, in this gallery.

        Raises
        ------
        GalleryBusy
            When one stays for longer than ``patience`` seconds.
        """
        engine = self._live_engine()
        with explained(self.where), self._database.alone(engine, patience):
            yield

    def remains(self, *, erased: bool) -> tuple[str, ...]:
        """Say in words where bytes of erased people may still lie."""
        return self._database.remains(scrubbed=erased)

    def bytes_on_disk(self) -> int:
        """Size of all that is stored."""
        with self.read() as db:
            return self._database.bytes_on_disk(db)

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def _locked(self) -> Iterator[Connection]:
        self.require_writable()
        self._live_engine()
        with explained(self.where), self._writer.begin() as db:
            self._database.lock(db)
            yield db

    def _live_engine(self) -> Engine:
        if self._engine is None:
            raise GalleryUnusable(f"the gallery {self.where} is closed; open it again")
        self._database.require_there()
        return self._engine

    def _require_same(self, db: Connection) -> None:
        """See, under the lock, that nobody moved the gallery on or put another in its place."""
        version, found = tuple(_SAME.one(db))
        if version != self.schema_version:
            raise GalleryTooNew(
                f"the gallery {self.where} was brought to schema {version} while it was open with "
                f"schema {self.schema_version}; open it again with the visavis that did it"
            )
        if found != self._id:
            raise GalleryUnusable(
                f"the gallery {self.where} was deleted or replaced while it was open; open it again"
            )

    def _bring_up_to_date(self, *, unfinished: bool) -> None:
        newest = len(migrations.MIGRATIONS)
        with self.read() as db:
            self._database.recognise(db)
            version = migrations.version_of(db)
        if unfinished and version == migrations.UNFINISHED + newest:
            newest = version
        else:
            migrations.refuse_newer(version, self.where)
        if version < newest:
            if not self.writable:
                raise GalleryReadOnly(
                    f"the gallery {self.where} has schema {version} and must be brought to "
                    f"{newest}; open it once as a user who may write it"
                )
            with self._locked() as db:
                self._database.found(db)
                migrations.migrate(db, self.where)
                self._database.stamp(db)
        self.schema_version = newest
        with self.read() as db:
            self._id = db.execute(select(tables.gallery.c.id)).scalar_one()


_SAME = Spelled(
    select(tables.schema_version.c.version, select(tables.gallery.c.id).scalar_subquery())
)


def _database(where: str | os.PathLike[str], *, create: bool) -> Database:
    scheme, separator, _ = os.fsdecode(where).partition("://")
    if separator and scheme.partition("+")[0] in _SERVERS:
        from . import postgres  # noqa: PLC0415 -- its driver is an extra

        return postgres.locate(os.fsdecode(where), create=create)
    return sqlite.open_file(where, create=create)
