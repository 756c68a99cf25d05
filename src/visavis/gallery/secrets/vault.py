"""The keys of one open gallery: unwrapped when a row first asks for them, and made at the first.

A gallery has one data key as a rule and two while they are exchanged (`rekeying`): what is written
is sealed with the newest, what is read opens with the one that its row names. Beside them lies one
secret for the gallery's whole life, from which come the key of the photographs' digests, the turn
of vectors that leave, and the signatures of the audit log.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from visavis.errors import GalleryTampered, KeyMissing, KeyWornOut
from visavis.gallery.database import tables
from visavis.gallery.database.times import now

from .protection import KEY_BYTES, derived, keyed_digest, unwrapped
from .sealing import MOST_ROWS, Context, DataKey, Kind, Sealed, Tampered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from .protection import Keys, MasterKey

DIGESTS = "photograph digests"
SEARCH = "search rotation"
"""What secrets are derived for."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals what one transaction writes; without a key it leaves it in the clear."""

    gallery: str
    encoder: str
    key: DataKey | None
    digests: bytes

    @property
    def number(self) -> int | None:
        """What the rows' key column says."""
        return self.key.number if self.key else None

    def seal(self, kind: Kind, rows: Sequence[Sealed]) -> list[bytes]:
        """Seal the contents of rows that are in the clear, in their order."""
        if self.key is None:
            return [row.content for row in rows]
        context = _context(self.gallery, kind, self.encoder)
        places = [context.place(row.person, row.template) for row in rows]
        return self.key.seal([row.content for row in rows], places)

    def digest(self, digest: str) -> str:
        """Give a photograph's digest as it is stored; empty stays empty."""
        return keyed_digest(self.digests, digest) if self.key and digest else digest


