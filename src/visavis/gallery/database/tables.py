"""The tables as this version uses them; `migrations` is how a file gets there.

Portable SQL: nothing here is SQLite's own. Times are text, ISO 8601 in UTC; they are for people to
read and decide no order, for clocks jump: sequence numbers do. Ids are 32 hex digits.
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
    Column("secrets", LargeBinary),  # wrapped; what outlives the data keys
)

person = Table(
    "person",
    schema,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Text, nullable=False),
    Column("consent", Text),  # reference to what the person agreed to
    Column("purpose", Text),
    Column("expires", Text, index=True),
)

template = Table(
    "template",
    schema,
    Column("id", String(32), primary_key=True),
    Column("person", String(32), ForeignKey("person.id"), nullable=False, index=True),
    Column("vector", LargeBinary, nullable=False),  # (D,) float32, little-endian; sealed
    Column("digest", Text, nullable=False),  # keyed where the vector is sealed; empty when unknown
    Column("created", Text, nullable=False),
    Column("key", Integer),  # the data key that sealed the vector; NULL when in the clear
    Column("seq", BigInteger),  # of its entry in the change log
)
Index("ix_template_seq", template.c.seq, unique=True)
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
    Column("key", Integer),  # the data key that sealed them; NULL when in the clear
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
# is never given twice, or a searcher could miss a change.
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

data_key = Table(
    "data_key",
    schema,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("master", Text, nullable=False),  # names the master key that wrapped it
    Column("rows", BigInteger, nullable=False),  # sealed with it so far
    Column("created", Text, nullable=False),
    Column("strict", Integer, nullable=False),  # 1 when no row may lie in the clear any more
)

audit = Table(
    "audit",
    schema,
    Column(
        "seq",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),  # a person's id; empty for the gallery itself
    Column("details", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text),  # NULL while the gallery has no keys
)

# Who may use the gallery over the network. Secrets are kept as hashes only.
api_key = Table(
    "api_key",
    schema,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("roles", Text, nullable=False),  # separated by spaces
    Column("created", Text, nullable=False),
    Column("expires", Text),
    Column("last_used", Text),  # to the hour, so that reading does not mean writing
    Column("revoked", Text),
)

console_session = Table(
    "console_session",
    schema,
    Column("hash", String(64), primary_key=True),
    Column("key", String(32), nullable=False),
    Column("csrf", Text, nullable=False),
    Column("expires", Text, nullable=False),
)

# What a request that may be repeated was answered, so that it is done once.
done_request = Table(
    "done_request",
    schema,
    Column("key", String(32), primary_key=True),
    Column("token", Text, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("status", Integer),  # NULL while it is worked on
    Column("answer", Text),
    Column("at", Text, nullable=False),
)

# Recent failures of a subject, for all processes that share the gallery.
failure = Table(
    "failure",
    schema,
    Column("subject", Text, primary_key=True),
    Column("times", Text, nullable=False),
    Column("until", Float, nullable=False),
)
