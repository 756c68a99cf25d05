"""Writes the audit log of one open gallery, in the transaction of what was done."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from visavis.errors import KeyMissing

from . import tables
from .audit import SIGNING, Deed, append

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from .vault import Vault


class Scribe:
    """Knows who acts, and signs where the gallery is sealed."""

    def __init__(self, actor: str, vault: Vault) -> None:
        self._actor = ContextVar("actor", default=actor)
        self._vault = vault

    @contextmanager
    def acting(self, actor: str) -> Iterator[None]:
        """Name another actor for what the calling thread or task does in the block."""
        before = self._actor.set(actor)
        try:
            yield
        finally:
            self._actor.reset(before)

    def write(self, db: Connection, deeds: Sequence[Deed], *, erases: bool = False) -> None:
        """Add entries in a write transaction, after its changes.

        Each notes where the change log is by then, so that the one log vouches for the other.

        Parameters
        ----------
        erases
            True when nobody may be kept from it by a lost key: the entry is unsigned then, and
            ``audit verify`` says so.

        Raises
        ------
        KeyRefused
            When the gallery is sealed and its master key is not at hand; nothing is stored.
        """
        if not deeds:
            return
        first = db.execute(select(tables.audit.c.seq).limit(1)).first() is None
        # A gallery may be older than its log.
        all_deeds = [Deed("begin"), *deeds] if first else deeds
        newest = func.coalesce(func.max(tables.change_log.c.seq), 0)
        sequence = db.execute(select(newest)).scalar_one()
        numbered = [replace(d, details={**d.details, "sequence": sequence}) for d in all_deeds]
        append(db, self._actor.get(), numbered, self._key(db, lenient=erases))

    def _key(self, db: Connection, *, lenient: bool) -> bytes | None:
        if not self._vault.sealed(db):
            return None
        try:
            return self._vault.secret(db, SIGNING)
        except KeyMissing:
            if lenient:
                return None
            raise
