"""Who may use a gallery over the network: API keys, console sessions, what must not be done twice.

Secrets are 256 random bits, so a plain SHA-256 of them is kept: there is nothing to guess that a
slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import secrets
import unicodedata
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from visavis.errors import ApiKeyUnknown, GalleryError, IdempotencyConflict, InputRefused

from .database import tables
from .database.processes import has_died, this_process
from .database.times import now, spelled, when
from .trail.audit import Deed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection, Row

    from .database.store import Store
    from .trail.scribe import Scribe

_TOKEN = re.compile(r"vv_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
_SESSION = timedelta(hours=12)
"""A session that nobody uses for so long ends."""
_REMEMBERED = timedelta(days=1)
"""For so long a request may be repeated without being done twice."""
_STALE = timedelta(minutes=2)
"""Who has worked on a request for longer, elsewhere, is taken to have died; it is done again."""
_LONGEST_NAME = 100


class Role(StrEnum):
    """What a key may be used for."""

    READ = "read"
    """See who is enrolled, operating points, the state of the gallery."""
    IDENTIFY = "identify"
    """Compare, verify, identify, judge liveness; names only where a face matched."""
    ENROLL = "enroll"
    """Both of these, and enrol, rename, renew consent."""
    ADMIN = "admin"
    """All of these, and erase, read the audit log, make and revoke keys."""


_IMPLIED = {
    Role.READ: {Role.READ},
    Role.IDENTIFY: {Role.IDENTIFY},
    Role.ENROLL: {Role.READ, Role.IDENTIFY, Role.ENROLL},
    Role.ADMIN: {*Role},
}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is known here: everything but its secret.

    Attributes
    ----------
    id
        32 hex digits; stands in the audit log.
    name
        Whose it is, in words.
    roles
        As they were given; see `may`.
    last_used
        To the hour.
    revoked
        When it was; None while it is good.
    """

    id: str
    name: str
    roles: frozenset[Role]
    created: datetime
    expires: datetime | None = None
    last_used: datetime | None = None
    revoked: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give what is told of it in JSON."""
        times = {
            name: getattr(self, name) for name in ("created", "expires", "last_used", "revoked")
        }
        spelt = {name: moment and moment.isoformat() for name, moment in times.items()}
        return {"id": self.id, "name": self.name, "roles": sorted(self.roles), **spelt}

    def may(self, role: Role) -> bool:
        """Tell whether the key's roles hold this one or imply it."""
        return any(role in _IMPLIED[own] for own in self.roles)

    def good(self, at: datetime) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or self.expires > at)


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """A browser that showed a key.

    Attributes
    ----------
    key
        The key's id; empty where the service runs open.
    csrf
        What its pages send along with every change.
    """

    key: str
    csrf: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class DoneRequest:
    """What a request that is repeated was answered."""

    status: int
    answer: dict[str, Any]


