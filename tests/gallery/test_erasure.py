"""Who was removed has left: no byte of theirs is in the file or in its journal."""

import os
import random
import sqlite3
from contextlib import closing

from visavis.gallery import NewTemplate

from .given import ENCODER, opened, some_vector, template


def bytes_of(path):
    journal = path.with_name(path.name + "-wal")
    return path.read_bytes() + (journal.read_bytes() if journal.exists() else b"")


def test_vector_name_digest_and_photograph_are_gone_from_the_disk(path, gallery):
    photograph = os.urandom(9000)
    new = template(1, photograph=photograph)
    gallery.enroll("Ada Lovelace", [new], encoder=ENCODER)
    gallery.enroll("Bob", [template(2)], encoder=ENCODER)
    traces = [new.vector.tobytes(), photograph[4000:4100], b"Ada Lovelace", new.digest.encode()]
    assert all(trace in bytes_of(path) for trace in traces)
    assert gallery.remove("Ada Lovelace").erased
    assert not any(trace in bytes_of(path) for trace in traces)
    assert template(2).vector.tobytes() in bytes_of(path)


def test_copies_left_by_moving_rows_between_pages_are_gone_too(path, gallery):
    """With ``secure_delete`` alone this history leaves a copy of one template of 807.

    SQLite moves rows between pages as they fill and empty, and does not zero where they lay.
    """
    chance, alive, gone = random.Random(1), {}, []
    for round_ in range(3):
        for number in range(100):
            name = f"p{round_}-{number}"
            alive[name] = [some_vector(f"{name}{j}", 32) for j in range(chance.choice([1, 5]))]
            gallery.enroll(name, [NewTemplate(v) for v in alive[name]], encoder=ENCODER)
        leaving = chance.sample(sorted(alive), len(alive) * 3 // 4)
        gone += [vector for name in leaving for vector in alive.pop(name)]
        assert gallery.remove(*leaving).erased
    held = bytes_of(path)
    pieces = [v.tobytes()[start : start + 16] for v in gone for start in range(0, 128, 16)]
    assert not any(piece in held for piece in pieces)
    assert all(v.tobytes() in held for vectors in alive.values() for v in vectors)


def test_the_log_remembers_ids_and_nothing_else(path, gallery):
    done = gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    gallery.remove("Ada")
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT kind, template, person FROM change_log ORDER BY seq").fetchall()
    key, person = done.added[0], done.person.id
    assert rows == [("added", key, person), ("removed", key, person)]


def test_a_reader_in_the_way_is_reported_and_the_erasure_can_be_finished(path):
    with opened(path, patience=0.1) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM person").fetchone()
            removal = gallery.remove("Ada")
            assert (removal.erased, gallery.size) == (False, 0)
            assert template(1).vector.tobytes() in bytes_of(path)
        assert gallery.scrub()
        assert template(1).vector.tobytes() not in bytes_of(path)
