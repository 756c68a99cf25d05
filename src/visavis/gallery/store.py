"""One gallery's database: transactions, and nothing about people."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from visavis.errors import GalleryBusy, GalleryFull, GalleryReadOnly, GalleryUnusable

from . import migrations, sqlite
from .faults import explained

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine


class Store:
    """Connections to one gallery; safe to share between threads.

    Every transaction first sees that the file is still the one that was opened: writing into a
    file that somebody deleted or replaced would be acknowledged and lost.
    """

    def __init__(self, location: sqlite.Location, engine: Engine) -> None:
        self._location = location
        self._engine: Engine | None = engine
        self._identity = location.identity()
        self.schema_version = 0

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, create: bool, patience: float) -> Store:
        """Open the file and bring its schema up to date.

        Raises
        ------
        GalleryUnusable, GalleryTooNew, GalleryReadOnly, GalleryBusy, GalleryFull
            Each with what to do.
        """
        location = sqlite.locate(where, create=create)
        with explained(str(location.path)):
            sqlite.recognise(location)
        store = cls(location, sqlite.connect(location, patience))
        try:
            store._bring_up_to_date()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def path(self) -> Path:
        """The gallery's file."""
        return self._location.path

    @property
    def writable(self) -> bool:
        """False when the gallery can only be read."""
        return self._location.mode == "rw"

    @property
    def where(self) -> str:
        """The gallery as messages name it."""
        return str(self._location.path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give one consistent view for the length of the block."""
        engine = self._live_engine()
        with explained(self.where), engine.begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give the only writer's transaction: stored as a whole at the end, or not at all.

        Raises
        ------
        GalleryReadOnly, GalleryBusy, GalleryFull
            And nothing is stored.
        """
        self.require_writable()
        engine = self._live_engine().execution_options(writes=True)
        with explained(self.where), engine.begin() as db:
            yield db

    def require_writable(self) -> None:
        """Raise GalleryReadOnly when nothing can be stored here."""
        if not self.writable:
            raise GalleryReadOnly(
                f"the gallery {self.where} is open for reading only; make the file and its "
                "folder writable, or write to another gallery"
            )

    def scrub(self) -> bool:
        """Rewrite the file so that no byte of an erased row is left in it or in its journal.

        False when that could not be finished, because of another process or of a full disk; the
        rows are gone all the same.
        """
        self.require_writable()
        engine = self._live_engine()
        try:
            with explained(self.where):
                return sqlite.scrub(engine)
        except (GalleryBusy, GalleryFull):
            return False

    def bytes_on_disk(self) -> int:
        """Size of the gallery's file and journal."""
        return sqlite.bytes_on_disk(self.path)

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _live_engine(self) -> Engine:
        if self._engine is None:
            raise GalleryUnusable(f"the gallery {self.where} is closed; open it again")
        if self._location.identity() != self._identity:
            raise GalleryUnusable(
                f"the gallery {self.where} was deleted or replaced while it was open; open it again"
            )
        return self._engine

    def _bring_up_to_date(self) -> None:
        newest = len(migrations.MIGRATIONS)
        with self.read() as db:
            version = migrations.version_of(db)
        migrations.refuse_newer(version, self.where)
        if version < newest:
            if not self.writable:
                raise GalleryReadOnly(
                    f"the gallery {self.where} has schema {version} and must be brought to "
                    f"{newest}; open it once as a user who may write it"
                )
            with self.write() as db:
                migrations.migrate(db, self.where)
                sqlite.stamp(db)
        self.schema_version = newest
