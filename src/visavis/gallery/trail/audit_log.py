"""The audit log of one open gallery: read, verified, added to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from visavis.errors import KeyRefused
from visavis.gallery.database import tables

from . import audit
from .audit import AuditEntry, AuditReport, Deed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from visavis.gallery.database.store import Store
    from visavis.gallery.secrets.vault import Vault

    from .scribe import Scribe


class AuditLog:
    """Who did what to whom; see `audit`."""

    def __init__(self, store: Store, vault: Vault, scribe: Scribe) -> None:
        self._store = store
        self._vault = vault
        self._scribe = scribe

    def entries(
        self,
        *,
        subject: str | None = None,
        newest: int | None = None,
        before: int | None = None,
    ) -> Iterator[AuditEntry]:
        """Give entries in order, in one consistent view.

        Parameters
        ----------
        subject
            A person's id, also of somebody erased; None for everybody and everything.
        newest
            Only the newest so many.
        before
            Only entries whose number is lower.
        """
        with self._store.read() as db:
            yield from audit.read(db, subject=subject, newest=newest, before=before)

    def verify(self, anchor: str | None = None) -> AuditReport:
        """Find any entry that was changed, dropped or moved.

        Signatures are looked at when the master key is at hand; a key that is there and wrong is
        refused.

        Parameters
        ----------
        anchor
            What an earlier report gave; finds that the newest entries were cut off.

        Raises
        ------
        InputRefused
            When the anchor is none.
        KeyRefused
        """
        with self._store.read() as db:
            key, gallery = self._key(db), _gallery(db)
            return audit.verify(audit.read(db), gallery=gallery, key=key, anchor=anchor)

    def verify_lines(
        self, lines: Iterable[str], source: str, anchor: str | None = None
    ) -> AuditReport:
        """Verify what was exported, by this gallery's id and keys; see ``verify``."""
        with self._store.read() as db:
            key, gallery = self._key(db), _gallery(db)
        entries = audit.read_lines(lines, source)
        return audit.verify(entries, gallery=gallery, key=key, anchor=anchor)

    def record(self, action: str, subject: str = "", **details: Any) -> None:  # noqa: ANN401 - JSON
        """Add an entry for something that was done outside, such as a backup.

        Parameters
        ----------
        details
            Numbers, ids and words; no names of people.
        """
        with self._store.write() as db:
            self._scribe.write(db, [Deed(action, subject, details)])

    def record_all(self, deeds: Iterable[tuple[str, Deed]]) -> None:
        """Add entries of several actors in one transaction; see ``record``.

        Parameters
        ----------
        deeds
            Who did it, and what.
        """
        with self._store.write() as db:
            self._scribe.write_all(db, list(deeds))

    def _key(self, db: Connection) -> bytes | None:
        if not self._vault.sealed(db):
            return None
        try:
            return self._vault.secret(db, audit.SIGNING)
        except KeyRefused as refused:
            if refused.code == "key_missing":
                return None
            raise


def _gallery(db: Connection) -> str:
    gallery: str = db.execute(select(tables.gallery.c.id)).scalar_one()
    return gallery
