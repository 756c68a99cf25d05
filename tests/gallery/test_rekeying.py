"""Keys are exchanged while the gallery is in use, and a kill at any moment costs nothing."""

import random
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from visavis.errors import KeyMissing, KeyWrong
from visavis.gallery import Gallery
from visavis.gallery.secrets.protection import Keys, MasterKey
from visavis.gallery.upkeep import rekeying

from . import keyholders, others
from .given import ENCODER, opened, template

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
NAMES = [f"person {number}" for number in range(60)]


@pytest.fixture
def staff(where):
    """Sixty people, every third with a photograph."""
    with opened(where, keys=KEY) as gallery:
        people = [
            (name, [template(name, photograph=name.encode() if n % 3 == 0 else None)])
            for n, name in enumerate(NAMES)
        ]
        gallery.enroll_all(people, encoder=ENCODER)
    return where


@pytest.fixture
def small_portions(monkeypatch):
    monkeypatch.setattr(rekeying, "PORTION", 7)


def vectors(gallery):
    changes = gallery.changes(0)
    return dict(zip(changes.added, (v.tobytes() for v in changes.vectors), strict=True))


def is_whole(gallery):
    inspection = gallery.check()
    # Digests of these tests are not those of the photographs.
    assert [p.message for p in inspection.problems if p.kind != "digest"] == []
    for n, name in enumerate(NAMES):
        (kept,) = gallery.templates(gallery.person(name).id)
        assert kept.vector.tobytes() == template(name).vector.tobytes()
        assert gallery.photograph(kept.id) == (name.encode() if n % 3 == 0 else None)


def keys_in(path):
    with closing(sqlite3.connect(path)) as db:
        tables = ("data_key", "template", "photograph")
        columns = {"data_key": "id", "template": "key", "photograph": "key"}
        return [
            [row[0] for row in db.execute(f"SELECT DISTINCT {columns[t]} FROM {t} ORDER BY 1")]
            for t in tables
        ]


def test_every_row_is_sealed_anew_and_reads_as_before(staff, small_portions):
    told = []
    with Gallery.open(staff, keys=KEY) as gallery:
        before, info = vectors(gallery), gallery.info()
        rotation = gallery.rotate_key(lambda done, total: told.append((done, total)))
        assert (rotation.key, rotation.rows, rotation.erased) == (2, 80, True)
        assert told[-1] == (80, 80)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert vectors(gallery) == before
        assert gallery.info().data_key == 2
        assert gallery.info().sequence == info.sequence, "searchers have nothing to learn"
        is_whole(gallery)
    with Gallery.open(staff, keys=KEY) as gallery:
        is_whole(gallery)


def test_nothing_sealed_with_the_old_key_and_no_old_key_is_left(path):
    with opened(path, keys=KEY) as gallery:
        gallery.enroll_all([(n, [template(n)]) for n in NAMES], encoder=ENCODER)
    with closing(sqlite3.connect(path)) as db:
        old = [row[0] for row in db.execute("SELECT vector FROM template")]
        old += [row[0] for row in db.execute("SELECT wrapped FROM data_key")]
    with Gallery.open(path, keys=KEY) as gallery:
        assert gallery.rotate_key().erased
        held = path.read_bytes() + path.with_name("people.db-wal").read_bytes()
    assert not [row for row in old if row[:12] in held]
    assert keys_in(path) == [[2], [2], []]


def test_rotating_again_and_again_counts_up(staff):
    with Gallery.open(staff, keys=KEY) as gallery:
        assert [gallery.rotate_key().key for _ in range(3)] == [2, 3, 4]
        is_whole(gallery)


def test_who_has_the_gallery_open_follows_without_opening_it_again(staff):
    with Gallery.open(staff, keys=KEY) as reader, Gallery.open(staff, keys=KEY) as owner:
        before = vectors(reader)
        owner.rotate_key()
        assert vectors(reader) == before
        reader.enroll("late", [template("late")], encoder=ENCODER)
        assert len(vectors(owner)) == 61
        is_whole(owner)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 9, 10, 12])
def test_an_interrupted_rotation_is_gone_on_with(staff, small_portions, after):
    """Nine portions of templates, three of photographs; then rows of two keys lie side by side."""
    calls = 0

    def stop(done, total):
        nonlocal calls
        calls += 1
        if calls == after:
            raise Stop

    with Gallery.open(staff, keys=KEY) as gallery:
        with pytest.raises(Stop):
            gallery.rotate_key(stop)
        is_whole(gallery)
        assert any("unfinished" in note for note in gallery.check().notes)
        gallery.enroll("late", [template("late")], encoder=ENCODER)
        rotation = gallery.rotate_key()
        templates, photographs = min(60, 7 * after), 7 * max(0, after - 9)
        assert (rotation.key, rotation.rows) == (2, 80 - templates - min(20, photographs))
        assert gallery.rotate_key().key == 3
        is_whole(gallery)


@pytest.mark.slow
def test_a_killed_rotation_loses_nothing(staff, tmp_path):
    """Kill -9 at 20 moments; every row opens after each, and in the end one key is left."""
    chance, started = random.Random(20), tmp_path / "started"
    for _ in range(20):
        with others.started(keyholders.rotate, staff, KEY, 3, started) as process:
            deadline = time.monotonic() + others.WAIT
            while not started.exists() and process.is_alive():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
        started.unlink(missing_ok=True)
        with Gallery.open(staff, keys=KEY) as gallery:
            is_whole(gallery)
    with Gallery.open(staff, keys=KEY) as gallery:
        gallery.rotate_key()
        is_whole(gallery)
        assert [note for note in gallery.check().notes if "unfinished" in note] == []