class Access:
    """Keys, sessions, repeated requests and failures of one open gallery."""

    def __init__(self, store: Store, scribe: Scribe) -> None:
        self._store = store
        self._scribe = scribe

    # Keys

    def keys(self) -> list[ApiKey]:
        """Every key, the oldest first; also those revoked."""
        with self._store.read() as db:
            rows = db.execute(select(tables.api_key).order_by(tables.api_key.c.created)).all()
        return [self._key(row) for row in rows]

    def make_key(
        self, name: str, roles: Iterable[Role | str], expires: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key; its secret is given here and never again.

        Raises
        ------
        InputRefused
            For an unknown role or none, a name that shows nothing, an expiry that is over.
        """
        try:
            known = sorted({Role(role) for role in roles})
        except ValueError as unknown:
            raise InputRefused(f"{unknown}; roles are {', '.join(Role)}") from None
        if not known:
            raise InputRefused(f"give the key at least one role: {', '.join(Role)}")
        name = unicodedata.normalize("NFC", name).strip()
        if not name.isprintable() or not 1 <= len(name) <= _LONGEST_NAME:
            raise InputRefused(
                f"a key's name is one printable line of 1 to {_LONGEST_NAME} characters"
            )
        if expires is not None and not soon(expires):
            raise InputRefused("a key's end lies ahead, and within the calendar")
        id_, secret = uuid.uuid4().hex, secrets.token_urlsafe(32)
        row = {
            "id": id_,
            "name": name,
            "hash": _hashed(secret),
            "roles": " ".join(known),
            "created": now(),
            "expires": expires and spelled(expires),
        }
        with self._store.write() as db:
            db.execute(insert(tables.api_key).values(row))
            self._scribe.write(db, [Deed("make-key", "", {"key": id_, "roles": row["roles"]})])
            made = self._find(db, id_)
        return made, f"vv_{id_}_{secret}"

    def revoke_key(self, id_: str) -> ApiKey:
        """Let a key, and every session that showed it, open nothing from now on.

        Parameters
        ----------
        id_
            Or its first eight digits and more, where they name one key.

        Raises
        ------
        ApiKeyUnknown
        """
        with self._store.write() as db:
            key = self._find(db, id_)
            if key.revoked is None:
                column = tables.api_key.c
                gone = update(tables.api_key).where(column.id == key.id)
                db.execute(gone.values(revoked=now()))
                sessions = tables.console_session
                db.execute(delete(sessions).where(sessions.c.key == key.id))
                self._scribe.write(db, [Deed("revoke-key", "", {"key": key.id})])
            return self._find(db, key.id)

    def key_of(self, token: str) -> ApiKey | None:
        """Give the key that a token opens, when it is good; None for every other token."""
        spelt = _TOKEN.fullmatch(token)
        if not spelt:
            return None
        with self._store.read() as db:
            column = tables.api_key.c
            row = db.execute(select(tables.api_key).where(column.id == spelt[1])).first()
        if row is None or not hmac.compare_digest(row.hash, _hashed(spelt[2])):
            return None
        return self._used(self._key(row))

    # Sessions

    def begin_session(self, key: str) -> tuple[ConsoleSession, str]:
        """Begin a session of a key ("" where none is wanted); gives the cookie's secret too."""
        secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        expires = datetime.now(UTC) + _SESSION
        sessions = tables.console_session
        with self._store.write() as db:
            db.execute(delete(sessions).where(sessions.c.expires < now()))
            db.execute(
                insert(sessions).values(
                    hash=_hashed(secret), key=key, csrf=csrf, expires=spelled(expires)
                )
            )
        return ConsoleSession(key, csrf, expires), secret

    def session_of(self, secret: str) -> tuple[ConsoleSession, ApiKey | None] | None:
        """Give a session that has not ended, and its key while that is good; else None."""
        sessions, keys = tables.console_session, tables.api_key
        with self._store.read() as db:
            row = db.execute(select(sessions).where(sessions.c.hash == _hashed(secret))).first()
            if row is None or when(row.expires, self._store.where) <= datetime.now(UTC):
                return None
            owner = db.execute(select(keys).where(keys.c.id == row.key)).first()
        session = self._renewed(row)
        if not row.key:
            return session, None
        key = None if owner is None else self._used(self._key(owner))
        return None if key is None else (session, key)

    def _renewed(self, row: Row[Any]) -> ConsoleSession:
        """Let a session that is used go on: a tablet beside a door is not to log in every day."""
        expires, at = when(row.expires, self._store.where), datetime.now(UTC)
        if expires - at < _SESSION / 2 and self._store.writable:
            longer = at + _SESSION
            mine = update(tables.console_session).where(tables.console_session.c.hash == row.hash)
            with suppress(GalleryError), self._store.write() as db:
                db.execute(mine.values(expires=spelled(longer)))
                expires = longer
        return ConsoleSession(row.key, row.csrf, expires)

    def end_session(self, secret: str) -> None:
        """End a session; nothing happens when there is none."""
        sessions = tables.console_session
        with self._store.write() as db:
            db.execute(delete(sessions).where(sessions.c.hash == _hashed(secret)))

    # Requests that may be repeated

    def claim(self, key: str, token: str, digest: str) -> DoneRequest | None:
        """Say that a request is worked on now; gives the answer when it was done before.

        Parameters
        ----------
        token
            The client's name of the request.
        digest
            SHA-256 of what it asks for.

        Raises
        ------
        IdempotencyConflict
            When that token named another request, or another process works on it at this moment.
            One that died on this machine is known to; one elsewhere is given two minutes.
        """
        done = tables.done_request
        mine = (done.c.key == key) & (done.c.token == token)
        at = datetime.now(UTC)
        with self._store.write() as db:
            db.execute(delete(done).where(done.c.at < spelled(at - _REMEMBERED)))
            row = db.execute(select(done).where(mine)).first()
            if row is not None and row.digest != digest:
                raise IdempotencyConflict("this Idempotency-Key was used for another request")
            if row is not None and row.status is not None:
                return DoneRequest(row.status, json.loads(row.answer))
            # While it is worked on, the answer's place holds who does.
            recent = row is not None and row.at > spelled(at - _STALE)
            if row is not None and recent and not has_died(row.answer or ""):
                raise IdempotencyConflict(
                    "the same request is worked on at this moment, or was broken off less than "
                    "two minutes ago; ask again"
                )
            db.execute(delete(done).where(mine))
            claim = {"digest": digest, "answer": this_process(), "at": spelled(at)}
            db.execute(insert(done).values(key=key, token=token, **claim))
        return None

    def settle(self, key: str, token: str, done: DoneRequest | None) -> None:
        """Keep the answer of a claimed request, or forget the claim when it was refused.

        The answer must name nobody: it outlives the erased by up to a day.
        """
        table = tables.done_request
        mine = (table.c.key == key) & (table.c.token == token)
        with self._store.write() as db:
            if done is None:
                db.execute(delete(table).where(mine))
            else:
                answer = json.dumps(done.answer)
                db.execute(update(table).where(mine).values(status=done.status, answer=answer))

    # Failures

    def failures(self, subject: str) -> tuple[tuple[float, ...], float]:
        """Give when somebody failed recently, and until when they wait; seconds since 1970."""
        with self._store.read() as db:
            return _failures(db, subject)

    def change_failures(
        self,
        subject: str,
        how: Callable[[tuple[float, ...], float], tuple[tuple[float, ...], float]],
    ) -> None:
        """Replace what is remembered of a subject's failures, in one indivisible step."""
        table = tables.failure
        with self._store.write() as db:
            times, until = how(*_failures(db, subject))
            db.execute(delete(table).where(table.c.subject == subject))
            if times or until > -math.inf:
                values = {"times": json.dumps(times), "until": max(until, 0.0)}
                db.execute(insert(table).values(subject=subject, **values))

    def _used(self, key: ApiKey) -> ApiKey | None:
        at = datetime.now(UTC)
        if not key.good(at):
            return None
        stale = key.last_used is None or at - key.last_used > timedelta(hours=1)
        if stale and self._store.writable:
            mine = update(tables.api_key).where(tables.api_key.c.id == key.id)
            # Nobody is kept out because this cannot be noted now.
            with suppress(GalleryError), self._store.write() as db:
                hour = at.replace(minute=0, second=0, microsecond=0)
                db.execute(mine.values(last_used=spelled(hour)))
        return key

    def _find(self, db: Connection, id_: str) -> ApiKey:
        column = tables.api_key.c
        if not re.fullmatch(r"[0-9a-f]{8,32}", id_):
            raise ApiKeyUnknown("a key is named by its id, or by eight digits of it or more")
        rows = db.execute(select(tables.api_key).where(column.id.startswith(id_)).limit(2)).all()
        if len(rows) != 1:
            raise ApiKeyUnknown(f"{'no' if not rows else 'more than one'} key is called {id_}")
        return self._key(rows[0])

    def _key(self, row: Row[Any]) -> ApiKey:
        where = self._store.where
        times = [t and when(t, where) for t in (row.expires, row.last_used, row.revoked)]
        roles = frozenset(Role(role) for role in row.roles.split())
        return ApiKey(row.id, row.name, roles, when(row.created, where), *times)


def _failures(db: Connection, subject: str) -> tuple[tuple[float, ...], float]:
    table = tables.failure
    row = db.execute(select(table.c.times, table.c.until).where(table.c.subject == subject)).first()
    if row is None:
        return (), -math.inf
    return tuple(json.loads(row.times)), row.until or -math.inf


def soon(moment: datetime) -> bool:
    """Tell whether a moment lies ahead and can be stored."""
    try:
        return moment.astimezone(UTC) > datetime.now(UTC)
    except OverflowError:
        return False


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
