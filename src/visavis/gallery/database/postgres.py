"""All that is PostgreSQL's own: connections, locks, schemas, and what erasing means there.

One gallery is one schema. Writers take turns by an advisory lock that belongs to the transaction:
the server lets go of it after the commit has become visible, so sequence numbers become visible in
order.
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import QueuePool

from visavis.errors import GalleryUnusable, MissingExtra

from .lease import still_held

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as missing:
    raise MissingExtra(
        "galleries on PostgreSQL need psycopg: pip install 'visavis[postgres]'"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

SCHEMA = "visavis"
MARK = "a visavis gallery"
"""Comment on a table of every gallery: another application's schema is not taken for one."""

_CONNECTIONS = 4
_MORE_CONNECTIONS = 12
_SCRUBBED = ("photograph", "template", "person", "data_key", "gallery")
_URL = "postgresql://user:password@host:port/database"
_PORTS = re.compile(r"[0-9,]*")
# Words of libpq and of a server that is about to come back.
_SOON = ("refused", "No such file", "starting up", "shutting down", "recovery", "not yet accept")
# A cut cable is noticed within a minute; the operating system's own limit is two hours.
_KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


class Server:
    """A gallery on a PostgreSQL server; see `store.Database`."""

    def __init__(self, options: dict[str, Any], schema: str, *, create: bool, wanted: bool) -> None:
        self._options = options
        self._schema = schema
        self._create = create
        self._writable = wanted
        self._reached = False
        self._patience = 10.0
        self._where = _shown(options, schema)

    def __repr__(self) -> str:
        return f"Server({self._where!r})"

    @property
    def where(self) -> str:
        """A URL without password."""
        return self._where

    @property
    def path(self) -> None:
        """None: a server has no file to be seen."""
        return

    @property
    def writable(self) -> bool:
        """False when the gallery can only be read."""
        return self._writable

    @property
    def reading(self) -> dict[str, Any]:
        """Execution options of a transaction that reads one consistent view."""
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @property
    def writing(self) -> dict[str, Any]:
        """Execution options of a transaction that writes: after the lock it sees all there is."""
        return {"isolation_level": "READ COMMITTED"}

    def connect(self, patience: float) -> Engine:
        """Make the pool of connections; ``patience`` is how long to wait for a lock, in seconds."""
        self._patience = patience
        return create_engine(
            "postgresql+psycopg://",
            creator=self._dial,
            poolclass=QueuePool,
            pool_size=_CONNECTIONS,
            max_overflow=_MORE_CONNECTIONS,
            pool_timeout=patience,
            pool_pre_ping=True,  # a server that was restarted is connected to again
            hide_parameters=True,
        )

    def recognise(self, db: Connection) -> None:
        """Refuse a schema that holds something else, or none where none is to be made."""
        found = db.execute(_LOOK, self._named).one()
        encoding, replica, reading_only, usable, mark, tables = found
        if encoding != "UTF8":
            raise GalleryUnusable(
                f"the database of the gallery {self._where} has encoding {encoding}, in which not "
                "every name can be written; make one: createdb --encoding=UTF8 --template=template0"
            )
        if tables and mark != MARK:
            raise GalleryUnusable(
                f"{self._where} holds another application's tables; name another schema: "
                "?schema=..."
            )
        if usable is False:
            raise GalleryUnusable(
                f"this user may not read the gallery {self._where}; grant them USAGE on the schema "
                "and SELECT on its tables"
            )
        if replica or reading_only:
            self._writable = False
        if not tables and not (self._create and self._writable):
            raise GalleryUnusable(f"there is no gallery at {self._where}; enrol somebody first")
        if tables:
            self._writable = self._writable and db.execute(_MAY_WRITE, self._named).scalar_one()

    def lock(self, db: Connection) -> None:
        """Wait until no other process writes; held until the transaction ends."""
        number = _number(f"visavis gallery {self._schema}")
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")

    @contextmanager
    def alone(self, engine: Engine, patience: float) -> Iterator[None]:
        """Hold an advisory lock of a session of its own; whoever enrols is not held up by it."""
        number = _number(f"visavis searcher {self._schema}")
        deadline = time.monotonic() + patience
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            while not db.exec_driver_sql(f"SELECT pg_try_advisory_lock({number})").scalar_one():
                if time.monotonic() > deadline:
                    raise still_held(patience)
                time.sleep(0.02)
            try:
                yield
            finally:
                db.exec_driver_sql(f"SELECT pg_advisory_unlock({number})")

    def found(self, db: Connection) -> None:
        """Make the schema, unless there is one."""
        # Asked of the table, not of to_regnamespace(): that may answer from a cache which does not
        # know yet what another process did before it let go of the lock.
        there = text("SELECT count(*) FROM pg_namespace WHERE nspname = :schema")
        if not db.execute(there, self._named).scalar_one():
            db.exec_driver_sql(f'CREATE SCHEMA "{self._schema}"')

    def stamp(self, db: Connection) -> None:
        """Mark the schema as a gallery's."""
        db.exec_driver_sql(f"COMMENT ON TABLE schema_version IS '{MARK}'")

    def require_there(self) -> None:
        """Do nothing: see `store.Store.write`."""

    def scrub(self, engine: Engine) -> bool:
        """Leave only living rows in the tables' files and in their indexes.

        An erased row stays in its page until the table is written anew (VACUUM FULL), and even
        then for as long as an older transaction may still see it.

        Returns
        -------
        bool
            False when such a transaction did not end in time, or this user does not own the tables.
        """
        deadline = time.monotonic() + self._patience
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            while not all(_rewritten(db, table) for table in _SCRUBBED):
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
            # The emptied files are deleted by the next checkpoint. Where it is not this user's
            # right to ask for one, it comes by itself within minutes.
            with suppress(ProgrammingError):
                db.exec_driver_sql("CHECKPOINT")
        return True

    def remains(self, *, scrubbed: bool) -> tuple[str, ...]:
        """Say where bytes of erased rows may still lie."""
        beyond = (
            "the server's write-ahead log, until its segments are used again",
            "the server's replicas, log archives and backups",
        )
        return beyond if scrubbed else ("unused parts of the tables", *beyond)

    def bytes_on_disk(self, db: Connection) -> int:
        """Size of the tables and their indexes."""
        return int(db.execute(_SIZE, self._named).scalar_one())

    @property
    def _named(self) -> dict[str, str]:
        return {"schema": self._schema}

    def _dial(self) -> psycopg.Connection[Any]:
        """Connect; a server that answered before is given time to come back."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                db = self._open()
            except psycopg.OperationalError as fault:
                back_soon = self._reached and any(words in str(fault) for words in _SOON)
                if not back_soon or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                self._reached = True
                return db

    def _open(self) -> psycopg.Connection[Any]:
        db = psycopg.connect(
            **self._options,
            autocommit=True,
            prepare_threshold=None,  # a prepared statement would not outlive a migration
            cursor_factory=_BinaryCursor,
        )
        try:
            # A schema that is not there yet may be named all the same. Whoever weakened the
            # durability of this server's commits did not mean this gallery.
            psycopg.Cursor(db).execute(
                f'SET search_path TO "{self._schema}";'
                f"SET lock_timeout TO {max(1, round(1000 * self._patience))};"
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
            )
            db.autocommit = False
        except BaseException:
            db.close()
            raise
        return db


class _BinaryCursor(psycopg.Cursor[Any]):
    """Gets vectors as bytes and not as hexadecimal digits: a first load takes a third the time."""

    def execute(self, query: Any, *arguments: Any, **named: Any) -> Self:  # noqa: ANN401 -- passed on
        # SQLAlchemy expects what it asks of the catalogue as text.
        named.setdefault("binary", "pg_catalog" not in str(query))
        return super().execute(query, *arguments, **named)


def locate(where: str, *, create: bool) -> Server:
    """Read a URL; connects to nothing.

    Raises
    ------
    GalleryUnusable
        When it cannot be read. What it says may be a password and is not repeated.
    """
    parts = _parsed(where)
    if parts is None:
        raise GalleryUnusable(
            f"the gallery's URL cannot be read; write {_URL}, special characters of the password "
            "as %XX, and only options that libpq knows"
        )
    options, schema, mode = parts
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise GalleryUnusable(
            f"a gallery's schema is named in small letters, digits and underscores, not {schema!r}"
        )
    if mode not in {"rw", "ro"}:
        raise GalleryUnusable(f"mode is rw or ro, not {mode!r}")
    ours = {"application_name": "visavis", "connect_timeout": "10", **_KEEPALIVE}
    fixed = {"client_encoding": "utf8"}
    return Server({**ours, **options, **fixed}, schema, create=create, wanted=mode == "rw")


def _parsed(where: str) -> tuple[dict[str, Any], str, str] | None:
    """Take a URL apart into what libpq takes, schema and mode; None when it cannot be read."""
    try:
        parts = urlsplit(where)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema, mode = query.pop("schema", SCHEMA), query.pop("mode", "rw")
        # libpq reads the rest: several hosts, sockets, certificates, escapes.
        place = f"postgresql://{parts.netloc}{parts.path}"
        options = conninfo_to_dict(f"{place}?{urlencode(query, quote_via=quote)}")
    except (ValueError, psycopg.Error):
        return None
    # Half a password that held a slash, read as a port or as the database, would be shown.
    cut = "@" in parts.path + parts.fragment or not _PORTS.fullmatch(str(options.get("port", "")))
    return None if cut else (options, schema, mode)


def _number(name: str) -> int:
    """Give the number of an advisory lock."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _shown(options: dict[str, Any], schema: str) -> str:
    """Spell the URL for people: who, where and which, never how one gets in."""
    user = f"{quote(options['user'])}@" if options.get("user") else ""
    host, port = str(options.get("host") or ""), str(options.get("port") or "")
    query = {} if schema == SCHEMA else {"schema": schema}
    if "/" in host:
        host, query = "", {"host": host, **query}
    elif "," in host:
        hosts, ports = host.split(","), port.split(",")
        pairs = zip(hosts, ports if len(ports) == len(hosts) else ports * len(hosts), strict=False)
        host, port = ",".join(f"{h}:{p}" if p else h for h, p in pairs), ""
    elif ":" in host:
        host = f"[{host}]"
    place = f"{host}:{port}" if port else host
    asked = f"?{urlencode(query, safe='/')}" if query else ""
    return f"postgresql://{user}{place}/{quote(str(options.get('dbname') or ''))}{asked}"


