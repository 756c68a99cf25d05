"""What happened to the templates since a searcher last looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import func, select

from visavis.gallery.database import tables
from visavis.gallery.database.vectors import unpacked
from visavis.gallery.secrets.sealing import Kind, Sealed
from visavis.values import EncoderId, PersonId, TemplateId

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from visavis.gallery.secrets.vault import Vault

PORTION = 4096
"""Log entries in one portion: 8 MiB of vectors of 512 numbers.

What is temporary while a portion is taken in leaves that much free memory in the process, whatever
the gallery's size; larger portions are no faster.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The way from sequence number ``since`` to ``sequence``, or a portion of it.

    Attributes
    ----------
    since, sequence
        Where the searcher was, and where it is once this is applied.
    mark
        Names the log entry ``sequence``; empty at 0. A searcher keeps it and hands it back, so
        that a gallery which was restored from a backup and went on differently is noticed.
    full
        True when the searcher must first forget whatever it holds; in the first portion only.
    more
        True when more follows: ask again at once.
    encoder
        The encoder of all vectors; None while the gallery has none.
    added
        Ids of N templates that live now.
    persons
        Whose they are, in the same order. A template never changes its person.
    vectors
        (N, D) float32 unit rows, in the same order; (0, 0) when there are none.
    removed
        Ids of templates that are gone; some may never have reached the searcher. None is among
        ``added``.
    templates
        With ``full``, how many templates there are in all; a searcher lays itself out for them.
    """

    since: int
    sequence: int
    mark: str
    full: bool
    more: bool
    encoder: EncoderId | None
    added: tuple[TemplateId, ...]
    persons: tuple[PersonId, ...]
    vectors: NDArray[np.float32]
    removed: tuple[TemplateId, ...]
    templates: int = 0

    @property
    def empty(self) -> bool:
        """True when there is nothing to apply; a portion of dead entries still moves on."""
        return not self.full and self.sequence == self.since


class Owned(NamedTuple):
    """A template that lives: whose it is, and its vector (D,) float32."""

    person: PersonId
    vector: NDArray[np.float32]


def read_changes(db: Connection, since: int, mark: str, limit: int, vault: Vault) -> Changes:
    """Collect at most ``limit`` entries of the log after ``since`` in one consistent view.

    0 asks for everything. So does a number that this gallery has not reached, or whose entry is
    another than ``mark`` says: then a backup was put in its place. An empty mark is not compared.
    """
    encoder, newest, template, at = db.execute(_STATE).one()
    newest, last = (0, "") if newest is None else (newest, _named(template, at))
    if since == newest and mark in {"", last}:
        return Changes(since, newest, last, False, False, encoder, (), (), _NONE, ())
    full = since <= 0 or not _is_known(db, since, mark, newest)
    if not newest:
        return Changes(since, 0, "", full, False, encoder, (), (), _NONE, ())
    begin = 0 if full else since
    end, name = _end(db, begin, limit)
    added, persons, vectors = _living(db, begin, end, vault)
    removed = () if full else _gone(db, begin, end)
    more = end < newest
    templates = db.execute(_COUNT).scalar_one() if full else 0
    return Changes(
        since, end, name, full, more, encoder, added, persons, vectors, removed, templates
    )


def read_vectors(db: Connection, ids: list[TemplateId], vault: Vault) -> dict[TemplateId, Owned]:
    """Give the vectors and owners of those of at most 500 templates that live."""
    column = tables.template.c
    query = select(column.id, column.person, column.key, column.vector)
    rows = list(map(Sealed._make, db.execute(query.where(column.id.in_(ids)))))
    vectors = unpacked(vault.open(db, Kind.TEMPLATE, rows), vault.where)
    return {
        TemplateId(row.template): Owned(PersonId(row.person), vector)
        for row, vector in zip(rows, vectors, strict=True)
    }


_LOG = tables.change_log.c

_NONE = np.empty((0, 0), dtype=np.float32)
_NONE.flags.writeable = False

_LAST = select(func.max(_LOG.seq)).scalar_subquery()
_STATE = select(tables.gallery.c.encoder, _LOG.seq, _LOG.template, _LOG.at).select_from(
    tables.gallery.outerjoin(tables.change_log, _LOG.seq == _LAST)
)

_COUNT = select(func.count()).select_from(tables.template)

_ENTRY = select(_LOG.seq, _LOG.template, _LOG.at)


def _named(template: str, at: str) -> str:
    """Name a log entry; two histories of one gallery have no two entries alike."""
    return f"{template}@{at}"


def _is_known(db: Connection, since: int, mark: str, newest: int) -> bool:
    if since > newest:
        return False
    if not mark:
        return True
    found = db.execute(_ENTRY.where(_LOG.seq == since)).first()
    return found is not None and mark == _named(found.template, found.at)


def _end(db: Connection, begin: int, limit: int) -> tuple[int, str]:
    """Find the last entry of the portion that begins after ``begin``, and its name."""
    following = _ENTRY.where(_LOG.seq > begin).order_by(_LOG.seq).limit(max(1, limit)).subquery()
    last = select(following).order_by(following.c.seq.desc()).limit(1)
    found = db.execute(last).one()
    return found.seq, _named(found.template, found.at)


def _living(
    db: Connection, begin: int, end: int, vault: Vault
) -> tuple[tuple[TemplateId, ...], tuple[PersonId, ...], NDArray[np.float32]]:
    column = tables.template.c
    portion = column.seq.between(begin + 1, end)
    query = select(column.id, column.person, column.key, column.vector).where(portion)
    # Columns at a time where that is possible: this is most of what opening a gallery takes.
    rows = list(map(Sealed._make, db.execute(query.order_by(column.seq))))
    if not rows:
        return (), (), _NONE
    vectors = unpacked(vault.open(db, Kind.TEMPLATE, rows), vault.where)
    templates, persons, _, _ = zip(*rows, strict=True)
    # The same few strings stand for many templates of one person: keep one of each.
    seen: dict[PersonId, PersonId] = {}
    return templates, tuple(map(seen.setdefault, persons, persons)), vectors


def _gone(db: Connection, begin: int, end: int) -> tuple[TemplateId, ...]:
    query = select(_LOG.template).where(_LOG.seq > begin, _LOG.seq <= end, _LOG.kind == "removed")
    return tuple(map(TemplateId, db.execute(query).scalars()))
