"""How a gallery's schema came to be, one numbered step after another.

Append only: a step that has been released is never edited, because files made by it are out
there. That is why each step spells its tables out instead of reading `tables`; a test holds that
all steps together lead to what `tables` says.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from visavis.errors import GalleryTooNew, GalleryUnfinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection


def version_1(db: Connection) -> None:
    """People, templates, photographs, operating points, change log."""
    schema = sa.MetaData()
    columns = sa.Column
    text, key = sa.Text, sa.String(32)
    sa.Table("schema_version", schema, columns("version", sa.Integer, nullable=False))
    gallery = sa.Table(
        "gallery",
        schema,
        columns("id", key, primary_key=True),
        columns("encoder", text),
        columns("encoder_name", text),
        columns("created", text, nullable=False),
    )
    sa.Table(
        "person",
        schema,
        columns("id", key, primary_key=True),
        columns("name", text, nullable=False, unique=True),
        columns("created", text, nullable=False),
    )
    template = sa.Table(
        "template",
        schema,
        columns("id", key, primary_key=True),
        columns("person", key, sa.ForeignKey("person.id"), nullable=False, index=True),
        columns("vector", sa.LargeBinary, nullable=False),
        columns("digest", text, nullable=False),
        columns("created", text, nullable=False),
    )
    sa.Index(
        "one_template_a_photograph",
        template.c.person,
        template.c.digest,
        unique=True,
        sqlite_where=template.c.digest != "",
        postgresql_where=template.c.digest != "",
    )
    sa.Table(
        "photograph",
        schema,
        columns("template", key, sa.ForeignKey("template.id"), primary_key=True),
        columns("bytes", sa.LargeBinary, nullable=False),
    )
    sa.Table(
        "operating_point",
        schema,
        columns("encoder", text, primary_key=True),
        columns("kind", text, primary_key=True),
        columns("fmr", sa.Float, primary_key=True),
        columns("tau", sa.Float, nullable=False),
        columns("fmr_upper", sa.Float, nullable=False),
        columns("tuned_on", text, nullable=False),
        columns("created", text, nullable=False),
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    sa.Table(
        "change_log",
        schema,
        columns("seq", number, primary_key=True, autoincrement=True),
        columns("kind", text, nullable=False),
        columns("template", key, nullable=False),
        columns("person", key, nullable=False),
        columns("at", text, nullable=False),
        sqlite_autoincrement=True,
    )
    schema.create_all(db, checkfirst=False)
    db.execute(gallery.insert().values(id=uuid.uuid4().hex, created=datetime.now(UTC).isoformat()))


def version_2(db: Connection) -> None:
    """Consent and its expiry, data keys, audit; a template knows its place in the change log."""
    text, blob, number = sa.Text(), sa.LargeBinary(), sa.BigInteger()
    for table, column, kind in (
        ("gallery", "secrets", blob),
        ("person", "consent", text),
        ("person", "purpose", text),
        ("person", "expires", text),
        ("template", "key", sa.Integer()),
        ("template", "seq", number),
        ("photograph", "key", sa.Integer()),
    ):
        spelled = kind.compile(dialect=db.dialect)
        db.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN {column} {spelled}"))
    db.execute(
        sa.text(
            "UPDATE template SET seq = change_log.seq FROM change_log "
            "WHERE change_log.template = template.id AND change_log.kind = 'added'"
        )
    )
    db.execute(sa.text("CREATE UNIQUE INDEX ix_template_seq ON template (seq)"))
    db.execute(sa.text("CREATE INDEX ix_person_expires ON person (expires)"))
    schema = sa.MetaData()
    columns = sa.Column
    sa.Table(
        "data_key",
        schema,
        columns("id", sa.Integer, primary_key=True, autoincrement=False),
        columns("wrapped", blob, nullable=False),
        columns("master", text, nullable=False),
        columns("rows", number, nullable=False),
        columns("created", text, nullable=False),
        columns("strict", sa.Integer, nullable=False),
    )
    sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    sa.Table(
        "audit",
        schema,
        columns("seq", sequence, primary_key=True, autoincrement=False),
        *(
            columns(name, text, nullable=False)
            for name in ("at", "actor", "action", "subject", "details", "previous", "hash")
        ),
        columns("signature", text),
    )
    schema.create_all(db, checkfirst=False)
    if db.dialect.name == "postgresql":
        # Statistics are samples of the columns, and outlive the rows they were taken of.
        for table, column in (
            ("person", "name"),
            ("person", "consent"),
            ("person", "purpose"),
            ("template", "vector"),
            ("template", "digest"),
            ("photograph", "bytes"),
        ):
            db.execute(sa.text(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0"))


def version_3(db: Connection) -> None:
    """Who may use the gallery over the network, and what they did that must not be done twice."""
    schema = sa.MetaData()
    columns = sa.Column
    text, key, hashed = sa.Text, sa.String(32), sa.String(64)
    sa.Table(
        "api_key",
        schema,
        columns("id", key, primary_key=True),
        columns("name", text, nullable=False),
        columns("hash", hashed, nullable=False),
        columns("roles", text, nullable=False),
        columns("created", text, nullable=False),
        columns("expires", text),
        columns("last_used", text),
        columns("revoked", text),
    )
    sa.Table(
        "console_session",
        schema,
        columns("hash", hashed, primary_key=True),
        columns("key", key, nullable=False),
        columns("csrf", text, nullable=False),
        columns("expires", text, nullable=False),
    )
    sa.Table(
        "done_request",
        schema,
        columns("key", key, primary_key=True),
        columns("token", text, primary_key=True),
        columns("digest", hashed, nullable=False),
        columns("status", sa.Integer),
        columns("answer", text),
        columns("at", text, nullable=False),
    )
    sa.Table(
        "failure",
        schema,
        columns("subject", text, primary_key=True),
        columns("times", text, nullable=False),
        columns("until", sa.Float, nullable=False),
    )
    schema.create_all(db, checkfirst=False)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (version_1, version_2, version_3)
"""``MIGRATIONS[n]`` brings version n to version n + 1."""


def version_of(db: Connection) -> int:
    """Read the schema's version; 0 when there are no tables yet."""
    if not sa.inspect(db).has_table("schema_version"):
        return 0
    found = db.execute(sa.text("SELECT version FROM schema_version")).scalar()
    return int(found or 0)