def _rewritten(db: Connection, table: str) -> bool:
    """Write a table anew; True when no erased row had to be taken along.

    The server only says so in a notice: "N dead row versions cannot be removed yet", in its own
    language. A table that this user does not own is passed over with a warning.
    """
    driver = db.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    kept: list[int] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        found = re.match(r"\D*(\d+)", notice.message_detail or "")
        if found and notice.severity_nonlocalized == "INFO":
            kept.append(int(found[1]))

    driver.add_notice_handler(note)
    try:
        db.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
    finally:
        driver.remove_notice_handler(note)
    return bool(kept) and not any(kept)


_LOOK = text("""
    SELECT current_setting('server_encoding'),
           pg_is_in_recovery(),
           current_setting('default_transaction_read_only') = 'on',
           has_schema_privilege(namespace.oid, 'USAGE'),
           (SELECT obj_description(oid, 'pg_class') FROM pg_class
            WHERE relnamespace = namespace.oid AND relname = 'schema_version'),
           (SELECT count(*) FROM pg_class WHERE relnamespace = namespace.oid)
    FROM (SELECT to_regnamespace(:schema) AS oid) AS namespace
""")

_MAY_WRITE = text("""
    SELECT coalesce(bool_and(
        has_table_privilege(oid, 'INSERT')
        AND has_table_privilege(oid, 'UPDATE')
        AND has_table_privilege(oid, 'DELETE')
    ), false)
    FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(:schema)
""")

_SIZE = text("""
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)
    FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(:schema)
""")