class Vault:
    """Opens and seals rows of one gallery. Safe to share between threads.

    Methods that take a connection read the wrapped keys in its transaction, so that what they
    find fits the rows that the same transaction sees.
    """

    def __init__(self, keys: Keys, where: str) -> None:
        self.keys = keys
        self.where = where
        self._lock = Lock()
        self._opened: dict[int, DataKey] = {}
        self._secrets: bytes | None = None
        self._derived: dict[str, bytes] = {}

    def sealed(self, db: Connection) -> bool:
        """Tell whether the gallery has a data key."""
        return db.execute(select(tables.data_key.c.id).limit(1)).first() is not None

    def unlock(self, db: Connection) -> None:
        """Try the master key on a sealed gallery; others need none.

        Raises
        ------
        KeyRefused
        """
        if self.sealed(db):
            self.secret(db, "")

    def sealer(self, db: Connection, rows: int) -> Sealer:
        """Get ready to seal so many rows in a write transaction; the first makes the keys.

        Raises
        ------
        KeyRefused
            Before anything is written.
        """
        gallery, encoder = db.execute(select(tables.gallery.c.id, tables.gallery.c.encoder)).one()
        if not self.sealed(db):
            if self.keys.off:
                return Sealer(gallery, encoder or "", None, b"")
            self.begin(db)
        column = tables.data_key.c
        newest = select(column.id, column.rows).order_by(column.id.desc()).limit(1)
        number, so_far = db.execute(newest).one()
        if so_far + rows > MOST_ROWS:
            raise KeyWornOut(
                f"data key {number} of the gallery {self.where} has sealed {so_far} rows, and one "
                f"key seals {MOST_ROWS} at most; run 'visavis gallery rotate-key'"
            )
        key = self.key(db, number)
        digests = self.secret(db, DIGESTS)
        count = update(tables.data_key).where(column.id == number)
        db.execute(count.values(rows=column.rows + rows))
        return Sealer(gallery, encoder or "", key, digests)

    def open(
        self, db: Connection, kind: Kind, rows: Iterable[Sealed], encoder: str = ""
    ) -> list[bytes]:
        """Give the contents of rows, those in the clear as they are.

        Parameters
        ----------
        encoder
            The gallery's, for templates; it is asked for when it is empty.

        Raises
        ------
        GalleryTampered
            When a row was changed, or lies where it does not belong.
        KeyRefused
        """
        all_rows = list(rows)
        numbers = {row.key for row in all_rows}
        if None in numbers:
            self._require_clear_allowed(db, all_rows, kind)
        if numbers <= {None}:
            return [row.content for row in all_rows]
        gallery = tables.gallery.c
        found = db.execute(select(gallery.id, gallery.encoder)).one()
        context = _context(found[0], kind, encoder or found[1] or "")
        if len(numbers) == 1:
            return self._open_alike(db, all_rows, context)
        contents: dict[int, bytes] = {}
        for number in numbers:
            places = [n for n, row in enumerate(all_rows) if row.key == number]
            some = [all_rows[n] for n in places]
            opened = self._open_alike(db, some, context) if number is not None else None
            contents |= zip(places, opened or [row.content for row in some], strict=True)
        return [contents[n] for n in range(len(all_rows))]

    def secret(self, db: Connection, purpose: str) -> bytes:
        """Derive the gallery's lifelong secret for one purpose.

        Raises
        ------
        KeyRefused
            Also when the gallery has no keys yet.
        """
        secrets = self._secrets
        if secrets is None:
            secrets = self._unwrap_secrets(db)
            self._secrets = secrets
        known = self._derived.get(purpose)
        if known is None:
            known = self._derived[purpose] = derived(secrets, purpose)
        return known

    def key(self, db: Connection, number: int) -> DataKey:
        """Give a data key by its number.

        Raises
        ------
        KeyRefused
        GalleryTampered
            When there is none of that number.
        """
        known = self._opened.get(number)
        return known if known is not None else self._load(db, number)

    def begin(self, db: Connection) -> None:
        """Make the first data key and the lifelong secret, in a write transaction."""
        master = self.keys.master(begins=True)
        gallery = db.execute(select(tables.gallery.c.id)).scalar_one()
        empty = db.execute(select(tables.template.c.id).limit(1)).first() is None
        self.add_key(db, master, 1, strict=empty)
        wrapped = master.wrap(os.urandom(KEY_BYTES), secrets_context(gallery))
        db.execute(update(tables.gallery).values(secrets=wrapped))

    def add_key(self, db: Connection, master: MasterKey, number: int, *, strict: bool) -> None:
        """Make one more data key; from now on it is the one that seals.

        With ``strict`` no row of the gallery may lie in the clear from now on.
        """
        gallery = db.execute(select(tables.gallery.c.id)).scalar_one()
        wrapped = master.wrap(os.urandom(KEY_BYTES), key_context(gallery, number, strict=strict))
        row = {"id": number, "wrapped": wrapped, "master": master.id, "strict": int(strict)}
        db.execute(insert(tables.data_key).values(**row, rows=0, created=now()))

    def _require_clear_allowed(self, db: Connection, rows: list[Sealed], kind: Kind) -> None:
        """Refuse clear rows where all are sealed: somebody put them there without the key.

        That the gallery is so far is bound into its wrapped key, so nobody can take it back.
        """
        column = tables.data_key.c
        newest = select(column.id, column.strict).order_by(column.id.desc()).limit(1)
        found = db.execute(newest).one_or_none()
        if found is None:
            return
        if not found.strict:
            self.key(db, found.id)
            return
        planted = next(row.template for row in rows if row.key is None)
        raise GalleryTampered(
            f"the {kind} {planted} in the gallery {self.where} lies in the clear, and all of them "
            "were sealed: somebody put it there; restore a backup"
        )

    def _open_alike(self, db: Connection, rows: list[Sealed], context: Context) -> list[bytes]:
        number = rows[0].key
        assert number is not None
        try:
            return self.key(db, number).open(rows, context)
        except Tampered:
            # On a server a gallery may have been restored under us: its key of that number is
            # another one then.
            fresh = self._load(db, number)
        try:
            return fresh.open(rows, context)
        except Tampered as tampered:
            raise GalleryTampered(
                f"the {context.kind} {tampered.template} in the gallery {self.where} is not what "
                "was sealed there: it was changed, or moved from another place; find it with "
                "'visavis gallery check', and restore a backup"
            ) from tampered

    def _load(self, db: Connection, number: int) -> DataKey:
        column = tables.data_key.c
        row = db.execute(
            select(column.wrapped, column.master, column.strict).where(column.id == number)
        ).one_or_none()
        if row is None:
            raise GalleryTampered(
                f"rows of the gallery {self.where} are sealed with a key {number} that it does "
                "not hold; restore a backup"
            )
        gallery = db.execute(select(tables.gallery.c.id)).scalar_one()
        context = key_context(gallery, number, strict=bool(row.strict))
        secret = unwrapped(self._master(), row.wrapped, context, row.master)
        with self._lock:
            self._opened[number] = DataKey(number, secret)
            return self._opened[number]

    def _unwrap_secrets(self, db: Connection) -> bytes:
        column = tables.data_key.c
        master = db.execute(select(column.master).order_by(column.id).limit(1)).scalar()
        gallery, wrapped = db.execute(select(tables.gallery.c.id, tables.gallery.c.secrets)).one()
        if master is None or wrapped is None:
            raise KeyMissing(
                f"the gallery {self.where} has no keys yet; enrol somebody, or run 'visavis "
                "gallery rotate-key'"
            )
        return unwrapped(self._master(), wrapped, secrets_context(gallery), master)

    def _master(self) -> MasterKey:
        if self.keys.off:
            raise KeyMissing(
                f"the gallery {self.where} is sealed, and it was opened without keys; open it "
                "with its master key"
            )
        return self.keys.master()


def key_context(gallery: str, number: int, *, strict: bool) -> bytes:
    """Spell what a wrapped data key is bound to."""
    return f"visavis 1 data key {number} {int(strict)}\0{gallery}".encode()


def secrets_context(gallery: str) -> bytes:
    """Spell what the wrapped secret is bound to."""
    return f"visavis 1 secrets\0{gallery}".encode()


def _context(gallery: str, kind: Kind, encoder: str) -> Context:
    return Context(gallery, kind, encoder if kind is Kind.TEMPLATE else "")
