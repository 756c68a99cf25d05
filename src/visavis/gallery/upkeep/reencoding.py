"""Another encoder for a gallery: new vectors in place of all old ones, in one transaction.

The vectors are made elsewhere, from the photographs, while the gallery goes on with the old
encoder. A template never changes its vector, because searchers and seals rely on it: each gets a
new id, is sealed for it and for the new encoder, and stands in the change log as removed and added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from visavis.errors import CopyRefused, TemplateRefused
from visavis.gallery.database import tables
from visavis.gallery.database.vectors import unit
from visavis.gallery.records import people
from visavis.gallery.secrets.protection import keyed_digest
from visavis.gallery.secrets.vault import DIGESTS
from visavis.gallery.trail.audit import Deed
from visavis.values import PersonId, TemplateId

from .exchange import exchange_encoder, put, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row

    from visavis.gallery.database.store import Store
    from visavis.gallery.secrets.vault import Vault
    from visavis.gallery.trail.scribe import Scribe
    from visavis.values import EncoderId

_PORTION = 500
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A template as it lies there: whose, of which photograph, and whether that was kept.

    ``digest`` is as it is stored, see `Reencoding.stored_as`; empty when it is not known.
    """

    template: TemplateId
    person: PersonId
    name: str
    digest: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Switch:
    """What came of it.

    Attributes
    ----------
    templates
        New ones.
    lost
        Old ones that no photograph was at hand for.
    missing
        People of whom none is left: they must come again. They stay enrolled by name.
    erased
        False when old vectors may still lie in unused parts of the gallery's file.
    """

    templates: int
    lost: int
    missing: tuple[PersonId, ...]
    erased: bool


class Newcomers(Exception):
    """Templates came in since the vectors were made; never leaves the package."""


class Reencoding:
    """Exchanges the encoder of one gallery."""

    def __init__(self, store: Store, vault: Vault, scribe: Scribe) -> None:
        self._store = store
        self._vault = vault
        self._scribe = scribe

    def enrolled(self) -> list[Enrolled]:
        """List every template, person by person."""
        template, person = tables.template.c, tables.person.c
        photograph = tables.photograph.c.template
        query = (
            select(template.id, person.id, person.name, template.digest, photograph)
            .join_from(tables.template, tables.person)
            .outerjoin(tables.photograph)
            .order_by(person.name, template.seq)
        )
        with self._store.read() as db:
            return [
                Enrolled(TemplateId(key), PersonId(whose), name, digest, kept is not None)
                for key, whose, name, digest, kept in db.execute(query).all()
            ]

    def stored_as(self, digests: Sequence[str]) -> dict[str, str]:
        """Say of photographs' digests (SHA-256) under which stored ones they may lie: to which."""
        with self._store.read() as db:
            secret = self._vault.secret(db, DIGESTS) if self._vault.sealed(db) else b""
        found = {digest: digest for digest in digests}
        if secret:
            found |= {keyed_digest(secret, digest): digest for digest in digests}
        return found

    def switch(
        self,
        vectors: Mapping[TemplateId, NDArray[np.float32]],
        encoder: tuple[EncoderId, str],
        *,
        seen: frozenset[TemplateId],
        drop_missing: bool = False,
    ) -> Switch:
        """Put new vectors in place of the old; see `Gallery.reencoding`.

        Parameters
        ----------
        vectors
            New (D,) unit vectors by the old template's id.
        encoder
            Whose they are: id and name.
        seen
            Ids of all templates that were looked at.
        drop_missing
            Go on although people are left without any template.

        Raises
        ------
        CopyRefused
            When they would be, naming some of them; nothing changes.
        Newcomers
            When there are templates that were not looked at; nothing changes.
        TemplateRefused, KeyRefused
        """
        fit = {key: unit(vector) for key, vector in vectors.items()}
        if len({len(vector) for vector in fit.values()}) > 1:
            raise TemplateRefused("the new vectors differ in length")
        with self._store.write() as db:
            rows = rows_of(db)
            if any(row.id not in seen for row in rows):
                raise Newcomers
            taken = [row for row in rows if row.id in fit]
            covered = {row.person for row in taken}
            missing = tuple(sorted({PersonId(row.person) for row in rows} - covered))
            if missing and not drop_missing:
                raise _would_lose(db, missing)
            deeds = self._deeds(db, rows, taken, encoder[0], missing)
            exchange_encoder(db, encoder)
            put(db, self._vault, rows, taken, fit)
            self._scribe.write(db, deeds)
        erased = self._store.scrub() if rows else True
        return Switch(len(taken), len(rows) - len(taken), missing, erased)

    def _deeds(
        self,
        db: Connection,
        rows: Sequence[Row[Any]],
        taken: Sequence[Row[Any]],
        encoder: EncoderId,
        missing: Sequence[PersonId],
    ) -> list[Deed]:
        """Tell what is done, and of each person by what old rows could be found again."""
        was = db.execute(select(tables.gallery.c.encoder)).scalar_one()
        counted = {"templates": len(taken), "lost": len(rows) - len(taken), "missing": len(missing)}
        new: dict[str, int] = {}
        for row in taken:
            new[row.person] = new.get(row.person, 0) + 1
        return [
            Deed("reencode", "", {"from": was or "", "to": encoder, **counted}),
            *(
                Deed(
                    "reencode",
                    person,
                    {"templates": new.get(person, 0), "nonces": people.nonces(db, person)},
                )
                for person in dict.fromkeys(PersonId(row.person) for row in rows)
            ),
        ]


def _would_lose(db: Connection, missing: Sequence[PersonId]) -> CopyRefused:
    column = tables.person.c
    some = db.execute(select(column.name).where(column.id.in_(missing[:_NAMED]))).scalars().all()
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return CopyRefused(
        f"no photograph is at hand of {', '.join(sorted(some))}{more}: nobody would recognise "
        "them, and they would have to come again. Give their photographs, or --drop-missing when "
        "you mean it; nothing was changed"
    )