@pytest.mark.slow
def test_others_read_and_write_while_keys_are_exchanged(staff, tmp_path):
    """Two write, one reads, one rotates twice; nobody reads a wrong vector or is refused."""
    stop = tmp_path / "stop"
    answers = {}

    def ask(name, work, *arguments):
        try:
            answers[name] = others.answer_of(work, *arguments)
        except BaseException as fault:  # noqa: BLE001 -- shown by the assertion below
            answers[name] = fault

    jobs = [(n, keyholders.use_until, staff, KEY, stop, n) for n in range(2)]
    jobs += [("reader", keyholders.changed_vectors, staff, KEY, NAMES, stop)]
    threads = [threading.Thread(target=ask, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    rotations = [others.answer_of(keyholders.rotate, staff, KEY, 5) for _ in range(2)]
    stop.touch()
    for thread in threads:
        thread.join()
    assert [rotation[0] for rotation in rotations] == [2, 3]
    wrong, rounds = answers["reader"]
    assert (wrong, rounds > 0) == ([], True)
    kept = []
    for n in range(2):
        count, theirs = answers[n]
        assert count > 3
        kept += theirs
    with Gallery.open(staff, keys=KEY) as gallery:
        is_whole(gallery)
        assert {person.name for person in gallery.people()} == {*NAMES, *kept}
        assert gallery.info().data_key == 3
        assert gallery.audit.verify().intact


def test_two_who_rotate_at_once_finish_together(staff):
    rotations, ready = [], threading.Barrier(2)

    def work():
        with Gallery.open(staff, keys=KEY) as gallery:
            ready.wait()
            rotations.append(gallery.rotate_key())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rotations) == 2
    with Gallery.open(staff, keys=KEY) as gallery:
        is_whole(gallery)
        assert gallery.info().data_key in {2, 3}


def test_a_row_removed_between_reading_and_sealing_stays_removed(staff):
    """The portion was read with it; by the time it is written somebody erased them."""
    opened_twice = Gallery.open(staff, keys=KEY), Gallery.open(staff, keys=KEY, patience=1.0)
    with opened_twice[0] as gallery, opened_twice[1] as other:
        left = ["person 3", "person 4"]

        def erase(*_):
            while left:
                other.remove(left.pop())

        original = gallery._vault.open

        def opening(*arguments, **named):
            contents = original(*arguments, **named)
            erase()
            return contents

        gallery._vault.open = opening
        gallery.rotate_key()
        del gallery._vault.open
        assert gallery.size == 58
        assert {problem.kind for problem in gallery.check().problems} <= {"digest"}


def test_only_the_master_key_is_exchanged_and_no_row_changes(path):
    with opened(path, keys=KEY) as gallery:
        gallery.enroll_all([(n, [template(n)]) for n in NAMES], encoder=ENCODER)
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT id, key, vector FROM template ORDER BY id").fetchall()
            wrapped = db.execute("SELECT wrapped FROM data_key").fetchone()[0]
            secrets = db.execute("SELECT secrets FROM gallery").fetchone()[0]
        before = vectors(gallery)
        assert gallery.rewrap_key(OTHER)
        assert gallery.info().master_key == MasterKey(OTHER).id
        assert vectors(gallery) == before
        with closing(sqlite3.connect(path)) as db:
            now = db.execute("SELECT id, key, vector FROM template ORDER BY id").fetchall()
            assert now == rows
        held = path.read_bytes() + path.with_name("people.db-wal").read_bytes()
        assert wrapped[:12] not in held
        assert secrets[:12] not in held
    with Gallery.open(path, keys=KEY) as gallery, pytest.raises(KeyWrong):
        gallery.changes(0)
    with Gallery.open(path, keys=OTHER) as gallery:
        assert vectors(gallery) == before
        assert gallery.audit.verify().intact


def test_with_a_new_master_key_that_is_not_there_the_old_one_stays(staff, tmp_path):
    with Gallery.open(staff, keys=KEY) as gallery:
        with pytest.raises(KeyMissing):
            gallery.rewrap_key(tmp_path / "nowhere")
        assert gallery.info().master_key == MasterKey(KEY).id
        is_whole(gallery)
    with Gallery.open(staff, keys=KEY) as gallery:
        is_whole(gallery)


def test_after_both_exchanges_an_old_master_key_opens_nothing(staff):
    with Gallery.open(staff, keys=KEY) as old, Gallery.open(staff, keys=KEY) as owner:
        before = vectors(old)
        owner.rewrap_key(OTHER)
        assert vectors(old) == before, "whoever has it open goes on"
        owner.rotate_key()
        with pytest.raises(KeyWrong, match=MasterKey(OTHER).id):
            vectors(old)
        with pytest.raises(KeyWrong):
            old.enroll("late", [template("late")], encoder=ENCODER)
        is_whole(owner)


def test_a_gallery_without_rows_can_be_rotated(where):
    with opened(where, keys=KEY) as gallery:
        assert gallery.rotate_key().key == 1
        assert gallery.rotate_key().key == 2
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
        assert gallery.info().data_key == 2


def test_a_reader_in_the_way_is_reported(path):
    with opened(path, keys=KEY, patience=0.1) as gallery:
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM person").fetchone()
            rotation = gallery.rotate_key()
            assert (rotation.key, rotation.erased) == (2, False)
        assert gallery.scrub()


def test_a_gallery_begun_without_keys_can_be_sealed_later(where):
    with opened(where, keys=Keys.none()) as gallery:
        gallery.enroll("Ada", [template("Ada")], encoder=ENCODER)
    with Gallery.open(where, keys=KEY) as gallery:
        assert gallery.rotate_key().rows == 1
        assert gallery.check().clear == 0
        assert len(vectors(gallery)) == 1
