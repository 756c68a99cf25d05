"""What a gallery holds, as numbers by which two copies of it are told to be the same.

The digest of a table is the SHA-256 of its rows, each spelled as a line of JSON, in the order of
their primary keys; bytes stand there by their own SHA-256. The gallery's digest is the SHA-256 of
a line for each table: its name, its number of rows, its digest. Neither the order in which rows
lie nor the kind of database enters into it. Rows are taken as they are stored: sealed ones sealed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, LargeBinary, MetaData, Table, func, inspect, select

from visavis.gallery.database import migrations, tables
from visavis.gallery.database.faults import damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    Told = Callable[[int, int], None]

FLEETING = frozenset({"schema_version", "console_session", "done_request", "failure"})
"""Tables that are not copied: what they hold is gone within minutes, or each gallery's own."""

PORTION = 2_000
"""Rows read at a time."""
_LARGE_ROWS = {"photograph": 32}
# repr: what a tampered database may hold in a column of text.
_LINE = json.JSONEncoder(separators=(",", ":"), default=repr)


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows of every table, and the digest of all.

    Attributes
    ----------
    counts
        Rows by the table's name.
    digest
        64 hexadecimal digits; see the module.
    """

    counts: dict[str, int]
    digest: str

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(self.counts.values())


def copied() -> list[Table]:
    """Tables that belong to a copy, those that others refer to first."""
    return [table for table in tables.schema.sorted_tables if table.name not in FLEETING]


def size_of(table: Table) -> int:
    """Rows of a table that are read at a time: photographs are large."""
    return _LARGE_ROWS.get(table.name, PORTION)


def key_of(table: Table) -> Column[Any] | None:
    """Give a table's key; None when it is of several columns: such tables are small."""
    keys = list(table.primary_key.columns)
    return keys[0] if len(keys) == 1 else None


def portions(db: Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Read a table in the order of its key, some rows at a time."""
    key, after = key_of(table), None
    if key is None:
        keys = list(table.primary_key.columns)
        at = [list(table.c).index(column) for column in keys]
        rows = [tuple(row) for row in db.execute(select(table))]
        if rows:
            yield sorted(rows, key=lambda row: [row[n] for n in at])
        return
    place, size = list(table.c).index(key), size_of(table)
    while True:
        query = select(table).order_by(key).limit(size)
        query = query if after is None else query.where(key > after)
        some = [tuple(row) for row in db.execute(query).all()]
        if some:
            yield some
        if len(some) < size:
            return
        after = some[-1][place]


class Reckoner:
    """Adds up what tables hold while their rows pass by, in order."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lines: dict[str, tuple[int, str]] = {}

    def table(self, table: Table) -> TableReckoner:
        """Begin a table; `settle` ends it."""
        return TableReckoner(table, self._where)

    def settle(self, table: TableReckoner) -> None:
        """Take a table that has passed by."""
        self._lines[table.name] = (table.count, table.digest)

    def contents(self) -> Contents:
        """Give the sum of all tables that were settled."""
        lines = [[name, *self._lines[name]] for name in sorted(self._lines)]
        whole = hashlib.sha256("".join(f"{json.dumps(line)}\n" for line in lines).encode())
        return Contents(
            {name: count for name, (count, _) in self._lines.items()}, whole.hexdigest()
        )


class TableReckoner:
    """Counts and digests the rows of one table."""

    def __init__(self, table: Table, where: str) -> None:
        self.name = table.name
        self.count = 0
        self._where = where
        self._hash = hashlib.sha256()
        key = key_of(table)
        self._key = None if key is None else list(table.c).index(key)
        self._bytes = [n for n, c in enumerate(table.c) if isinstance(c.type, LargeBinary)]
        self._last: Any = None

    @property
    def digest(self) -> str:
        """Of the rows so far."""
        return self._hash.hexdigest()

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take the next rows.

        Raises
        ------
        GalleryUnusable
            When they are not in order: no gallery of ours holds such ids.
        """
        self.count += len(rows)
        lines = []
        for row in rows:
            if self._key is not None:
                self._require_order(row[self._key])
            plain = list(row)
            for n in self._bytes:
                if isinstance(plain[n], bytes):
                    plain[n] = hashlib.sha256(plain[n]).hexdigest()
            lines.append(_LINE.encode(plain))
        self._hash.update("".join(f"{line}\n" for line in lines).encode())

    def _require_order(self, key: object) -> None:
        try:
            fine = self._last is None or self._last < key
        except TypeError:
            fine = False
        if not fine:
            raise damaged(self._where, f"an id in {self.name} is none")
        self._last = key


def contents_of(db: Connection, where: str, told: Told | None = None) -> Contents:
    """Reckon up everything in one consistent view.

    Of a gallery of an earlier version, what it has of today's tables and columns.

    Parameters
    ----------
    told
        Called with rows done, and rows in all.
    """
    total, done = count_of(db), 0
    reckoner = Reckoner(where)
    for table in present(db):
        sum_ = reckoner.table(table)
        for rows in portions(db, table):
            sum_.add(rows)
            done += len(rows)
            if told:
                told(done, total)
        reckoner.settle(sum_)
    return reckoner.contents()


def count_of(db: Connection) -> int:
    """Count the rows of all tables that are copied."""
    return sum(
        db.execute(select(func.count()).select_from(table)).scalar_one() for table in present(db)
    )


def present(db: Connection) -> list[Table]:
    """Give the tables that are copied; of an earlier version, with the columns that it has."""
    if migrations.version_of(db) % migrations.UNFINISHED == len(migrations.MIGRATIONS):
        return copied()
    look, found = inspect(db), []
    there = set(look.get_table_names())
    for table in copied():
        if table.name in there:
            names = {column["name"] for column in look.get_columns(table.name)}
            columns = [
                Column(column.name, column.type, primary_key=column.primary_key)
                for column in table.c
                if column.name in names
            ]
            found.append(Table(table.name, MetaData(), *columns))
    return found
