"""One gallery made equal to another, row by row; what is equal already is left alone.

That is all there is to a backup, a restoration and a migration, and why each can be cut short and
called again: first rows that the source has not got, or has differently, are deleted from the
target, then those that it lacks are brought. In between it is a part of the source and nothing
else, so no rule of the tables is ever in the way. At the end both are counted and digested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.exc import DBAPIError, OperationalError

from visavis.errors import CopyDiffers
from visavis.gallery.database import tables
from visavis.gallery.records.people import in_portions

from .contents import (
    FLEETING,
    Reckoner,
    contents_of,
    copied,
    count_of,
    key_of,
    portions,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Table

    from .contents import Contents, Told

    Row = tuple[Any, ...]
    Writes = Callable[[], AbstractContextManager[Connection]]


class Copying:
    """Copies what one consistent view of a gallery holds.

    Parameters
    ----------
    source
        A transaction that reads.
    writes
        Gives a transaction that writes into the target: each time another one, whose portion is
        stored then, or always the same.
    where
        Source and target, as messages name them.
    told
        Called after every portion with rows done and rows in all; each row is counted twice, when
        it is there and when it was looked at again.
    """

    def __init__(
        self, source: Connection, writes: Writes, where: tuple[str, str], told: Told | None = None
    ) -> None:
        self._source = source
        self._writes = writes
        self._where = where
        self._told = told
        self._done = 0
        self._total = 2 * count_of(source)

    def run(self) -> Contents:
        """Make the target equal; gives what both hold.

        Raises
        ------
        CopyDiffers
            When the target, read again, is not what the source was.
        """
        self._same_gallery()
        for table in copied():
            self._clear(table)
        reckoner = Reckoner(self._where[0])
        for table in copied():
            self._bring(table, reckoner)
        wanted = reckoner.contents()
        base = self._done

        def looked(done: int, _: int) -> None:
            self._tell(base + done)

        with self._writes() as target:
            _number_on(target)
            found = contents_of(target, self._where[1], looked)
        require_same(wanted, found, self._where)
        return found

    def _same_gallery(self) -> None:
        """Bring the gallery's own row, of which there is always one."""
        row = self._source.execute(select(tables.gallery)).one()
        with self._writes() as target:
            target.execute(update(tables.gallery).values(**row._asdict()))

    def _clear(self, table: Table) -> None:
        """Delete what the source has not got, or has differently, with all that hangs on it."""
        if key_of(table) is None:
            self._clear_small(table)
            return
        key, after = key_of(table), None
        assert key is not None
        place, size = list(table.c).index(key), size_of(table)
        while True:
            with self._writes() as target:
                query = select(table).order_by(key).limit(size)
                query = query if after is None else query.where(key > after)
                there = {row[place]: tuple(row) for row in target.execute(query).all()}
                if not there:
                    return
                last = list(there)[-1]
                own = select(table).where(key <= last)
                own = own if after is None else own.where(key > after)
                wanted = {row[place]: tuple(row) for row in self._source.execute(own).all()}
                _delete(target, table, [k for k, row in there.items() if wanted.get(k) != row])
            after = last

    def _clear_small(self, table: Table) -> None:
        with self._writes() as target:
            wanted = {tuple(row) for row in self._source.execute(select(table))}
            there = {tuple(row) for row in target.execute(select(table))}
            keys = list(table.primary_key.columns)
            at = [list(table.c).index(column) for column in keys]
            for row in there - wanted:
                target.execute(delete(table).where(tuple_(*keys) == tuple_(*(row[n] for n in at))))

    def _bring(self, table: Table, reckoner: Reckoner) -> None:
        """Insert what the target lacks."""
        names = [column.name for column in table.c]
        sum_ = reckoner.table(table)
        with self._writes() as target:
            empty = not target.execute(select(func.count()).select_from(table)).scalar_one()
        before: Any = None
        for rows in portions(self._source, table):
            sum_.add(rows)
            with self._writes() as target:
                new = rows if empty else _missing(target, table, rows, before)
                if new:
                    _insert(target, table, new)
            key = key_of(table)
            before = None if key is None else rows[-1][names.index(key.name)]
            self._done += len(rows)
            self._tell(self._done)
        reckoner.settle(sum_)

    def _tell(self, done: int) -> None:
        if self._told:
            self._told(min(done, self._total), self._total)


