"""Who did what to whom: an append-only log in which every entry is chained to the one before.

An entry's hash is the SHA-256 of its canonical JSON, which holds the hash of the entry before it,
so an entry that is changed, dropped or moved breaks the chain there. Whoever can write the
database can also make a whole new chain: in a sealed gallery every entry is therefore signed
(HMAC-SHA256) with a key that only the master key opens. What no chain can show by itself is that
its end was cut off: keep an *anchor* (``number:hash`` of the newest entry, which ``audit verify``
prints) elsewhere, and have it looked for.

Entries name people by id and never by name, and hold no biometrics: they outlive the erased.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, insert, select

from visavis.errors import InputRefused
from visavis.gallery.database import tables
from visavis.gallery.database.spelled import Spelled
from visavis.gallery.database.times import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Row

SIGNING = "audit log"
"""What the key of the signatures is derived for."""

_BATCH = 4096
_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done, before it is an entry.

    Attributes
    ----------
    action
        One word, such as ``enroll`` or ``remove``.
    subject
        Id of whom it was done to; empty when it was done to the gallery.
    details
        Numbers, ids and words; no names of people, nothing of a body, no fractions.
    """

    action: str
    subject: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the log; see the module for what its hash and signature cover."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    previous: str
    hash: str
    signature: str | None

    def as_dict(self) -> dict[str, Any]:
        """Give what is exported, in the order of the fields."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, line: dict[str, Any]) -> AuditEntry:
        """Read what was exported; ValueError when something is missing or of another type."""
        try:
            entry = cls(**{name: line[name] for name in cls.__slots__})
        except (KeyError, TypeError) as fault:
            raise ValueError("a field is missing") from fault
        texts = (entry.at, entry.actor, entry.action, entry.subject, entry.previous, entry.hash)
        if not isinstance(entry.seq, int) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a field has another type")
        return entry

    def own_hash(self) -> str:
        """Compute the hash from everything else but the signature."""
        content = {name: getattr(self, name) for name in self.__slots__[:-2]}
        return hashlib.sha256(canonical(content).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the log, at an entry's number."""

    number: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify` found.

    Attributes
    ----------
    entries
        How many there are.
    anchor
        ``number:hash`` of the newest, to be kept elsewhere; empty when there is none.
    signed
        Entries whose signature is right; None when no key was at hand to look.
    faults
        At most the first hundred.
    """

    entries: int
    anchor: str
    signed: int | None
    faults: tuple[Fault, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give what is told of it in JSON."""
        faults = [{"entry": f.number, "kind": f.kind, "message": f.message} for f in self.faults]
        return {
            "intact": self.intact,
            "entries": self.entries,
            "signed": self.signed,
            "anchor": self.anchor,
            "faults": faults,
        }

    @property
    def intact(self) -> bool:
        """True when nothing is wrong."""
        return not self.faults


def canonical(content: dict[str, Any]) -> str:
    """Spell JSON in the one way that is hashed: sorted, ASCII, without spaces."""
    # What a tampered database may hold instead of text is spelled too, and then does not fit.
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=repr)


def first_link(gallery: str) -> str:
    """Give what stands before the first entry: a log does not fit another gallery."""
    return hashlib.sha256(f"visavis audit 1\0{gallery}".encode()).hexdigest()


class End(NamedTuple):
    """Where the log stands, and what the next entry has to know of the gallery.

    Attributes
    ----------
    gallery
        The gallery's id.
    number, hash
        Of the newest entry; None when there is none.
    change
        The newest entry of the change log; 0 when there is none.
    sealed
        Id of a data key; None while the gallery has none.
    """

    gallery: str
    number: int | None
    hash: str | None
    change: int
    sealed: int | None


def end(db: Connection) -> End:
    """Look where the log ends."""
    return End._make(_END.one(db))


def append(
    db: Connection, after: End, entries: Sequence[tuple[str, Deed]], key: bytes | None
) -> None:
    """Add entries in the write transaction of what they tell.

    Parameters
    ----------
    after
        Where the log ends in this transaction.
    entries
        Who does it, such as ``cli:ada``, and what.
    key
        What entries are signed with; None leaves them unsigned.
    """
    previous = first_link(after.gallery) if after.hash is None else after.hash
    at, rows = now(), []
    for number, (actor, deed) in enumerate(entries, start=(after.number or 0) + 1):
        entry = AuditEntry(
            number, at, actor, deed.action, deed.subject, deed.details, previous, "", None
        )
        previous = entry.own_hash()
        row = {**entry.as_dict(), "details": canonical(deed.details), "hash": previous}
        rows.append({**row, "signature": signature(key, previous) if key else None})
    if rows:
        _ADD.insert(db, rows)


_NEWEST = select(func.max(tables.audit.c.seq)).scalar_subquery()
_ENTRY = tables.audit.alias()
# One statement, for every decision of a busy service waits for it.
_END = Spelled(
    select(
        tables.gallery.c.id,
        _ENTRY.c.seq,
        _ENTRY.c.hash,
        select(func.coalesce(func.max(tables.change_log.c.seq), 0)).scalar_subquery(),
        select(func.max(tables.data_key.c.id)).scalar_subquery(),
    ).select_from(tables.gallery.outerjoin(_ENTRY, _ENTRY.c.seq == _NEWEST))
)
_ADD = Spelled(insert(tables.audit), tables.audit.c.keys())


def signature(key: bytes, hashed: str) -> str:
    """HMAC-SHA256 of an entry's hash, which covers all before it too."""
    return hmac.digest(key, hashed.encode(), hashlib.sha256).hex()


def read(
    db: Connection,
    *,
    subject: str | None = None,
    newest: int | None = None,
    before: int | None = None,
) -> Iterator[AuditEntry]:
    """Give entries in order, of one person or all.

    Only the ``newest`` so many, and only those ``before`` an entry's number, when they are given.
    """
    column = tables.audit.c
    query = select(tables.audit)
    if subject is not None:
        query = query.where(column.subject == subject)
    if before is not None:
        query = query.where(column.seq < before)
    if newest is not None:
        rows = db.execute(query.order_by(column.seq.desc()).limit(newest)).all()
        yield from (_entry(row) for row in reversed(rows))
        return
    ordered = query.order_by(column.seq)
    stream = db.execute(ordered, execution_options={"yield_per": _BATCH})
    yield from (_entry(row) for row in stream)


def read_lines(lines: Iterable[str], source: str) -> Iterator[AuditEntry]:
    """Read what ``audit export`` wrote; InputRefused naming the line that cannot be read."""
    for number, line in enumerate(lines, start=1):
        try:
            yield AuditEntry.from_dict(json.loads(line))
        except (ValueError, TypeError) as fault:
            raise InputRefused(f"{source}, line {number} is no audit entry: {fault}") from fault


def verify(
    entries: Iterable[AuditEntry],
    *,
    gallery: str | None,
    key: bytes | None = None,
    anchor: str | None = None,
) -> AuditReport:
    """Follow the chain from its beginning and find what was changed, dropped or moved.

    Parameters
    ----------
    gallery
        The gallery's id, which the chain begins with; None to take the first entry's word.
    key
        What entries were signed with; None when it is not at hand.
    anchor
        ``number:hash`` that was noted earlier: the chain must still hold that entry.

    Raises
    ------
    InputRefused
        When the anchor is none.
    """
    wanted = _parsed(anchor)
    faults: list[Fault] = []
    previous = first_link(gallery) if gallery else None
    expected, count, signed, last, met = 1, 0, 0, "", False
    for entry in entries:
        count += 1
        faults += _faults(entry, expected, previous)
        if key:
            right = _is_signed(entry, key)
            faults += _unsigned(entry, right=right, before=signed)
            signed += right
        met = met or wanted == (entry.seq, entry.hash)
        expected, previous, last = entry.seq + 1, entry.hash, f"{entry.seq}:{entry.hash}"
    if key and count and not signed:
        faults.append(Fault(1, "unsigned", "no entry is signed with the gallery's key"))
    if wanted and not met:
        what = "was cut off" if wanted[0] >= expected else "is another one now"
        message = f"entry {wanted[0]}, which was noted as the newest earlier, {what}"
        faults.append(Fault(wanted[0], "cut", message))
    return AuditReport(count, last, signed if key else None, tuple(faults[:_MOST_FAULTS]))


def _faults(entry: AuditEntry, expected: int, previous: str | None) -> Iterator[Fault]:
    number = entry.seq
    if number > expected:
        missing = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
        yield Fault(expected, "dropped", f"entry {missing} is missing")
    elif number < expected:
        yield Fault(number, "reordered", f"entry {number} stands after entry {expected - 1}")
    elif previous is not None and entry.previous != previous:
        before = f"entry {number - 1}" if number > 1 else "the gallery"
        message = f"entry {number} does not follow {before}: something there was changed or dropped"
        yield Fault(number, "unlinked", message)
    if entry.own_hash() != entry.hash:
        yield Fault(number, "changed", f"entry {number} was changed or moved")


def _unsigned(entry: AuditEntry, *, right: bool, before: int) -> Iterator[Fault]:
    """Say what is wrong with a signature.

    Entries of before the gallery was sealed have none; the first signed one vouches for them.
    """
    number = entry.seq
    if entry.signature is None:
        if before:
            message = f"entry {number} was written without the gallery's key"
            yield Fault(number, "unsigned", message)
    elif not right:
        yield Fault(number, "forged", f"entry {number} is not signed with the gallery's key")


def _is_signed(entry: AuditEntry, key: bytes | None) -> bool:
    if key is None or not isinstance(entry.signature, str) or not entry.signature.isascii():
        return False
    return hmac.compare_digest(signature(key, str(entry.hash)), entry.signature)


def _parsed(anchor: str | None) -> tuple[int, str] | None:
    if anchor is None:
        return None
    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", anchor.strip())
    if not found:
        raise InputRefused(
            f"{anchor!r} is no anchor; it is what 'visavis audit verify' printed: number:hash"
        )
    return int(found[1]), found[2]


def _entry(row: Row[Any]) -> AuditEntry:
    try:
        details = json.loads(row.details)
    except (ValueError, TypeError):
        details = None
    if not isinstance(details, dict) or canonical(details) != row.details:
        details = {"unreadable": str(row.details)}  # which no longer fits the hash
    return AuditEntry(
        row.seq,
        row.at,
        row.actor,
        row.action,
        row.subject,
        details,
        row.previous,
        row.hash,
        row.signature,
    )
