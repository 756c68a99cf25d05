"""Rows of people and templates, inside a transaction that the registry opened."""

from __future__ import annotations

import difflib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, or_, select

from visavis.errors import NameRefused, PersonUnknown, TemplateRefused
from visavis.values import Person, PersonId, TemplateId

from . import tables
from .faults import damaged
from .names import clean_name
from .vectors import packed, unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row, Select

_SUGGESTED_FROM = 5000
"""Names looked through for a near miss; more would make a mistyped name slow."""


@dataclass(frozen=True, slots=True, eq=False)
class NewTemplate:
    """What is to be enrolled of one photograph.

    Attributes
    ----------
    vector
        (D,) float32, unit length.
    digest
        SHA-256 of the photograph, by which a second enrolment of it is recognised; empty when
        unknown.
    photograph
        Its bytes, only when the operator asked that photographs be kept.
    """

    vector: NDArray[np.float32]
    digest: str = ""
    photograph: bytes | None = None


def now() -> str:
    """Give the time as it is stored: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def when(stored: str, where: str) -> datetime:
    """Read a stored time; GalleryUnusable when it is none."""
    try:
        return datetime.fromisoformat(stored)
    except (TypeError, ValueError) as fault:
        raise damaged(where, "a time cannot be read") from fault


def select_people() -> Select[str, str, str, int]:
    """Build the query for (id, name, created, number of templates) of everybody."""
    counted = (
        select(func.count()).where(tables.template.c.person == tables.person.c.id).scalar_subquery()
    )
    return select(tables.person.c.id, tables.person.c.name, tables.person.c.created, counted)


def to_person(row: Row[str, str, str, int], where: str) -> Person:
    """Make a value of a row of `select_people`."""
    key, name, created, templates = row
    return Person(PersonId(key), name, when(created, where), templates)


def find(db: Connection, name_or_id: str, where: str) -> Person:
    """Look somebody up by id, else by exact name.

    The id goes first: a name that spells another person's id must not stand in for them.

    Raises
    ------
    PersonUnknown
        Suggesting names that are spelled alike.
    """
    try:
        name = clean_name(name_or_id)
    except NameRefused as refused:
        raise PersonUnknown(f"nobody can have that name: {refused}") from refused
    column = tables.person.c
    rows = db.execute(select_people().where(or_(column.id == name, column.name == name))).all()
    if not rows:
        raise PersonUnknown(_unknown(db, name))
    return to_person(next((row for row in rows if row[0] == name), rows[0]), where)


def checked(templates: Sequence[NewTemplate]) -> list[NewTemplate]:
    """Check every vector before anything is written; TemplateRefused when one does not fit."""
    if not templates:
        raise TemplateRefused("there is nothing to enrol: give at least one template")
    fit = [NewTemplate(unit(new.vector), new.digest, new.photograph) for new in templates]
    lengths = {len(new.vector) for new in fit}
    if len(lengths) > 1:
        raise TemplateRefused(f"templates of different lengths: {sorted(lengths)}")
    return fit


def require_length(db: Connection, length: int) -> None:
    """Raise TemplateRefused when the gallery's vectors have another length."""
    stored = db.execute(select(func.length(tables.template.c.vector)).limit(1)).scalar()
    if stored is not None and stored != 4 * length:
        raise TemplateRefused(
            f"the template has {length} numbers and the gallery's have {stored // 4}; use the "
            "encoder that the gallery was made with"
        )


def add_everybody(
    db: Connection, everybody: Sequence[tuple[str, Sequence[NewTemplate]]], where: str
) -> list[tuple[Person, tuple[TemplateId, ...]]]:
    """Store people by (clean) name with their templates; gives each with the templates added.

    Who is there already gets further templates; a template whose photograph the person has is
    skipped. However many people there are, the number of statements stays the same.
    """
    at = now()
    ids = _ids(db, [name for name, _ in everybody])
    known = _digests(db, list(ids.values()))
    persons: list[dict[str, object]] = []
    templates: list[dict[str, object]] = []
    photographs: list[dict[str, object]] = []
    added: list[tuple[PersonId, tuple[TemplateId, ...]]] = []
    for name, new in everybody:
        if name not in ids:
            ids[name] = PersonId(uuid.uuid4().hex)
            persons.append({"id": ids[name], "name": name, "created": at})
        seen = known.setdefault(ids[name], set())
        fresh = []
        for one in new:
            if one.digest and one.digest in seen:
                continue
            seen.add(one.digest)
            key = TemplateId(uuid.uuid4().hex)
            fresh.append(key)
            row = {"id": key, "person": ids[name], "vector": packed(one.vector)}
            templates.append({**row, "digest": one.digest, "created": at})
            if one.photograph is not None:
                photographs.append({"template": key, "bytes": one.photograph})
        added.append((ids[name], tuple(fresh)))
    for table, rows in (
        (tables.person, persons),
        (tables.template, templates),
        (tables.photograph, photographs),
        (tables.change_log, [row for key, fresh in added for row in _logged("added", key, fresh)]),
    ):
        if rows:
            db.execute(insert(table), rows)
    there = found(db, [key for key, _ in added], where)
    return [(there[key], fresh) for key, fresh in added]


def found(db: Connection, ids: Sequence[PersonId], where: str) -> dict[PersonId, Person]:
    """Give those of the ids who are enrolled."""
    there: dict[PersonId, Person] = {}
    for some in in_portions(list(dict.fromkeys(ids))):
        for row in db.execute(select_people().where(tables.person.c.id.in_(some))):
            person = to_person(row, where)
            there[person.id] = person
    return there


def _ids(db: Connection, names: Sequence[str]) -> dict[str, PersonId]:
    column = tables.person.c
    ids: dict[str, PersonId] = {}
    for some in in_portions(list(dict.fromkeys(names))):
        for key, name in db.execute(select(column.id, column.name).where(column.name.in_(some))):
            ids[name] = PersonId(key)
    return ids


def _digests(db: Connection, persons: Sequence[PersonId]) -> dict[PersonId, set[str]]:
    column = tables.template.c
    known: dict[PersonId, set[str]] = {}
    for some in in_portions(persons):
        rows = db.execute(select(column.person, column.digest).where(column.person.in_(some)))
        for person, digest in rows:
            known.setdefault(PersonId(person), set()).add(digest)
    return known


def erase(db: Connection, person: PersonId) -> tuple[TemplateId, ...]:
    """Delete somebody with all that was kept of them, and log which templates are gone."""
    mine = tables.template.c.person == person
    gone = tuple(map(TemplateId, db.execute(select(tables.template.c.id).where(mine)).scalars()))
    photographs = tables.photograph.c.template.in_(select(tables.template.c.id).where(mine))
    db.execute(delete(tables.photograph).where(photographs))
    db.execute(delete(tables.template).where(mine))
    db.execute(delete(tables.person).where(tables.person.c.id == person))
    if gone:
        db.execute(insert(tables.change_log), _logged("removed", person, gone))
    return gone


def in_portions(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Cut a list so that a query's number of parameters stays within every database's limit."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _logged(
    kind: str, person: PersonId, templates: Sequence[TemplateId]
) -> list[dict[str, object]]:
    at = now()
    return [{"kind": kind, "template": key, "person": person, "at": at} for key in templates]


def _unknown(db: Connection, name: str) -> str:
    names = db.execute(select(tables.person.c.name).limit(_SUGGESTED_FROM)).scalars().all()
    if not names:
        return f"nobody called {name!r}: nobody is enrolled yet"
    folded = {other.casefold(): other for other in names}
    near = [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n=3)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list everybody who is"
    return f"nobody called {name!r} is enrolled; {hint}"
