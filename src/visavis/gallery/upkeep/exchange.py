"""Rows of all templates exchanged for others, inside a transaction that `reencoding` opened."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from visavis.gallery.database import tables
from visavis.gallery.database.times import now
from visavis.gallery.database.vectors import packed
from visavis.gallery.records import people
from visavis.gallery.secrets.sealing import Kind, Sealed
from visavis.values import TemplateId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row, Select

    from visavis.gallery.secrets.vault import Sealer, Vault
    from visavis.values import EncoderId

_PORTION = 500


def rows_of(db: Connection) -> Sequence[Row[Any]]:
    """Give every template (id, person, digest, created, key), in the order they came."""
    column = tables.template.c
    query: Select[Any] = select(column.id, column.person, column.digest, column.created, column.key)
    return db.execute(query.order_by(column.seq)).all()


def exchange_encoder(db: Connection, encoder: tuple[EncoderId, str]) -> None:
    """Say whose vectors the gallery holds from now on: id and name."""
    values = {"encoder": encoder[0], "encoder_name": encoder[1]}
    db.execute(update(tables.gallery).values(**values))


def put(
    db: Connection,
    vault: Vault,
    rows: Sequence[Row[Any]],
    taken: Sequence[Row[Any]],
    vectors: Mapping[TemplateId, NDArray[np.float32]],
) -> None:
    """Put new vectors in the place of those taken, and nothing in that of the others.

    ``vectors`` are by the old template's id; the sealer is the new encoder's by now.
    """
    keeps = set(db.execute(select(tables.photograph.c.template)).scalars())
    sealer = vault.sealer(db, len(taken) + sum(row.id in keeps for row in taken))
    at, seq = now(), people.newest(db)
    log = [_entry(n, "removed", row, row.id, at) for n, row in enumerate(rows, seq + 1)]
    seq += len(rows)
    ids = {row.id: TemplateId(uuid.uuid4().hex) for row in taken}
    log += [_entry(n, "added", row, ids[row.id], at) for n, row in enumerate(taken, seq + 1)]
    left = [row.id for row in rows if row.id not in ids]
    for some in people.in_portions(left, _PORTION):
        _delete(db, some)
    for start in range(0, len(taken), _PORTION):
        some_rows = taken[start : start + _PORTION]
        photographs = _photographs(db, vault, some_rows, ids, sealer)
        _delete(db, [row.id for row in some_rows])
        clear = [
            Sealed(ids[row.id], row.person, None, packed(vectors[row.id])) for row in some_rows
        ]
        sealed = sealer.seal(Kind.TEMPLATE, clear)
        news = [
            {
                "id": ids[row.id],
                "person": row.person,
                "vector": content,
                # One of before may lie there by its plain digest; it is keyed from now on.
                "digest": row.digest if row.key is not None else sealer.digest(row.digest),
                "created": row.created,
                "key": sealer.number,
                "seq": seq + 1 + start + n,
            }
            for n, (row, content) in enumerate(zip(some_rows, sealed, strict=True))
        ]
        db.execute(insert(tables.template), news)
        if photographs:
            db.execute(insert(tables.photograph), photographs)
    if log:
        db.execute(insert(tables.change_log), log)


def _photographs(
    db: Connection,
    vault: Vault,
    rows: Sequence[Row[Any]],
    ids: Mapping[str, TemplateId],
    sealer: Sealer,
) -> list[dict[str, Any]]:
    """Open the photographs that were kept and seal them for the new templates."""
    column, owner = tables.photograph.c, tables.template.c.person
    query = select(column.template, owner, column.key, column.bytes)
    query = query.join_from(tables.photograph, tables.template)
    found = db.execute(query.where(column.template.in_([row.id for row in rows]))).all()
    old = [Sealed._make(row) for row in found]
    clear = [
        Sealed(ids[row.template], row.person, None, content)
        for row, content in zip(old, vault.open(db, Kind.PHOTOGRAPH, old), strict=True)
    ]
    return [
        {"template": row.template, "bytes": content, "key": sealer.number}
        for row, content in zip(clear, sealer.seal(Kind.PHOTOGRAPH, clear), strict=True)
    ]


def _entry(seq: int, kind: str, row: Row[Any], template: str, at: str) -> dict[str, object]:
    return {"seq": seq, "kind": kind, "template": template, "person": row.person, "at": at}


def _delete(db: Connection, templates: Sequence[str]) -> None:
    photograph, template = tables.photograph, tables.template
    db.execute(delete(photograph).where(photograph.c.template.in_(templates)))
    db.execute(delete(template).where(template.c.id.in_(templates)))
