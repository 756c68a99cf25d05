"""Two people who are one: the templates of one go to the other, and the one is erased.

A template never changes its person, because searchers and seals rely on it: what moves gets a new
id, is sealed for its new place, and stands in the change log as removed there and added here.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import insert, select, update

from visavis.errors import ConsentExpired, ConsentRefused, InputRefused, PersonMismatch
from visavis.gallery.database import tables
from visavis.gallery.database.times import now
from visavis.gallery.database.vectors import packed, unpacked
from visavis.gallery.secrets.sealing import Kind, Sealed
from visavis.gallery.trail.audit import Deed
from visavis.values import Consent, TemplateId

from . import people

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row, Select

    from visavis.gallery.secrets.vault import Sealer, Vault
    from visavis.values import Person, PersonId


@dataclass(frozen=True, slots=True)
class Wish:
    """Who is to be merged into whom, and under which conditions.

    Attributes
    ----------
    within
        How far apart their nearest templates may be, [0, 4]; None asks for no likeness.
    consent
        What the person agreed to, checked, in place of what both had; None joins the two.
    """

    source: Person
    target: Person
    within: float | None
    consent: Consent | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a merge changed: new ids, ids that are gone, photographs that were there twice.

    ``distance`` is that of the nearest templates of the two; None when one had none.
    """

    moved: tuple[TemplateId, ...]
    gone: tuple[TemplateId, ...]
    skipped: int
    distance: float | None
    deeds: tuple[Deed, ...]


def merge(db: Connection, vault: Vault, wish: Wish, moment: datetime) -> Outcome:
    """Move templates and photographs to the target and erase the source; all in this transaction.

    Raises
    ------
    InputRefused
        When they are one already.
    PersonMismatch
        When they are farther apart than was allowed.
    ConsentRefused, ConsentExpired
        See `joined`.
    KeyRefused, GalleryTampered
    """
    source, target = wish.source, wish.target
    if source.id == target.id:
        raise InputRefused(f"{target.name} is one person already; name two")
    agreed = wish.consent or joined(source, target, moment)
    theirs, mine = _templates(db, source.id), _templates(db, target.id)
    vectors = [_opened(db, vault, rows) for rows in (theirs, mine)]
    distance = _nearest(*vectors)
    if wish.within is not None:
        _require_near(source, target, distance, wish.within)
    nonces = people.nonces(db, source.id)
    moves, skipped = _moved(db, vault, (theirs, vectors[0], mine), wish)
    if agreed != target.consent:
        people.give(db, [target.id], agreed)
    gone = people.erase(db, source.id)
    checked, given = int(wish.within is not None), {"consent": 1} if wish.consent else {}
    counted = {"templates": len(moves), "skipped": skipped, "checked": checked, **given}
    left = {"into": target.id, "templates": len(gone), "nonces": nonces}
    deeds = (
        Deed("merge", target.id, {"from": source.id, **counted}),
        Deed("merge", source.id, left),
    )
    return Outcome(tuple(moves), gone, skipped, distance, deeds)


def joined(source: Person, target: Person, moment: datetime) -> Consent:
    """Give the consent that covers what both agreed to.

    What only one of them states stands, and the earlier end.

    Raises
    ------
    ConsentExpired
        When that of one has ended: nobody may be recognised by their templates any more.
    ConsentRefused
        When they state different things: templates would be used for what was not agreed to.
    """
    for person in (source, target):
        if person.expired(moment):
            raise ConsentExpired(
                f"the consent of {person.name} ended at {person.consent.expires}; erase them, or "
                "merge the two with a new consent"
            )
    stated = {}
    for what in ("reference", "purpose"):
        theirs, mine = getattr(source.consent, what), getattr(target.consent, what)
        if theirs and mine and theirs != mine:
            raise ConsentRefused(
                f"{source.name} and {target.name} agreed to different things ({what} {theirs!r} "
                f"and {mine!r}); say which consent the one person has"
            )
        stated[what] = mine or theirs
    ends = [c.expires for c in (source.consent, target.consent) if c.expires is not None]
    return Consent(stated["reference"], stated["purpose"], min(ends, default=None))


