"""Backups, restorations and migrations from the command line."""

import base64
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pymilvus  # noqa: F401 - while it is imported it closes the streams of other libraries' logs
import pytest

from visavis.gallery import Gallery, NewTemplate
from visavis.values import EncoderId

ENCODER = EncoderId("sface-fp32-0123456789abcdef")
COMMAND = Path(sys.executable).with_name("visavis")
SECRET = bytes(range(32))


@pytest.fixture
def visavis(monkeypatch, tmp_path, command_line):
    """Call the command line in this process, with a data directory and a key of its own."""
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_KEY", base64.b64encode(SECRET).decode())
    for variable in ("VISAVIS_GALLERY", "VISAVIS_KEY_FILE", "VISAVIS_SEARCH"):
        monkeypatch.delenv(variable, raising=False)

    return command_line


def new(seed):
    vector = np.random.default_rng(seed).normal(size=128)
    return NewTemplate((vector / np.linalg.norm(vector)).astype(np.float32))


@pytest.fixture
def people(tmp_path):
    """A gallery of three."""
    path = tmp_path / "people.db"
    with Gallery.open(path, keys=SECRET) as gallery:
        gallery.bind(ENCODER, "sface")
        for n, name in enumerate(("Ada", "Bob", "Eve")):
            gallery.enroll(name, [new(n)], encoder=ENCODER)
    return path


def test_a_backup_and_its_restoration(visavis, people, tmp_path):
    kept, again = tmp_path / "kept.db", tmp_path / "again.db"
    made = visavis("gallery", "backup", kept, "--gallery", people, "--json")
    assert made.status == 0
    answer = made.json
    assert (answer["schema"], answer["file"], answer["recorded"]) == (1, str(kept), True)
    assert answer["counts"]["person"] == answer["counts"]["template"] == 3
    assert len(answer["digest"]) == 64
    assert answer["bytes"] == kept.stat().st_size

    refused = visavis("gallery", "backup", kept, "--gallery", people, "--json")
    assert (refused.status, refused.json["error"]["code"]) == (3, "copy_refused")
    assert visavis("gallery", "backup", kept, "--gallery", people, "--force").status == 0

    given = ("--gallery", again, "--digest", answer["digest"])
    other = visavis("gallery", "restore", kept, *given, "--json")  # of the first, not the second
    assert (other.status, other.json["error"]["code"]) == (3, "copy_differs")
    back = visavis("gallery", "restore", kept, "--gallery", again, "--json")
    assert back.status == 0
    assert back.json["counts"]["person"] == 3
    assert (back.json["returned"], back.json["erased"]) == ([], True)
    assert "Ada" in visavis("people", "list", "--gallery", again).out

    held = visavis("gallery", "restore", kept, "--gallery", again)
    assert (held.status, held.err.split(":")[0]) == (3, "copy_refused")
    assert visavis("people", "remove", "Eve", "--yes", "--gallery", again).status == 0
    forced = visavis("gallery", "restore", kept, "--gallery", again, "--force")
    assert forced.status == 0
    assert "had been removed since the backup: Eve" in forced.err


def test_the_check_names_backups_until_they_are_gone(visavis, people, tmp_path):
    kept = tmp_path / "kept.db"
    visavis("gallery", "backup", kept, "--gallery", people)
    with Gallery.open(people, keys=SECRET) as gallery:
        ada = gallery.person("Ada").id
        gallery.remove("Ada")
    check = ("gallery", "check", "--erased", ada, "--gallery", people)
    found = visavis(*check, "--json")
    assert found.status == 3
    assert [left["where"] for left in found.json["leftovers"]] == [str(kept)]
    listed = visavis("gallery", "backups", "--gallery", people, "--json").json["backups"]
    assert [(b["place"], b["complete"], b["gone"]) for b in listed] == [(str(kept), True, False)]
    gone = visavis("gallery", "backups", "--gone", listed[0]["id"][:8], "--gallery", people)
    assert (gone.status, "gone" in gone.out) == (0, True)
    assert visavis(*check).status == 0
    nobody = visavis("gallery", "backups", "--gone", "x", "--gallery", people)
    assert (nobody.status, nobody.err.split(":")[0]) == (3, "copy_refused")


def test_a_migration_and_one_more(visavis, people, tmp_path):
    to = tmp_path / "moved.db"
    first = visavis("gallery", "migrate", to, "--gallery", people, "--json")
    assert (first.status, first.json["way"], first.json["counts"]["person"]) == (0, "filled", 3)
    with Gallery.open(people, keys=SECRET) as gallery:
        gallery.enroll("Cy", [new(7)], encoder=ENCODER)
    again = visavis("gallery", "migrate", to, "--gallery", people, "--json")
    assert (again.json["way"], again.json["counts"]["person"]) == ("refreshed", 4)
    assert visavis("gallery", "check", "--gallery", to).status == 0
    itself = visavis("gallery", "migrate", people, "--gallery", people)
    assert (itself.status, itself.err.split(":")[0]) == (3, "copy_refused")


@pytest.mark.parametrize("words", [(), ("to.db", "--search", "milvus://x"), ("to.db", "--drop")])
def test_a_migration_goes_to_one_place(visavis, people, words):
    assert visavis("gallery", "migrate", *words, "--gallery", people).status == 2


def test_a_milvus_is_filled_and_dropped(visavis, people, tmp_path):
    from milvus_lite import server_manager_instance  # noqa: PLC0415

    place = f"milvus-lite://{tmp_path}/vectors.db"
    words = ("gallery", "migrate", "--search", place, "--gallery", people, "--json")
    try:
        filled = visavis(*words)
        assert (filled.status, filled.json["templates"], filled.json["dropped"]) == (0, 3, False)
        dropped = visavis(*words, "--drop")
        assert (dropped.status, dropped.json["dropped"]) == (0, True)
        assert dropped.json["collection"] == filled.json["collection"]
    finally:
        server_manager_instance.release_all()


@pytest.mark.slow
def test_a_migration_that_is_interrupted_says_so_and_goes_on(visavis, people, tmp_path):
    """Ctrl-C while it copies: no traceback, nothing to be opened, and the next call goes on."""
    with Gallery.open(people, keys=SECRET) as gallery:
        vectors = np.random.default_rng(0).normal(size=(30_000, 128))
        rows = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        crowd = [(f"person {n}", [NewTemplate(row)]) for n, row in enumerate(rows)]
        gallery.enroll_all(crowd, encoder=ENCODER)
    to = tmp_path / "moved.db"
    words = [COMMAND, "gallery", "migrate", to, "--gallery", people]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wal = to.with_name("moved.db-wal")
        while process.poll() is None and not (wal.exists() and wal.stat().st_size > 1e6):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    half = visavis("people", "list", "--gallery", to)
    assert (half.status, half.err.split(":")[0]) == (3, "gallery_unfinished")
    done = visavis("gallery", "migrate", to, "--gallery", people, "--json")
    assert (done.status, done.json["way"], done.json["counts"]["template"]) == (
        0,
        "resumed",
        30_003,
    )
    assert visavis("gallery", "check", "--gallery", to).status == 0
