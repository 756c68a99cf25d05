"""Rows of people and templates, inside a transaction that the registry opened."""

from __future__ import annotations

import difflib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import collate, delete, func, insert, or_, select, true, update

from visavis.errors import ConsentExpired, NameRefused, PersonUnknown, TemplateRefused
from visavis.gallery.database import tables
from visavis.gallery.database.times import now, spelled, when
from visavis.gallery.database.vectors import packed, unit
from visavis.gallery.secrets.protection import NONCE_BYTES
from visavis.gallery.secrets.sealing import OVERHEAD, Kind, Sealed
from visavis.values import Consent, Person, PersonId, TemplateId

from .consent import columns_of
from .names import clean_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row, Select

    from visavis.gallery.secrets.vault import Sealer

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


def select_people() -> Select[Any]:
    """Build the query for everybody's own columns and number of templates."""
    column = tables.person.c
    counted = select(func.count()).where(tables.template.c.person == column.id).scalar_subquery()
    stated = (column.consent, column.purpose, column.expires)
    return select(column.id, column.name, column.created, counted, *stated)


def page(
    db: Connection, search: str, after: str, limit: int, where: str
) -> tuple[list[Person], int]:
    """Give some people by name, and how many there are of the kind."""
    column = tables.person.c.name
    # Both databases can order by code points, and only so do they agree.
    name = collate(column, "C" if db.dialect.name == "postgresql" else "BINARY")
    wanted = func.lower(column).contains(search.lower(), autoescape=True) if search else true()
    total = db.execute(select(func.count()).select_from(tables.person).where(wanted)).scalar_one()
    query = select_people().where(wanted, name > after).order_by(name).limit(limit)
    return [to_person(row, where) for row in db.execute(query)], total


def to_person(row: Row[Any], where: str) -> Person:
    """Make a value of a row of `select_people`."""
    key, name, created, templates, reference, purpose, end = tuple(row)
    consent = Consent(reference or "", purpose or "", end and when(end, where))
    return Person(PersonId(key), name, when(created, where), templates, consent)


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
    column = tables.template.c
    found = db.execute(select(func.length(column.vector), column.key).limit(1)).first()
    if found is None:
        return
    stored = (found[0] - (0 if found.key is None else OVERHEAD)) // 4
    if stored != length:
        raise TemplateRefused(
            f"the template has {length} numbers and the gallery's have {stored}; use the encoder "
            "that the gallery was made with"
        )


def add_everybody(
    db: Connection,
    everybody: Sequence[tuple[str, Sequence[NewTemplate]]],
    consent: Consent | None,
    sealer: Sealer,
    where: str,
) -> list[tuple[Person, tuple[TemplateId, ...]]]:
    """Store people by (clean) name with their templates; gives each with the templates added.

    Who is there already gets further templates; a template whose photograph the person has is
    skipped. A consent takes the place of the one before. However many people there are, the
    number of statements stays the same.

    Raises
    ------
    ConsentExpired
        When the consent of somebody there has ended and no new one is given.
    """
    at = now()
    ids = _ids(db, [name for name, _ in everybody])
    if consent is None:
        _refuse_expired(db, list(ids.values()), at)
    else:
        give(db, list(ids.values()), consent)
    stated = columns_of(consent or Consent())
    known = _digests(db, list(ids.values()))
    seq = newest(db)
    persons: list[dict[str, object]] = []
    templates: list[dict[str, Any]] = []
    photographs: list[dict[str, Any]] = []
    log: list[dict[str, object]] = []
    added: list[tuple[PersonId, tuple[TemplateId, ...]]] = []
    for name, new in everybody:
        if name not in ids:
            ids[name] = PersonId(uuid.uuid4().hex)
            persons.append({"id": ids[name], "name": name, "created": at, **stated})
        seen = known.setdefault(ids[name], set())
        fresh = []
        for one in new:
            digest = sealer.digest(one.digest)
            # In a gallery of before, a photograph may stand there by its plain digest.
            if one.digest and (digest in seen or one.digest in seen):
                continue
            seen.add(digest)
            key = TemplateId(uuid.uuid4().hex)
            fresh.append(key)
            seq += 1
            row = {"id": key, "person": ids[name], "vector": packed(one.vector), "seq": seq}
            templates.append({**row, "digest": digest, "created": at, "key": sealer.number})
            log.append(entry(seq, "added", key, ids[name], at))
            if one.photograph is not None:
                owner = {"template": key, "person": ids[name]}
                photographs.append({**owner, "bytes": one.photograph, "key": sealer.number})
        added.append((ids[name], tuple(fresh)))
    _seal(sealer, templates, photographs)
    for table, rows in (
        (tables.person, persons),
        (tables.template, templates),
        (tables.photograph, photographs),
        (tables.change_log, log),
    ):
        if rows:
            db.execute(insert(table), rows)
    there = found(db, [key for key, _ in added], where)
    return [(there[key], fresh) for key, fresh in added]


