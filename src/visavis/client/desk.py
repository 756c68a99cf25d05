"""The calls of the desk: people, operating points, the audit log, keys."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from visavis.client import ledgers, reading
from visavis.client.sending import Asking, quoted
from visavis.client.steps import Again, Request
from visavis.client.told import Removal
from visavis.client.tries import Tries
from visavis.errors import ApiKeyUnknown, PersonUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from visavis.client.steps import Exchange
    from visavis.client.told import (
        AuditEntry,
        AuditReport,
        Erasure,
        Info,
        Key,
        OperatingPoints,
        Page,
        StoredTemplate,
    )
    from visavis.values import Consent, Person

_PAGE = 200


class Desk(Asking):
    """What a gallery is asked. People are named by name or id, and changed by their id."""

    def page(self, search: str = "", *, after: str = "", limit: int = _PAGE) -> Exchange[Page]:
        """Give some people by name, and how many there are.

        Parameters
        ----------
        search
            Part of a name; empty finds everybody.
        after
            The ``next`` of the page before.
        """
        params = {"search": search, "after": after, "limit": str(limit)}
        return ledgers.page((yield from self.ask(Request("GET", "/v1/people", params))))

    def person(self, name_or_id: str) -> Exchange[Person]:
        """Give somebody enrolled; raises PersonUnknown."""
        name = unicodedata.normalize("NFC", name_or_id).strip()
        if not name:
            raise PersonUnknown("nobody has an empty name or id; of people recognised use the name")
        if name in {".", ".."} or "/" in name:
            # No address can hold such a name, so it is looked for in the list.
            return (yield from self._listed(name))
        said = yield from self.ask(Request("GET", f"/v1/people/{quoted(name)}"))
        return reading.person(said.part("person"))

    def templates(self, name_or_id: str) -> Exchange[list[StoredTemplate]]:
        """Give what is stored of somebody, but for its numbers; raises PersonUnknown."""
        who = yield from self.person(name_or_id)
        said = yield from self.ask(Request("GET", f"/v1/people/{quoted(who.id)}"))
        return [ledgers.template(each) for each in said.parts("templates")]

    def rename(self, name_or_id: str, name: str) -> Exchange[Person]:
        """Give somebody another name; raises PersonUnknown, PersonExists, NameRefused."""
        return (yield from self._changed(name_or_id, {"name": name}))

    def renew(self, name_or_id: str, consent: Consent) -> Exchange[Person]:
        """Write down another consent; raises PersonUnknown, ConsentRefused."""
        expires = consent.expires and consent.expires.isoformat()
        told = {"reference": consent.reference, "purpose": consent.purpose, "expires": expires}
        return (yield from self._changed(name_or_id, {"consent": told}))

    def remove(self, name_or_id: str) -> Exchange[Removal]:
        """Erase somebody: name, templates, photographs, and their bytes in the database.

        Returns
        -------
        Removal
            Where the first answer was lost and they are gone when asked again, what `erasure` then
            finds: ``erased`` when nothing is left.

        Raises
        ------
        PersonUnknown
        """
        who = yield from self.person(name_or_id)
        tries = Tries(self.rules)
        try:
            said = yield from self.ask(Request("DELETE", f"/v1/people/{quoted(who.id)}"), tries)
        except PersonUnknown:
            if not tries.lost:
                raise
            left = yield from self.erasure(who.id, who.name)
            found = [f"{each.where}: {each.what}" for each in left.leftovers]
            remains = (*found, *left.not_looked)
            return Removal(who.id, who.name, left.templates, left.clean, remains)
        return ledgers.removal(said)

    def erasure(self, person: str, name: str = "") -> Exchange[Erasure]:
        """Look for what is left of somebody who was removed, in every table and raw byte.

        Parameters
        ----------
        person
            The id that the removal answered.
        name
            What they were called, to be looked for too: it is known nowhere else any more.

        Raises
        ------
        PersonUnknown
        """
        if not re.fullmatch("[0-9a-f]{32}", person):
            raise PersonUnknown("name somebody who was removed by the id that the removal answered")
        params = {"name": name} if name else {}
        said = yield from self.ask(Request("GET", f"/v1/people/{person}/erasure", params))
        return ledgers.erasure(said)

    def info(self) -> Exchange[Info]:
        """Say what the gallery holds."""
        return ledgers.info((yield from self.ask(Request("GET", "/v1/gallery"))))

    def operating_points(self, gallery_size: int | None = None) -> Exchange[OperatingPoints]:
        """Say what each error rate takes, at a number of templates; None is the gallery's."""
        params = {} if gallery_size is None else {"gallery_size": str(gallery_size)}
        said = yield from self.ask(Request("GET", "/v1/operating-points", params))
        return ledgers.operating_points(said)

    def audit(
        self, person: str | None = None, *, newest: int = 100, before: int | None = None
    ) -> Exchange[list[AuditEntry]]:
        """Give the newest entries of the audit log, the oldest first.

        Parameters
        ----------
        person
            An id, also of somebody erased; None for everybody and everything.
        newest
            1 to 1000.
        before
            The number of an entry: only those older than it.
        """
        params = {"newest": str(newest)} | ({} if person is None else {"person": person})
        params |= {} if before is None else {"before": str(before)}
        said = yield from self.ask(Request("GET", "/v1/audit", params))
        return [ledgers.audit_entry(each) for each in said.parts("entries")]

    def verify_audit(self, anchor: str | None = None) -> Exchange[AuditReport]:
        """Find any entry of the log that was changed, dropped or moved.

        Parameters
        ----------
        anchor
            What an earlier report gave; finds that the newest entries were cut off.
        """
        params = {} if anchor is None else {"anchor": anchor}
        said = yield from self.ask(Request("GET", "/v1/audit/verify", params))
        return ledgers.audit_report(said)

    def keys(self) -> Exchange[list[Key]]:
        """List every API key; never a secret."""
        said = yield from self.ask(Request("GET", "/v1/keys"))
        return [ledgers.key(each) for each in said.parts("keys")]

    def make_key(
        self, name: str, roles: Iterable[str], expires: datetime | None = None
    ) -> Exchange[tuple[Key, str]]:
        """Make an API key; its secret is given here and never again.

        Not asked twice when no answer came: see `keys` then, and revoke what nobody knows.

        Parameters
        ----------
        roles
            Of ``read``, ``identify``, ``enroll``, ``admin``.

        Raises
        ------
        InputRefused
        """
        ends = expires and expires.isoformat()
        told = {"name": name, "roles": [str(role) for role in roles], "expires": ends}
        request = Request("POST", "/v1/keys", json=told, again=Again.NEVER)
        said = yield from self.ask(request)
        return ledgers.key(said.part("key")), said.text("secret")

    def revoke_key(self, key: str) -> Exchange[Key]:
        """Let a key open nothing from now on, named by its id; raises ApiKeyUnknown."""
        if not re.fullmatch("[0-9a-f]{8,32}", key):
            raise ApiKeyUnknown("a key is named by its id, or by eight digits of it or more")
        said = yield from self.ask(Request("DELETE", f"/v1/keys/{key}"))
        return ledgers.key(said.part("key"))

    def _changed(self, name_or_id: str, change: dict[str, Any]) -> Exchange[Person]:
        # By the id, which a change of the name leaves as it is: so it may be sent again.
        who = yield from self.person(name_or_id)
        said = yield from self.ask(Request("PATCH", f"/v1/people/{quoted(who.id)}", json=change))
        return reading.person(said.part("person"))

    def _listed(self, name: str) -> Exchange[Person]:
        after: str | None = ""
        while after is not None:
            page = yield from self.page(name, after=after)
            for person in page.people:
                if person.name == name:
                    return person
            after = page.next
        raise PersonUnknown(f"nobody called {name} is enrolled")
