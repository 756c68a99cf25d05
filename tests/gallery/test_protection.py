"""What is in a protected gallery opens with its key, at its place, and gives nothing away."""

import hashlib
import os
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from visavis.errors import (
    GalleryTampered,
    KeyExposed,
    KeyMalformed,
    KeyMissing,
    KeyWornOut,
    KeyWrong,
)
from visavis.gallery import ExactSearcher, Gallery, NewTemplate
from visavis.gallery.secrets.protection import Keys, MasterKey
from visavis.gallery.secrets.sealing import MOST_ROWS, OVERHEAD

from .given import ENCODER, opened, some_vector, template
from .test_migrations import VERSION_1

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
PHOTOGRAPH = os.urandom(5000)
ADA = NewTemplate(some_vector("Ada", 512), hashlib.sha256(PHOTOGRAPH).hexdigest(), PHOTOGRAPH)


def enrolled(where, key=KEY):
    gallery = opened(where, keys=key)
    gallery.enroll("Ada", [ADA], encoder=ENCODER)
    gallery.enroll("Bob", [template("Bob", 512)], encoder=ENCODER)
    return gallery


def everything_on_disk(path):
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def test_the_raw_bytes_hold_no_vector_no_photograph_and_no_digest(path):
    with enrolled(path) as gallery:
        held = everything_on_disk(path)
        (kept,) = gallery.templates(gallery.person("Ada").id)
        assert kept.vector.tobytes() == ADA.vector.tobytes()
        assert gallery.photograph(kept.id) == PHOTOGRAPH
    vector, digest = ADA.vector.tobytes(), ADA.digest
    pieces = [vector[start : start + 8] for start in range(len(vector) - 8)]
    pieces += [PHOTOGRAPH[start : start + 16] for start in range(0, len(PHOTOGRAPH) - 16, 16)]
    pieces += [digest.encode()[:16], bytes.fromhex(digest)[:8]]
    pieces += [np.round(ADA.vector * 127).astype(np.int8).tobytes()[:16]]
    assert not [piece for piece in pieces if piece in held]
    assert b"Ada" in held, "names are in the clear, and docs/security.md says so"


def test_the_key_is_not_in_the_gallery(path):
    with enrolled(path):
        held = everything_on_disk(path)
    assert not [spelled for spelled in (KEY, KEY.hex().encode()) if spelled in held]


def test_a_thief_who_has_the_photograph_cannot_look_it_up(where):
    """Two galleries of one key hold the digest of one photograph by different numbers."""
    with enrolled(where) as gallery:
        (kept,) = gallery.templates(gallery.person("Ada").id)
        assert len(kept.digest) == 64
        assert kept.digest != ADA.digest
        assert ADA.digest in gallery.enrolled_photographs()["Ada"]
        assert template("Bob", 512).digest not in gallery.enrolled_photographs()["Ada"]
        again = gallery.enroll("Ada", [ADA], encoder=ENCODER)
        assert (again.added, again.known) == ((), 1)


def test_the_same_photograph_in_another_gallery_has_another_digest(tmp_path):
    digests = set()
    for name in ("one.db", "two.db"):
        with enrolled(tmp_path / name) as gallery:
            digests |= {t.digest for t in gallery.templates(gallery.person("Ada").id)}
    assert len(digests) == 2


def test_searching_opens_what_was_sealed(where):
    with enrolled(where) as gallery:
        searcher, changes = ExactSearcher(), gallery.changes(0)
        searcher.update(changes)
        ((hit,),) = searcher.nearest(ADA.vector[None], 1)
        assert (hit.person, hit.distance) == (gallery.person("Ada").id, 0.0)
        assert gallery.vectors_of([hit.template])[hit.template].tobytes() == ADA.vector.tobytes()


@pytest.mark.parametrize("keys", [OTHER, MasterKey(OTHER), Keys(key=MasterKey(OTHER))])
def test_a_wrong_key_reads_and_writes_nothing(where, keys):
    enrolled(where).close()
    with Gallery.open(where, keys=keys) as gallery:
        before = gallery.info()
        ada = gallery.person("Ada")
        for action in (
            gallery.unlock,
            gallery.search_secret,
            gallery.enrolled_photographs,
            gallery.rotate_key,
            lambda: gallery.changes(0),
            lambda: gallery.templates(ada.id),
            lambda: gallery.rename("Ada", "Eve"),
            lambda: gallery.remove("Ada"),
            lambda: gallery.rewrap_key(OTHER),
            lambda: gallery.enroll("Eve", [template("Eve", 512)], encoder=ENCODER),
        ):
            with pytest.raises(KeyWrong, match=MasterKey(KEY).id) as refused:
                action()
            assert MasterKey(OTHER).id in str(refused.value)
        assert gallery.info() == before
        assert [person.name for person in gallery.people()] == ["Ada", "Bob"]


