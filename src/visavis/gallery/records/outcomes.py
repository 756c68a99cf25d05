"""What the registry answers, each frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from visavis.values import EncoderId, Person, TemplateId


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment stored: ``known`` templates were there before and changed nothing."""

    person: Person
    added: tuple[TemplateId, ...]
    known: int


@dataclass(frozen=True, slots=True)
class Removal:
    """Who was removed, and which templates with them.

    Attributes
    ----------
    erased
        False when another process or a full disk kept the tables from being rewritten: nobody
        finds the people any more, but bytes of theirs may lie in unused parts of the file or in
        its journal until the next `Gallery.remove` or `Gallery.scrub`.
    remains
        Where bytes of theirs may still lie, in words; empty when nowhere that the database
        controls. A PostgreSQL server keeps a log, and perhaps backups, that no client can clean.
    """

    persons: tuple[Person, ...]
    templates: tuple[TemplateId, ...]
    erased: bool
    remains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """Two people who are one now.

    Attributes
    ----------
    person
        Who remains, with what they have now.
    gone
        Who was merged into them and is erased, as they were.
    moved
        Templates that came over, by the new ids that they have.
    removed
        The ids of all templates of whoever is gone.
    skipped
        How many of those were not taken over, because their photograph was there already.
    distance
        Between the nearest templates of the two, in [0, 4]; None when one had none.
    erased, remains
        As in `Removal`.
    """

    person: Person
    gone: Person
    moved: tuple[TemplateId, ...]
    removed: tuple[TemplateId, ...]
    skipped: int
    distance: float | None
    erased: bool
    remains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """What there is to say about a gallery without naming anybody."""

    where: str
    id: str
    schema_version: int
    encoder: EncoderId | None
    encoder_name: str | None
    people: int
    templates: int
    photographs: int
    bytes_on_disk: int
    created: datetime
    sequence: int
    writable: bool
    data_key: int | None
    master_key: str | None

    def as_dict(self) -> dict[str, Any]:
        """Give what is told of it in JSON."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "sequence"}
        told["bytes"] = told.pop("bytes_on_disk")
        return {**told, "created": self.created.isoformat()}
