"""Is the gallery whole? Every row is opened, and what its tables say is held against each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import and_, func, select

from visavis.errors import GalleryTampered, KeyRefused
from visavis.gallery.database import tables
from visavis.gallery.secrets.protection import keyed_digest
from visavis.gallery.secrets.sealing import WORN_ROWS, Kind, Sealed
from visavis.gallery.secrets.vault import DIGESTS
from visavis.gallery.trail import audit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Select

    from visavis.gallery.secrets.vault import Vault

_PORTION = 4096
_PHOTOGRAPHS = 64
_MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be: its kind in one word, and what it is."""

    kind: str
    message: str


@dataclass(slots=True)
class Inspection:
    """What was counted and found.

    Attributes
    ----------
    people, templates, photographs
        How many there are.
    clear
        Templates and photographs that are not sealed.
    anchor
        Of the audit log, see `audit`.
    problems
        At most the first hundred.
    notes
        What is no fault but should be known.
    """

    people: int = 0
    templates: int = 0
    photographs: int = 0
    clear: int = 0
    anchor: str = ""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """True when no problem was found."""
        return not self.problems

    def add(self, kind: str, message: str) -> None:
        """Note a problem; of very many only the first are kept."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(kind, message))


def inspect(db: Connection, vault: Vault) -> Inspection:
    """Look through one consistent view of the gallery.

    Without the master key the rows stay closed, which is a problem of kind ``key``.
    """
    found = Inspection()
    found.people = _count(db, select(tables.person.c.id))
    found.templates = _count(db, select(tables.template.c.id))
    found.photographs = _count(db, select(tables.photograph.c.template))
    _database(db, found)
    _keys(db, found)
    try:
        vault.unlock(db)
        _templates(db, vault, found)
        _photographs(db, vault, found)
        _audit(db, vault, found, locked=False)
    except KeyRefused as refused:
        found.add("key", f"the rows were not opened: {refused}")
        _audit(db, vault, found, locked=True)
    _strays(db, found)
    _log(db, found)
    return found


def _database(db: Connection, found: Inspection) -> None:
    """Have SQLite look through its own structures; a server looks after its own."""
    if db.dialect.name != "sqlite":
        return
    for (line,) in db.exec_driver_sql("PRAGMA integrity_check(20)"):
        if line != "ok":
            found.add("database", str(line))
    for row in db.exec_driver_sql("PRAGMA foreign_key_check").all()[:20]:
        found.add("database", f"a row of {row[0]} belongs to one of {row[2]} that is not there")


def _keys(db: Connection, found: Inspection) -> None:
    keys = {row.id: row for row in db.execute(select(tables.data_key))}
    for table in (tables.template, tables.photograph):
        column = table.c.key
        for number, count in db.execute(select(column, func.count()).group_by(column)):
            if number is None:
                found.clear += count
            elif number not in keys:
                message = f"{count} rows of {table.name} are sealed with a key that is not there"
                found.add("key", f"{message} ({number})")
    if len(keys) > 1:
        found.notes.append("a key rotation is unfinished; run 'visavis gallery rotate-key'")
    if keys and found.clear and not keys[max(keys)].strict:
        found.notes.append(
            f"{found.clear} rows of before lie in the clear; run 'visavis gallery rotate-key'"
        )
    if not keys and found.templates:
        found.notes.append("nothing is sealed; run 'visavis gallery rotate-key'")
    for row in keys.values():
        if row.rows >= WORN_ROWS:
            found.notes.append(
                f"data key {row.id} has sealed {row.rows} rows; run 'visavis gallery rotate-key'"
            )


def _templates(db: Connection, vault: Vault, found: Inspection) -> None:
    column = tables.template.c
    query = select(column.id, column.person, column.key, column.vector).order_by(column.id)
    length = 0
    for rows in _portions(db, query, _PORTION):
        for row, content in _opened(db, vault, Kind.TEMPLATE, rows, found):
            vector = np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")
            length = length or len(content)
            if len(content) != length or len(content) % 4:
                found.add("template", f"template {row.template} has another length than the rest")
            elif not abs(float(vector @ vector) - 1.0) < 1e-2:
                found.add("template", f"template {row.template} is not a unit vector")


def _photographs(db: Connection, vault: Vault, found: Inspection) -> None:
    template, photograph = tables.template.c, tables.photograph.c
    query = select(
        template.id,
        template.person,
        photograph.key,
        photograph.bytes,
        template.digest,
        template.key,
    ).join_from(tables.photograph, tables.template)
    for portion in _portions(db, query.order_by(template.id), _PHOTOGRAPHS):
        digests = {row[0]: (row[4], row[5]) for row in portion}
        rows = [row[:4] for row in portion]
        for row, content in _opened(db, vault, Kind.PHOTOGRAPH, rows, found):
            stored, key = digests[row.template]
            own = hashlib.sha256(content).hexdigest()
            if key is not None:
                own = keyed_digest(vault.secret(db, DIGESTS), own)
            if stored and stored != own:
                found.add(
                    "digest", f"the photograph of template {row.template} is not of its digest"
                )


def _opened(
    db: Connection, vault: Vault, kind: Kind, rows: Sequence[Sequence[object]], found: Inspection
) -> Iterator[tuple[Sealed, bytes]]:
    """Open rows together; when one does not open, one by one to name all that do not."""
    sealed = [Sealed(*row) for row in rows]  # type: ignore[arg-type]
    try:
        yield from zip(sealed, vault.open(db, kind, sealed), strict=True)
    except GalleryTampered:
        for row in sealed:
            try:
                (content,) = vault.open(db, kind, [row])
            except GalleryTampered as tampered:
                found.add(str(kind), str(tampered))
            else:
                yield row, content


def _strays(db: Connection, found: Inspection) -> None:
    person, template, photograph = tables.person.c, tables.template.c, tables.photograph.c
    nobodys = ~select(person.id).where(person.id == template.person).exists()
    for key in db.execute(select(template.id).where(nobodys).limit(20)).scalars():
        found.add("stray", f"template {key} belongs to nobody")
    no_template = ~select(template.id).where(template.id == photograph.template).exists()
    for key in db.execute(select(photograph.template).where(no_template).limit(20)).scalars():
        found.add("stray", f"a photograph belongs to template {key}, which is not there")
    bare = ~select(template.id).where(template.person == person.id).exists()
    if count := db.execute(select(func.count()).select_from(tables.person).where(bare)).scalar():
        found.notes.append(f"{count} people have no template")


def _log(db: Connection, found: Inspection) -> None:
    """Hold the change log against the templates: searchers learn from it who is there."""
    log, template = tables.change_log.c, tables.template.c
    entry = and_(log.seq == template.seq, log.template == template.id, log.kind == "added")
    silent = select(template.id).where(~select(log.seq).where(entry).exists())
    for key in db.execute(silent.limit(20)).scalars():
        found.add("log", f"the change log does not know that template {key} was added")
    gone = tables.change_log.alias("gone")
    removed = select(gone.c.template).where(gone.c.kind == "removed")
    undead = select(template.id).where(template.id.in_(removed))
    for key in db.execute(undead.limit(20)).scalars():
        found.add("log", f"template {key} is there, and the change log says that it was removed")
    lost = select(log.template).where(
        log.kind == "added",
        log.template.not_in(select(template.id)),
        log.template.not_in(removed),
    )
    for key in db.execute(lost.limit(20)).scalars():
        found.add("log", f"template {key} is gone, and the change log does not say so")


def _audit(db: Connection, vault: Vault, found: Inspection, *, locked: bool) -> None:
    key = None if locked or not vault.sealed(db) else vault.secret(db, audit.SIGNING)
    gallery = db.execute(select(tables.gallery.c.id)).scalar_one()
    known = 0

    def noted() -> Iterator[audit.AuditEntry]:
        nonlocal known
        for entry in audit.read(db):
            sequence = entry.details.get("sequence")
            known = max(known, sequence) if isinstance(sequence, int) else known
            yield entry

    report = audit.verify(noted(), gallery=gallery, key=key)
    found.anchor = report.anchor
    for fault in report.faults:
        found.add("audit", f"{fault.kind}: {fault.message}")
    newest = db.execute(select(func.coalesce(func.max(tables.change_log.c.seq), 0))).scalar_one()
    if report.entries and known < newest:
        found.add(
            "audit",
            f"the change log has {newest} entries and the audit log tells of {known}: its end was "
            "cut off, or somebody wrote past it",
        )


def _portions(
    db: Connection, query: Select[*tuple[object, ...]], size: int
) -> Iterator[list[tuple[object, ...]]]:
    result = db.execute(query, execution_options={"yield_per": size})
    for rows in result.partitions(size):
        yield [tuple(row) for row in rows]


def _count(db: Connection, query: Select[str]) -> int:
    return db.execute(select(func.count()).select_from(query.subquery())).scalar_one()
