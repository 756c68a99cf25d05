"""What happened to the templates since a searcher last looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import func, select

from visavis.values import EncoderId, PersonId, TemplateId

from . import tables
from .vectors import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Select

_BATCH = 8192
"""Rows fetched at a time; keeps the memory of a first load near that of the matrix itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The way from sequence number ``since`` to ``sequence``.

    Attributes
    ----------
    since, sequence
        Where the searcher was, and where it is once this is applied.
    full
        True when ``added`` is everything there is, to replace whatever the searcher holds.
    encoder
        The encoder of all vectors; None while the gallery has none.
    added
        Ids of N templates that live now.
    persons
        Whose they are, in the same order.
    vectors
        (N, D) float32 unit rows, in the same order; (0, 0) when there are none.
    removed
        Ids of templates that are gone; some may never have reached the searcher.
    """

    since: int
    sequence: int
    full: bool
    encoder: EncoderId | None
    added: tuple[TemplateId, ...]
    persons: tuple[PersonId, ...]
    vectors: NDArray[np.float32]
    removed: tuple[TemplateId, ...]

    @property
    def empty(self) -> bool:
        """True when there is nothing to apply."""
        return not (self.full or self.added or self.removed)


def read_changes(db: Connection, since: int, where: str) -> Changes:
    """Collect the changes after ``since`` in one consistent view.

    0 asks for everything, and so does a number that this gallery has not reached, which happens
    when a backup was put in its place. Both read the living templates once instead of replaying
    the log.
    """
    sequence, encoder = db.execute(_STATE).one()
    sequence = int(sequence or 0)
    if since == sequence:
        nothing = np.empty((0, 0), dtype=np.float32)
        return Changes(since, sequence, False, encoder, (), (), nothing, ())
    full = since <= 0 or since > sequence
    log = tables.change_log.c
    living = _LIVING
    removed: tuple[TemplateId, ...] = ()
    if not full:
        living = living.join(tables.change_log, log.template == tables.template.c.id).where(
            log.seq > since, log.kind == "added"
        )
        gone = select(log.template).where(log.seq > since, log.kind == "removed")
        removed = tuple(db.execute(gone).scalars())
    added, persons, vectors = _load(db, living, where)
    return Changes(since, sequence, full, encoder, added, persons, vectors, removed)


_STATE = select(
    select(func.max(tables.change_log.c.seq)).scalar_subquery(),
    select(tables.gallery.c.encoder).scalar_subquery(),
)

_LIVING = select(
    tables.template.c.id, tables.template.c.person, tables.template.c.vector
).select_from(tables.template)


def _load(
    db: Connection, living: Select[str, str, bytes], where: str
) -> tuple[tuple[TemplateId, ...], tuple[PersonId, ...], NDArray[np.float32]]:
    count = db.execute(living.with_only_columns(func.count())).scalar_one()
    templates: list[TemplateId] = []
    persons: list[PersonId] = []
    # The same few strings stand for many templates of one person: keep one of each.
    seen: dict[str, PersonId] = {}

    def rows() -> Iterator[bytes]:
        stream = db.execution_options(yield_per=_BATCH).execute(living)
        for template, person, vector in stream:
            templates.append(TemplateId(template))
            persons.append(seen.setdefault(person, PersonId(person)))
            yield vector

    vectors = unpacked(rows(), count, where)
    return tuple(templates), tuple(persons), vectors
