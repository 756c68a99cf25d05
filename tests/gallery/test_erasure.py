"""Who was removed has left: no byte of theirs is in the tables, or in a file's journal."""

import os
import random
import sqlite3
from contextlib import closing

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from visavis.gallery import NewTemplate

from .given import ENCODER, IN_THE_CLEAR, opened, some_vector, template


@pytest.fixture
def bytes_of(where, request):
    """All that lies on the disk for the tables, whether or not a row is still to be seen."""
    if not isinstance(where, str):
        return lambda: b"".join(file.read_bytes() for file in where.parent.glob("people.db*"))
    server = request.getfixturevalue("postgres")

    def raw():
        with server.connect() as db:
            db.execute("CHECKPOINT")
        return b"".join(f.read_bytes() for f in (server.data / "base").rglob("*") if f.is_file())

    return raw


@pytest.fixture
def gallery(where):
    """In the clear, so that the bytes can be told; the sealed leave as the others do."""
    with opened(where, keys=IN_THE_CLEAR) as gallery:
        yield gallery


def test_vector_name_digest_and_photograph_are_gone_from_the_disk(gallery, bytes_of):
    # Of other tests' galleries on the server nothing may be taken for theirs.
    photograph, name = os.urandom(9000), f"Ada {os.urandom(8).hex()}"
    new, other = template(name, photograph=photograph), template(f"not {name}")
    gallery.enroll(name, [new], encoder=ENCODER)
    gallery.enroll("Bob", [other], encoder=ENCODER)
    traces = [new.vector.tobytes(), photograph[4000:4100], name.encode(), new.digest.encode()]
    held = bytes_of()
    assert all(trace in held for trace in traces)
    assert gallery.remove(name).erased
    held = bytes_of()
    assert not any(trace in held for trace in traces)
    assert other.vector.tobytes() in held


def test_copies_left_by_moving_rows_between_pages_are_gone_too(gallery, bytes_of):
    """With ``secure_delete`` alone this history leaves a copy of one template of 807 in a file.

    SQLite moves rows between pages as they fill and empty, and does not zero where they lay.
    """
    chance, alive, gone = random.Random(1), {}, []
    for round_ in range(3):
        for number in range(100):
            name = f"p{round_}-{number}"
            alive[name] = [some_vector(f"{name}{j}", 32) for j in range(chance.choice([1, 5]))]
        new = [name for name in alive if name.startswith(f"p{round_}-")]
        for name in new:
            gallery.enroll(name, [NewTemplate(v) for v in alive[name]], encoder=ENCODER)
        leaving = chance.sample(sorted(alive), len(alive) * 3 // 4)
        gone += [vector for name in leaving for vector in alive.pop(name)]
        assert gallery.remove(*leaving).erased
    held = bytes_of()
    assert pieces_in(held, gone) == 0
    assert pieces_in(held, [v for vectors in alive.values() for v in vectors]) > 0


def pieces_in(held, vectors):
    """Count places where two numbers in a row of one of the vectors lie."""
    wanted = np.unique(np.concatenate([vector.view(np.uint64) for vector in vectors]))
    found = 0
    for start in range(8):
        words = np.frombuffer(held, np.uint64, (len(held) - start) // 8, start)
        nearest = np.minimum(np.searchsorted(wanted, words), len(wanted) - 1)
        found += int(np.count_nonzero(wanted[nearest] == words))
    return found


def test_a_file_has_no_other_place_and_a_server_says_which(where, postgres, gallery):
    ada = template("Ada in the log")
    gallery.enroll("Ada", [ada], encoder=ENCODER)
    remains = gallery.remove("Ada").remains
    if not isinstance(where, str):
        assert remains == ()
        return
    assert [part for part in remains if "write-ahead log" in part]
    assert [part for part in remains if "backups" in part]
    log = [f.read_bytes() for f in (postgres.data / "pg_wal").iterdir() if f.is_file()]
    assert pieces_in(b"".join(log), [ada.vector]) > 0  # it is true


def test_the_servers_statistics_hold_nobody(postgres, url, bytes_of_server):
    """ANALYZE keeps samples of columns, and would keep them after the rows are gone."""
    with opened(url, keys=IN_THE_CLEAR) as gallery:
        unusual = f"Unusual {os.urandom(8).hex()}"
        new = {f"{unusual} {n}": template(f"{unusual} {n}", 32) for n in range(200)}
        everybody = [(name, [one]) for name, one in new.items()]
        gallery.enroll_all(everybody, encoder=ENCODER)
        with postgres.connect() as db:
            db.execute("ANALYZE")
        assert gallery.remove(*new).erased
    held = bytes_of_server()
    assert unusual.encode() not in held
    assert pieces_in(held, [one.vector for one in new.values()]) == 0


@pytest.fixture
def bytes_of_server(postgres):
    def raw():
        with postgres.connect() as db:
            db.execute("CHECKPOINT")
        return b"".join(f.read_bytes() for f in (postgres.data / "base").rglob("*") if f.is_file())

    return raw


def test_the_log_remembers_ids_and_nothing_else(gallery):
    done = gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    gallery.remove("Ada")
    with gallery._store.read() as db:
        rows = db.execute(text("SELECT kind, template, person FROM change_log ORDER BY seq")).all()
    key, person = done.added[0], done.person.id
    assert rows == [("added", key, person), ("removed", key, person)]


def test_a_reader_in_the_way_is_reported_and_the_erasure_can_be_finished(path):
    def bytes_of():
        return b"".join(file.read_bytes() for file in path.parent.glob("people.db*"))

    with opened(path, patience=0.1, keys=IN_THE_CLEAR) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM person").fetchone()
            removal = gallery.remove("Ada")
            assert (removal.erased, gallery.size) == (False, 0)
            assert removal.remains == ("unused parts of the file, and its journal",)
            assert template(1).vector.tobytes() in bytes_of()
        assert gallery.scrub()
        assert template(1).vector.tobytes() not in bytes_of()


@pytest.mark.parametrize("reads", ["the table", "anything else"])
def test_so_is_a_transaction_on_the_server_that_may_still_see_the_rows(
    postgres, url, bytes_of_server, reads
):
    """It holds a lock, or just a view from before: then the rows are taken along."""
    with opened(url, patience=0.3, keys=IN_THE_CLEAR) as gallery:
        gallery.enroll("Ada", [template(f"in the way of {url}")], encoder=ENCODER)
        with postgres.connect() as db:
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            db.autocommit = False
            schema = url.rpartition("=")[2]
            db.execute(f"SELECT * FROM {schema}.person" if reads == "the table" else "SELECT 1")
            removal = gallery.remove("Ada")
            assert (removal.erased, gallery.size) == (False, 0)
            assert "unused parts of the tables" in removal.remains
            assert template(f"in the way of {url}").vector.tobytes() in bytes_of_server()
        assert gallery.scrub()
        assert template(f"in the way of {url}").vector.tobytes() not in bytes_of_server()
