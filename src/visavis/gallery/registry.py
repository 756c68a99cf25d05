"""The gallery: who is enrolled, with which templates. SQL is the truth, every index is derived."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import func, select, update

from visavis.errors import EncoderMismatch, PersonExists, TemplateRefused
from visavis.values import EncoderId, OperatingPoint, Person, PersonId, Template, TemplateId

from .access import Access
from .database import tables
from .database.store import Store
from .database.times import when
from .database.vectors import unpacked
from .records import calibration, copies, merging, people
from .records.arrivals import look_again
from .records.changes import PORTION, Changes, read_changes, read_vectors
from .records.consent import clean_consent
from .records.names import clean_name
from .records.outcomes import Enrolled, GalleryInfo, Merged, Removal
from .records.photographs import EnrolledPhotographs
from .secrets.protection import Keys
from .secrets.sealing import Kind, Sealed
from .secrets.vault import DIGESTS, SEARCH, Vault
from .trail.audit import Deed
from .trail.audit_log import AuditLog
from .trail.scribe import Scribe
from .transfer.backup import back_up
from .transfer.moving import move
from .upkeep.inspection import inspect
from .upkeep.leftovers import erasure_report
from .upkeep.reencoding import Reencoding
from .upkeep.rekeying import Rekeying

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Column, Connection

    from visavis.values import Consent

    from .records.arrivals import Recheck
    from .records.changes import Owned
    from .records.copies import Copy
    from .records.people import NewTemplate
    from .secrets.protection import MasterKey
    from .transfer.backup import Backup
    from .transfer.moving import Move
    from .upkeep.inspection import Inspection
    from .upkeep.leftovers import ErasureReport, Holder
    from .upkeep.rekeying import Rotation, Told


class Gallery:
    """People and their templates in one database, shared by threads, processes and machines.

    A change is stored once its method has returned, also through a power cut. Every method may
    raise GalleryUnusable (damaged, deleted or replaced under us), GalleryBusy and
    GalleryUnreachable (a server is down, or was restarted at that moment: call again); those that
    write also GalleryReadOnly and GalleryFull. Nothing of the change is stored then, save that a
    connection lost at the very end of a change leaves open whether it was.
    """

    def __init__(self, store: Store, keys: Keys, actor: str) -> None:
        self._store = store
        self._vault = Vault(keys, store.where)
        self._scribe = Scribe(actor, self._vault)
        self._bound: EncoderId | None = None

    @classmethod
    def open(
        cls,
        where: str | os.PathLike[str],
        *,
        create: bool = True,
        patience: float = 10.0,
        keys: Keys | MasterKey | bytes | str | os.PathLike[str] | None = None,
        actor: str = "python",
    ) -> Self:
        """Open a gallery, or begin one.

        Parameters
        ----------
        where
            Path of a file, ``sqlite:///path``, or ``postgresql://user@host:port/database`` with
            ``?schema=name`` (``visavis`` unless said) and any of libpq's options; with
            ``?mode=ro`` it is only read. What this user may not write is opened for reading.
        create
            Make the file (mode 0600) and its folders, or the schema, when there are none.
        patience
            Seconds to wait for another process's lock, and for a server that is being restarted.
        keys
            The master key (32 bytes), the path of its file, or where it comes from; None takes
            ``keys/master.key`` in the user's data directory, which is made when the first gallery
            needs it. It is not looked for before a template is read or written.
        actor
            Who acts, as the audit log will name them.

        Raises
        ------
        GalleryUnusable
            Not a gallery, damaged, or not there and not to be made.
        GalleryUnreachable
            Its server does not answer.
        GalleryTooNew
            Written by a later visavis.
        MissingExtra
            PostgreSQL's driver is not installed.
        """
        known = Keys.of(keys)
        return cls(Store.open(where, create=create, patience=patience), known, actor)

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
    def where(self) -> str:
        """The gallery's file or URL, for people to read; never with a password."""
        return self._store.where

    @property
    def path(self) -> Path | None:
        """The gallery's file; None when it is on a server."""
        return self._store.path

    @property
    def writable(self) -> bool:
        """False when it was opened for reading."""
        return self._store.writable

    @property
    def audit(self) -> AuditLog:
        """Who did what to whom."""
        return AuditLog(self._store, self._vault, self._scribe)

    @property
    def access(self) -> Access:
        """Who may use the gallery over the network."""
        return Access(self._store, self._scribe)

    def acting(self, actor: str) -> AbstractContextManager[None]:
        """Have the audit log name another actor for what this thread does in the block."""
        return self._scribe.acting(actor)

    def unlock(self) -> None:
        """Try the master key now and not at the first template; no change where none is needed.

        Raises
        ------
        KeyMissing, KeyExposed, KeyMalformed, KeyWrong
            When the gallery is sealed and this key does not open it.
        """
        with self._store.read() as db:
            self._vault.unlock(db)

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
                if db.execute(unbound.values(encoder=encoder, encoder_name=name)).rowcount:
                    self._scribe.write(db, [Deed("bind", "", {"encoder": encoder})])
                bound, bound_name = _bound(db)
        if bound not in {None, encoder}:
            raise EncoderMismatch(
                f"the gallery {self._store.where} holds templates of {bound_name} "
                f"({str(bound)[:12]}), and {name} ({encoder[:12]}) cannot be compared with them; "
                f"open it with that encoder (--encoder, --precision), move it to this one "
                "(visavis gallery reencode), or enrol into a new gallery file"
            )
        self._bound = encoder

    # The people

    def enroll(
        self,
        name: str,
        templates: Sequence[NewTemplate],
        *,
        encoder: EncoderId,
        consent: Consent | None = None,
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
        consent
            What the person agreed to, in place of what was there before; None changes nothing.

        Raises
        ------
        NameRefused, TemplateRefused, ConsentRefused, EncoderMismatch
            Before anything is stored.
        ConsentExpired
            When the consent of the person has ended, and there is no new one.
        """
        return self.enroll_all([(name, templates)], encoder=encoder, consent=consent)[0]

    def enroll_all(
        self,
        everybody: Sequence[tuple[str, Sequence[NewTemplate]]],
        *,
        encoder: EncoderId,
        consent: Consent | None = None,
        rechecks: Sequence[Recheck] = (),
    ) -> list[Enrolled]:
        """Enrol several people in one transaction, which costs little more than one of them.

        All of them or nobody, and all with the same consent; see `enroll`.

        Parameters
        ----------
        rechecks
            Of checks made before: each is shown, while nobody else writes, what came in since.
        """
        if consent is not None:
            consent = clean_consent(consent, datetime.now(UTC))
        fit = [(clean_name(name), people.checked(templates)) for name, templates in everybody]
        lengths = {len(templates[0].vector) for _, templates in fit}
        if len(lengths) != 1:
            raise TemplateRefused(f"templates of different lengths: {sorted(lengths)}")
        rows = sum(1 + (t.photograph is not None) for _, some in fit for t in some)
        with self._store.write() as db:
            self._require_encoder(db, encoder)
            people.require_length(db, *lengths)
            look_again(db, rechecks, self._vault)
            sealer = self._vault.sealer(db, rows)
            stored = people.add_everybody(db, fit, consent, sealer, self._store.where)
            self._scribe.write(db, [_enrolled(*each, consent is not None) for each in stored])
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
            rows = db.execute(people.select_people()).all()
        # Sorted here, for databases sort names by different rules.
        everybody = (people.to_person(row, self._store.where) for row in rows)
        return sorted(everybody, key=lambda person: person.name)

    def page(
        self, search: str = "", *, after: str = "", limit: int = 50
    ) -> tuple[list[Person], int]:
        """Give some of those whose name holds ``search``, by code points, and how many there are.

        Parameters
        ----------
        search
            Upper and lower case count as one in ASCII; empty finds everybody.
        after
            The last name of the page before.
        """
        with self._store.read() as db:
            return people.page(db, search, after, limit, self._store.where)

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
        PersonUnknown, PersonExists, NameRefused, KeyRefused
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
            self._scribe.write(db, [Deed("rename", person.id)])
            return people.find(db, person.id, self._store.where)

    def renew(self, name_or_id: str, consent: Consent) -> Person:
        """Write down what somebody agreed to, in place of what was there before.

        Raises
        ------
        PersonUnknown, ConsentRefused, KeyRefused
            And nothing changes.
        """
        clean = clean_consent(consent, datetime.now(UTC))
        with self._store.write() as db:
            person = people.find(db, name_or_id, self._store.where)
            people.give(db, [person.id], clean)
            self._scribe.write(db, [Deed("consent", person.id)])
            return people.find(db, person.id, self._store.where)

    def expired(self, now: datetime | None = None) -> list[Person]:
        """Those whose consent has ended by ``now``, the longest ago first."""
        with self._store.read() as db:
            return people.expired(db, now or datetime.now(UTC), self._store.where)

    def expire(self, now: datetime | None = None) -> Removal:
        """Erase those whose consent has ended by ``now``, see `remove`; often nobody."""
        with self._store.write() as db:
            persons = people.expired(db, now or datetime.now(UTC), self._store.where)
            gone = self._erased(db, persons, "expire")
        return self._removal(persons, gone)

    def remove(self, *names_or_ids: str) -> Removal:
        """Erase people: rows, photographs, and their bytes in the file and its journal.

        Rewrites the file, or the server's tables, once for all of them, which takes longer the
        more there are; meanwhile others wait. Nobody is kept from it by a
        master key that was lost.

        Raises
        ------
        PersonUnknown
            When one of them is not enrolled; nobody is removed then.
        """
        with self._store.write() as db:
            persons = [people.find(db, key, self._store.where) for key in names_or_ids]
            persons = list({person.id: person for person in persons}.values())
            gone = self._erased(db, persons, "remove")
        return self._removal(persons, gone)

    def merge(
        self,
        source: str,
        target: str,
        *,
        within: float | None = None,
        consent: Consent | None = None,
    ) -> Merged:
        """Make one person of two: ``source`` goes into ``target`` and is erased, see `remove`.

        Templates and photographs come over, save those of photographs that the target has. They
        get new ids, for a template never changes its person. The target keeps name and id.

        Parameters
        ----------
        source, target
            Names or ids.
        within
            How far apart their nearest templates may be; None does not look.
        consent
            What the person agreed to. None keeps what is stated for one of them or alike for
            both, and the earlier end.

        Raises
        ------
        PersonUnknown, InputRefused
            When one of them is not enrolled, or both are the same.
        PersonMismatch
            When they are farther apart, naming the distance.
        ConsentRefused, ConsentExpired
            When the two agreed to different things, or one's consent has ended.
        KeyRefused
            And nothing changes.
        """
        moment = datetime.now(UTC)
        agreed = None if consent is None else clean_consent(consent, moment)
        where = self._store.where
        with self._store.write() as db:
            gone, into = (people.find(db, key, where) for key in (source, target))
            wish = merging.Wish(gone, into, within, agreed)
            done = merging.merge(db, self._vault, wish, moment)
            self._scribe.write(db, done.deeds)
            person = people.find(db, into.id, where)
        erased = self._store.scrub()
        remains = self._store.remains(erased=erased)
        return Merged(
            person, gone, done.moved, done.gone, done.skipped, done.distance, erased, remains
        )

    def scrub(self) -> bool:
        """Finish an erasure that said ``erased=False``; True when no byte is left.

        Raises
        ------
        GalleryReadOnly
            When nothing may be written here.
        """
        return self._store.scrub()

    def _erased(self, db: Connection, persons: Sequence[Person], action: str) -> list[TemplateId]:
        gone: list[TemplateId] = []
        deeds = []
        for person in persons:
            nonces = people.nonces(db, person.id)
            templates = people.erase(db, person.id)
            deeds.append(Deed(action, person.id, {"templates": len(templates), "nonces": nonces}))
            gone += templates
        self._scribe.write(db, deeds, erases=True)
        return gone

    def _removal(self, persons: Sequence[Person], gone: Sequence[TemplateId]) -> Removal:
        erased = self._store.scrub() if persons else True
        return Removal(tuple(persons), tuple(gone), erased, self._store.remains(erased=erased))

    # The templates

    def templates(self, person: PersonId) -> list[Template]:
        """All templates of one person, oldest first; empty when there is no such person."""
        column = tables.template.c
        sealed = (column.id, column.person, column.key, column.vector)
        query = select(*sealed, column.digest, column.created)
        query = query.where(column.person == person).order_by(column.seq)
        where = self._store.where
        with self._store.read() as db:
            encoder, _ = _bound(db)
            rows = db.execute(query).all()
            opened = self._vault.open(db, Kind.TEMPLATE, [Sealed(*row[:4]) for row in rows])
        vectors = unpacked(opened, where)
        return [
            Template(
                TemplateId(row.id),
                person,
                vector,
                EncoderId(encoder or ""),
                row.digest,
                when(row.created, where),
            )
            for row, vector in zip(rows, vectors, strict=True)
        ]

    def photograph(self, template: TemplateId) -> bytes | None:
        """Give the photograph of a template, or None when it was not kept."""
        column, owner = tables.photograph.c, tables.template.c.person
        query = select(column.template, owner, column.key, column.bytes)
        query = query.join_from(tables.photograph, tables.template)
        with self._store.read() as db:
            rows = db.execute(query.where(column.template == template)).all()
            found = self._vault.open(db, Kind.PHOTOGRAPH, [Sealed(*row) for row in rows])
        return found[0] if found else None

    def keeps_photograph(self, template: TemplateId) -> bool:
        """Tell whether the photograph of a template was kept; needs no key."""
        column = tables.photograph.c.template
        with self._store.read() as db:
            return db.execute(select(column).where(column == template)).first() is not None

    def enrolled_photographs(self) -> dict[str, EnrolledPhotographs]:
        """Give everybody's photographs by name, to skip what is enrolled already.

        Raises
        ------
        KeyRefused
            When the gallery is sealed: digests are keyed.
        """
        query = select(tables.person.c.name, tables.template.c.digest).join_from(
            tables.template, tables.person
        )
        found: defaultdict[str, set[str]] = defaultdict(set)
        with self._store.read() as db:
            for name, digest in db.execute(query.where(tables.template.c.digest != "")):
                found[name].add(digest)
            secret = self._vault.secret(db, DIGESTS) if self._vault.sealed(db) else b""
        return {name: EnrolledPhotographs(digests, secret) for name, digests in found.items()}

    def changes(self, since: int, mark: str = "", limit: int = PORTION) -> Changes:
        """Tell what a searcher at sequence number ``since`` has to learn; 0 asks for everything.

        When nothing changed this is one small query.

        Parameters
        ----------
        since, mark
            As the searcher's last `Changes` gave them.
        limit
            Log entries in one portion at most, so that a first load of millions never holds all
            vectors at once; while ``more`` is set, ask again.

        Raises
        ------
        EncoderMismatch
            When the gallery was moved to another encoder since this one was bound.
        """
        with self._store.read() as db:
            changes = read_changes(db, since, mark, limit, self._vault)
        if self._bound is not None and changes.encoder not in {None, self._bound}:
            raise EncoderMismatch(
                f"the gallery {self._store.where} was moved to another encoder "
                f"({str(changes.encoder)[:12]}) while it was open; open it again with that one"
            )
        return changes

    def alone(self, patience: float) -> AbstractContextManager[None]:
        """Keep out every other process that asks for the same, such as to fill a searcher.

        Raises
        ------
        GalleryBusy
            When one stays for longer than ``patience`` seconds.
        """
        return self._store.alone(patience)

    def vectors_of(self, ids: Sequence[TemplateId]) -> dict[TemplateId, NDArray[np.float32]]:
        """Vectors (D,) float32 of those of the templates that live, in no particular order."""
        return {key: owned.vector for key, owned in self.owned_vectors_of(ids).items()}

    def owned_vectors_of(self, ids: Sequence[TemplateId]) -> dict[TemplateId, Owned]:
        """Vectors of those of the templates that live, and whose they are."""
        found: dict[TemplateId, Owned] = {}
        with self._store.read() as db:
            for some in people.in_portions(ids):
                found |= read_vectors(db, [TemplateId(key) for key in some], self._vault)
        return found

    def search_secret(self) -> bytes:
        """Give what vectors are turned with before they leave for a searcher outside.

        The same for the gallery's whole life; a gallery of before gets its keys now.

        Raises
        ------
        KeyRefused
            Also when the gallery was opened without keys.
        """
        with self._store.read() as db:
            if self._vault.sealed(db):
                return self._vault.secret(db, SEARCH)
        with self._store.write() as db:
            if not self._vault.sealed(db):
                self._vault.begin(db)
                self._scribe.write(db, [Deed("rotate-key", "", {"key": 1})])
            return self._vault.secret(db, SEARCH)

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
                self._scribe.write(db, [Deed("calibrate", "", {"kind": kind})])

    # The keys, and whether all is well

    def rotate_key(self, told: Told | None = None) -> Rotation:
        """Seal every row with a new data key while others read and write; see `Rekeying`.

        A gallery of before is sealed by it. A call that was cut short is gone on with by the
        next. At the end the file is rewritten, see `remove`.

        Parameters
        ----------
        told
            Called after every portion with rows done and rows in all.

        Raises
        ------
        KeyRefused, GalleryTampered
        """
        return Rekeying(self._store, self._vault, self._scribe).rotate(told)

    def rewrap_key(self, keys: Keys | MasterKey | bytes | str | os.PathLike[str]) -> bool:
        """Have another master key open this gallery from now on; no row changes.

        Returns
        -------
        bool
            False when the old wrapping may still lie in unused parts of the file.

        Raises
        ------
        KeyRefused
            And the old master key stays.
        """
        return Rekeying(self._store, self._vault, self._scribe).rewrap(Keys.of(keys))

    def check(self) -> Inspection:
        """Open every row and hold the tables against each other; writes nothing."""
        with self._store.read() as db:
            return inspect(db, self._vault)

    def check_erased(
        self, person: str = "", name: str = "", *, holders: Sequence[Holder] = ()
    ) -> ErasureReport:
        """Look for what is left of somebody: in every table, in the file's raw bytes, outside.

        Parameters
        ----------
        person
            The id that `remove` and the audit log name; empty to look for a name only.
        name
            The name they had, when it is known.
        holders
            Searchers outside the gallery, such as Milvus.

        Raises
        ------
        PersonUnknown
            When this gallery has never heard of the id.
        """
        return erasure_report(self._store, (person, name), holders)

    # Copies of it

    def backup(
        self, file: str | os.PathLike[str], *, force: bool = False, told: Told | None = None
    ) -> Backup:
        """Write all that the gallery holds at this moment to one file, while others go on.

        The file is a gallery of mode 0600, sealed as this one is. It is read again, and held
        against the gallery by count and digest, before it gets its name. The audit log notes it,
        so that `check_erased` can say who is in it.

        Parameters
        ----------
        force
            Replace a file that is there.
        told
            Called after every portion with rows done and rows in all; each is written and read.

        Raises
        ------
        CopyRefused
            When the file is there, or is the gallery itself.
        CopyDiffers, GalleryFull, KeyRefused
            And no file is left.
        """
        return back_up(self._store, self._scribe, Path(file), force=force, told=told)

    def migrate(self, to: str | os.PathLike[str], *, told: Told | None = None) -> Move:
        """Make another database the same gallery, while others go on writing here.

        Until it is complete nobody can open it (`GalleryUnfinished`). Cut short, the same call
        goes on where it was; once it is complete, another call brings over what came since.

        Parameters
        ----------
        to
            A file or URL, see `open`; nothing may be there but an earlier copy of this gallery
            into which nobody has written.
        told
            See `backup`.

        Raises
        ------
        CopyRefused
            When something else is there.
        CopyDiffers
            When it does not hold the same in the end, by count and digest.
        """
        return move(self._store, self._scribe, to, told=told)

    def reencoding(self) -> Reencoding:
        """Give what moves the gallery to another encoder; `engine.reencode` makes the vectors."""
        return Reencoding(self._store, self._vault, self._scribe)

    def copies(self) -> list[Copy]:
        """Backups and migrations that the audit log knows of, the oldest first."""
        with self._store.read() as db:
            return copies.known(db, self._store.where)

    def note_gone(self, copy: str) -> Copy:
        """Note that a copy was destroyed: nobody is held to be in it any more.

        Parameters
        ----------
        copy
            Its id, the beginning of that, or its place.

        Raises
        ------
        CopyRefused
            When none is called so, or several are.
        """
        with self._store.write() as db:
            found = copies.find(db, copy, self._store.where)
            self._scribe.write(db, [Deed(copies.GONE, "", {"copy": found.id})])
            return found

    def info(self) -> GalleryInfo:
        """Say what the gallery is and how much it holds."""
        sizes = [
            select(func.count(table.c[0])).select_from(table).scalar_subquery()
            for table in (tables.person, tables.template, tables.photograph)
        ]
        newest = select(func.coalesce(func.max(tables.change_log.c.seq), 0)).scalar_subquery()
        column = tables.gallery.c
        own = (column.id, column.encoder, column.encoder_name, column.created)
        keys = select(tables.data_key.c.id, tables.data_key.c.master)
        with self._store.read() as db:
            row = db.execute(select(*own, *sizes, newest)).one()
            key_row = db.execute(keys.order_by(tables.data_key.c.id.desc()).limit(1)).first()
        key, encoder, encoder_name, created, persons, templates, photographs, sequence = tuple(row)
        return GalleryInfo(
            where=self._store.where,
            id=key,
            schema_version=self._store.schema_version,
            encoder=encoder,
            encoder_name=encoder_name,
            people=persons,
            templates=templates,
            photographs=photographs,
            bytes_on_disk=self._store.bytes_on_disk(),
            created=when(created, self._store.where),
            sequence=sequence,
            writable=self.writable,
            data_key=key_row and key_row.id,
            master_key=key_row and key_row.master,
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


def _enrolled(person: Person, added: Sequence[TemplateId], consented: bool) -> Deed:
    details = {"templates": len(added)}
    return Deed("enroll", person.id, {**details, "consent": 1} if consented else details)


def _bound(db: Connection) -> tuple[EncoderId | None, str | None]:
    row = db.execute(select(tables.gallery.c.encoder, tables.gallery.c.encoder_name)).one()
    return row[0], row[1]
