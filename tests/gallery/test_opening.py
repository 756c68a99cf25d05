"""What may be named as a gallery, and what is said when it cannot be one."""

import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from visavis.errors import (
    GalleryBusy,
    GalleryFull,
    GalleryReadOnly,
    GalleryTooNew,
    GalleryUnusable,
)
from visavis.gallery import Gallery
from visavis.values import EncoderId, OperatingPoint

from . import others
from .given import ENCODER, opened, template

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(5000)


def test_a_new_gallery_is_for_its_owner_only(tmp_path):
    path = tmp_path / "not" / "there" / "people.db"
    with opened(path) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["people.db", "people.db-shm", "people.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert [file.name for file in path.parent.iterdir()] == ["people.db"]


def test_it_is_as_durable_and_forgetful_as_promised(path):
    with opened(path) as gallery, gallery._store.read() as db:
        asked = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout")
        answers = [db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
    assert answers == ["wal", 2, 1, 1, 10_000]


@pytest.mark.parametrize("name", ["a b", "what?mode=ro", "50%20", "#1", "மக்கள்", "x'y;z"])
def test_a_file_may_be_called_anything(tmp_path, name):
    with opened(tmp_path / name) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with Gallery.open(str(tmp_path / name), create=False) as again:
        assert again.size == 1


def test_a_url_names_the_same_file(path):
    opened(path).close()
    with Gallery.open(f"sqlite:///{path}", create=False) as gallery:
        assert gallery.encoder == ENCODER


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("mysql://host/people", "mysql are not supported"),
        ("sqlite://", "a gallery is a file"),
        ("sqlite:///:memory:", "a gallery is a file"),
        (":memory:", "a gallery is a file"),
        ("", "a gallery is a file"),
        ("a\0b", "a gallery is a file"),
        ("://", "cannot be read"),
        ("/dev/null", "not a file"),
        ("x" * 300, "choose a path"),
    ],
)
def test_what_names_no_file_is_refused(where, said):
    with pytest.raises(GalleryUnusable, match=said):
        Gallery.open(where)


def test_nothing_is_made_unless_wanted(path):
    with pytest.raises(GalleryUnusable, match="no gallery at"):
        Gallery.open(path, create=False)
    assert not path.exists()


def test_a_folder_and_a_path_through_a_file_are_refused(tmp_path):
    with pytest.raises(GalleryUnusable, match="is not a file"):
        Gallery.open(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GalleryUnusable, match="choose a path"):
        Gallery.open(tmp_path / "file" / "people.db")


