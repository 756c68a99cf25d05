"""Erasure can be checked: what is left is found, and the logs' own ids are not taken for it."""

import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from visavis.errors import PersonUnknown
from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.secrets.protection import Keys
from visavis.gallery.upkeep import raw_scan
from visavis.gallery.upkeep.leftovers import Leftover

from .given import ENCODER, opened, some_vector, template

NAME = "Ada Augusta Lovelace"


def photographed(seed):
    picture = hashlib.sha256(str(seed).encode()).digest() * 100
    return NewTemplate(some_vector(seed), hashlib.sha256(picture).hexdigest(), picture)


@pytest.fixture
def crowd(where):
    with opened(where) as gallery:
        for name in ("Bob", NAME, "Cy", "Ada"):
            new = [photographed(f"{name} {n}") for n in range(3)]
            gallery.enroll(name, new, encoder=ENCODER)
        yield gallery


def places(report):
    return {(left.where, left.what) for left in report.leftovers}


def test_after_a_removal_nothing_is_left_anywhere(crowd):
    ada = crowd.person(NAME)
    assert crowd.remove(NAME).erased
    report = crowd.check_erased(ada.id, NAME)
    assert report.leftovers == ()
    assert (report.person, report.templates) == (ada.id, 3)


def test_nor_while_others_go_on_writing(crowd):
    """New rows reach the journal, and with them pages that hold the logs' own ids."""
    ada = crowd.person(NAME)
    crowd.remove(NAME)
    for n in range(5):
        crowd.enroll(f"late {n}", [photographed(n)], encoder=ENCODER)
    crowd.rename("Bob", "Robert")
    assert crowd.check_erased(ada.id, NAME).leftovers == ()


def test_somebody_who_is_enrolled_is_found_everywhere(path):
    with opened(path) as gallery:
        done = gallery.enroll(NAME, [photographed(1)], encoder=ENCODER)
        report = gallery.check_erased(done.person.id, NAME)
    found = places(report)
    assert {
        ("table person", "person id"),
        ("table person", "name"),
        ("table template", "person id"),
        ("table template", "template id"),
        ("table photograph", "template id"),
    } <= found
    assert {what for where, what in found if where.startswith("people.db")} >= {
        "person id in the raw bytes",
        "template id in the raw bytes",
        "name in the raw bytes",
    }


def test_rows_deleted_without_erasing_are_found_in_the_raw_bytes(path):
    """As another program would delete them: gone for every query, and still in the file."""
    with opened(path) as gallery:
        for n in range(30):
            gallery.enroll(f"other {n}", [photographed(n)], encoder=ENCODER)
        ada = gallery.enroll(NAME, [photographed("Ada")], encoder=ENCODER)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA secure_delete = OFF")
        (vector,) = db.execute("SELECT vector FROM template WHERE id = ?", ada.added).fetchone()
        db.execute("DELETE FROM photograph WHERE template = ?", ada.added)
        db.execute("DELETE FROM template WHERE id = ?", ada.added)
        db.execute("DELETE FROM person WHERE id = ?", (ada.person.id,))
    assert vector in path.read_bytes()
    with Gallery.open(path) as gallery:
        report = gallery.check_erased(ada.person.id, NAME)
        found = places(report)
        assert all(where.startswith("people.db") for where, _ in found)
        assert {what for _, what in found} >= {
            "person id in the raw bytes",
            "name in the raw bytes",
        }
        gallery.scrub()
        assert gallery.check_erased(ada.person.id, NAME).leftovers == ()


def test_a_sealed_row_that_stayed_behind_is_found_by_its_beginning(path):
    """The removal notes the nonces, so a copy without any id around it is found too."""
    with opened(path) as gallery:
        ada = gallery.enroll(NAME, [photographed("Ada")], encoder=ENCODER)
        with closing(sqlite3.connect(path)) as db:
            (vector,) = db.execute("SELECT vector FROM template").fetchone()
        gallery.remove(NAME)
        assert gallery.check_erased(ada.person.id).leftovers == ()
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE forgotten (copy BLOB)")
            db.execute("INSERT INTO forgotten VALUES (?)", (vector,))
        (left,) = {left.what for left in gallery.check_erased(ada.person.id).leftovers}
        assert left == "sealed row in the raw bytes"


def test_a_reader_in_the_way_leaves_bytes_that_the_check_finds(path):
    with opened(path, patience=0.1) as gallery:
        ada = gallery.enroll(NAME, [photographed("Ada")], encoder=ENCODER).person
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM person").fetchone()
            assert not gallery.remove(NAME).erased
            assert gallery.check_erased(ada.id, NAME).leftovers
        gallery.scrub()
        assert gallery.check_erased(ada.id, NAME).leftovers == ()


def test_a_name_that_is_part_of_somebody_elses_is_no_leftover(crowd):
    """Ada is erased, Ada Augusta Lovelace stays."""
    ada = crowd.person("Ada")
    crowd.remove("Ada")
    report = crowd.check_erased(ada.id, "Ada Augusta")
    assert report.leftovers == ()
    assert ("table person", "name") in places(crowd.check_erased(name=NAME))


