"""What somebody before the camera is asked to do, so that no recording can know it beforehand.

A challenge belongs to one session, can be answered once and for a short time. Either the server
keeps it (`ChallengeBook`) and the client sees one step at a time, which is the better way, or it
travels with the client, signed (`seal`, `unseal`), and the server only remembers which were spent;
a client that is not to be trusted then knows when it will be told what.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import itertools
import json
import math
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, Self

from visavis.errors import ChallengeRefused

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SCHEMA = 2
"""Of the challenge's JSON."""

_LEAST_KEY = 16
_LONGEST_TOKEN = 4096
_MOST_STEPS = 8


class Action(StrEnum):
    """What can be asked for; left and right are those of the person, not of the picture.

    A blink or a smile is not among them: five landmarks hold no eyelid, and the corners of a mouth
    move less in a smile than they do when a head turns or another detector run sees them.
    """

    TURN_LEFT = "turn-left"
    TURN_RIGHT = "turn-right"
    LOOK_UP = "look-up"
    COME_CLOSER = "come-closer"


@dataclass(frozen=True, slots=True)
class Step:
    """An action and its two waits, drawn anew for each session.

    Nobody knows beforehand when they are told to act, or to come back, so that a recording acts at
    the wrong moments even where its order is the right one.

    Attributes
    ----------
    pause
        Seconds of looking at the camera before the action is asked for.
    hold
        Seconds from reaching it until the person is told to come back.
    """

    action: Action
    pause: float
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Challenge:
    """Actions in an order that nobody could foresee.

    Attributes
    ----------
    nonce
        128 random bits, in hexadecimal; names the challenge.
    issued, expires
        Seconds since 1970, of the clock that issued it.
    session
        Whose it is, in the caller's own words: a session's id, a person's; it must be the same
        when the challenge is taken.
    """

    nonce: str
    steps: tuple[Step, ...]
    issued: float
    expires: float
    session: str = ""

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions in their order."""
        return tuple(step.action for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Give what `from_json` reads."""
        return {
            "schema": SCHEMA,
            "nonce": self.nonce,
            "steps": [
                {"action": s.action.value, "pause": s.pause, "hold": s.hold} for s in self.steps
            ],
            "issued": self.issued,
            "expires": self.expires,
            "session": self.session,
        }

    @classmethod
    def from_json(cls, stored: object) -> Self:
        """Read a challenge; raises ChallengeRefused when it is none."""
        try:
            if not isinstance(stored, dict) or stored["schema"] != SCHEMA:
                raise ChallengeRefused("this is no challenge of this version of visavis")
            steps = tuple(
                Step(Action(s["action"]), float(s["pause"]), float(s["hold"]))
                for s in stored["steps"]
            )
            nonce, session = str(stored["nonce"]), str(stored["session"])
            times = [float(stored["issued"]), float(stored["expires"])]
        except (KeyError, TypeError, ValueError, OverflowError) as broken:
            raise ChallengeRefused(f"this is no challenge: {broken}") from broken
        waits = [wait for step in steps for wait in (step.pause, step.hold)]
        sound = all(math.isfinite(t) for t in (*times, *waits))
        if not sound or not 1 <= len(steps) <= _MOST_STEPS or not nonce:
            raise ChallengeRefused("this is no challenge: its steps or times make no sense")
        return cls(nonce, steps, times[0], times[1], session)


@dataclass(frozen=True, slots=True)
class ChallengeConfig:
    """How a challenge is made.

    Attributes
    ----------
    steps
        Number of actions; four make 56 orders, five 168, three 14.
    short, long
        Least and largest of either kind of wait, in seconds. Every wait before an action and before
        the way back is a short one, but for ``longs`` of them.
    longs
        How many waits are long, anywhere among them. A recording that was made for other places
        comes too early for the one and too late for the other: two of eight waits have 28 places,
        which with 56 orders makes one challenge in 1568 fit a recording.
    lifetime
        Seconds from issue to expiry.
    """

    steps: int = 4
    short: tuple[float, float] = (0.4, 1.0)
    long: tuple[float, float] = (3.2, 4.2)
    longs: int = 2
    lifetime: float = 90.0

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= _MOST_STEPS:
            raise ValueError(f"a challenge has 2 to {_MOST_STEPS} steps, not {self.steps}")
        waits = (0, *self.short, *self.long, math.inf)
        in_order = all(a <= b for a, b in itertools.pairwise(waits)) and self.long[1] < math.inf
        if not in_order or not 0 <= self.longs <= 2 * self.steps:
            raise ValueError("waits are positive, short before long, and two a step")
        if not 0 < self.lifetime < math.inf:
            raise ValueError("the lifetime must be positive")


DEFAULT_CHALLENGE = ChallengeConfig()


@functools.lru_cache(maxsize=8)
def orders(steps: int) -> tuple[tuple[Action, ...], ...]:
    """List every order of ``steps`` actions that may be asked.

    Each holds a turn to either side, the two that no picture of a plane can imitate; no action
    follows itself, since two could not be told from one; and coming closer is asked at most once.
    """
    return tuple(order for order in itertools.product(Action, repeat=steps) if _allowed(order))


def _allowed(order: tuple[Action, ...]) -> bool:
    apart = all(a != b for a, b in itertools.pairwise(order))
    turns = {Action.TURN_LEFT, Action.TURN_RIGHT} <= {*order}
    return apart and turns and order.count(Action.COME_CLOSER) <= 1