@pytest.mark.parametrize("content", [JPEG, b"x", b"hello, I am a text\n" * 400, bytes(4096)])
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(GalleryUnusable, match="not a gallery"):
        Gallery.open(path)
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mark", [0, 42])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_another_applications_database_is_refused_and_left_alone(tmp_path, mark, mode):
    path = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute(f"PRAGMA application_id = {mark}")
        db.execute("CREATE TABLE person (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(GalleryUnusable, match="another application's"):
        Gallery.open(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_an_empty_file_is_a_new_gallery(path):
    path.touch()
    with opened(path) as gallery:
        assert gallery.size == 0


def test_a_newer_gallery_is_refused(path):
    opened(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE schema_version SET version = 9")
    with pytest.raises(GalleryTooNew, match=r"schema 9.*pip install --upgrade"):
        Gallery.open(path)


def test_a_gallery_opened_for_reading_answers_and_refuses_every_change(path):
    with opened(path) as gallery:
        ada = gallery.enroll("Ada", [template(1)], encoder=ENCODER).person
    point = OperatingPoint(1.0, ENCODER, 1e-4, 2e-4, "LFW")
    with opened(f"sqlite:///{path}?mode=ro") as gallery:
        assert not gallery.writable
        assert gallery.people() == [ada]
        assert gallery.changes(0).sequence == 1
        for change in (
            lambda: gallery.enroll("Bob", [template(2)], encoder=ENCODER),
            lambda: gallery.rename("Ada", "Eve"),
            lambda: gallery.remove("Ada"),
            lambda: gallery.put_operating_points([point]),
            gallery.scrub,
        ):
            with pytest.raises(GalleryReadOnly, match="for reading only"):
                change()
        assert gallery.people() == [ada]


def test_reading_does_not_make_a_gallery(path):
    with pytest.raises(GalleryUnusable):
        Gallery.open(f"sqlite:///{path}?mode=ro")
    path.touch()
    with pytest.raises(GalleryReadOnly, match="open it once"):
        Gallery.open(f"sqlite:///{path}?mode=ro")


def test_an_unbound_gallery_may_be_bound_for_reading(path):
    Gallery.open(path).close()
    with Gallery.open(f"sqlite:///{path}?mode=ro") as gallery:
        gallery.bind(EncoderId("any"), "any")
        assert gallery.encoder is None


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o777), (0o444, 0o555)])
@pytest.mark.parametrize("journal_left", [False, True])
def test_a_file_or_folder_without_the_right_to_write_can_be_read(
    file_mode, folder_mode, journal_left
):
    # Not under tmp_path: its parents are closed to the other user that root becomes.
    folder = Path(tempfile.mkdtemp(prefix="visavis-"))
    path, scratch = folder / "people.db", folder / "scratch.db"
    key = bytes(range(32))  # the key file of root is closed to the other user, too
    gallery = opened(path, keys=key)
    try:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        if not journal_left:
            gallery.close()
        for file in folder.iterdir():
            file.chmod(file_mode)
        scratch.touch()
        folder.chmod(folder_mode)
        answer = others.answer_of(others.read_and_try_to_write, scratch, path, key)
        assert answer == (["Ada"], (1, 128), "gallery_read_only")
    finally:
        gallery.close()
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_lock_held_too_long_is_reported_and_nothing_is_stored(path):
    with opened(path, patience=0.1) as gallery, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryBusy, match="another process"):
            gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        assert gallery.size == 0
        other.rollback()
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        assert gallery.size == 1


def test_a_short_lock_is_waited_for(path):
    with opened(path) as gallery:
        other = sqlite3.connect(path, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        timer.join()
        other.close()
        assert gallery.size == 1


def test_a_full_database_stores_nothing_of_the_change(path):
    with opened(path) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)

        @event.listens_for(gallery._store._engine, "checkout")
        def allow_no_more_pages(db, *_):
            db.execute("PRAGMA max_page_count = 1")  # SQLite takes the present count instead

        many = [template(n, photograph=os.urandom(5000)) for n in range(20)]
        with pytest.raises(GalleryFull, match="disk is full"):
            gallery.enroll("Bob", many, encoder=ENCODER)
        assert [person.name for person in gallery.people()] == ["Ada"]
        assert gallery.info().sequence == gallery.template_count == 1
        assert gallery.remove("Ada").persons[0].name == "Ada"


def test_a_disk_that_fills_up_keeps_whoever_was_acknowledged(path):
    code, done, people = others.answer_of(others.fill_to_the_limit, path, 1_500_000)
    assert code == "gallery_full"
    assert len(done) > 10
    assert sorted(done) == people
    with opened(path) as gallery:
        assert [person.name for person in gallery.people()] == people
        assert {person.templates for person in gallery.people()} == {2}


def test_a_closed_gallery_says_so(gallery):
    gallery.close()
    gallery.close()
    with pytest.raises(GalleryUnusable, match="closed"):
        gallery.people()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_gallery_taken_away_while_open_does_not_swallow_enrolments(path, tmp_path, replaced):
    with opened(path) as gallery:
        path.rename(tmp_path / "elsewhere.db")
        if replaced:
            path.touch()
        for use in (gallery.people, lambda: gallery.enroll("A", [template(1)], encoder=ENCODER)):
            with pytest.raises(GalleryUnusable, match="deleted or replaced"):
                use()