def test_a_name_can_be_looked_for_alone(crowd):
    crowd.remove(NAME)
    assert crowd.check_erased(name=NAME).leftovers == ()
    assert crowd.check_erased(name="Bob").leftovers


def test_a_short_name_is_said_not_to_be_looked_for(path):
    """Three bytes occur by chance in every file of sealed rows."""
    with opened(path) as gallery:
        gallery.enroll("Al", [photographed(1)], encoder=ENCODER)
        gallery.remove("Al")
        (note,) = gallery.check_erased(name="Al").not_looked
        assert "by chance" in note


def test_an_id_that_the_gallery_never_knew_is_an_error_and_no_all_clear(crowd):
    with pytest.raises(PersonUnknown, match="never heard"):
        crowd.check_erased("0" * 32)


def test_a_searcher_outside_is_asked(crowd):
    class Outside:
        name = "milvus://somewhere"

        def holding(self, templates):
            asked.extend(templates)
            return asked[:2]

    asked = []
    ada = crowd.person(NAME)
    removal = crowd.remove(NAME)
    report = crowd.check_erased(ada.id, holders=[Outside()])
    assert set(asked) == set(removal.templates)
    assert report.leftovers == (Leftover("milvus://somewhere", "template id", 2),)


def test_on_a_server_what_cannot_be_looked_at_is_said(url):
    with opened(url) as gallery:
        ada = gallery.enroll(NAME, [photographed(1)], encoder=ENCODER).person
        gallery.remove(NAME)
        report = gallery.check_erased(ada.id, NAME)
    assert report.leftovers == ()
    assert any("raw bytes" in note for note in report.not_looked)
    assert any("backups" in note for note in report.not_looked)


def test_in_the_clear_too_nothing_is_left(where):
    with opened(where, keys=Keys.none()) as gallery:
        ada = gallery.enroll(NAME, [photographed(1)], encoder=ENCODER).person
        gallery.remove(NAME)
        assert gallery.check_erased(ada.id, NAME).leftovers == ()


def test_after_a_rotation_too_nothing_is_left(crowd):
    ada = crowd.person(NAME)
    crowd.rotate_key()
    crowd.remove(NAME)
    assert crowd.check_erased(ada.id, NAME).leftovers == ()


def test_looking_at_the_raw_bytes_leaves_the_locks_alone(path):
    """Closing a file drops every lock of the process on it: so another process reads it."""
    with opened(path) as gallery:
        ada = gallery.enroll(NAME, [photographed(1)], encoder=ENCODER).person
        with gallery._store.write():
            gallery.check_erased(ada.id, NAME)
            other = sqlite3.connect(path, timeout=0)
            with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")


# The scanner


def scanned(tmp_path, content, hexed, allowed=()):
    file = tmp_path / "raw"
    file.write_bytes(content)
    needle = {"what": "it", "hex": hexed, "allowed": list(allowed)}
    found = raw_scan.scan({"files": [str(file), str(tmp_path / "none")], "needles": [needle]})
    return found[0]["count"] if found else 0


@pytest.mark.parametrize("place", range(-40, 41, 5))
def test_what_lies_across_the_border_of_two_pieces_is_found_once(tmp_path, monkeypatch, place):
    monkeypatch.setattr(raw_scan, "CHUNK", 4096)
    content = bytearray(os.urandom(0) + bytes(3 * 4096))
    for border in (4096, 8192):
        content[border + place : border + place + 32] = b"n" * 16 + b"m" * 16
    assert scanned(tmp_path, bytes(content), (b"n" * 16 + b"m" * 16).hex()) == 2


@pytest.mark.parametrize("place", [-60, -33, -32, -16, 0])
def test_what_stands_around_it_is_seen_across_the_border_too(tmp_path, monkeypatch, place):
    monkeypatch.setattr(raw_scan, "CHUNK", 4096)
    content = bytearray(bytes(2 * 4096))
    content[4096 + place : 4096 + place + 15] = b"added-THIS-2026"
    allowed = [("added-", "-20")]
    assert scanned(tmp_path, bytes(content), b"THIS".hex(), allowed) == 0
    assert scanned(tmp_path, bytes(content), b"THIS".hex(), [("removed-", "-20")]) == 1


def test_the_scanner_runs_as_a_program_of_its_own():
    order = b'{"files": [], "needles": []}'
    done = subprocess.run(
        [sys.executable, "-I", raw_scan.__file__], input=order, capture_output=True, check=True
    )
    assert done.stdout == b"[]"


def test_templates_enrolled_before_the_nonces_were_noted_do_not_hide_the_rest(crowd):
    done = crowd.enroll(NAME, [template("one more")], encoder=ENCODER)
    crowd.remove(NAME)
    assert crowd.check_erased(done.person.id, NAME).templates == 4
