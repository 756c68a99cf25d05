"""Who did what to whom: nothing of it can be changed, dropped or moved without being noticed."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, insert, select, update

from visavis.errors import InputRefused
from visavis.gallery.database import tables
from visavis.gallery.trail import audit
from visavis.gallery.trail.audit import Deed, verify

GALLERY, ADA, BOB = "9" * 32, "a" * 32, "b" * 32
KEY = bytes(range(32))
DEEDS = [
    Deed("begin"),
    Deed("enroll", ADA, {"templates": 2}),
    Deed("enroll", BOB, {"templates": 1}),
]
DEEDS += [Deed("rename", ADA), Deed("remove", BOB, {"nonces": ["00" * 12]}), Deed("calibrate")]


def appended(db, actor, deeds, key):
    audit.append(db, audit.end(db), [(actor, deed) for deed in deeds], key)


@pytest.fixture
def db():
    engine = create_engine("sqlite://")
    tables.schema.create_all(engine)
    with engine.connect() as db:
        db.execute(insert(tables.gallery).values(id=GALLERY, created="now"))
        yield db
    engine.dispose()


@pytest.fixture
def log(db):
    """Six entries, written in three transactions."""
    for start in (0, 2, 4):
        appended(db, "cli:ada", DEEDS[start : start + 2], KEY)
    return db


def checked(db, **how):
    return verify(audit.read(db), gallery=GALLERY, **how)


def faults(report):
    return {(fault.number, fault.kind) for fault in report.faults}


def change(db, number, **values):
    db.execute(update(tables.audit).where(tables.audit.c.seq == number).values(**values))


def test_what_was_done_stands_there_in_order(log):
    entries = list(audit.read(log))
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.action for entry in entries] == [deed.action for deed in DEEDS]
    assert [entry.subject for entry in entries] == ["", ADA, BOB, ADA, BOB, ""]
    assert {entry.actor for entry in entries} == {"cli:ada"}
    report = checked(log, key=KEY)
    assert (report.intact, report.entries, report.signed) == (True, 6, 6)
    assert report.anchor == f"6:{entries[-1].hash}"


def test_one_person_or_the_newest_can_be_asked_for(log):
    assert [entry.seq for entry in audit.read(log, subject=ADA)] == [2, 4]
    assert [entry.seq for entry in audit.read(log, newest=2)] == [5, 6]
    assert [entry.seq for entry in audit.read(log, subject=BOB, newest=1)] == [5]


def test_an_empty_log_is_intact(db):
    assert checked(db, key=KEY) == audit.AuditReport(0, "", 0, ())


@pytest.mark.parametrize(
    "values",
    [
        {"at": "2020-01-01T00:00:00+00:00"},
        {"actor": "cli:eve"},
        {"action": "enroll"},
        {"subject": ADA},
        {"details": '{"nonces":[]}'},
        {"details": '{"nonces": ["000000000000000000000000"]}'},
        {"details": "{"},
        {"details": "[]"},
        {"details": b"\xff"},
        {"subject": b"\xff"},
        {"actor": 5},
    ],
)
def test_a_changed_entry_is_named(log, values):
    change(log, 5, **values)
    assert faults(checked(log)) == {(5, "changed")}


def test_a_changed_entry_with_a_hash_made_to_fit_breaks_the_chain_behind_it(log):
    fifth = replace(list(audit.read(log))[4], subject=ADA)
    change(log, 5, subject=ADA, hash=fifth.own_hash())
    assert faults(checked(log)) == {(6, "unlinked")}
    assert (5, "forged") in faults(checked(log, key=KEY))


def test_a_changed_signature_is_named(log):
    change(log, 3, signature="0" * 64)
    assert checked(log).intact
    assert faults(checked(log, key=KEY)) == {(3, "forged")}
    change(log, 3, signature=None)
    assert faults(checked(log, key=KEY)) == {(3, "unsigned")}


@pytest.mark.parametrize("seq", [1, 2, 5])
def test_a_dropped_entry_is_named(log, seq):
    log.execute(delete(tables.audit).where(tables.audit.c.seq == seq))
    assert faults(checked(log)) == {(seq, "dropped")}


def test_a_dropped_entry_is_noticed_when_the_rest_moves_up(log):
    log.execute(delete(tables.audit).where(tables.audit.c.seq == 3))
    for seq in (4, 5, 6):
        change(log, seq, seq=seq - 1)
    assert {number for number, _ in faults(checked(log))} >= {3, 4, 5}


def test_two_entries_in_each_others_place_are_named(log):
    for old, new in ((3, 30), (4, 3), (30, 4)):
        change(log, old, seq=new)
    assert {(3, "changed"), (4, "changed")} <= faults(checked(log))


def test_lines_of_an_export_in_another_order_are_noticed(log):
    entries = list(audit.read(log))
    entries[2], entries[3] = entries[3], entries[2]
    assert not verify(entries, gallery=GALLERY).intact


def test_an_end_that_was_cut_off_is_noticed_by_an_anchor(log):
    anchor = checked(log).anchor
    log.execute(delete(tables.audit).where(tables.audit.c.seq > 4))
    assert checked(log, key=KEY).intact, "a chain alone cannot show it"
    assert faults(checked(log, anchor=anchor)) == {(6, "cut")}


def test_an_anchor_of_earlier_holds_while_the_log_grows(log):
    anchor = checked(log).anchor
    appended(log, "python", [Deed("scrub")], KEY)
    assert checked(log, anchor=anchor).intact
    assert checked(log, anchor=f"  {anchor}\n").intact


def test_an_end_that_was_cut_off_and_grew_again_is_noticed_by_an_anchor(log):
    anchor = checked(log).anchor
    log.execute(delete(tables.audit).where(tables.audit.c.seq > 5))
    appended(log, "cli:eve", [Deed("enroll", ADA)], KEY)
    assert checked(log, key=KEY).intact
    (fault,) = checked(log, key=KEY, anchor=anchor).faults
    assert (fault.kind, "another one" in fault.message) == ("cut", True)


@pytest.mark.parametrize("anchor", ["", "6", "6:abc", f"x:{'0' * 64}", f"6:{'0' * 64}:"])
def test_what_is_no_anchor_is_refused(log, anchor):
    with pytest.raises(InputRefused, match="no anchor"):
        checked(log, anchor=anchor)


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_a_chain_made_anew_without_the_key_is_noticed(log, key):
    """Whoever can write the database can make a chain that fits; signing it they cannot."""
    log.execute(delete(tables.audit))
    appended(log, "cli:ada", DEEDS[:4], key)
    assert checked(log).intact
    report = checked(log, key=KEY)
    assert not report.intact
    assert report.signed == 0


def test_entries_of_before_the_gallery_was_sealed_are_vouched_for_by_those_after(db):
    appended(db, "cli:ada", DEEDS[:2], None)
    appended(db, "cli:ada", DEEDS[2:4], KEY)
    report = checked(db, key=KEY)
    assert (report.intact, report.signed) == (True, 2)
    appended(db, "cli:ada", DEEDS[4:], None)
    assert faults(checked(db, key=KEY)) == {(5, "unsigned"), (6, "unsigned")}


def test_a_log_does_not_fit_another_gallery(log):
    assert faults(verify(audit.read(log), gallery="8" * 32)) == {(1, "unlinked")}


def test_an_export_reads_back_as_it_was(log):
    lines = [json.dumps(entry.as_dict()) for entry in audit.read(log)]
    entries = list(audit.read_lines(lines, "audit.jsonl"))
    assert entries == list(audit.read(log))
    assert verify(entries, gallery=None, key=KEY).intact


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"seq": 1}', "no json"])
def test_a_line_that_is_no_entry_is_named(log, line):
    lines = [json.dumps(next(audit.read(log)).as_dict()), line]
    with pytest.raises(InputRefused, match=r"audit\.jsonl, line 2 is no audit entry"):
        list(audit.read_lines(lines, "audit.jsonl"))


def test_an_entry_with_a_field_of_another_type_is_no_entry(log):
    line = json.dumps({**next(audit.read(log)).as_dict(), "seq": "1"})
    with pytest.raises(InputRefused, match="another type"):
        list(audit.read_lines([line], "audit.jsonl"))


def test_of_very_many_faults_the_first_hundred_are_told(db):
    appended(db, "python", [Deed("scrub")] * 300, None)
    db.execute(update(tables.audit).values(actor="eve"))
    assert len(checked(db).faults) == 100


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_no_change_to_any_field_passes(seed):
    """One field of one of 20 entries changed, or entries dropped, doubled or exchanged."""
    chance = random.Random(seed)
    entries = list(EXAMPLE)
    at = chance.randrange(len(entries) - 1)
    match chance.choice(["field", "drop", "exchange", "double"]):
        case "field":
            name = chance.choice(["at", "actor", "action", "subject", "previous", "hash"])
            entries[at] = replace(entries[at], **{name: getattr(entries[at], name) + "x"})
        case "drop":
            del entries[at]
        case "exchange":
            entries[at], entries[at + 1] = entries[at + 1], entries[at]
        case "double":
            entries.insert(at, entries[at])
    assert not verify(entries, gallery=GALLERY).intact


def example():
    engine = create_engine("sqlite://")
    tables.schema.create_all(engine)
    with engine.connect() as db:
        db.execute(insert(tables.gallery).values(id=GALLERY, created="now"))
        deeds = [Deed("enroll", f"{n:032x}", {"templates": n}) for n in range(20)]
        appended(db, "cli:ada", deeds, KEY)
        found = tuple(audit.read(db))
    engine.dispose()
    return found


EXAMPLE = example()


def test_no_name_and_nothing_of_a_body_is_in_an_entry(log):
    """The columns there are; a name or a vector has no place among them."""
    assert set(tables.audit.c.keys()) == set(audit.AuditEntry.__slots__)
    assert len(log.execute(select(tables.audit)).all()) == 6