def test_a_missing_key_is_not_made_anew(where, tmp_path):
    """A fresh key would only hide that the old one is gone."""
    keys = Keys.default(tmp_path / "lost")
    enrolled(where).close()
    with Gallery.open(where, keys=keys) as gallery:
        with pytest.raises(KeyMissing, match="bring back the copy"):
            gallery.changes(0)
        with pytest.raises(KeyMissing):
            gallery.enroll("Eve", [template("Eve", 512)], encoder=ENCODER)
        assert not (tmp_path / "lost").exists()
        assert [person.name for person in gallery.people()] == ["Ada", "Bob"]


def test_without_the_key_it_can_be_seen_who_is_there_and_they_can_be_erased(where, tmp_path):
    enrolled(where).close()
    with Gallery.open(where, keys=tmp_path / "nowhere") as gallery:
        info = gallery.info()
        assert (info.people, info.templates, info.photographs) == (2, 2, 1)
        assert (info.data_key, info.master_key) == (1, MasterKey(KEY).id)
        assert gallery.person("Ada").templates == 1
        assert gallery.expire().persons == ()
        assert [person.name for person in gallery.remove("Ada").persons] == ["Ada"]
        with pytest.raises(KeyMissing):
            gallery.rename("Bob", "Robert")
        assert [person.name for person in gallery.people()] == ["Bob"]
    with Gallery.open(where, keys=KEY) as gallery:
        (fault,) = gallery.audit.verify().faults
        assert fault.kind == "unsigned", "that it was done without the key is not hidden"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_each_way_a_key_file_can_be_wrong_has_its_own_code(where, tmp_path):
    enrolled(where).close()
    file = tmp_path / "master.key"
    for content, mode, expected in (
        (KEY.hex(), 0o644, KeyExposed),
        ("hello", 0o600, KeyMalformed),
        (OTHER.hex(), 0o600, KeyWrong),
        (None, 0, KeyMissing),
    ):
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
            file.chmod(mode)
        with Gallery.open(where, keys=file) as gallery, pytest.raises(expected):
            gallery.changes(0)
    assert len({kind.code for kind in (KeyExposed, KeyMalformed, KeyWrong, KeyMissing)}) == 4


def test_a_new_gallery_is_protected_unless_said_otherwise(path, tmp_path, data_home):
    with opened(path) as gallery:
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
        assert gallery.info().data_key == 1
    assert (data_home / "visavis" / "keys" / "master.key").is_file()
    assert template("Ada").vector.tobytes() not in everything_on_disk(path)
    clear = tmp_path / "clear.db"
    with opened(clear, keys=Keys.none()) as gallery:
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
        assert gallery.info().data_key is None
    assert template("Ada").vector.tobytes() in everything_on_disk(clear)


def test_a_sealed_gallery_does_not_open_without_keys(where):
    enrolled(where).close()
    with Gallery.open(where, keys=Keys.none()) as gallery:
        for action in (
            lambda: gallery.changes(0),
            gallery.search_secret,
            lambda: gallery.enroll("Eve", [template("Eve", 512)], encoder=ENCODER),
        ):
            with pytest.raises(KeyMissing, match="opened without keys"):
                action()


