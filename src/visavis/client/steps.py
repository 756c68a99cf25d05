"""What a call wants of the world, one step after the other; whoever runs it does the steps.

A call is an `Exchange`: a generator that gives a step and is sent what came of it, so that one
description of a call serves a client that waits and one that awaits.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visavis.client.photograph import Source

T = TypeVar("T")


class Again(StrEnum):
    """Whether a request may be sent again when nobody knows if it was done."""

    HARMLESS = "harmless"
    """It only reads, or doing it twice is doing it once."""
    KEYED = "keyed"
    """The service knows it again by its Idempotency-Key."""
    NEVER = "never"
    """It would be done twice."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent.

    Attributes
    ----------
    path
        Below the service's address, with everything quoted.
    fields, files
        Of a form; a file is a field's name and its bytes.
    json
        The body where there are no files.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, bytes], ...] = ()
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    again: Again = Again.HARMLESS


@dataclass(frozen=True, slots=True)
class Load:
    """Read a photograph; answered with its bytes."""

    source: Source


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; answered with a `Reply` or with `Lost`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds; answered with None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answered."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came.

    Attributes
    ----------
    why
        In words.
    sent
        False when the request certainly did not arrive.
    """

    why: str
    sent: bool


Step: TypeAlias = Load | Send | Wait
Heard: TypeAlias = bytes | Reply | Lost | None
Exchange: TypeAlias = Generator[Step, Heard, T]


def load(source: Source) -> Exchange[bytes]:
    """Have a photograph read; raises what `photograph.load` raises."""
    heard = yield Load(source)
    assert isinstance(heard, bytes)
    return heard


def send(request: Request) -> Exchange[Reply | Lost]:
    """Have a request sent."""
    heard = yield Send(request)
    assert isinstance(heard, Reply | Lost)
    return heard