def _seal(
    sealer: Sealer, templates: list[dict[str, Any]], photographs: list[dict[str, Any]]
) -> None:
    """Seal the contents of rows in place."""
    rows = [Sealed(row["id"], row["person"], None, row["vector"]) for row in templates]
    for row, sealed in zip(templates, sealer.seal(Kind.TEMPLATE, rows), strict=True):
        row["vector"] = sealed
    rows = [Sealed(row["template"], row.pop("person"), None, row["bytes"]) for row in photographs]
    for row, sealed in zip(photographs, sealer.seal(Kind.PHOTOGRAPH, rows), strict=True):
        row["bytes"] = sealed


def newest(db: Connection) -> int:
    """Read the number of the change log's last entry; 0 when there is none.

    Under the writer's lock the numbers after it are free. The log is never shortened, so none is
    ever given twice.
    """
    last: int = db.execute(select(func.coalesce(func.max(tables.change_log.c.seq), 0))).scalar_one()
    return last


def give(db: Connection, persons: Sequence[PersonId], consent: Consent) -> None:
    """Write down a consent in place of the one before."""
    for some in in_portions(persons):
        whom = tables.person.c.id.in_(some)
        db.execute(update(tables.person).where(whom).values(columns_of(consent)))


def expired(db: Connection, moment: datetime, where: str) -> list[Person]:
    """Give those whose consent has ended by then, the longest ago first."""
    column = tables.person.c
    query = select_people().where(column.expires <= spelled(moment))
    gone = [to_person(row, where) for row in db.execute(query)]
    return sorted(gone, key=lambda person: (columns_of(person.consent)["expires"], person.id))


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


def nonces(db: Connection, person: PersonId) -> list[str]:
    """Give the random beginnings of somebody's sealed rows, by which copies of them can be found.

    They say nothing of a face; rows in the clear have none.
    """
    template, photograph = tables.template.c, tables.photograph.c
    vectors = select(func.substr(template.vector, 1, NONCE_BYTES)).where(
        template.person == person, template.key.is_not(None)
    )
    pictures = (
        select(func.substr(photograph.bytes, 1, NONCE_BYTES))
        .join_from(tables.photograph, tables.template)
        .where(template.person == person, photograph.key.is_not(None))
    )
    found = [*db.execute(vectors).scalars(), *db.execute(pictures).scalars()]
    return [bytes(nonce).hex() for nonce in found]


def erase(db: Connection, person: PersonId) -> tuple[TemplateId, ...]:
    """Delete somebody with all that was kept of them, and log which templates are gone."""
    mine = tables.template.c.person == person
    in_order = select(tables.template.c.id).where(mine).order_by(tables.template.c.seq)
    gone = tuple(map(TemplateId, db.execute(in_order).scalars()))
    photographs = tables.photograph.c.template.in_(select(tables.template.c.id).where(mine))
    db.execute(delete(tables.photograph).where(photographs))
    db.execute(delete(tables.template).where(mine))
    db.execute(delete(tables.person).where(tables.person.c.id == person))
    # What the network side remembers names people by their ids.
    tried, done = tables.failure.c.subject, tables.done_request.c.answer
    db.execute(delete(tables.failure).where(tried.endswith(f"/{person}")))
    db.execute(delete(tables.done_request).where(done.contains(person)))
    if gone:
        at, first = now(), newest(db) + 1
        log = [entry(n, "removed", key, person, at) for n, key in enumerate(gone, start=first)]
        db.execute(insert(tables.change_log), log)
    return gone


def in_portions(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Cut a list so that a query's number of parameters stays within every database's limit."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def entry(seq: int, kind: str, key: TemplateId, person: PersonId, at: str) -> dict[str, object]:
    """Spell a row of the change log."""
    return {"seq": seq, "kind": kind, "template": key, "person": person, "at": at}


def _refuse_expired(db: Connection, persons: Sequence[PersonId], at: str) -> None:
    column = tables.person.c
    for some in in_portions(persons):
        ended = select(column.name, column.expires).where(column.id.in_(some), column.expires <= at)
        if first := db.execute(ended.limit(1)).first():
            raise ConsentExpired(
                f"the consent of {first.name} ended at {first.expires}; enrol them with a new one, "
                "or erase them"
            )


def _unknown(db: Connection, name: str) -> str:
    names = db.execute(select(tables.person.c.name).limit(_SUGGESTED_FROM)).scalars().all()
    if not names:
        return f"nobody called {name!r}: nobody is enrolled yet"
    folded = {other.casefold(): other for other in names}
    near = [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n=3)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list everybody who is"
    return f"nobody called {name!r} is enrolled; {hint}"
