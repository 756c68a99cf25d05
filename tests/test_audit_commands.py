"""Keys, audit, erasure and consent from the command line."""

import base64
import getpass
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.secrets.protection import MasterKey
from visavis.values import Consent, EncoderId

ENCODER = EncoderId("sface-fp32-0123456789abcdef")
COMMAND = Path(sys.executable).with_name("visavis")
OLD, NEW = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture
def visavis(monkeypatch, tmp_path, command_line):
    """Call the command line in this process, with a data directory of its own."""
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    for variable in ("VISAVIS_GALLERY", "VISAVIS_KEY", "VISAVIS_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)

    return command_line


def written(path, secret):
    path.write_bytes(base64.b64encode(secret) + b"\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def key(tmp_path):
    return written(tmp_path / "old.key", OLD)


def someone(seed):
    vector = np.random.default_rng(seed).normal(size=128).astype(np.float32)
    return NewTemplate(vector / np.linalg.norm(vector), f"{seed:064x}")


@pytest.fixture
def people(tmp_path, key, monkeypatch):
    """Three people, enrolled by a program; nobody needs a photograph for these stories."""
    path = tmp_path / "people.db"
    with Gallery.open(path, keys=key, actor="door") as gallery:
        gallery.bind(ENCODER, "sface")
        for seed, name in enumerate(["Ada Lovelace", "Bob", "Cy"]):
            gallery.enroll(name, [someone(seed)], encoder=ENCODER)
    monkeypatch.setenv("VISAVIS_KEY_FILE", str(key))
    monkeypatch.setenv("VISAVIS_GALLERY", str(path))
    return path


@pytest.fixture
def call(people, visavis, monkeypatch, key):
    """The command line with that gallery and its key in the environment."""
    monkeypatch.setenv("VISAVIS_KEY_FILE", str(key))
    monkeypatch.setenv("VISAVIS_GALLERY", str(people))
    return visavis


# Audit


def test_show_says_who_did_what_to_whom(call):
    call("people", "rename", "Bob", "Robert")
    shown = call("audit", "show")
    assert shown.status == 0
    lines = shown.out.splitlines()
    assert [line.split()[3] for line in lines] == ["begin", "bind", *["enroll"] * 3, "rename"]
    assert "door" in lines[0]
    assert f"cli:{getpass.getuser()}" in lines[-1]
    entries = call("audit", "show", "--json", "--newest", 2).json["entries"]
    assert [entry["action"] for entry in entries] == ["enroll", "rename"]


def test_show_follows_one_person_by_name_and_after_the_erasure_by_id(call):
    ada = call("people", "show", "Ada Lovelace", "--json").json["id"]
    assert call("audit", "show", "Ada Lovelace", "--json").json["entries"][0]["subject"] == ada
    call("people", "remove", "Ada Lovelace", "--yes")
    entries = call("audit", "show", ada, "--json").json["entries"]
    assert [entry["action"] for entry in entries] == ["enroll", "remove"]
    assert call("audit", "show", "Ada Lovelace").err.startswith("person_unknown:")


def test_no_name_and_no_vector_is_in_the_log(call, people):
    call("people", "rename", "Bob", "Robert Browning")
    call("people", "remove", "Ada Lovelace", "--yes")
    exported = call("audit", "export").out
    assert exported
    assert not [name for name in ("Ada", "Bob", "Robert", "Cy") if name in exported]
    with closing(sqlite3.connect(people)) as db:
        (vector,) = db.execute("SELECT vector FROM template LIMIT 1").fetchone()
    assert vector.hex()[:16] not in exported


def test_verify_of_an_untouched_log(call):
    found = call("audit", "verify")
    assert found.status == 0
    assert found.out.startswith("intact: 5 entries, 3 signed\nanchor 5:")
    answer = call("audit", "verify", "--json").json
    assert (answer["intact"], answer["entries"], answer["faults"]) == (True, 5, [])


@pytest.mark.parametrize(
    ("tampering", "kind"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE seq = 3", "changed"),
        ("DELETE FROM audit WHERE seq = 3", "dropped"),
        ("UPDATE audit SET seq = CASE seq WHEN 3 THEN -4 WHEN 4 THEN -3 ELSE seq END", "changed"),
        ("UPDATE audit SET signature = NULL WHERE seq = 4", "unsigned"),
        ("UPDATE audit SET signature = hex(zeroblob(32)) WHERE seq = 4", "forged"),
    ],
)
def test_verify_names_what_was_tampered_with(call, people, tampering, kind):
    with closing(sqlite3.connect(people)) as db, db:
        db.execute(tampering)
        db.execute("UPDATE audit SET seq = -seq WHERE seq < 0")
    found = call("audit", "verify", "--json")
    assert found.status == 3
    assert kind in {fault["kind"] for fault in found.json["faults"]}
    told = call("audit", "verify")
    assert (told.status, "NOT intact" in told.out) == (3, True)
    assert "entry " in told.err
    assert call("gallery", "check").status == 3


def test_an_anchor_shows_that_the_end_was_cut_off(call, people):
    anchor = call("audit", "verify", "--json").json["anchor"]
    with closing(sqlite3.connect(people)) as db, db:
        db.execute("DELETE FROM audit WHERE seq = 5")
    assert call("audit", "verify").status == 0
    found = call("audit", "verify", "--anchor", anchor)
    assert (found.status, "was cut off" in found.err) == (3, True)
    wrong = call("audit", "verify", "--anchor", "yesterday")
    assert (wrong.status, wrong.err[:14]) == (3, "input_refused:")


def test_the_check_notices_a_cut_end_by_the_change_log(call, people):
    with closing(sqlite3.connect(people)) as db, db:
        db.execute("DELETE FROM audit WHERE seq = 5")
    found = call("gallery", "check")
    assert found.status == 3
    assert "the change log has 3 entries and the audit log tells of 2" in found.err


def test_an_export_can_be_verified_later(call, tmp_path):
    file = tmp_path / "audit.jsonl"
    assert call("audit", "export", file, "--json").json["entries"] == 5
    lines = file.read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert call("audit", "verify", "--file", file).status == 0
    file.write_text("\n".join([*lines[:2], *lines[3:]]))
    assert "entry 3 is missing" in call("audit", "verify", "--file", file).err
    file.write_text("no json")
    assert call("audit", "verify", "--file", file).err.startswith("input_refused:")
    assert call("audit", "export", "--json").status == 2


def test_without_the_key_the_chain_is_verified_and_the_signatures_are_not(
    call, monkeypatch, tmp_path
):
    monkeypatch.setenv("VISAVIS_KEY_FILE", str(tmp_path / "nowhere"))
    found = call("audit", "verify")
    assert (found.status, "signatures not looked at" in found.out) == (0, True)
    monkeypatch.setenv("VISAVIS_KEY", NEW.hex())
    assert call("audit", "verify").err.startswith("key_wrong:")


# Keys


def test_a_key_can_be_named_on_the_command_line(call, monkeypatch, key, tmp_path):
    monkeypatch.delenv("VISAVIS_KEY_FILE")
    refused = call("gallery", "check")
    assert (refused.status, "key: the rows were not opened" in refused.err) == (3, True)
    assert call("gallery", "check", "--key-file", key).status == 0
    other = written(tmp_path / "other.key", NEW)
    assert call("people", "rename", "Bob", "Eve", "--key-file", other).err.startswith("key_wrong:")
    assert call("people", "list", "--key-file", other).status == 0, "a list needs no key"
    key.chmod(0o644)
    assert call("people", "rename", "Bob", "Eve", "--key-file", key).err.startswith("key_exposed:")


def test_a_key_by_itself_in_the_environment(call, monkeypatch):
    monkeypatch.delenv("VISAVIS_KEY_FILE")
    monkeypatch.setenv("VISAVIS_KEY", OLD.hex())
    assert call("gallery", "check").status == 0
    monkeypatch.setenv("VISAVIS_KEY", "swordfish")
    refused = call("people", "rename", "Bob", "Robert")
    assert (refused.status, refused.err.split(":")[0]) == (3, "key_malformed")


def test_rotate_key_and_go_on(call):
    done = call("gallery", "rotate-key", "--json").json
    assert (done["data_key"], done["rows"], done["erased"]) == (2, 3, True)
    assert done["master_key"] == MasterKey(OLD).id
    assert call("gallery", "check").out == (
        "whole: 3 people, 3 templates, 0 photographs, 0 clear\n"
    )
    assert call("gallery", "info", "--json").json["data_key"] == 2
    assert call("audit", "verify").status == 0


def test_rotate_key_to_another_master_key(call, people, tmp_path):
    new = written(tmp_path / "new.key", NEW)
    done = call("gallery", "rotate-key", "--master-key-file", new)
    assert (done.status, f"master key {MasterKey(NEW).id}" in done.out) == (0, True)
    assert "--key-file" in done.err
    assert call("gallery", "check", "--key-file", new).status == 0
    assert call("people", "rename", "Bob", "Robert").err.startswith("key_wrong:")
    only = call("gallery", "rotate-key", "--only-master", "--key-file", new)
    assert only.status == 2
    back = ("gallery", "rotate-key", "--key-file", new, "--only-master", "--master-key-file")
    assert call(*back, tmp_path / "old.key", "--json").json["rows"] == 0
    assert call("gallery", "check").status == 0


def test_rotate_key_to_a_master_key_that_is_not_there(call, tmp_path):
    refused = call("gallery", "rotate-key", "--master-key-file", tmp_path / "nowhere")
    assert (refused.status, refused.err.split(":")[0]) == (3, "key_missing")
    assert call("gallery", "check").status == 0


@pytest.mark.slow
def test_ctrl_c_while_keys_are_exchanged_costs_nothing(call, people, key):
    with Gallery.open(people, keys=key) as gallery:
        many = [(f"p{n}", [someone(n)]) for n in range(100, 12_100)]
        gallery.enroll_all(many, encoder=ENCODER)
    process = subprocess.Popen(
        [COMMAND, "gallery", "rotate-key"], stderr=subprocess.PIPE, env=dict(os.environ), text=True
    )
    deadline = time.monotonic() + 60
    while call("gallery", "info", "--json").json["data_key"] == 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, "interrupted" in told) == (130, True)
    assert "Traceback" not in told
    found = call("gallery", "check", "--json").json
    assert (found["whole"], found["templates"]) == (True, 12_003)
    call("gallery", "rotate-key")
    assert call("gallery", "info", "--json").json["data_key"] == 2
    assert call("gallery", "check", "--json").json["notes"] == []


# Erasure


def test_check_erased_after_a_removal(call):
    removed = call("people", "remove", "Ada Lovelace", "--yes", "--json").json["removed"][0]["id"]
    found = call("gallery", "check", "--erased", removed, "--name", "Ada Lovelace")
    assert (found.status, found.out) == (0, "nothing is left\n")
    answer = call("gallery", "check", "--erased", removed, "--json").json
    assert (answer["person"], answer["templates"], answer["leftovers"]) == (removed, 1, [])
    assert call("gallery", "check", "--erased", "Ada Lovelace").out == "nothing is left\n"


def test_check_erased_of_somebody_still_there(call):
    bob = call("people", "show", "Bob", "--json").json["id"]
    found = call("gallery", "check", "--erased", bob)
    assert found.status == 3
    assert "table person: person id, 1 time(s)" in found.out
    by_name = call("gallery", "check", "--erased", "Bob", "--json")
    assert by_name.status == 3
    assert by_name.json["leftovers"][0]["where"] == "table person"


def test_check_erased_of_an_unknown_id_is_no_all_clear(call):
    refused = call("gallery", "check", "--erased", "0" * 32)
    assert (refused.status, refused.err.split(":")[0]) == (3, "person_unknown")
    assert call("gallery", "check", "--name", "Bob").status == 2


# Consent


@pytest.fixture
def temporary(people, key):
    """Dora's consent has ended a second ago; Eli's lasts."""
    now = datetime.now(UTC)
    with Gallery.open(people, keys=key) as gallery:
        for seed, name, end in (
            (7, "Dora", now + timedelta(seconds=0.3)),
            (8, "Eli", now + timedelta(days=30)),
        ):
            agreed = Consent("form 12", "front door", end)
            gallery.enroll(name, [someone(seed)], encoder=ENCODER, consent=agreed)
    time.sleep(0.4)


def test_show_tells_the_consent_and_its_end(call, temporary):
    shown = call("people", "show", "Eli").out
    assert "consent form 12" in shown
    assert "for front door" in shown
    assert "until 20" in shown
    assert "EXPIRED 20" in call("people", "show", "Dora").out
    told = call("people", "show", "Dora", "--json").json["consent"]
    assert (told["reference"], told["purpose"], told["expired"]) == ("form 12", "front door", True)
    assert call("people", "show", "Bob", "--json").json["consent"]["expires"] is None


def test_expire_erases_whose_consent_has_ended(call, temporary):
    dry = call("gallery", "expire", "--dry-run")
    assert (dry.status, dry.out.startswith("would erase: Dora")) == (0, True)
    assert len(call("people", "list", "--json").json["people"]) == 5
    done = call("gallery", "expire", "--json").json
    dora = done["expired"][0]
    assert (dora["name"], done["erased"]) == ("Dora", True)
    assert call("gallery", "check", "--erased", dora["id"], "--name", "Dora").status == 0
    assert len(call("people", "list", "--json").json["people"]) == 4
    (entry,) = call("audit", "show", "--newest", 1, "--json").json["entries"]
    assert (entry["action"], entry["subject"]) == ("expire", dora["id"])
    again = call("gallery", "expire")
    assert (again.status, again.out) == (0, "")


def test_a_consent_is_given_at_the_enrolment(visavis, photographs):
    enrolled = ("enroll", "Obama", photographs["obama.jpg"])
    agreed = ("--consent", "form 7", "--purpose", "front door")
    assert visavis(*enrolled, *agreed, "--expires", "2999-06-30").status == 0
    told = visavis("people", "show", "Obama", "--json").json["consent"]
    assert (told["reference"], told["purpose"]) == ("form 7", "front door")
    end = datetime.fromisoformat(told["expires"]).astimezone()
    assert (end.year, end.month, end.day, end.hour) == (2999, 7, 1, 0), "the last day counts"
    assert visavis(*enrolled, "--expires", "soon").status == 2
    past = visavis(*enrolled, "--expires", "2020-01-01")
    assert (past.status, past.err.split(":")[0]) == (3, "consent_refused")
    assert visavis("gallery", "check").status == 0


def test_a_folder_is_enrolled_with_one_consent(visavis, photographs, tmp_path):
    folder = tmp_path / "staff"
    folder.mkdir()
    for name in ("obama", "biden"):
        (folder / f"{name}.jpg").write_bytes(photographs[f"{name}.jpg"].read_bytes())
    assert visavis("enroll", "--folder", folder, "--purpose", "lift", "--workers", 1).status == 0
    people = visavis("people", "list", "--json").json["people"]
    assert [person["consent"]["purpose"] for person in people] == ["lift", "lift"]
    again = visavis("enroll", "--folder", folder, "--workers", 1, "--json").json
    assert (again["known"], again["enrolled"]) == (2, 0), "keyed digests are known again"
