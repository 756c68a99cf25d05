"""Which copies of a gallery there are, as far as it was told: they keep people who are erased here.

Every backup and migration is noted in the audit log before its first byte is written, and when it
is complete; so the list needs no table of its own and cannot be changed without being seen. Whom a
copy holds follows from the change log: whoever had been added by then, and not removed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from visavis.errors import CopyRefused
from visavis.gallery.database import tables
from visavis.gallery.database.times import when

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

BACKUP, MIGRATE, GONE, RESTORE = "backup", "migrate", "copy-gone", "restore"
"""Actions in the audit log."""


class CopyKind(StrEnum):
    """How a copy came to be."""

    BACKUP = "backup"
    MIGRATION = "migration"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of this gallery that was made, or begun.

    Attributes
    ----------
    id
        32 hexadecimal digits.
    place
        Its file or URL, on the machine where it was made.
    at
        When it was begun.
    complete
        False for one that was cut short: then a part of it may lie beside its place.
    digest
        Of what it holds, see `contents`; empty when it is not known.
    since, until
        Numbers of the change log between which it was taken; alike when it is known exactly.
        ``until`` is None when it may hold whatever came later.
    gone
        True once somebody said that it was destroyed, or another took its place.
    """

    id: str
    kind: CopyKind
    place: str
    at: datetime
    complete: bool
    digest: str
    since: int
    until: int | None
    gone: bool = False

    def as_details(self) -> dict[str, Any]:
        """Spell it for the audit log."""
        return {
            "copy": self.id,
            "kind": str(self.kind),
            "place": self.place,
            "at": self.at.isoformat(),
            "complete": int(self.complete),
            "digest": self.digest,
            "since": self.since,
            "until": self.until,
        }


def known(db: Connection, where: str) -> list[Copy]:
    """List the copies that the audit log tells of, the oldest first.

    Of a migration both ends tell: what is listed is the other one.
    """
    column = tables.audit.c
    told = column.action.in_([BACKUP, MIGRATE, GONE, RESTORE])
    rows = db.execute(select(column.action, column.at, column.details).where(told).order_by("seq"))
    found: dict[str, Copy] = {}
    for action, at, text in rows.all():
        # What a tampered log says cannot be read is left out; 'audit verify' tells of it.
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            _take(found, action, _read(text), when(at, where), where)
    return list(found.values())


def _take(
    found: dict[str, Copy], action: str, details: dict[str, Any], at: datetime, where: str
) -> None:
    """Take one entry of the log."""
    if action == BACKUP:
        _back_up(found, details, at)
    elif action == MIGRATE:
        _migration(found, details, at, where)
    elif action == GONE:
        _gone(found, [str(details.get("copy"))])
    else:
        _carry(found, details.get("copies", []), where)


def find(db: Connection, wanted: str, where: str) -> Copy:
    """Give a copy by its id, or the beginning of it, or its place.

    Raises
    ------
    CopyRefused
        When no copy, or more than one, is called so.
    """
    copies = known(db, where)
    alike = [c for c in copies if c.id.startswith(wanted) or c.place == wanted] if wanted else []
    if len(alike) != 1:
        many = f"{len(alike)} copies are" if alike else "no copy is"
        raise CopyRefused(f"{many} called {wanted!r}; see 'visavis gallery backups' for their ids")
    return alike[0]


def holding(db: Connection, person: str, where: str) -> list[tuple[Copy, int]]:
    """Give the copies that hold somebody, and how many of their templates, as far as is known."""
    log = tables.change_log.c
    added: dict[str, int] = {}
    removed: dict[str, int] = {}
    mine = select(log.template, log.kind, log.seq).where(log.person == person)
    for template, kind, seq in db.execute(mine).all():
        (added if kind == "added" else removed)[template] = seq
    found = []
    for copy in known(db, where):
        if not copy.gone:
            count = sum(
                (copy.until is None or seq <= copy.until)
                and removed.get(template, copy.since + 1) > copy.since
                for template, seq in added.items()
            )
            if count:
                found.append((copy, count))
    return found


def _back_up(found: dict[str, Copy], details: dict[str, Any], at: datetime) -> None:
    key, step = str(details.get("copy")), details.get("step")
    if step == "begin":
        place, since = str(details.get("place")), int(details.get("sequence", 0))
        found[key] = Copy(key, CopyKind.BACKUP, place, at, False, "", since, None)
    elif key in found and step == "end":
        taken, digest = int(details["snapshot"]), str(details.get("digest"))
        found[key] = replace(found[key], complete=True, digest=digest, since=taken, until=taken)
        _gone(found, details.get("replaces", []))
    elif step == "undone":
        found.pop(key, None)


def _migration(found: dict[str, Copy], details: dict[str, Any], at: datetime, where: str) -> None:
    ends = [str(details.get("from")), str(details.get("to"))]
    place = ends[0] if ends[1] == where else ends[1]
    for other in [copy for copy in found.values() if copy.place == place]:
        if other.kind is CopyKind.MIGRATION:
            del found[other.id]
    since = int(details.get("sequence", 0))
    until = None if details.get("loose") else since
    key = str(details.get("copy"))
    found[key] = Copy(key, CopyKind.MIGRATION, place, at, True, "", since, until)


def _carry(found: dict[str, Copy], told: Iterable[dict[str, Any]], where: str) -> None:
    """Take over what the gallery knew that was replaced by its own backup."""
    for each in told:
        key = str(each["copy"])
        found[key] = Copy(
            key,
            CopyKind(each["kind"]),
            str(each["place"]),
            when(str(each["at"]), where),
            bool(each["complete"]),
            str(each["digest"]),
            int(each["since"]),
            None if each["until"] is None else int(each["until"]),
        )


def _gone(found: dict[str, Copy], keys: Iterable[str]) -> None:
    for key in keys:
        if key in found:
            found[key] = replace(found[key], gone=True)


def _read(text: str) -> dict[str, Any]:
    """Read an entry's details; those of a tampered log tell nothing."""
    try:
        details = json.loads(text)
    except ValueError:
        return {}
    return details if isinstance(details, dict) else {}
