"""A new data key: every row sealed anew, in portions, while others read and write.

The new key is there first, and from then on all that is written is sealed with it. Then rows of
the old keys are sealed again, a few thousand at a time. At last, when no row names an old key, the
old keys are erased, and with them goes whatever unused parts of the file still hold. After a kill
at any moment the same call goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, or_, select, update

from visavis.gallery.database import tables
from visavis.gallery.secrets.protection import unwrapped
from visavis.gallery.secrets.sealing import Kind, Sealed
from visavis.gallery.secrets.vault import key_context, secrets_context
from visavis.gallery.trail.audit import Deed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Connection, Select, Table, Update

    from visavis.gallery.database.store import Store
    from visavis.gallery.secrets.protection import Keys, MasterKey
    from visavis.gallery.secrets.vault import Vault
    from visavis.gallery.trail.scribe import Scribe

    Told = Callable[[int, int], None]

PORTION = 2_000
"""Rows sealed in one transaction: some 50 ms in which other writers wait."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What came of a rotation.

    Attributes
    ----------
    key
        Number of the data key that seals now.
    rows
        Templates and photographs sealed anew by this call.
    erased
        False when another process or a full disk kept the file from being rewritten: sealed rows
        of the old key, and the old key wrapped, may still lie in unused parts of it.
    """

    key: int
    rows: int
    erased: bool


_TABLES = {Kind.TEMPLATE: tables.template, Kind.PHOTOGRAPH: tables.photograph}


class Rekeying:
    """Exchanges the keys of one gallery."""

    def __init__(self, store: Store, vault: Vault, scribe: Scribe) -> None:
        self._store = store
        self._vault = vault
        self._scribe = scribe

    def rotate(self, told: Told | None = None) -> Rotation:
        """Seal every row with a new data key, or go on with an exchange that was cut short.

        Parameters
        ----------
        told
            Called after every portion with rows done and rows in all.
        """
        number = self._begin()
        total, done = self._left(number), 0
        while True:
            for kind in Kind:
                after = ""
                while portion := self._sealed_anew(kind, number, after):
                    after, count = portion
                    done += count
                    if told:
                        told(done, max(done, total))
            # Whoever wrote since then sealed with the new key, so once is enough; twice costs
            # little and does not rest on that.
            if not self._left(number):
                break
        self._finish(number)
        return Rotation(number, done, self._store.scrub())

    def rewrap(self, other: Keys) -> bool:
        """Wrap the gallery's keys with another master key; no row changes.

        Other processes go on with the keys they have opened, and need the new master key for the
        next ones.

        Returns
        -------
        bool
            False when the old wrapping may still lie in unused parts of the file.
        """
        new = other.master(begins=True)
        with self._store.write() as db:
            if not self._vault.sealed(db):
                self._vault.begin(db)
            gallery = db.execute(select(tables.gallery.c.id)).scalar_one()
            old = self._vault.keys.master()
            for row in db.execute(select(tables.data_key)).all():
                context = key_context(gallery, row.id, strict=bool(row.strict))
                wrapped = new.wrap(unwrapped(old, row.wrapped, context, row.master), context)
                self._put(db, row.id, wrapped=wrapped, master=new.id)
            self._rewrap_secrets(db, old, new, gallery)
            self._vault.keys = other
            self._scribe.write(db, [Deed("rewrap-key", "", {"master": new.id})])
        return self._store.scrub()

    def _begin(self) -> int:
        """Make the new key, unless an exchange is under way: then its key is the new one."""
        column = tables.data_key.c
        with self._store.write() as db:
            if not self._vault.sealed(db):
                self._vault.begin(db)  # a gallery of before: its clear rows are what is left
                self._scribe.write(db, [Deed("rotate-key", "", {"key": 1, "step": "begin"})])
                return 1
            numbers = db.execute(select(column.id).order_by(column.id)).scalars().all()
            newest: int = numbers[-1]
            self._vault.key(db, newest)  # the master key at hand is the right one
            if len(numbers) == 1 and not _is_left(db, newest):
                newest += 1
                strict = db.execute(select(column.strict).where(column.id == numbers[0])).scalar()
                master = self._vault.keys.master()
                self._vault.add_key(db, master, newest, strict=bool(strict))
                self._scribe.write(db, [Deed("rotate-key", "", {"key": newest, "step": "begin"})])
        return newest

    def _left(self, number: int) -> int:
        """Count the rows that are in the clear or of another key."""
        with self._store.read() as db:
            return sum(
                db.execute(select(func.count()).where(_other(table, number))).scalar_one()
                for table in _TABLES.values()
            )

    def _sealed_anew(self, kind: Kind, number: int, after: str) -> tuple[str, int] | None:
        """Seal the next portion after a template's id; gives the last id and the count."""
        table = _TABLES[kind]
        with self._store.read() as db:
            found = db.execute(_portion(kind, number, after)).all()
            if not found:
                return None
            rows = [Sealed(*row[:4]) for row in found]
            contents = self._vault.open(db, kind, rows)
        clear = [row._replace(content=c) for row, c in zip(rows, contents, strict=True)]
        began = time.monotonic()
        with self._store.write() as db:
            sealer = self._vault.sealer(db, len(rows))
            news: dict[bool, list[dict[str, object]]] = {True: [], False: []}
            for row, old, sealed in zip(found, rows, sealer.seal(kind, clear), strict=True):
                new: dict[str, object] = {"of_": old.template, "content_": sealed}
                new["key_"] = sealer.number
                if kind is Kind.TEMPLATE:
                    # Digests are keyed for life: only those in the clear change.
                    new["digest_"] = sealer.digest(row[4]) if old.key is None else row[4]
                if old.key is not None:
                    new["was_"] = old.key
                news[old.key is None].append(new)
            for in_the_clear, changes in news.items():
                if changes:
                    db.execute(_exchange(table, in_the_clear=in_the_clear), changes)
        # Other writers poll for the lock: leave it free for a moment that they can hit.
        time.sleep(min(0.1, (time.monotonic() - began) / 2))
        return rows[-1].template, len(rows)

    def _finish(self, number: int) -> None:
        """Erase the old keys, and hold that nothing lies in the clear any more."""
        column = tables.data_key.c
        with self._store.write() as db:
            found = db.execute(select(tables.data_key).where(column.id == number)).one()
            if not found.strict:
                gallery = db.execute(select(tables.gallery.c.id)).scalar_one()
                master = self._vault.keys.master()
                secret = unwrapped(
                    master, found.wrapped, key_context(gallery, number, strict=False), found.master
                )
                wrapped = master.wrap(secret, key_context(gallery, number, strict=True))
                self._put(db, number, wrapped=wrapped, strict=1)
            db.execute(delete(tables.data_key).where(column.id < number))
            self._scribe.write(db, [Deed("rotate-key", "", {"key": number, "step": "end"})])

    def _rewrap_secrets(self, db: Connection, old: MasterKey, new: MasterKey, gallery: str) -> None:
        wrapped = db.execute(select(tables.gallery.c.secrets)).scalar_one()
        secrets = unwrapped(old, wrapped, secrets_context(gallery), old.id)
        value = new.wrap(secrets, secrets_context(gallery))
        db.execute(update(tables.gallery).values(secrets=value))

    def _put(self, db: Connection, number: int, **values: object) -> None:
        db.execute(update(tables.data_key).where(tables.data_key.c.id == number).values(**values))


