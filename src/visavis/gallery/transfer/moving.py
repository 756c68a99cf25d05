"""A gallery moved to another database: from a file to a server, or back.

The target is filled portion by portion, and until it is complete no visavis opens it as a gallery.
Cut short, it is gone on with: what is there already is compared, not sent again. Called once more
after it was complete, it brings over what the source got since, in one transaction, as long as
nobody has written into the target.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import select

from visavis.errors import CopyRefused, GalleryBusy
from visavis.gallery.database import tables
from visavis.gallery.database.store import Store
from visavis.gallery.records import copies
from visavis.gallery.records.people import newest
from visavis.gallery.trail.audit import Deed

from .backup import begin
from .copying import Copying
from .restoring import is_empty

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from visavis.gallery.trail.scribe import Scribe

    from .contents import Contents, Told

_TRIES = 3
"""How often it is waited for a moment in which nobody writes between the note and the view."""


class Way(StrEnum):
    """How a target was filled."""

    FILLED = "filled"
    RESUMED = "resumed"
    REFRESHED = "refreshed"


@dataclass(frozen=True, slots=True)
class Move:
    """What came of a migration.

    Attributes
    ----------
    where
        The target, without a password.
    way
        Whether it was empty, begun, or complete before.
    contents
        Rows by table, and the digest; found alike in both.
    recorded
        False when the source could only be read, so that the audit log does not know of it.
    """

    where: str
    way: Way
    contents: Contents
    recorded: bool


def move(
    store: Store,
    scribe: Scribe,
    to: str | os.PathLike[str],
    *,
    patience: float = 10.0,
    told: Told | None = None,
) -> Move:
    """Make another database the same gallery; see `Gallery.migrate`."""
    with ExitStack() as stack:
        opened = Store.open(to, create=True, patience=patience, unfinished=True)
        target = stack.enter_context(closing(opened))
        target.require_writable()
        stack.enter_context(_alone(target))
        way = _way(store, target)
        source = stack.enter_context(_noted_view(store, scribe, target.where))
        names = (store.where, target.where)
        if way is Way.REFRESHED:
            with target.write() as db:
                contents = Copying(source, lambda: nullcontext(db), names, told).run()
        else:
            if way is Way.FILLED:
                begin(source, target)
            contents = Copying(source, target.write, names, told).run()
            with target.write() as db:
                target.set_unfinished(db, unfinished=False)
        if way is not Way.FILLED:
            target.scrub()  # of whoever was removed from the source in the meantime
        return Move(target.where, way, contents, store.writable)


def _way(store: Store, target: Store) -> Way:
    """See what the target holds.

    Raises
    ------
    CopyRefused
        When it is another gallery, or one that went on by itself.
    """
    here, there = store.path, target.path
    if store.where == target.where or (here and there and here.samefile(there)):
        raise CopyRefused(f"{target.where} is the gallery itself; name another place to migrate to")
    with store.read() as source, target.read() as db:
        same = _id(source) == _id(db)
        if target.unfinished and same:
            return Way.RESUMED
        if not target.unfinished:
            if is_empty(db):
                return Way.FILLED
            if same and _is_ancestor(db, source):
                return Way.REFRESHED
    if not same:
        raise CopyRefused(
            f"{target.where} holds another gallery; name an empty place (a new file, or "
            "?schema=... on the server)"
        )
    raise CopyRefused(
        f"{target.where} is a copy of this gallery that was written into since; use it as the "
        "gallery from now on, or name an empty place"
    )


def _id(db: Connection) -> str:
    return str(db.execute(select(tables.gallery.c.id)).scalar_one())


def _is_ancestor(db: Connection, source: Connection) -> bool:
    """Tell whether all that a copy's audit log tells is in the source's: every change is there."""
    column = tables.audit.c
    last = select(column.seq, column.hash).order_by(column.seq.desc()).limit(1)
    found = db.execute(last).one_or_none()
    if found is None:
        return True
    there = select(column.hash).where(column.seq == found.seq)
    return bool(source.execute(there).scalar_one_or_none() == found.hash)


@contextmanager
def _noted_view(store: Store, scribe: Scribe, to: str) -> Iterator[Connection]:
    """Note in the audit log who will have a copy, and give a view that holds the note.

    The note says up to which entry of the change log the copy goes; when others write in between
    it is noted again, and at last that it is not known.
    """
    for left in reversed(range(_TRIES)):
        noted = _note(store, scribe, to, loose=not left) if store.writable else None
        with store.read() as source:
            if noted is None or not left or newest(source) == noted:
                yield source
                return


def _note(store: Store, scribe: Scribe, to: str, *, loose: bool) -> int:
    details: dict[str, object] = {"copy": uuid.uuid4().hex, "from": store.where, "to": to}
    if loose:
        details["loose"] = 1
    with store.write() as db:
        scribe.write(db, [Deed(copies.MIGRATE, "", details)])
        return newest(db)


@contextmanager
def _alone(target: Store) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(target.alone(0.5))
        except GalleryBusy as busy:
            raise GalleryBusy(
                f"another process is migrating to {target.where}; wait for it, or end it"
            ) from busy
        yield
