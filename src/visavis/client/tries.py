"""When a request is sent again, and when not."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visavis.client.answers import content, seconds_of
from visavis.client.steps import Again, Lost, Reply, Wait, send
from visavis.errors import (
    IdempotencyConflict,
    ServiceUnreachable,
    TooManyRequests,
    VisavisError,
)

if TYPE_CHECKING:
    from visavis.client.steps import Exchange, Request


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often and how patiently.

    Attributes
    ----------
    retries
        So many times more than once.
    first, longest
        Seconds before the second try, twice as many before each further one, and at most.
    patience
        A service that says to wait for longer than this is not waited for.
    """

    retries: int = 3
    first: float = 0.25
    longest: float = 8.0
    patience: float = 30.0

    def pause(self, tries: int) -> float:
        """Give the seconds before the next try, by chance so that clients do not come together."""
        whole = min(self.longest, self.first * 2.0 ** (tries - 1))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - nothing is kept secret by it


class Tries:
    """One request, sent until it is answered.

    Attributes
    ----------
    lost
        True once the request may have been done without an answer that says so.
    """

    def __init__(self, rules: Retrying) -> None:
        self._rules = rules
        self.lost = False

    def ask(self, request: Request) -> Exchange[dict[str, Any]]:
        """Send, and send again what may be sent again.

        Raises
        ------
        VisavisError
            What the service refused.
        ServiceUnreachable
            When no answer came, or not a service's.
        """
        tries = 0
        while True:
            tries += 1
            heard = yield from send(request)
            spent = tries > self._rules.retries
            if isinstance(heard, Lost):
                self.lost = self.lost or heard.sent
                if spent or (heard.sent and request.again is Again.NEVER):
                    raise _unreachable(heard, request)
                yield Wait(self._rules.pause(tries))
                continue
            try:
                return content(heard)
            except VisavisError as refused:
                wait = self._wait(refused, heard, request)
                if wait is None or wait > self._rules.patience or spent:
                    raise
            self.lost = self.lost or heard.status == 503
            yield Wait(wait + self._rules.pause(tries))

    def _wait(self, refused: VisavisError, reply: Reply, request: Request) -> float | None:
        """Give the least seconds to wait before asking again; None when it would not help."""
        told = seconds_of(reply)
        if isinstance(refused, TooManyRequests):
            return refused.seconds
        if request.again is Again.NEVER:
            return None
        if isinstance(refused, IdempotencyConflict):
            # The key is this call's own, so it can only be worked on still.
            return 0.0 if request.again is Again.KEYED else None
        return (told or 0.0) if reply.status in {408, 503} else None


def _unreachable(lost: Lost, request: Request) -> ServiceUnreachable:
    doubt = ""
    if lost.sent and request.method != "GET":
        doubt = "; whether it was done is not known"
    return ServiceUnreachable(
        f"no answer from the service ({lost.why}){doubt}: see that 'visavis serve' runs at that "
        "address"
    )
