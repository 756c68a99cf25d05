"""Every file that a released version made can be opened by this one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from visavis.errors import GalleryError, GalleryTooNew
from visavis.gallery import Gallery, migrations, tables

from .given import ENCODER, opened, template

VERSION_1 = Path(__file__).with_name("version_1.sql")


def schema_of(db):
    found = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {(kind, name): " ".join((sql or "").split()) for kind, name, sql in found}


def test_all_steps_together_make_the_tables_that_the_code_uses(path, tmp_path):
    opened(path).close()
    other = tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{other}")
    tables.schema.create_all(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as migrated, closing(sqlite3.connect(other)) as direct:
        assert schema_of(migrated) == schema_of(direct)


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
        gallery.enroll("Ada", [template("Ada 3", 4)], encoder=ENCODER)
        assert gallery.changes(5).sequence == 6


@pytest.fixture
def with_version_2(monkeypatch):
    def version_2(db):
        db.execute(text("ALTER TABLE person ADD COLUMN note TEXT"))
        if db.execute(text("SELECT count(*) FROM person WHERE name = 'poison'")).scalar():
            db.execute(text("SELECT no_such_function()"))

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, version_2))


def columns_of(path):
    with closing(sqlite3.connect(path)) as db:
        return [row[1] for row in db.execute("PRAGMA table_info(person)")]


def test_an_older_gallery_is_brought_up_to_date_once(path, request):
    with opened(path) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    request.getfixturevalue("with_version_2")
    for _ in range(2):
        with Gallery.open(path) as gallery:
            assert gallery.info().schema_version == 2
            assert gallery.person("Ada").templates == 1
    assert columns_of(path).count("note") == 1


def test_a_step_that_fails_leaves_the_gallery_as_it_was(path, request, monkeypatch):
    with opened(path) as gallery:
        gallery.enroll("poison", [template(1)], encoder=ENCODER)
    request.getfixturevalue("with_version_2")
    with pytest.raises(GalleryError, match="no_such_function"):
        Gallery.open(path)
    assert "note" not in columns_of(path)
    monkeypatch.undo()
    with Gallery.open(path) as gallery:
        assert gallery.size == 1


def test_an_older_program_refuses_the_newer_gallery(path, request, monkeypatch):
    request.getfixturevalue("with_version_2")
    opened(path).close()
    monkeypatch.undo()
    with pytest.raises(GalleryTooNew, match="schema 2"):
        Gallery.open(path)
