"""What a service tells of its gallery, each frozen; of people and faces, see `visavis.values`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from visavis.values import EncoderId, OperatingPoint, Person, PersonId, TemplateId


@dataclass(frozen=True, slots=True)
class Page:
    """Some people, by name.

    Attributes
    ----------
    total
        How many there are on all pages.
    next
        What the page after it is asked for with; None after the last.
    """

    people: tuple[Person, ...]
    total: int
    next: str | None


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template without its numbers, which never leave the service."""

    id: TemplateId
    created: datetime
    photograph_kept: bool


@dataclass(frozen=True, slots=True)
class Removal:
    """Who was removed, and how many templates with them.

    Attributes
    ----------
    erased
        False when nobody finds them any more, but bytes of theirs may lie in unused parts of the
        gallery's file until the next removal.
    remains
        Where bytes of theirs may still lie, in words.
    """

    id: PersonId
    name: str
    templates: int
    erased: bool
    remains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that should be gone: where, what, and how often."""

    where: str
    what: str
    count: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was looked for of somebody removed, and what was found.

    Attributes
    ----------
    templates
        How many templates of theirs the change log remembers.
    leftovers
        What is left; empty after a complete erasure.
    not_looked
        What could not be looked at, and why.
    """

    person: PersonId
    templates: int
    leftovers: tuple[Leftover, ...]
    not_looked: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.leftovers


@dataclass(frozen=True, slots=True)
class Info:
    """What the gallery holds, without naming anybody; no encoder before the first enrolment."""

    id: str
    schema_version: int
    encoder: EncoderId | None
    encoder_name: str | None
    people: int
    templates: int
    photographs: int
    bytes_on_disk: int
    created: datetime
    writable: bool


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """What a false positive identification rate takes, at a gallery's size."""

    tau: float
    fpir: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """A point of the measured curve; ``lower`` and ``upper`` end the 95 % interval of ``fmr``."""

    fmr: float
    tau: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class MissedPoint:
    """What a tau turns away; ``lower`` and ``upper`` end the 95 % interval of ``fnmr``."""

    fnmr: float
    tau: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """What each error rate takes.

    Attributes
    ----------
    gallery_size
        Templates, for which ``identification`` holds.
    fmr, fpir
        What the service decides at unless it is asked for another rate.
    pairs
        How many pairs of different people were measured.
    misses, mated
        False non-match rates by falling tau, and how many pairs of one person they were measured
        on; empty and 0 where nobody measured them.
    """

    encoder: EncoderId
    encoder_name: str
    tuned_on: str
    pairs: int
    gallery_size: int
    fmr: float
    fpir: float
    verification: tuple[OperatingPoint, ...]
    identification: tuple[SearchPoint, ...]
    curve: tuple[MeasuredPoint, ...]
    misses: tuple[MissedPoint, ...]
    mated: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to whom; ``hash`` chains it to the entry before, ``signature`` proves it."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    previous: str
    hash: str
    signature: str | None


@dataclass(frozen=True, slots=True)
class AuditFault:
    """Something wrong with the log, at an entry's number."""

    number: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Whether the log is whole.

    Attributes
    ----------
    anchor
        ``number:hash`` of the newest entry, to be kept elsewhere.
    signed
        Entries whose signature is right; None where the service has no key to look with.
    """

    entries: int
    anchor: str
    signed: int | None
    faults: tuple[AuditFault, ...]

    @property
    def intact(self) -> bool:
        """True when nothing is wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret."""

    id: str
    name: str
    roles: frozenset[str]
    created: datetime
    expires: datetime | None = None
    last_used: datetime | None = None
    revoked: datetime | None = None
