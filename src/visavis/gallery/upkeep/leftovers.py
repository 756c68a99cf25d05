"""What is left of somebody who was erased: looked for in every table and in the file's raw bytes.

What can be looked for once somebody is gone: their id; their templates' ids, which the change log
remembers; the first bytes of their sealed rows (the nonces, random numbers that say nothing of a
face), which the audit log notes at a removal; and a name, when it is given. The change log and the
audit log are allowed the ids, so each occurrence there is told from others by what stands around
it in SQLite's record format.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sqlalchemy import String, Text, func, or_, select

from visavis.errors import GalleryUnusable, PersonUnknown
from visavis.gallery.database import tables
from visavis.gallery.records import copies
from visavis.values import TemplateId

from . import raw_scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Table

    from visavis.gallery.database.store import Store

_PARTS = ("", "-wal", "-shm", "-journal")
_MOST_NEEDLES = 200
_CHANCE = 1e-3
"""A name so short that random bytes hold it by a greater chance is not looked for in them."""

_IN_CHANGE_LOG = ("(added|removed)[0-9a-f]{32}", r"20\d\d-\d\d-\d\dT")
_IN_AUDIT_LOG = ("[a-z][a-z-]*", r"\{")
_IN_DETAILS = ('"', '"')
_REMEMBERED = {tables.change_log.name, tables.audit.name}


@runtime_checkable
class Holder(Protocol):
    """Something outside the gallery that may still hold templates, such as a search server."""

    def holding(self, templates: Sequence[TemplateId]) -> Iterable[TemplateId]:
        """Give those of the templates that it still holds."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that should be gone: where, what, and how often."""

    where: str
    what: str
    count: int


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What was looked for, and what was found.

    Attributes
    ----------
    person
        The id; empty when only a name was looked for.
    templates
        How many templates of theirs the change log remembers.
    leftovers
        What is left; empty after a complete erasure.
    not_looked
        What could not be looked at, and why.
    """

    person: str
    templates: int
    leftovers: tuple[Leftover, ...]
    not_looked: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give what is told of it in JSON."""
        left = [{"where": x.where, "what": x.what, "count": x.count} for x in self.leftovers]
        return {
            "person": self.person,
            "templates": self.templates,
            "leftovers": left,
            "not_looked": list(self.not_looked),
        }


@dataclass(frozen=True, slots=True)
class Traces:
    """What somebody can be recognised by in a database they were erased from."""

    person: str
    templates: tuple[TemplateId, ...]
    nonces: tuple[str, ...]
    name: str


def traces_of(db: Connection, person: str, name: str) -> Traces:
    """Collect what the logs remember.

    Raises
    ------
    PersonUnknown
        When there is an id and no log has heard of it.
    """
    if not person:
        return Traces("", (), (), name)
    log, audit = tables.change_log.c, tables.audit.c
    templates = dict.fromkeys(
        db.execute(select(log.template).where(log.person == person)).scalars()
    )
    noted = db.execute(select(audit.details).where(audit.subject == person)).scalars().all()
    living = db.execute(select(tables.person.c.id).where(tables.person.c.id == person)).first()
    if not (templates or noted or living):
        raise PersonUnknown(
            f"this gallery's logs have never heard of the id {person}; see 'visavis audit show' "
            "for the ids of those removed"
        )
    nonces = dict.fromkeys(nonce for details in noted for nonce in _nonces(details))
    return Traces(person, tuple(map(TemplateId, templates)), tuple(nonces), name)


def in_tables(db: Connection, traces: Traces) -> list[Leftover]:
    """Look through every text column of every table but the two logs, which may remember ids."""
    found = []
    wanted = [("person id", [traces.person] if traces.person else [])]
    wanted += [("template id", list(traces.templates))]
    for table in tables.schema.sorted_tables:
        if table.name not in _REMEMBERED:
            for what, texts in wanted:
                found += _rows(db, table, what, texts)
        found += _rows(db, table, "name", [traces.name] if traces.name else [])
    return found


def in_copies(db: Connection, person: str, where: str) -> list[Leftover]:
    """Name the backups and other copies that were made while somebody was enrolled."""
    held = copies.holding(db, person, where) if person else []
    return [
        Leftover(
            copy.place if copy.complete else f"{copy.place} (cut short)",
            f"template in the {copy.kind} {copy.id[:8]} of {copy.at:%Y-%m-%d %H:%M}",
            count,
        )
        for copy, count in held
    ]


def in_files(path: Path, traces: Traces, living: Iterable[str]) -> tuple[list[Leftover], list[str]]:
    """Look through the raw bytes of a SQLite file and what lies beside it.

    Parameters
    ----------
    living
        Names of those enrolled: where the name is part of one of theirs it is no fault.

    Returns
    -------
    tuple
        What is left, and what was not looked for.
    """
    files = [path.with_name(path.name + part) for part in _PARTS]
    needles, not_looked = _needles(traces, living, sum(_size(file) for file in files))
    order = {"files": [str(file) for file in files], "needles": needles}
    found = [
        Leftover(Path(each["file"]).name, f"{each['what']} in the raw bytes", each["count"])
        for each in _scanned(order)
    ]
    return found, not_looked