def test_opening_to_look_makes_no_key(path, tmp_path):
    keys = Keys.default(tmp_path / "data")
    with opened(path, keys=keys) as gallery:
        assert gallery.people() == []
        assert gallery.changes(0).vectors.shape == (0, 0)
        gallery.unlock()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE template SET vector = (SELECT vector FROM template WHERE id != '{ada}')",
        "UPDATE template SET vector = CAST(substr(vector, 1, 500) || x'00'"
        " || substr(vector, 502) AS BLOB)",
        "UPDATE template SET vector = substr(vector, 1, 20)",
        "UPDATE template SET vector = x''",
        "UPDATE template SET person = (SELECT person FROM template WHERE id != '{ada}')",
        "UPDATE template SET id = 'ffffffffffffffffffffffffffffffff'",
        "UPDATE template SET key = 7",
        "UPDATE template SET key = NULL, vector = zeroblob(2048)",
    ],
)
def test_a_template_that_was_changed_or_swapped_is_named(path, tampering):
    enrolled(path).close()
    with Gallery.open(path, keys=KEY) as gallery:
        ada = gallery.person("Ada").id
        (kept,) = gallery.templates(ada)
    statement = tampering.format(ada=kept.id) + f" WHERE id = '{kept.id}'"
    # Foreign keys are off on this connection, as on a thief's.
    changed(path, statement)
    with Gallery.open(path, keys=KEY) as gallery:
        with pytest.raises(GalleryTampered):
            gallery.changes(0)
        kinds = {problem.kind for problem in gallery.check().problems}
        assert kinds & {"template", "key"}


def test_two_people_cannot_be_given_each_others_faces(path):
    """The forgery that matters: Mallory's face under Ada's name."""
    enrolled(path).close()
    changed(
        path,
        "CREATE TEMP TABLE t AS SELECT id, vector FROM template",
        "UPDATE template SET vector = (SELECT vector FROM t WHERE t.id != template.id)",
    )
    with Gallery.open(path, keys=KEY) as gallery:
        for person in gallery.people():
            with pytest.raises(GalleryTampered, match="changed, or moved from another place"):
                gallery.templates(person.id)
        named = [p.message for p in gallery.check().problems if p.kind == "template"]
        assert len(named) == 2


def test_a_face_planted_in_the_clear_is_refused(path):
    """Whoever can write the file but has no key must not get a template of theirs accepted."""
    enrolled(path).close()
    planted = some_vector("Mallory", 512).tobytes().hex()
    changed(path, f"UPDATE template SET key = NULL, vector = x'{planted}'")
    with Gallery.open(path, keys=KEY) as gallery, pytest.raises(GalleryTampered, match="clear"):
        gallery.changes(0)
    # Nor by saying that clear rows are allowed: that is bound into the wrapped key.
    changed(path, "UPDATE data_key SET strict = 0")
    with Gallery.open(path, keys=KEY) as gallery, pytest.raises(KeyWrong, match="was changed"):
        gallery.changes(0)


def test_a_photograph_that_was_changed_or_swapped_is_named(path):
    with enrolled(path) as gallery:
        gallery.enroll("Cy", [template("Cy", 512, photograph=b"Cy's picture")], encoder=ENCODER)
        kept = [t.id for p in ("Ada", "Cy") for t in gallery.templates(gallery.person(p).id)]
    changed(
        path,
        "CREATE TEMP TABLE t AS SELECT template, bytes FROM photograph",
        "UPDATE photograph SET bytes ="
        " (SELECT bytes FROM t WHERE t.template != photograph.template)",
    )
    with Gallery.open(path, keys=KEY) as gallery:
        for key in kept:
            with pytest.raises(GalleryTampered, match=f"photograph {key}"):
                gallery.photograph(key)
        assert gallery.changes(0).vectors.shape == (3, 512)


def test_rows_of_another_gallery_do_not_open_though_the_key_is_the_same(tmp_path):
    mine, theirs = tmp_path / "mine.db", tmp_path / "theirs.db"
    enrolled(mine).close()
    enrolled(theirs).close()
    changed(
        mine,
        f"ATTACH '{theirs}' AS theirs",
        "DELETE FROM data_key",
        "INSERT INTO data_key SELECT * FROM theirs.data_key",
    )
    moved = "moved here from another gallery"
    with Gallery.open(mine, keys=KEY) as gallery, pytest.raises(KeyWrong, match=moved):
        gallery.changes(0)


def test_a_key_that_sealed_too_many_rows_seals_no_more_until_it_is_rotated(path):
    enrolled(path).close()
    changed(path, f"UPDATE data_key SET rows = {MOST_ROWS - 1}")
    with Gallery.open(path, keys=KEY) as gallery:
        assert any("rotate-key" in note for note in gallery.check().notes)
        two = [template("Cy", 512), template("Cy 2", 512)]
        with pytest.raises(KeyWornOut, match="rotate-key"):
            gallery.enroll("Cy", two, encoder=ENCODER)
        assert gallery.size == 2
        gallery.rotate_key()
        gallery.enroll("Cy", two, encoder=ENCODER)
        assert gallery.size == 3