def _other(table: Table, number: int) -> ColumnElement[bool]:
    return or_(table.c.key.is_(None), table.c.key != number)


def _is_left(db: Connection, number: int) -> bool:
    return any(
        db.execute(select(table.c[0]).where(_other(table, number)).limit(1)).first()
        for table in _TABLES.values()
    )


def _portion(kind: Kind, number: int, after: str) -> Select[Any]:
    """Query (template, person, key, content, digest) of the next rows to be sealed anew."""
    template, photograph = tables.template.c, tables.photograph.c
    if kind is Kind.TEMPLATE:
        table, key = tables.template, template.id
        query: Select[Any] = select(
            template.id, template.person, template.key, template.vector, template.digest
        )
    else:
        table, key = tables.photograph, photograph.template
        query = select(
            template.id, template.person, photograph.key, photograph.bytes, template.digest
        ).join_from(tables.photograph, tables.template)
    return query.where(_other(table, number), key > after).order_by(key).limit(PORTION)


def _exchange(table: Table, *, in_the_clear: bool) -> Update:
    """Put sealed rows in place of those that were read, unless somebody was quicker."""
    column = table.c
    was = column.key.is_(None) if in_the_clear else column.key == bindparam("was_")
    if table is tables.template:
        same = update(table).where(column.id == bindparam("of_"), was)
        return same.values(
            key=bindparam("key_"), vector=bindparam("content_"), digest=bindparam("digest_")
        )
    same = update(table).where(column.template == bindparam("of_"), was)
    return same.values(key=bindparam("key_"), bytes=bindparam("content_"))
