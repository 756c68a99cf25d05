"""The gallery: who is enrolled, with which templates. SQL is the truth, every index is derived."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sqlalchemy import func, select, update

from visavis.errors import EncoderMismatch, PersonExists, TemplateRefused
from visavis.values import EncoderId, OperatingPoint, Person, PersonId, Template, TemplateId

from . import calibration, people, tables
from .changes import Changes, read_changes
from .names import clean_name
from .store import Store
from .vectors import unpacked

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy import Column, Connection

    from .people import NewTemplate


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment stored: ``known`` templates were there before and changed nothing."""

    person: Person
    added: tuple[TemplateId, ...]
    known: int


@dataclass(frozen=True, slots=True)
class Removal:
    """Who was removed, and which templates with them.

    ``erased`` is False when another process or a full disk kept the file from being rewritten:
    nobody finds the people any more, but bytes of theirs may lie in unused parts of the file or in
    its journal until the next `Gallery.remove` or `Gallery.scrub`.
    """

    persons: tuple[Person, ...]
    templates: tuple[TemplateId, ...]
    erased: bool


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """What there is to say about a gallery without naming anybody."""

    path: Path
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


class Gallery:
    """People and their templates in one file, shared by threads and by processes.

    A change is stored once its method has returned, also through a power cut. Every method may
    raise GalleryUnusable (damaged, deleted or replaced under us) and GalleryBusy; those that
    write also GalleryReadOnly and GalleryFull, and then nothing of the change is stored.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def open(
        cls, where: str | os.PathLike[str], *, create: bool = True, patience: float = 10.0
    ) -> Self:
        """Open a gallery, or begin one.

        Parameters
        ----------
        where
            Path of a file, or ``sqlite:///path``; with ``?mode=ro`` it is only read. A file that
            this user may not write is opened for reading.
        create
            Make the file (mode 0600) and its folders when there are none.
        patience
            Seconds to wait for another process's lock.

        Raises
        ------
        GalleryUnusable
            Not a gallery, damaged, or not there and not to be made.
        GalleryTooNew
            Written by a later visavis.
        """
        return cls(Store.open(where, create=create, patience=patience))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        self._store.close()

    @property
    def path(self) -> Path:
        """The gallery's file."""
        return self._store.path

    @property
    def writable(self) -> bool:
        """False when it was opened for reading."""
        return self._store.writable

    # The encoder

    @property
    def encoder(self) -> EncoderId | None:
        """The encoder of every vector in here; None while nobody has bound one."""
        with self._store.read() as db:
            return _bound(db)[0]

    def bind(self, encoder: EncoderId, name: str) -> None:
        """Say which encoder's vectors the gallery holds; the first to say so decides.

        An unbound gallery that is open for reading stays unbound: it holds no vectors.

        Raises
        ------
        EncoderMismatch
            When it holds another encoder's, naming both and the cure.
        """
        with self._store.read() as db:
            bound, bound_name = _bound(db)
        if bound is None and self.writable:
            with self._store.write() as db:
                unbound = update(tables.gallery).where(tables.gallery.c.encoder.is_(None))
                db.execute(unbound.values(encoder=encoder, encoder_name=name))
                bound, bound_name = _bound(db)
        if bound not in {None, encoder}:
            raise EncoderMismatch(
                f"the gallery {self._store.where} holds templates of {bound_name} "
                f"({str(bound)[:12]}), and {name} ({encoder[:12]}) cannot be compared with them; "
                f"open it with that encoder (--encoder, --precision), or enrol into a new gallery "
                "file"
            )

    # The people

    def enroll(
        self, name: str, templates: Sequence[NewTemplate], *, encoder: EncoderId
    ) -> Enrolled:
        """Add templates to the person of that name, who is new if need be; all or nothing.

        Templates whose photograph this person already has are counted as known and skipped.

        Parameters
        ----------
        name
            See `clean_name`.
        templates
            At least one.
        encoder
            Whose vectors they are: the one the gallery is bound to.

        Raises
        ------
        NameRefused, TemplateRefused, EncoderMismatch
            Before anything is stored.
        """
        return self.enroll_all([(name, templates)], encoder=encoder)[0]

    def enroll_all(
        self, everybody: Sequence[tuple[str, Sequence[NewTemplate]]], *, encoder: EncoderId
    ) -> list[Enrolled]:
        """Enrol several people in one transaction, which costs little more than one of them.

        All of them or nobody; see `enroll`.
        """
        fit = [(clean_name(name), people.checked(templates)) for name, templates in everybody]
        lengths = {len(templates[0].vector) for _, templates in fit}
        if len(lengths) != 1:
            raise TemplateRefused(f"templates of different lengths: {sorted(lengths)}")
        with self._store.write() as db:
            self._require_encoder(db, encoder)
            people.require_length(db, *lengths)
            stored = people.add_everybody(db, fit, self._store.where)
        return [
            Enrolled(person, added, len(templates) - len(added))
            for (person, added), (_, templates) in zip(stored, fit, strict=True)
        ]

    @property
    def size(self) -> int:
        """Number of people."""
        return self._count(tables.person.c.id)

    @property
    def template_count(self) -> int:
        """Number of templates of all people together."""
        return self._count(tables.template.c.id)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        with self._store.read() as db:
            rows = db.execute(people.select_people().order_by(tables.person.c.name)).all()
        return [people.to_person(row, self._store.where) for row in rows]

    def people_of(self, ids: Iterable[PersonId]) -> dict[PersonId, Person]:
        """Those of the ids who are enrolled (somebody may have been removed since a search)."""
        with self._store.read() as db:
            return people.found(db, list(ids), self._store.where)

    def person(self, name_or_id: str) -> Person:
        """Somebody by id, else by exact name.

        Raises
        ------
        PersonUnknown
            Suggesting names that are spelled alike.
        """
        with self._store.read() as db:
            return people.find(db, name_or_id, self._store.where)

    def rename(self, name_or_id: str, name: str) -> Person:
        """Give somebody another name; their id and templates stay.

        Raises
        ------
        PersonUnknown, PersonExists, NameRefused
            And nothing changes.
        """
        clean = clean_name(name)
        with self._store.write() as db:
            person = people.find(db, name_or_id, self._store.where)
            column = tables.person.c
            taken = select(column.id).where(column.name == clean, column.id != person.id)
            if db.execute(taken).first():
                raise PersonExists(
                    f"somebody called {clean!r} is enrolled already; choose another name, or "
                    "remove one of the two"
                )
            db.execute(update(tables.person).where(column.id == person.id).values(name=clean))
            return people.find(db, person.id, self._store.where)

    def remove(self, *names_or_ids: str) -> Removal:
        """Erase people: rows, photographs, and their bytes in the file and its journal.

        Rewrites the file once for all of them, through memory: 0.4 s for 100,000 templates of 128
        numbers.

        Raises
        ------
        PersonUnknown
            When one of them is not enrolled; nobody is removed then.
        """
        with self._store.write() as db:
            persons = [people.find(db, key, self._store.where) for key in names_or_ids]
            persons = list({person.id: person for person in persons}.values())
            gone = [key for person in persons for key in people.erase(db, person.id)]
        return Removal(tuple(persons), tuple(gone), erased=self._store.scrub())

    def scrub(self) -> bool:
        """Finish an erasure that said ``erased=False``; True when no byte is left.

        Raises
        ------
        GalleryReadOnly
            When nothing may be written here.
        """
        return self._store.scrub()

    # The templates

    def templates(self, person: PersonId) -> list[Template]:
        """All templates of one person, oldest first; empty when there is no such person."""
        column = tables.template.c
        query = select(column.id, column.vector, column.digest, column.created)
        query = query.where(column.person == person).order_by(column.created, column.id)
        where = self._store.where
        with self._store.read() as db:
            encoder, _ = _bound(db)
            rows = db.execute(query).all()
        vectors = unpacked((row.vector for row in rows), len(rows), where)
        return [
            Template(
                TemplateId(row.id),
                person,
                vector,
                EncoderId(encoder or ""),
                row.digest,
                people.when(row.created, where),
            )
            for row, vector in zip(rows, vectors, strict=True)
        ]

    def photograph(self, template: TemplateId) -> bytes | None:
        """Give the photograph of a template, or None when it was not kept."""
        column = tables.photograph.c
        with self._store.read() as db:
            return db.execute(select(column.bytes).where(column.template == template)).scalar()

    def enrolled_digests(self) -> dict[str, frozenset[str]]:
        """Digests of everybody's photographs by name, to skip what is enrolled already."""
        query = select(tables.person.c.name, tables.template.c.digest).join_from(
            tables.template, tables.person
        )
        found: defaultdict[str, set[str]] = defaultdict(set)
        with self._store.read() as db:
            for name, digest in db.execute(query.where(tables.template.c.digest != "")):
                found[name].add(digest)
        return {name: frozenset(digests) for name, digests in found.items()}

    def changes(self, since: int) -> Changes:
        """Tell what a searcher at sequence number ``since`` has to learn; 0 asks for everything.

        When nothing changed this is one small query.
        """
        with self._store.read() as db:
            return read_changes(db, since, self._store.where)

    # The operating points

    def operating_points(
        self, encoder: EncoderId, kind: str = "verification"
    ) -> list[OperatingPoint]:
        """Thresholds measured for an encoder, by falling false match rate."""
        with self._store.read() as db:
            return calibration.read(db, encoder, kind)

    def put_operating_points(
        self, points: Sequence[OperatingPoint], kind: str = "verification"
    ) -> None:
        """Store one calibration, in place of earlier ones of the same encoder and kind."""
        if points:
            with self._store.write() as db:
                calibration.replace(db, points, kind)

    def info(self) -> GalleryInfo:
        """Say what the gallery is and how much it holds."""
        sizes = [
            select(func.count(table.c[0])).select_from(table).scalar_subquery()
            for table in (tables.person, tables.template, tables.photograph)
        ]
        newest = select(func.coalesce(func.max(tables.change_log.c.seq), 0)).scalar_subquery()
        with self._store.read() as db:
            row = db.execute(select(tables.gallery, *sizes, newest)).one()
        key, encoder, encoder_name, created, persons, templates, photographs, sequence = row
        return GalleryInfo(
            path=self.path,
            id=key,
            schema_version=self._store.schema_version,
            encoder=encoder,
            encoder_name=encoder_name,
            people=persons,
            templates=templates,
            photographs=photographs,
            bytes_on_disk=self._store.bytes_on_disk(),
            created=people.when(created, self._store.where),
            sequence=sequence,
            writable=self.writable,
        )

    def _count(self, column: Column[str]) -> int:
        with self._store.read() as db:
            return db.execute(select(func.count(column))).scalar_one()

    def _require_encoder(self, db: Connection, encoder: EncoderId) -> None:
        bound, name = _bound(db)
        if bound != encoder:
            holds = f"holds templates of {name}" if bound else "is not bound to an encoder yet"
            raise EncoderMismatch(
                f"the gallery {self._store.where} {holds}, and these were made by "
                f"{encoder[:12]}; open it with the encoder it was made with, or enrol into a new "
                "gallery file"
            )


def _bound(db: Connection) -> tuple[EncoderId | None, str | None]:
    row = db.execute(select(tables.gallery.c.encoder, tables.gallery.c.encoder_name)).one()
    return row[0], row[1]
