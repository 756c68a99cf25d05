"""Answers to JSON, and refusals to the very errors that they name."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any, NoReturn

from visavis import errors
from visavis.errors import ServiceError, ServiceUnreachable, VisavisError
from visavis.spelling import SCHEMA

if TYPE_CHECKING:
    from visavis.client.steps import Reply

ERRORS: dict[str, type[VisavisError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, VisavisError)
}
"""Every error by its code."""


def content(reply: Reply) -> dict[str, Any]:
    """Give what a service answered.

    Raises
    ------
    VisavisError
        What the service refused, as the class of its code; a `ServiceError` for a code that is not
        known here.
    ServiceUnreachable
        When this is no answer of a service of this version.
    """
    said = _object(reply)
    if 200 <= reply.status < 300:
        return said
    fault = said.get("error")
    code, message = (fault.get("code"), fault.get("message")) if isinstance(fault, dict) else (0, 0)
    if not (isinstance(code, str) and isinstance(message, str)):
        _strange(reply, "without saying what is wrong")
    kind = ERRORS.get(code)
    refused = ServiceError(f"{code}: {message}") if kind is None else kind(message)
    if isinstance(refused, errors.TooManyAttempts | errors.TooManyRequests):
        refused.seconds = seconds_of(reply) or refused.seconds
    raise refused


def seconds_of(reply: Reply) -> float | None:
    """Give how long Retry-After says to wait; None when it does not say it in seconds."""
    said = reply.retry_after.strip()
    return float(said) if said.isascii() and said.isdecimal() and len(said) < 10 else None


def _object(reply: Reply) -> dict[str, Any]:
    try:
        said = json.loads(reply.body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        _strange(reply, "with something that is not JSON")
    if not isinstance(said, dict) or "schema" not in said:
        _strange(reply, "with JSON that is not visavis's")
    if type(said["schema"]) is not int or said["schema"] != SCHEMA:
        found = str(said["schema"])[:20]
        _strange(reply, f"in schema {found}, and this client reads schema {SCHEMA}")
    return said


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _strange(reply: Reply, how: str) -> NoReturn:
    raise ServiceUnreachable(
        f"the address answered {reply.status} {how}: see that a visavis service of the same "
        "version is there, and nothing else before it"
    )
