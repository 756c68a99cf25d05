"""What a running service holds: galleries with their engines, threads, limits."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visavis.errors import GalleryError, ServiceUnprotected, VisavisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection

    from visavis.engine import Engine
    from visavis.gallery import Gallery
    from visavis.gallery.access import ApiKey
    from visavis.service.config import ServiceConfig
    from visavis.service.ledger import Ledger
    from visavis.service.limiting import CallersAttempts, LockOut, RateLimit
    from visavis.service.metrics import Metrics
    from visavis.service.searches import Searches
    from visavis.service.webhook import Webhook
    from visavis.service.work import Work


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """One gallery that is served.

    Attributes
    ----------
    name
        File's stem or database's name; the path stays inside.
    ledger
        Writes decisions into its audit log.
    lockout
        Who failed too often.
    challenges
        The same for challenges that claim nobody.
    attempts
        What the engine counts in.
    """

    name: str
    engine: Engine
    ledger: Ledger
    lockout: LockOut
    challenges: LockOut
    attempts: CallersAttempts

    @property
    def gallery(self) -> Gallery:
        """The people."""
        return self.engine.gallery


@dataclass(slots=True, eq=False)
class State:
    """All of it; one a process."""

    config: ServiceConfig
    houses: Sequence[House]
    work: Work
    searches: Searches
    rates: RateLimit
    metrics: Metrics
    webhook: Webhook | None = None
    logins: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))
    sockets: set[object] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)

    def key_of(self, token: str) -> tuple[House, ApiKey] | None:
        """Find whose gallery a key opens."""
        away: GalleryError | None = None
        for house in self.houses:
            try:
                key = house.gallery.access.key_of(token)
            except GalleryError as fault:  # another gallery's keys are good all the same
                away = fault
                continue
            if key is not None:
                return house, key
        if away is not None:
            raise away
        return None

    def fault(self) -> str | None:
        """Say what keeps the service from answering; None when nothing does."""
        if self.stopping.is_set():
            return "stopping"
        try:
            for house in self.houses:
                house.gallery.size  # noqa: B018 - asks the database
        except VisavisError as fault:
            return fault.code
        return None


def state_of(connection: HTTPConnection) -> State:
    """Give the state of the service that a request came to."""
    state: State = connection.app.state.service
    return state


def require_keys(config: ServiceConfig, houses: Sequence[House]) -> None:
    """Refuse to start where everybody else could do everything, or nobody anything.

    Raises
    ------
    ServiceUnprotected
    """
    if config.open:
        return
    now = datetime.now(UTC)
    for house in houses:
        if not any(key.good(now) for key in house.gallery.access.keys()):  # noqa: SIM118
            raise ServiceUnprotected(
                f"the gallery {house.name} has no key that is good, so nobody could ask for "
                "anything: make one with 'visavis keys create NAME --role admin', or try it on "
                "this machine alone with 'visavis serve --open'"
            )