def require_same(wanted: Contents, found: Contents, where: tuple[str, str]) -> None:
    """Raise CopyDiffers when two that should hold the same do not, by count or digest."""
    if wanted == found:
        return
    unlike = [
        f"{name} {wanted.counts.get(name)} and {found.counts.get(name)}"
        for name in sorted(wanted.counts.keys() | found.counts.keys())
        if wanted.counts.get(name) != found.counts.get(name)
    ]
    how = f"rows of {', '.join(unlike)}" if unlike else "as many rows, but others"
    raise CopyDiffers(
        f"{where[1]} does not hold what {where[0]} does ({how}; SHA-256 {wanted.digest[:16]} and "
        f"{found.digest[:16]}): somebody wrote into it, or disk or memory failed; copy again"
    )


def forget_fleeting(db: Connection) -> None:
    """Delete what belongs to another gallery's last minutes."""
    for table in tables.schema.sorted_tables:
        if table.name in FLEETING and table is not tables.schema_version:
            db.execute(delete(table))


def _missing(target: Connection, table: Table, rows: Sequence[Row], before: Any) -> list[Row]:  # noqa: ANN401
    """Give those of some rows in order, the last before them being ``before``, that are lacking."""
    key = key_of(table)
    if key is None:
        there = {tuple(row) for row in target.execute(select(table))}
        return [row for row in rows if row not in there]
    place = list(table.c).index(key)
    query = select(key).where(key <= rows[-1][place])
    known = set(target.execute(query if before is None else query.where(key > before)).scalars())
    return [row for row in rows if row[place] not in known]


def _insert(target: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert many rows in the database's own quickest way: two to three times SQLAlchemy's."""
    names = [column.name for column in table.c]
    if target.dialect.name == "postgresql":
        _copy(target, f"COPY {table.name} ({', '.join(names)}) FROM STDIN", rows)
        return
    marks = ", ".join("?" * len(names))
    target.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 -- our names
        list(rows),
    )


def _copy(target: Connection, statement: str, rows: Sequence[Row]) -> None:
    """Send rows past SQLAlchemy; what the driver complains of is told as SQLAlchemy tells it."""
    driver: Any = target.connection.driver_connection
    complaints: Any = target.dialect.dbapi
    try:
        with driver.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except complaints.OperationalError as fault:
        raise OperationalError(statement, None, fault) from fault
    except complaints.Error as fault:
        raise DBAPIError(statement, None, fault) from fault


def _delete(target: Connection, table: Table, keys: Sequence[Any]) -> None:
    template, photograph = tables.template, tables.photograph
    for some in in_portions(keys):
        if table is tables.person:
            of_them = select(template.c.id).where(template.c.person.in_(some))
            target.execute(delete(photograph).where(photograph.c.template.in_(of_them)))
            target.execute(delete(template).where(template.c.person.in_(some)))
        if table is template:
            target.execute(delete(photograph).where(photograph.c.template.in_(some)))
        key = key_of(table)
        assert key is not None
        target.execute(delete(table).where(key.in_(some)))


def _number_on(target: Connection) -> None:
    """Have a server's own counter of the change log go on after what was copied."""
    if target.dialect.name != "postgresql":
        return
    target.exec_driver_sql(
        "SELECT setval(pg_get_serial_sequence('change_log', 'seq'),"
        " greatest((SELECT max(seq) FROM change_log), 1))"
        " WHERE pg_get_serial_sequence('change_log', 'seq') IS NOT NULL"
    )
