"""After too many failures within a short time a subject waits.

Liveness that errs once in a hundred lets one attack in who may try a hundred times. What limits
the tries limits that, and makes trying cost time: five failures in three minutes and three
minutes of waiting are some hundred tries an hour.

The subject is whatever the caller keys by. A person's id alone lets anybody keep that person out
by failing in their name; a device and a person together do not, but give each device its own tries.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from visavis.errors import TooManyAttempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """How many failures are borne.

    Attributes
    ----------
    failures
        So many ...
    within
        ... in so many seconds, and the subject waits ...
    wait
        ... for so many seconds after the last of them.
    """

    failures: int = 5
    within: float = 180.0
    wait: float = 180.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not (0 < self.within < math.inf and 0 < self.wait < math.inf):
            raise ValueError("failures must be 1 or more, and the times positive and finite")


DEFAULT_ATTEMPTS = AttemptLimits()


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a subject.

    Attributes
    ----------
    failures
        When the recent ones were, in seconds of the keeper's clock, the oldest first.
    until
        When the subject may try again.
    """

    failures: tuple[float, ...] = ()
    until: float = -math.inf


class AttemptStore(Protocol):
    """Where failures are remembered: in memory here, in a registry that processes share later.

    ``change`` is one indivisible step, so that two processes cannot both take the last try.
    """

    def change(self, subject: str, how: Callable[[Record], Record]) -> Record:
        """Replace a subject's record (an empty one for who is new) and give the new one.

        What ``how`` raises leaves the record as it was.
        """


class AttemptMemory:
    """Remembers in this process, and forgets with it.

    Parameters
    ----------
    most
        So many subjects are remembered. The one that was heard of least recently goes first, so
        that names nobody has cannot fill the memory; a flood of them can push somebody out who
        was waiting.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._records)

    def change(self, subject: str, how: Callable[[Record], Record]) -> Record:
        """See ``AttemptStore``."""
        with self._lock:
            new = how(self._records.get(subject, Record()))
            self._records.pop(subject, None)
            if new != Record():
                self._records[subject] = new
                if len(self._records) > self._most:
                    self._records.popitem(last=False)
            return new


class Attempt:
    """One try of a subject: say what became of it, or it counts for nothing."""

    def __init__(self) -> None:
        self.outcome: bool | None = None

    def succeeded(self) -> None:
        """Say that it was the subject: earlier failures are forgotten."""
        self.outcome = True

    def failed(self) -> None:
        """Say that it was not: one failure more."""
        self.outcome = False


class Attempts:
    """Counts failures by subject, and says who has to wait; for use from several threads.

    ::

        with attempts.attempt("door 3: Ada") as attempt:
            ...  # verify
            attempt.succeeded() if accepted else attempt.failed()

    A try counts as a failure from its beginning until it is known to be none: otherwise a
    hundred tries at once would all find the first five free.

    Parameters
    ----------
    clock
        Seconds that never go back. A store that outlives the process needs one that does too.
    """

    def __init__(
        self,
        limits: AttemptLimits = DEFAULT_ATTEMPTS,
        store: AttemptStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._store = AttemptMemory() if store is None else store
        self._clock = clock

    def seconds_left(self, subject: str) -> float:
        """Say how long a subject has to wait, in seconds; 0 when it may try now."""
        now = self._clock()
        record = self._store.change(subject, lambda old: self._recent(old, now))
        return max(0.0, record.until - now)

    def check(self, subject: str) -> None:
        """Raise TooManyAttempts when a subject has to wait."""
        self._refuse(self.seconds_left(subject))

    @contextmanager
    def attempt(self, subject: str) -> Iterator[Attempt]:
        """Begin a try; leaving without a word on it, or by an exception, takes it back.

        Raises
        ------
        TooManyAttempts
            Saying how many seconds are left.
        """
        began = self._begin(subject)
        attempt = Attempt()
        try:
            yield attempt
        except BaseException:
            attempt.outcome = None
            raise
        finally:
            self._end(subject, began, attempt.outcome)

    def _begin(self, subject: str) -> float:
        now = self._clock()

        def begun(old: Record) -> Record:
            record = self._recent(old, now)
            self._refuse(record.until - now)
            return self._failed(record, now)

        self._store.change(subject, begun)
        return now

    def _end(self, subject: str, began: float, outcome: bool | None) -> None:
        now = self._clock()

        def ended(old: Record) -> Record:
            if outcome:
                return Record()
            record = self._without(self._recent(old, now), began)
            # The wait runs from when the failure was known, not from when the try began.
            return record if outcome is None else self._failed(record, now)

        self._store.change(subject, ended)

    def _failed(self, record: Record, now: float) -> Record:
        failures = (*record.failures, now)
        full = len(failures) >= self.limits.failures
        return Record(failures, now + self.limits.wait if full else record.until)

    def _without(self, record: Record, began: float) -> Record:
        kept = list(record.failures)
        if began in kept:
            kept.remove(began)
        few = len(kept) < self.limits.failures
        return Record(tuple(kept), -math.inf if few else record.until)

    def _recent(self, record: Record, now: float) -> Record:
        """Forget what no longer counts: old failures, and a wait that is over with its cause."""
        if record.until > now:
            return record
        if record.until > -math.inf:
            return Record()
        oldest = now - self.limits.within
        return Record(tuple(t for t in record.failures if t > oldest))

    def _refuse(self, seconds: float) -> None:
        if seconds > 0:
            raise TooManyAttempts(
                f"{self.limits.failures} failures within {self.limits.within:g} seconds: try "
                f"again in {math.ceil(seconds)} seconds",
                seconds,
            )
