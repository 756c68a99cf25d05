"""Writes the audit log of one open gallery, in the transaction of what was done."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING

from visavis.errors import KeyMissing

from .audit import SIGNING, Deed, append, end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from visavis.gallery.secrets.vault import Vault


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
        """Add entries of whoever acts, see `write_all`.

        Parameters
        ----------
        erases
            True when nobody may be kept from it by a lost key: the entry is unsigned then, and
            ``audit verify`` says so.
        """
        actor = self._actor.get()
        self.write_all(db, [(actor, deed) for deed in deeds], erases=erases)

    def write_all(
        self, db: Connection, entries: Sequence[tuple[str, Deed]], *, erases: bool = False
    ) -> None:
        """Add entries, each of its own actor, in a write transaction, after its changes.

        Each notes where the change log is by then, so that the one log vouches for the other.

        Raises
        ------
        KeyRefused
            When the gallery is sealed and its master key is not at hand; nothing is stored.
        """
        if not entries:
            return
        after = end(db)
        # A gallery may be older than its log.
        told = entries if after.number else [(entries[0][0], Deed("begin")), *entries]
        numbered = [
            (actor, replace(deed, details={**deed.details, "sequence": after.change}))
            for actor, deed in told
        ]
        key = None if after.sealed is None else self._key(db, lenient=erases)
        append(db, after, numbered, key)

    def _key(self, db: Connection, *, lenient: bool) -> bytes | None:
        try:
            return self._vault.secret(db, SIGNING)
        except KeyMissing:
            if lenient:
                return None
            raise