UNFINISHED = 1_000_000
"""Added to the version of a gallery that is being filled from another: every visavis refuses it."""


def refuse_newer(version: int, where: str) -> None:
    """Raise GalleryTooNew when a later visavis wrote the gallery, GalleryUnfinished for a copy."""
    if version >= UNFINISHED:
        raise GalleryUnfinished(
            f"{where} is the copy of another gallery that was not finished; run the same 'visavis "
            "gallery migrate' again with the same visavis, which goes on where it was, or delete "
            "it (the file, or the schema)"
        )
    if version > len(MIGRATIONS):
        raise GalleryTooNew(
            f"the gallery {where} has schema {version}, and this visavis knows up to "
            f"{len(MIGRATIONS)}; upgrade it: pip install --upgrade visavis"
        )


def migrate(db: Connection, where: str) -> None:
    """Bring the gallery to the newest schema inside the caller's write transaction.

    Raises
    ------
    GalleryTooNew
        When the gallery is newer than this code.
    """
    version = version_of(db)
    refuse_newer(version, where)
    for step in MIGRATIONS[version:]:
        step(db)
    if version < len(MIGRATIONS):
        db.execute(sa.text("DELETE FROM schema_version"))
        db.execute(
            sa.text("INSERT INTO schema_version (version) VALUES (:version)"),
            {"version": len(MIGRATIONS)},
        )