def test_every_row_sealed_is_counted(path):
    with enrolled(path) as gallery:
        gallery.enroll("Cy", [template("Cy", 512, photograph=b"1")], encoder=ENCODER)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT rows FROM data_key").fetchall() == [(5,)]
        nonces = db.execute(
            "SELECT substr(vector, 1, 12) FROM template"
            " UNION SELECT substr(bytes, 1, 12) FROM photograph"
        ).fetchall()
        assert len(set(nonces)) == 5
        (length,) = db.execute("SELECT DISTINCT length(vector) FROM template").fetchone()
        assert length == 4 * 512 + OVERHEAD


@pytest.fixture
def old(path):
    """A file of version 1, in which everything lies in the clear."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1.read_text())
    return path


def test_a_gallery_of_before_stays_readable_without_a_key(old, tmp_path):
    with Gallery.open(old, keys=tmp_path / "nowhere") as gallery:
        assert gallery.changes(0).vectors.shape == (3, 4)
        assert gallery.info().data_key is None


def test_in_a_gallery_of_before_what_is_new_is_sealed_and_what_is_known_is_known(old):
    with Gallery.open(old, keys=KEY) as gallery:
        done = gallery.enroll("Ada", [template("Ada 1", 4), template("Ada 3", 4)], encoder=ENCODER)
        assert (len(done.added), done.known) == (1, 1)
        assert gallery.changes(0).vectors.shape == (4, 4)
        held = everything_on_disk(old)
        assert template("Ada 3", 4).vector.tobytes() not in held
        assert template("Ada 1", 4).vector.tobytes() in held
        assert "rotate-key" in gallery.check().notes[0]
        again = gallery.enroll("Ada", [template("Ada 3", 4)], encoder=ENCODER)
        assert again.added == ()


def test_rotating_seals_a_gallery_of_before_and_nothing_of_the_clear_is_left(old):
    with Gallery.open(old, keys=KEY) as gallery:
        before = gallery.changes(0)
        ada = gallery.person("Ada").id
        rotation = gallery.rotate_key()
        assert (rotation.key, rotation.rows, rotation.erased) == (1, 4, True)
        after = gallery.changes(0)
        assert np.array_equal(before.vectors, after.vectors)
        assert gallery.photograph(gallery.templates(ada)[0].id) == b"jpeg"
        assert template("Ada 1", 4).digest in gallery.enrolled_photographs()["Ada"]
        inspection = gallery.check()
        # That file's photograph is a stand-in, which is noticed too.
        assert ({p.kind for p in inspection.problems}, inspection.clear) == ({"digest"}, 0)
    held = everything_on_disk(old)
    traces = [t for n in ("Ada 1", "Ada 2") for t in (template(n, 4).vector.tobytes(),)]
    traces += [template("Ada 1", 4).digest.encode(), b"jpeg"]
    assert not [trace for trace in traces if trace in held]


def test_after_that_nothing_may_lie_in_the_clear_any_more(old):
    with Gallery.open(old, keys=KEY) as gallery:
        gallery.rotate_key()
    changed(
        old, f"UPDATE template SET key = NULL, vector = x'{some_vector('M', 4).tobytes().hex()}'"
    )
    with Gallery.open(old, keys=KEY) as gallery, pytest.raises(GalleryTampered, match="clear"):
        gallery.changes(0)


def test_the_secret_of_the_search_is_the_gallerys_for_life(where):
    with enrolled(where) as gallery:
        secret = gallery.search_secret()
        gallery.rotate_key()
        gallery.rewrap_key(OTHER)
        assert gallery.search_secret() == secret
    with Gallery.open(where, keys=OTHER) as gallery:
        assert gallery.search_secret() == secret
        assert len(secret) == 32


def test_a_gallery_of_before_gets_its_secret_when_a_searcher_asks(old):
    with Gallery.open(old, keys=KEY) as gallery:
        secret = gallery.search_secret()
        assert gallery.search_secret() == secret
        assert gallery.changes(0).vectors.shape == (3, 4)
    with Gallery.open(old, keys=KEY) as gallery:
        assert gallery.search_secret() == secret
