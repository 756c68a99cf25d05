"""Who asks: an API key or a browser's session, what they may do, and that they meant to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection, Request  # noqa: TC002 - FastAPI reads them

from visavis.errors import Forbidden, GalleryError, Unauthenticated
from visavis.gallery.access import Role
from visavis.service.state import House, State, state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from visavis.gallery.access import ApiKey, ConsoleSession

_SAFE = {"GET", "HEAD", "OPTIONS"}
_FRESH = 1.0
"""Seconds for which a key is believed without looking again; a revocation takes so long."""


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Who asks, and about which gallery.

    Attributes
    ----------
    key
        None where the service runs open.
    session
        The browser's session; None for a bare key.
    """

    house: House
    key: ApiKey | None
    session: ConsoleSession | None = None

    @property
    def id(self) -> str:
        """The key's id; "open" without one."""
        return self.key.id if self.key else "open"

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"key:{self.id[:8]}" if self.key else "http:open"

    @property
    def roles(self) -> list[str]:
        """Every role, those implied too."""
        return [role for role in Role if self.may(role)]

    def may(self, role: Role) -> bool:
        """Tell whether they may do this."""
        return self.key is None or self.key.may(role)

    def acting(self) -> AbstractContextManager[None]:
        """Have the audit log name them for what is done in the block, in this thread."""
        return self.house.gallery.acting(self.actor)


class Doorkeeper:
    """Finds out who asks; remembers for a second, so that a busy key is not looked up each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Caller | None]] = {}

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Give who sends a request; None when nobody says so."""
        state = state_of(connection)
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme:
            bearer = token.strip() if scheme.lower() == "bearer" else ""
            known = hashlib.sha256(bearer.encode()).hexdigest()
            return await self._remembered(known, lambda: _by_key(state, bearer))
        secret = connection.cookies.get(state.config.cookie)
        if secret:
            found = await asyncio.to_thread(_by_session, state, secret)
            if found is not None:
                return found
        return Caller(state.houses[0], None) if state.config.open else None

    def forget(self) -> None:
        """Look everybody up again."""
        self._known.clear()

    async def _remembered(self, what: str, look: Callable[[], Caller | None]) -> Caller | None:
        now = self._clock()
        until, caller = self._known.get(what, (0.0, None))
        if now < until:
            return caller
        caller = await asyncio.to_thread(look)
        if caller is not None:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[what] = (now + _FRESH, caller)
        return caller


def needs(role: Role | None) -> Any:  # noqa: ANN401 - what FastAPI's Depends gives
    """Make a route ask for a role, or for any key with None; it is then given the Caller.

    Raises
    ------
    Unauthenticated, Forbidden, TooManyRequests
    """

    async def found(request: Request) -> Caller:
        caller = await caller_of(request, role)
        if caller.session is not None and request.method not in _SAFE:
            sent = request.headers.get("x-csrf-token", "")
            if not hmac.compare_digest(sent.encode(), caller.session.csrf.encode()):
                raise Forbidden("this came without the page's own token (X-CSRF-Token)")
        return caller

    return Depends(found)


async def caller_of(connection: HTTPConnection, role: Role | None) -> Caller:
    """Give who asks, when they may; for WebSockets, which have no dependencies that refuse.

    Raises
    ------
    Unauthenticated, Forbidden, TooManyRequests
    """
    state = state_of(connection)
    keeper: Doorkeeper = connection.app.state.doorkeeper
    caller = await keeper.caller(connection)
    if caller is None:
        host = connection.client.host if connection.client else "?"
        state.rates.take(f"address {host}")
        raise Unauthenticated(
            "send an API key that is good ('Authorization: Bearer vv_...'), or log in"
        )
    by_browser = caller.session is not None or caller.key is None
    if by_browser and not own_origin(connection):
        raise Forbidden("this came from a page of another site")
    state.rates.take(caller.id)
    if role is not None and not caller.may(role):
        raise Forbidden(f"the key may not do this: it takes the role {role}")
    return caller


def own_origin(connection: HTTPConnection) -> bool:
    """Tell whether a browser's request comes from a page of this service, or from no page."""
    if connection.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        return False
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host")


def _by_key(state: State, token: str) -> Caller | None:
    found = state.key_of(token)
    return Caller(*found) if found else None


def _by_session(state: State, secret: str) -> Caller | None:
    away: GalleryError | None = None
    for house in state.houses:
        try:
            found = house.gallery.access.session_of(secret)
        except GalleryError as fault:  # another gallery's sessions go on all the same
            away = fault
            continue
        if found is not None:
            session, key = found
            if key is None and not state.config.open:
                return None
            return Caller(house, key, session)
    if away is not None:
        raise away
    return None
