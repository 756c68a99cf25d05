"""What opens a gate: a signed message, delivered once for each decision, soon or not at all.

The body is signed together with the time at which it was sent (HMAC-SHA256), so that nobody who
reads or keeps a message can open the gate with it later. The receiver checks the signature, the
age, that ``valid_until`` has not passed, and that the id is new; ``received`` does all four. A try
that was not answered may have arrived all the same: it comes again under the same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from visavis.errors import InputRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

SIGNATURE, DELIVERY = "Visavis-Signature", "Visavis-Delivery"
TOLERANCE = 30.0
"""Seconds by which the clocks of sender and receiver may differ."""

_LEAST_SECRET = 16
_AGAIN = frozenset({408, 425, 429})
"""Besides 5xx: answers that say "not now"; any other means that it will never be taken."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A door decision that opens, as the receiver is told of it."""

    id: str
    gallery: str
    door: str
    person: str
    name: str
    decided_at: datetime

    def body(self, patience: float) -> bytes:
        """Spell it; ``valid_until`` is ``patience`` seconds after the decision."""
        told = {
            "schema": 1,
            "id": self.id,
            "event": "door.open",
            "gallery": self.gallery,
            "door": self.door,
            "person": {"id": self.person, "name": self.name},
            "decided_at": self.decided_at.isoformat(),
            "valid_until": (self.decided_at + timedelta(seconds=patience)).isoformat(),
        }
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message.

    Attributes
    ----------
    status
        The last answer's; None when there was none.
    tries
        How often it was sent.
    """

    id: str
    delivered: bool
    status: int | None
    tries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where to, and how long it is tried, in seconds.

    Attributes
    ----------
    patience
        From the decision on; a gate must not open a minute later.
    answer
        For one try.
    pause
        Before the second try; twice as long before each further one.
    most
        Deliveries under way at the same time.
    """

    url: str
    patience: float = 10.0
    answer: float = 3.0
    pause: float = 0.2
    most: int = 32

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputRefused(
                f"the webhook {self.url!r} is no address: give https://host/path, or http:// "
                "inside a network that nobody else reads"
            )


class Webhook:
    """Sends openings; lives in one event loop.

    Parameters
    ----------
    secret
        Shared with the receiver, 16 bytes or more.
    """

    def __init__(self, config: WebhookConfig, secret: bytes) -> None:
        if len(secret) < _LEAST_SECRET:
            raise InputRefused(f"the webhook's secret has at least {_LEAST_SECRET} bytes")
        self._config, self._secret = config, secret
        self._client: httpx2.AsyncClient | None = None
        self._sent = Seen()
        self._going: set[asyncio.Task[None]] = set()
        self._open = True

    def send(
        self, opening: Opening, told: Callable[[Delivery], Awaitable[object]] | None = None
    ) -> bool:
        """Begin to deliver and return at once; False when it will not be.

        Parameters
        ----------
        told
            Awaited with what became of it.
        """
        deadline = time.time() + self._config.patience
        room = self._open and len(self._going) < self._config.most
        if not room or not self._sent.first(opening.id, deadline):
            return False
        task = asyncio.get_running_loop().create_task(self._send(opening, told))
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        return True

    async def deliver(self, opening: Opening) -> Delivery:
        """Try until it was taken, refused, or too late."""
        config = self._config
        began = time.monotonic()
        ends = began + config.patience - (time.time() - opening.decided_at.timestamp())
        body, status, tries, pause = opening.body(config.patience), None, 0, config.pause
        while (left := ends - time.monotonic()) > 0:
            tries += 1
            status = await self._post(opening.id, body, min(left, config.answer))
            if status is not None and status < 500 and status not in _AGAIN:
                break
            await asyncio.sleep(max(0.0, min(pause, ends - time.monotonic())))
            pause *= 2
        taken = status is not None and 200 <= status < 300
        return Delivery(opening.id, taken, status, tries, time.monotonic() - began)

    async def close(self, patience: float = 2.0) -> None:
        """Give what is under way a moment, then end; nothing is sent any more."""
        self._open = False
        if self._going:
            await asyncio.wait(set(self._going), timeout=patience)
        for task in set(self._going):
            task.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def _send(
        self, opening: Opening, told: Callable[[Delivery], Awaitable[object]] | None
    ) -> None:
        delivery = await self.deliver(opening)
        if told is not None:
            await told(delivery)

    async def _post(self, delivery: str, body: bytes, seconds: float) -> int | None:
        """Send it once; None when no answer came."""
        import httpx2  # noqa: PLC0415

        if self._client is None:
            # Proxies of the environment are not for what opens gates.
            self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: sign(self._secret, body, time.time()),
            DELIVERY: delivery,
        }
        try:
            async with asyncio.timeout(seconds):
                request = self._client.stream(
                    "POST", self._config.url, content=body, headers=headers, timeout=seconds
                )
                async with request as answer:  # its body is of no interest, however long
                    return answer.status_code
        except (httpx2.HTTPError, TimeoutError, OSError):
            return None


# For receivers


def sign(secret: bytes, body: bytes, now: float) -> str:
    """Give the header: ``t=SECONDS,v1=HEX``."""
    at = int(now)
    return f"t={at},v1={_mac(secret, at, body)}"


def check_signature(
    secret: bytes, header: str, body: bytes, now: float, tolerance: float = TOLERANCE
) -> bool:
    """Tell whether a body was signed with this secret, at most ``tolerance`` seconds from now."""
    parts = dict(part.strip().partition("=")[::2] for part in header[:500].split(","))
    at, given = parts.get("t", ""), parts.get("v1", "")
    if not (at.isascii() and at.isdecimal() and len(at) < 16 and given.isascii()):
        return False
    right = hmac.compare_digest(_mac(secret, int(at), body), given)
    return right and abs(now - int(at)) <= tolerance


class Seen:
    """Remembers ids for as long as they could come again; for one process.

    Parameters
    ----------
    most
        So many; the oldest is forgotten first, so keep it above what arrives within a minute.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._until: OrderedDict[str, float] = OrderedDict()

    def first(self, delivery: str, until: float, now: float | None = None) -> bool:
        """Note an id that counts until a moment; False when it was noted before."""
        now = time.time() if now is None else now
        while self._until and next(iter(self._until.values())) < now:
            self._until.popitem(last=False)
        if delivery in self._until:
            return False
        self._until[delivery] = until
        if len(self._until) > self._most:
            self._until.popitem(last=False)
        return True


def received(  # noqa: PLR0913 - what a request brings, and what a receiver has
    secret: bytes,
    header: str,
    body: bytes,
    seen: Seen,
    *,
    now: float | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any] | None:
    """Give the message when a gate is to be opened by it; None otherwise.

    Answer 200 to one that came before too, so that it is not sent again.
    """
    now = time.time() if now is None else now
    if not check_signature(secret, header, body, now, tolerance):
        return None
    told: dict[str, Any] = json.loads(body)
    until = datetime.fromisoformat(told["valid_until"]).timestamp() + tolerance
    fresh = told["event"] == "door.open" and now <= until
    # The id is remembered for longer than any signature of it is taken.
    return told if fresh and seen.first(str(told["id"]), now + 4 * tolerance + 60, now) else None


def _mac(secret: bytes, at: int, body: bytes) -> str:
    return hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
