"""Damage is told at opening or when it is met, and never with a traceback."""

import random
import sqlite3
from contextlib import closing

import pytest

from visavis.errors import GalleryUnusable, VisavisError
from visavis.gallery import Gallery

from .given import ENCODER, opened, template


def use(path):
    """Read everything, then write."""
    with Gallery.open(path, patience=0.1) as gallery:
        gallery.people()
        gallery.changes(0)
        gallery.enrolled_digests()
        gallery.info()
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
        gallery.remove("person 3")


@pytest.fixture
def intact(path):
    """Bytes of a closed gallery of 40 people."""
    with opened(path) as gallery:
        for n in range(40):
            new = [template(n, photograph=bytes([n]) * 700)]
            gallery.enroll(f"person {n}", new, encoder=ENCODER)
    return path.read_bytes()


@pytest.mark.parametrize("left", [0.5, 0.9, 0.25, 0.01])
def test_a_gallery_cut_short_is_refused_at_opening(path, intact, left):
    path.write_bytes(intact[: int(len(intact) * left)])
    with pytest.raises(GalleryUnusable, match=r"damaged .*backup|not a gallery"):
        Gallery.open(path)


@pytest.mark.parametrize("missing", [1, 4096])
def test_so_is_one_that_lacks_its_end(path, intact, missing):
    path.write_bytes(intact[:-missing])
    with pytest.raises(GalleryUnusable, match="damaged"):
        Gallery.open(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE template SET vector = zeroblob(512)", "not a unit vector"),
        ("UPDATE template SET vector = x'00' WHERE rowid = 7", "another length"),
        ("UPDATE person SET created = 'yesterday'", "a time"),
        ("DROP TABLE template", "template"),
        ("DELETE FROM gallery", "gallery"),
    ],
)
def test_rows_that_no_gallery_would_hold_are_found(path, intact, change, said):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(change)
    with pytest.raises(GalleryUnusable, match=said):
        use(path)


def test_flipped_bytes_never_end_in_a_traceback(path, intact):
    chance = random.Random(7)
    refusals = 0
    for _ in range(120):
        spoiled = bytearray(intact)
        for _ in range(chance.choice([1, 20, 400])):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        path.write_bytes(spoiled)
        try:
            use(path)
        except VisavisError:  # any other exception fails the test
            refusals += 1
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
    assert refusals > 40