DICE = secrets.SystemRandom()
"""The system's source of randomness."""


def issue(
    session: str = "", config: ChallengeConfig = DEFAULT_CHALLENGE, now: float | None = None
) -> Challenge:
    """Draw a challenge from the system's source of randomness."""
    issued = time.time() if now is None else now
    steps = drawn(DICE, config)
    return Challenge(secrets.token_hex(16), steps, issued, issued + config.lifetime, session)


def drawn(dice: random.Random, config: ChallengeConfig = DEFAULT_CHALLENGE) -> tuple[Step, ...]:
    """Draw an order and its waits."""
    order = dice.choice(orders(config.steps))
    long = dice.sample(range(2 * len(order)), config.longs)
    waits = [
        round(dice.uniform(*(config.long if i in long else config.short)), 3)
        for i in range(2 * len(order))
    ]
    return tuple(Step(*each) for each in zip(order, waits[::2], waits[1::2], strict=True))


def again(
    step: Step, dice: random.Random = DICE, config: ChallengeConfig = DEFAULT_CHALLENGE
) -> Step:
    """Draw the waits of a step anew, to ask for the same action a second time.

    The wait before it is a long one: a recording goes on to its next action, which is another one,
    and one that was merely late comes too early now.
    """
    pause, hold = dice.uniform(*config.long), dice.uniform(*config.short)
    return Step(step.action, round(pause, 3), round(hold, 3))


# Kept by the server


class ChallengeBook:
    """The challenges that were issued and not yet answered; for use from several threads.

    Parameters
    ----------
    most
        So many are kept; the oldest is forgotten first.
    clock
        Gives seconds since 1970.
    """

    def __init__(
        self,
        config: ChallengeConfig = DEFAULT_CHALLENGE,
        most: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._most, self._clock = config, most, clock
        self._open: OrderedDict[str, Challenge] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._open)

    def issue(self, session: str = "") -> Challenge:
        """Draw a challenge and keep it."""
        challenge = issue(session, self._config, self._clock())
        with self._lock:
            self._open[challenge.nonce] = challenge
            while len(self._open) > self._most or self._outlived(challenge.issued):
                self._open.popitem(last=False)
        return challenge

    def take(self, nonce: str, session: str = "") -> Challenge:
        """Give a challenge to be answered, once: it is spent by this, whatever comes of it.

        Raises
        ------
        ChallengeRefused
            When there is none of that name (any more), it is another session's, or it expired.
        """
        with self._lock:
            challenge = self._open.pop(nonce, None)
        if challenge is None:
            raise ChallengeRefused("no such challenge is open: it was answered, or never issued")
        return _valid(challenge, session, self._clock())

    def _outlived(self, now: float) -> bool:
        return next(iter(self._open.values())).expires < now


def _valid(challenge: Challenge, session: str, now: float) -> Challenge:
    if not hmac.compare_digest(challenge.session.encode(), session.encode()):
        raise ChallengeRefused("the challenge was issued for another session")
    if now > challenge.expires:
        raise ChallengeRefused("the challenge has expired: ask for another")
    return challenge


# Carried by the client


class Spent(Protocol):
    """Remembers which challenges were used."""

    def spend(self, nonce: str, expires: float) -> bool:
        """Note it, in one indivisible step; False when it was noted before."""


class SpentHere:
    """Remembers in this process; several processes need a table that they share."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = Lock()

    def spend(self, nonce: str, expires: float) -> bool:
        """Note it; False when it was noted before. What has expired is forgotten."""
        now = self._clock()
        with self._lock:
            for old in [n for n, until in self._until.items() if until < now]:
                del self._until[old]
            if nonce in self._until:
                return False
            self._until[nonce] = expires
            return True


def seal(challenge: Challenge, key: bytes) -> str:
    """Sign a challenge (HMAC-SHA256) so that it can travel with the client, who can read it."""
    content = json.dumps(challenge.as_json(), separators=(",", ":")).encode()
    return f"{_text(content)}.{_text(_signature(content, key))}"


def unseal(
    token: str, key: bytes, spent: Spent, session: str = "", now: float | None = None
) -> Challenge:
    """Read a token of `seal` and spend it.

    Raises
    ------
    ChallengeRefused
        When it was not signed with this key, was used, is another session's, or expired.
    """
    content, _, signature = token[: _LONGEST_TOKEN + 1].partition(".")
    try:
        payload, signed = _bytes(content), _bytes(signature)
    except ValueError:
        payload = signed = b""
    if len(token) > _LONGEST_TOKEN or not hmac.compare_digest(signed, _signature(payload, key)):
        raise ChallengeRefused("the challenge was not issued here, or was altered")
    challenge = Challenge.from_json(json.loads(payload))
    _valid(challenge, session, time.time() if now is None else now)
    if not spent.spend(challenge.nonce, challenge.expires):
        raise ChallengeRefused("the challenge was answered before: ask for another")
    return challenge


def _signature(content: bytes, key: bytes) -> bytes:
    if len(key) < _LEAST_KEY:
        raise ValueError(f"a key to sign challenges with has at least {_LEAST_KEY} bytes")
    return hmac.digest(key, b"visavis-challenge\0" + content, hashlib.sha256)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    padded = (text + "=" * (-len(text) % 4)).encode("ascii")
    return base64.b64decode(padded, altchars=b"-_", validate=True)
