"""Errors to HTTP: one shape, the codes of the command line, and nothing internal."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from visavis import errors
from visavis.spelling import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from visavis.errors import VisavisError

_STATUS: dict[type[errors.VisavisError], int] = {
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NothingThere: 404,
    errors.ApiKeyUnknown: 404,
    errors.PersonUnknown: 404,
    errors.MethodRefused: 405,
    errors.BodyTimeout: 408,
    errors.PersonExists: 409,
    errors.DuplicatePerson: 409,
    errors.PersonMismatch: 409,
    errors.ConsentExpired: 409,
    errors.IdempotencyConflict: 409,
    errors.BodyTooLarge: 413,
    errors.ImageTooLarge: 413,
    errors.BodyUnsupported: 415,
    errors.OperatingPointRefused: 422,
    errors.InputRefused: 422,
    errors.TooManyAttempts: 429,
    errors.TooManyRequests: 429,
    errors.ServiceBusy: 503,
    errors.GalleryBusy: 503,
    errors.GalleryUnreachable: 503,
    errors.SearchUnavailable: 503,
    errors.GalleryReadOnly: 409,
    errors.GalleryFull: 507,
}

_WORDS = {
    401: "No key, or one that opens nothing",
    403: "The key may not do this",
    404: "Nothing, or nobody, of that name",
    408: "The request did not arrive in time",
    409: "It contradicts what is there",
    413: "Too many bytes, pixels or photographs",
    415: "Neither JSON nor a form",
    422: "What was sent cannot be used; the code says why",
    429: "Too many tries or requests; Retry-After says how long to wait",
    500: "A fault of the service",
    503: "Busy, or the database is away; Retry-After says when to ask again",
    507: "The disk is full; nothing was stored",
}

_OWN = {
    "gallery_busy": "the gallery is busy; ask again in a second",
    "gallery_unreachable": "the gallery's database does not answer; ask again in a few seconds",
    "search_unavailable": "the search engine does not answer; ask again in a few seconds",
    "gallery_full": "the disk of the gallery is full; nothing of this was stored",
    "gallery_read_only": "the gallery may only be read",
}
"""What is said instead of a message that names files, hosts or keys of the service."""


def status_of(refused: VisavisError) -> int:
    """Give the HTTP status of an error: that of its nearest kin."""
    return next((_STATUS[kin] for kin in type(refused).__mro__ if kin in _STATUS), 500)


def said(refused: VisavisError) -> str:
    """Give an error's message as it may leave the house."""
    if refused.code in _OWN:
        return _OWN[refused.code]
    if status_of(refused) == 500:
        return "the service cannot do this now; its log says why"
    return str(refused)


def refusal(refused: VisavisError, headers: dict[str, str] | None = None) -> JSONResponse:
    """Make the answer that says an error."""
    status, extra = status_of(refused), dict(headers or {})
    if status in {429, 503} or isinstance(refused, errors.IdempotencyConflict):
        seconds = getattr(refused, "seconds", 1.0)
        extra["Retry-After"] = str(max(1, math.ceil(seconds)))
    if status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    return JSONResponse(spelt(refused.code, said(refused)), status, extra)


def spelt(code: str, message: str) -> dict[str, Any]:
    """Spell an error."""
    return {"schema": SCHEMA, "error": {"code": code, "message": message}}


class Fault(BaseModel):
    """What is wrong: a code that does not change, and words."""

    code: str
    message: str


class Refusal(BaseModel):
    """The body of every answer that is not 2xx."""

    schema_: int = Field(alias="schema")
    error: Fault


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": words} for status, words in _WORDS.items()
}
"""OpenAPI's description of refusals."""


def in_words(faults: Iterable[Mapping[str, Any]]) -> str:
    """Say what a validation found, without what was sent."""
    parts = [
        f"{'.'.join(str(p)[:40] for p in f['loc'] if p != 'body')}: "
        f"{str(f['msg']).removeprefix('Value error, ')[:200]}"
        for f in itertools.islice(faults, 5)
    ]
    return "; ".join(parts) or "the request cannot be understood"
