"""A gallery brought back from a backup: looked through first, then put in place as a whole."""

from __future__ import annotations

from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from visavis.errors import CopyRefused
from visavis.gallery.database import tables
from visavis.gallery.database.store import Store
from visavis.gallery.database.times import when
from visavis.gallery.records import copies
from visavis.gallery.records.copies import Copy, CopyKind
from visavis.gallery.records.people import newest
from visavis.gallery.secrets.protection import Keys
from visavis.gallery.secrets.vault import Vault
from visavis.gallery.trail.audit import Deed
from visavis.gallery.trail.scribe import Scribe
from visavis.values import PersonId

from .copying import Copying, forget_fleeting
from .vetting import RestoreConfig, vetted

if TYPE_CHECKING:
    import os

    from sqlalchemy import Connection

    from visavis.gallery.upkeep.inspection import Problem

    from .contents import Contents, Told
    from .vetting import Vetted


@dataclass(frozen=True, slots=True)
class Returned:
    """Somebody who had been removed since the backup was made, and is enrolled again."""

    id: PersonId
    name: str


@dataclass(frozen=True, slots=True)
class Restoration:
    """What came of a restoration.

    Attributes
    ----------
    where
        The gallery that was filled.
    backup
        The backup's id; empty when the file is a plain gallery.
    contents
        Rows by table, and the digest; found alike in the file and in the gallery.
    returned
        Who had been removed from the gallery that was replaced. Remove them again, unless that is
        why the backup was restored.
    problems
        What `Gallery.check` found fault with in the backup; only where that was asked for.
    erased
        False when the replaced rows may still lie in unused parts of the gallery's file.
    """

    where: str
    backup: str
    contents: Contents
    returned: tuple[Returned, ...]
    problems: tuple[Problem, ...]
    erased: bool


def restore(
    file: str | os.PathLike[str],
    where: str | os.PathLike[str],
    config: RestoreConfig | None = None,
    told: Told | None = None,
) -> Restoration:
    """Make a gallery what a backup holds, in one transaction.

    The backup is digested, and looked through as `Gallery.check` does, before anything is changed.
    Whoever has the gallery open should open it again.

    Parameters
    ----------
    file
        A backup, or any gallery's file; it is only read.
    where
        See `Gallery.open`; the gallery is made when there is none.
    told
        Called after every portion with rows done and rows in all; each is written and read.

    Raises
    ------
    CopyRefused
        When the gallery holds something, and ``config`` does not force it.
    CopyDiffers, GalleryUnusable, KeyRefused
        When the backup was changed, is damaged, or cannot be opened with this key.
    """
    config, file = config or RestoreConfig(), Path(file)
    keys = Keys.of(config.keys)
    with ExitStack() as stack:
        source = vetted(file, config, stack)
        store = Store.open(where, create=True, patience=config.patience, unfinished=config.force)
        target = stack.enter_context(closing(store))
        _require_other(file, target)
        with source.store.read() as view, target.write() as db:
            replaces = _require_free(db, target, force=config.force)
            returned = _returned(view, db)
            details = _details(source, view, db, target.where)
            forget_fleeting(db)
            names = (str(file), target.where)
            contents = Copying(view, lambda: nullcontext(db), names, told).run()
            scribe = Scribe(config.actor, Vault(keys, target.where))
            scribe.write(db, [Deed(copies.RESTORE, "", {**details, "digest": contents.digest})])
            target.set_unfinished(db, unfinished=False)
        erased = target.scrub() if replaces else True
        key = source.mark.id if source.mark else ""
        return Restoration(target.where, key, contents, returned, source.problems, erased)


def _require_other(file: Path, target: Store) -> None:
    if target.path is not None and target.path.samefile(file):
        raise CopyRefused(f"{file} is the gallery itself; name the backup to restore it from")


def _require_free(db: Connection, target: Store, *, force: bool) -> bool:
    """Tell whether something is replaced, and refuse it unless that was asked for."""
    held = not is_empty(db)
    if held and not force:
        raise CopyRefused(
            f"the gallery {target.where} is not empty; name another place (--gallery), or --force "
            "to replace all that it holds"
        )
    return held or target.unfinished


def is_empty(db: Connection) -> bool:
    """Tell whether a gallery holds nothing that somebody put there."""
    holders = (tables.person, tables.change_log, tables.operating_point, tables.data_key)
    return not any(db.execute(select(table.c[0]).limit(1)).first() for table in holders)


def _returned(view: Connection, db: Connection) -> tuple[Returned, ...]:
    gallery = select(tables.gallery.c.id)
    if view.execute(gallery).scalar_one() != db.execute(gallery).scalar_one():
        return ()
    person, log = tables.person.c, tables.change_log.c
    removed = set(
        db.execute(select(log.person).where(log.kind == "removed").distinct()).scalars()
    ) - set(db.execute(select(person.id)).scalars())
    back = view.execute(select(person.id, person.name).order_by(person.name)).all()
    return tuple(Returned(PersonId(key), name) for key, name in back if key in removed)


def _details(source: Vetted, view: Connection, db: Connection, where: str) -> dict[str, object]:
    """Note where it came from, and which copies the gallery knew of that is replaced."""
    gallery = select(tables.gallery.c.id)
    taken = newest(view)
    there: list[Copy] = []
    if view.execute(gallery).scalar_one() == db.execute(gallery).scalar_one():
        # Beyond what the two have in common nobody can tell: it is another story from there on.
        there = [
            replace(copy, since=min(copy.since, taken))
            if copy.until is None
            else replace(copy, since=min(copy.since, taken), until=min(copy.until, taken))
            for copy in copies.known(db, where)
            if not copy.gone
        ]
    if source.mark:
        mark, place = source.mark, str(source.file.absolute())
        at = when(mark.at, str(source.file))
        own = Copy(mark.id, CopyKind.BACKUP, place, at, True, mark.digest, taken, taken)
        there = [copy for copy in there if copy.id != own.id] + [own]
    return {
        "copy": source.mark.id if source.mark else "",
        "copies": [copy.as_details() for copy in there],
    }
