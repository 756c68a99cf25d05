"""Every file that a released version made can be opened by this one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from visavis.errors import GalleryError, GalleryTooNew
from visavis.gallery import Gallery
from visavis.gallery.database import migrations, tables
from visavis.values import Consent

from .given import ENCODER, opened, template

VERSION_1 = Path(__file__).with_name("version_1.sql")


def schema_of(engine):
    """What a database says of its tables, in its own words."""
    seen, tables_ = inspect(engine), {}
    for table in seen.get_table_names():
        columns = [
            (c["name"], str(c["type"]), c["nullable"], c["default"] is None)
            for c in seen.get_columns(table)
        ]
        keys = seen.get_pk_constraint(table)["constrained_columns"]
        foreign = [
            (f["constrained_columns"], f["referred_table"], f["referred_columns"])
            for f in seen.get_foreign_keys(table)
        ]
        indexes = sorted(
            (
                i["name"],
                i["column_names"],
                i["unique"],
                list(map(str, i["dialect_options"].values())),
            )
            for i in seen.get_indexes(table)
        )
        unique = [u["column_names"] for u in seen.get_unique_constraints(table)]
        tables_[table] = (columns, keys, foreign, indexes, unique)
    return tables_


def test_all_steps_together_make_the_tables_that_the_code_uses(where, tmp_path, request):
    if isinstance(where, str):
        with request.getfixturevalue("postgres").connect() as db:
            db.execute("CREATE SCHEMA direct")
        server = where.partition("&")[0].replace("postgresql:", "postgresql+psycopg:")
        direct = create_engine(f"{server}&options=-csearch_path%3Ddirect")
    else:
        direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    tables.schema.create_all(direct)
    with opened(where) as gallery:
        migrated = schema_of(gallery._store._engine)
    assert migrated == schema_of(direct)
    assert len(migrated) == len(tables.schema.tables)
    direct.dispose()


def test_a_file_of_version_1_opens_and_works(path):
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1.read_text())
    with Gallery.open(path) as gallery:
        assert gallery.info().schema_version == len(migrations.MIGRATIONS)
        assert gallery.encoder == ENCODER
        assert [(p.name, p.templates) for p in gallery.people()] == [("Ada", 2), ("Bob", 1)]
        assert gallery.changes(0).vectors.shape == (3, 4)
        assert gallery.changes(0).sequence == 5
        ada = gallery.templates(gallery.person("Ada").id)
        assert {t.vector.tobytes() for t in ada} == {
            template(n, 4).vector.tobytes() for n in ("Ada 1", "Ada 2")
        }
        assert gallery.photograph(ada[0].id) == b"jpeg"
        assert [point.tau for point in gallery.operating_points(ENCODER)] == [1.1]
        assert [t.seq for t in places(gallery)] == [1, 2, 5]
        assert {person.consent for person in gallery.people()} == {Consent()}
        gallery.enroll("Ada", [template("Ada 3", 4)], encoder=ENCODER)
        assert gallery.changes(5).sequence == 6


def places(gallery):
    """Where the log speaks of each template."""
    with gallery._store.read() as db:
        return db.execute(text("SELECT seq FROM template ORDER BY seq")).all()


@pytest.fixture
def with_a_later_step(monkeypatch):
    def later(db):
        db.execute(text("ALTER TABLE person ADD COLUMN note TEXT"))
        if db.execute(text("SELECT count(*) FROM person WHERE name = 'poison'")).scalar():
            db.execute(text("SELECT no_such_function()"))

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, later))


LATER = len(migrations.MIGRATIONS) + 1


def columns_of(gallery):
    return [column["name"] for column in inspect(gallery._store._engine).get_columns("person")]


def test_an_older_gallery_is_brought_up_to_date_once(where, request):
    with opened(where) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    request.getfixturevalue("with_a_later_step")
    for _ in range(2):
        with Gallery.open(where) as gallery:
            assert gallery.info().schema_version == LATER
            assert gallery.person("Ada").templates == 1
            assert columns_of(gallery).count("note") == 1


def test_a_step_that_fails_leaves_the_gallery_as_it_was(where, request, monkeypatch):
    with opened(where) as gallery:
        gallery.enroll("poison", [template(1)], encoder=ENCODER)
    request.getfixturevalue("with_a_later_step")
    with pytest.raises(GalleryError, match="no_such_function"):
        Gallery.open(where)
    monkeypatch.undo()
    with Gallery.open(where) as gallery:
        assert gallery.size == 1
        assert "note" not in columns_of(gallery)


def test_an_older_program_refuses_the_newer_gallery(where, request, monkeypatch):
    request.getfixturevalue("with_a_later_step")
    opened(where).close()
    monkeypatch.undo()
    with pytest.raises(GalleryTooNew, match=f"schema {LATER}"):
        Gallery.open(where)


def test_a_program_that_still_runs_writes_nothing_into_the_newer_gallery(where, request):
    """It does not know what a row has to have now, and nobody else would see what it stored."""
    with opened(where) as running:
        request.getfixturevalue("with_a_later_step")
        Gallery.open(where).close()
        with pytest.raises(GalleryTooNew, match="while it was open"):
            running.enroll("Ada", [template(1)], encoder=ENCODER)
        assert running.size == 0