def _templates(db: Connection, person: PersonId) -> Sequence[Row[Any]]:
    column = tables.template.c
    sealed = (column.id, column.person, column.key, column.vector)
    query: Select[Any] = select(*sealed, column.digest, column.created)
    return db.execute(query.where(column.person == person).order_by(column.seq)).all()


def _opened(db: Connection, vault: Vault, rows: Sequence[Row[Any]]) -> NDArray[np.float32]:
    opened = vault.open(db, Kind.TEMPLATE, [Sealed._make(row[:4]) for row in rows])
    return unpacked(opened, vault.where)


def _nearest(some: NDArray[np.float32], others: NDArray[np.float32]) -> float | None:
    """Squared distance of the nearest two of (N, D) and (M, D); None when there are no two."""
    if not (len(some) and len(others)):
        return None
    far = others.astype(np.float64)
    differences = (one.astype(np.float64) - far for one in some)
    return min(4.0, *(float(np.einsum("nd,nd->n", d, d).min()) for d in differences))


def _require_near(source: Person, target: Person, distance: float | None, within: float) -> None:
    if distance is None:
        raise PersonMismatch(
            f"{source.name} and {target.name} cannot be compared: one of them has no templates; "
            "force it if they are one person"
        )
    if distance > within:
        raise PersonMismatch(
            f"{source.name} and {target.name} do not look alike (d = {distance:.2f}, at most "
            f"{within:.2f}); force it if they are one person"
        )


def _moved(
    db: Connection,
    vault: Vault,
    rows: tuple[Sequence[Row[Any]], NDArray[np.float32], Sequence[Row[Any]]],
    wish: Wish,
) -> tuple[list[TemplateId], int]:
    """Write what the source has and the target has not, as the target's; count the rest."""
    theirs, vectors, mine = rows
    photographs = {row.id: row for row in _photographs(db, wish.source.id)}
    sealer = vault.sealer(db, len(theirs) + len(photographs))
    seen = {_digest(sealer, row) for row in mine} - {""}
    at, seq = now(), people.newest(db)
    templates: list[dict[str, Any]] = []
    log: list[dict[str, Any]] = []
    was: dict[TemplateId, str] = {}
    for row, vector in zip(theirs, vectors, strict=True):
        digest = _digest(sealer, row)
        if digest in seen:
            continue
        seen |= {digest} - {""}
        key, seq = TemplateId(uuid.uuid4().hex), seq + 1
        was[key] = row.id
        place = Sealed(key, wish.target.id, None, packed(vector))
        (new,) = sealer.seal(Kind.TEMPLATE, [place])
        stated = {"digest": digest, "created": row.created, "key": sealer.number, "seq": seq}
        templates.append({"id": key, "person": wish.target.id, "vector": new, **stated})
        log.append(people.entry(seq, "added", key, wish.target.id, at))
    if templates:
        db.execute(insert(tables.template), templates)
        db.execute(insert(tables.change_log), log)
    for key, before in was.items():
        if before in photographs:
            _move_photograph(db, vault, sealer, (wish, before, key))
    return list(was), len(theirs) - len(was)


def _digest(sealer: Sealer, row: Row[Any]) -> str:
    """Give a stored digest as it is compared: those of rows in the clear are not keyed yet."""
    return sealer.digest(row.digest) if row.key is None else str(row.digest)


def _photographs(db: Connection, person: PersonId) -> Sequence[Row[Any]]:
    template = tables.template.c
    query: Select[Any] = select(template.id).join_from(tables.photograph, tables.template)
    return db.execute(query.where(template.person == person)).all()


def _move_photograph(
    db: Connection, vault: Vault, sealer: Sealer, move: tuple[Wish, str, TemplateId]
) -> None:
    """Seal one photograph for its new template; one at a time, for they are large."""
    wish, before, key = move
    column = tables.photograph.c
    query = select(column.key, column.bytes).where(column.template == before)
    old = db.execute(query).one()
    (content,) = vault.open(
        db, Kind.PHOTOGRAPH, [Sealed(before, wish.source.id, old.key, old.bytes)]
    )
    (sealed,) = sealer.seal(Kind.PHOTOGRAPH, [Sealed(key, wish.target.id, None, content)])
    moved = update(tables.photograph).where(column.template == before)
    db.execute(moved.values(template=key, bytes=sealed, key=sealer.number))
