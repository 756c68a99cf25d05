"""Damage is told at opening or when it is met, and never with a traceback."""

import random
import sqlite3
from contextlib import closing

import pytest

from visavis.errors import GalleryUnusable, VisavisError
from visavis.gallery import Gallery

from .given import ENCODER, IN_THE_CLEAR, opened, template


def use(path, keys):
    """Read everything, then write."""
    with Gallery.open(path, patience=0.1, keys=keys) as gallery:
        gallery.people()
        gallery.changes(0)
        gallery.enrolled_photographs()
        gallery.info()
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
        gallery.remove("person 3")


@pytest.fixture
def keys():
    """Sealed rows are refused whatever was changed: that is another story."""
    return IN_THE_CLEAR


@pytest.fixture
def intact(path, keys):
    """Bytes of a closed gallery of 40 people."""
    with opened(path, keys=keys) as gallery:
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
def test_rows_that_no_gallery_would_hold_are_found(path, intact, keys, change, said):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(change)
    with pytest.raises(GalleryUnusable, match=said):
        use(path, keys)


@pytest.mark.parametrize("keys", [IN_THE_CLEAR, bytes(range(32))], ids=["clear", "sealed"])
def test_flipped_bytes_never_end_in_a_traceback(path, intact, keys):
    chance = random.Random(7)
    refusals = 0
    for _ in range(120):
        spoiled = bytearray(intact)
        for _ in range(chance.choice([1, 20, 400])):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        path.write_bytes(spoiled)
        try:
            use(path, keys)
        except VisavisError:  # any other exception fails the test
            refusals += 1
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
    assert refusals > 40