def nonce_of(key: int | None, content: bytes) -> str | None:
    """Give what is noted of a row when it is erased: nothing of one in the clear."""
    return content[:12].hex() if key is not None else None


def _nonces(details: str) -> list[str]:
    try:
        noted = json.loads(details).get("nonces", [])
    except (ValueError, AttributeError):
        return []
    return [n for n in noted if isinstance(n, str) and re.fullmatch("[0-9a-f]{24}", n)]


def _rows(db: Connection, table: Table, what: str, texts: list[str]) -> list[Leftover]:
    columns = [column for column in table.c if isinstance(column.type, String | Text)]
    if not texts or not columns:
        return []
    count = 0
    for start in range(0, len(texts), 100):
        some = texts[start : start + 100]
        query = select(func.count()).select_from(table)
        if what == "name":
            hit = or_(*(column == some[0] for column in columns))
        else:
            hit = or_(*(column.in_(some) for column in columns))
        count += db.execute(query.where(hit)).scalar_one()
    return [Leftover(f"table {table.name}", what, count)] if count else []


def _needles(
    traces: Traces, living: Iterable[str], size: int
) -> tuple[list[dict[str, Any]], list[str]]:
    needles, not_looked = [], []
    if traces.person:
        allowed = [_IN_CHANGE_LOG, _IN_AUDIT_LOG, _IN_DETAILS]
        needles.append(_needle("person id", traces.person.encode(), allowed))
    in_log = [("(added|removed)", f"[0-9a-f]{{32}}{_IN_CHANGE_LOG[1]}"), _IN_DETAILS]
    needles += [_needle("template id", key.encode(), in_log) for key in traces.templates]
    needles += [_needle("sealed row", bytes.fromhex(nonce), []) for nonce in traces.nonces]
    if len(needles) > _MOST_NEEDLES:
        not_looked.append(
            f"{len(needles) - _MOST_NEEDLES} of {len(needles)} ids and beginnings of sealed rows: "
            f"at most {_MOST_NEEDLES} are looked for in the raw bytes"
        )
    needles = needles[:_MOST_NEEDLES]
    name = traces.name.encode()
    if name and size / 256.0 ** len(name) > _CHANCE:
        not_looked.append(
            f"the name in the raw bytes: {len(name)} bytes occur by chance in a file of this size"
        )
    elif name:
        needles.append(_needle("name", name, _within(name, living)))
    return needles, not_looked


def _within(name: bytes, living: Iterable[str]) -> list[tuple[str, str]]:
    around = []
    for other in {each.encode() for each in living} - {name}:
        at = other.find(name)
        while at >= 0:
            around.append((_literal(other[:at]), _literal(other[at + len(name) :])))
            at = other.find(name, at + 1)
    return around


def _literal(text: bytes) -> str:
    return re.escape(text).decode("latin-1")


def _needle(what: str, content: bytes, allowed: list[tuple[str, str]]) -> dict[str, Any]:
    return {"what": what, "hex": content.hex(), "allowed": allowed}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _scanned(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Have another process read the files, see `raw_scan` for why."""
    program = [sys.executable, "-I", str(Path(raw_scan.__file__))]
    done = subprocess.run(  # noqa: S603 -- our own program, its order on standard input
        program, input=json.dumps(order), capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise GalleryUnusable(
            f"the raw bytes of {order['files'][0]} cannot be read ({why}); see that this user may "
            "read the file"
        )
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer


def is_id(text: str) -> bool:
    """Tell a person's id from a name by its look."""
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def outside(holders: Iterable[Holder], traces: Traces) -> list[Leftover]:
    """Ask searchers outside the gallery whether they still hold a template."""
    found = []
    for holder in holders:
        count = len(list(holder.holding(traces.templates))) if traces.templates else 0
        if count:
            found.append(Leftover(str(getattr(holder, "name", "searcher")), "template id", count))
    return found


def erasure_report(
    store: Store, asked: tuple[str, str], holders: Iterable[Holder]
) -> ErasureReport:
    """Look everywhere for somebody, given by id and name; see `Gallery.check_erased`."""
    person, name = asked
    with store.read() as db:
        traces = traces_of(db, person, name)
        found = in_tables(db, traces)
        found += in_copies(db, person, store.where)
        living = db.execute(select(tables.person.c.name)).scalars().all()
        others = not person and any(not copy.gone for copy in copies.known(db, store.where))
    not_looked: list[str] = []
    if others:
        not_looked.append("backups and other copies: which hold somebody is told by their id")
    if store.path is None:
        not_looked += store.remains(erased=True)
        not_looked.append("the raw bytes of the tables: they lie on the server")
    else:
        in_bytes, unlooked = in_files(store.path, traces, living)
        found, not_looked = found + in_bytes, not_looked + unlooked
    found += outside(holders, traces)
    return ErasureReport(person, len(traces.templates), tuple(found), tuple(not_looked))
