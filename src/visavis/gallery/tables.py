"""The tables as this version uses them; `migrations` is how a file gets there.

Portable SQL: nothing here is SQLite's own. Times are text, ISO 8601 in UTC. Ids are 32 hex digits.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

schema = MetaData()

schema_version = Table("schema_version", schema, Column("version", Integer, nullable=False))

gallery = Table(
    "gallery",
    schema,
    Column("id", String(32), primary_key=True),
    Column("encoder", Text),  # NULL until the first `bind`
    Column("encoder_name", Text),
    Column("created", Text, nullable=False),
)

person = Table(
    "person",
    schema,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Text, nullable=False),
)

template = Table(
    "template",
    schema,
    Column("id", String(32), primary_key=True),
    Column("person", String(32), ForeignKey("person.id"), nullable=False, index=True),
    Column("vector", LargeBinary, nullable=False),  # (D,) float32, little-endian
    Column("digest", Text, nullable=False),  # empty when unknown
    Column("created", Text, nullable=False),
)
# The index holds the rule even against a writer that forgot to look first.
Index(
    "one_template_a_photograph",
    template.c.person,
    template.c.digest,
    unique=True,
    sqlite_where=template.c.digest != "",
    postgresql_where=template.c.digest != "",
)

photograph = Table(
    "photograph",
    schema,
    Column("template", String(32), ForeignKey("template.id"), primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
)

operating_point = Table(
    "operating_point",
    schema,
    Column("encoder", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("fmr", Float, primary_key=True),
    Column("tau", Float, nullable=False),
    Column("fmr_upper", Float, nullable=False),
    Column("tuned_on", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# What searchers follow. It outlives the erased, so it holds ids and nothing of a body; a number
# is never given twice (AUTOINCREMENT), or a searcher could miss a change.
change_log = Table(
    "change_log",
    schema,
    Column(
        "seq",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("kind", Text, nullable=False),  # "added" or "removed"
    Column("template", String(32), nullable=False),
    Column("person", String(32), nullable=False),
    Column("at", Text, nullable=False),
    sqlite_autoincrement=True,
)
