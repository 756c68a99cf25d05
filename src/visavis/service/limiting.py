"""How often: requests of a key, and failed tries on a person."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING

from visavis.errors import TooManyAttempts, TooManyRequests
from visavis.liveness.attempts import DEFAULT_ATTEMPTS, Attempt, AttemptLimits, Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visavis.gallery import Gallery
_MOST = 10_000
CHALLENGES = AttemptLimits(failures=20, within=600, wait=300)
"""A key's challenges alone: whoever holds a recording and leaves whenever the challenge is another
one finds, sooner or later, the one that fits."""


class RateLimit:
    """A bucket a key, filled evenly; in this process's memory.

    Parameters
    ----------
    rate
        Requests a minute, of which a quarter may come at once; 0 sets no limit.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_second, self._most = rate / 60, max(1.0, rate / 4)
        self._clock, self._lock = clock, Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> None:
        """Count a request.

        Raises
        ------
        TooManyRequests
        """
        if not self._a_second:
            return
        now = self._clock()
        with self._lock:
            left, at = self._left.pop(who, (self._most, now))
            left = min(self._most, left + (now - at) * self._a_second)
            enough = left >= 1
            self._left[who] = (left - enough, now)
            if len(self._left) > _MOST:
                self._left.popitem(last=False)
        if not enough:
            wait = (1 - left) / self._a_second
            raise TooManyRequests("requests come faster than they may; slow down", wait)


class LockOut:
    """After five failures in three minutes a key waits to try the same person again.

    The subject is the key and the person together, so that nobody is kept out by failures in their
    name elsewhere. Failures lie in the gallery, for all processes; tries that are under way are
    counted in this one, so several processes may let through a few more that began together.
    """

    def __init__(self, gallery: Gallery, limits: AttemptLimits = DEFAULT_ATTEMPTS) -> None:
        self._gallery, self._limits = gallery, limits
        self._here = Attempts(limits)

    @contextmanager
    def attempt(self, key: str, person: str) -> Iterator[Attempt]:
        """Count a try; say what became of it, or it counts for nothing.

        Raises
        ------
        TooManyAttempts
        """
        subject = f"{key}/{person}"
        _, until = self._gallery.access.failures(subject)
        self._refuse(until - time.time())
        with self._here.attempt(subject) as here:
            attempt = Attempt()
            yield attempt
            if attempt.outcome is False:
                here.failed()
        # A success takes back nothing: it may have been asked at an easier rate, or without
        # liveness, by whoever fails at the harder question.
        if attempt.outcome is False and self._gallery.writable:
            self._gallery.access.change_failures(subject, self._one_more)

    def _one_more(self, times: tuple[float, ...], until: float) -> tuple[tuple[float, ...], float]:
        now = time.time()
        # A wait that is over takes the failures that caused it along.
        old = () if -math.inf < until <= now else times
        recent = (*(t for t in old if now - self._limits.within < t <= now), now)
        full = len(recent) >= self._limits.failures
        return recent, now + self._limits.wait if full else until

    def _refuse(self, seconds: float) -> None:
        if seconds > 0:
            raise TooManyAttempts(
                f"{self._limits.failures} failures within {self._limits.within:g} seconds: try "
                f"again in {math.ceil(seconds)} seconds",
                seconds,
            )


class CallersAttempts:
    """What an engine of the service counts tries in: by the key that asks and the person together.

    Where the caller is not named, whoever calls counts by itself.
    """

    def __init__(self, lockout: LockOut) -> None:
        self._lockout = lockout
        self._key: ContextVar[str | None] = ContextVar("key", default=None)

    @contextmanager
    def asked_by(self, key: str) -> Iterator[None]:
        """Count what this thread tries in the block as this key's."""
        before = self._key.set(key)
        try:
            yield
        finally:
            self._key.reset(before)

    @contextmanager
    def attempt(self, subject: str) -> Iterator[Attempt]:
        """See ``Attempts.attempt``."""
        key = self._key.get()
        if key is None:
            yield Attempt()
            return
        with self._lockout.attempt(key, subject) as attempt:
            yield attempt
