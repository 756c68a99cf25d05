"""A backup holds one moment, whatever others write; restored, it is the same gallery."""

import random
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np
import pytest

from visavis.errors import CopyDiffers, CopyRefused, GalleryBusy, GalleryUnusable, KeyWrong
from visavis.gallery import ExactSearcher, Gallery, RestoreConfig, restore
from visavis.gallery.database import tables
from visavis.gallery.database.lease import held
from visavis.gallery.search.searchers import catch_up
from visavis.gallery.secrets.protection import Keys
from visavis.gallery.transfer import copying
from visavis.gallery.transfer.contents import contents_of
from visavis.values import Consent, OperatingPoint

from . import copyists, others
from .copyists import KEY, files_of, portrait
from .given import ENCODER, opened, some_vector, template
from .test_migrations import VERSION_1

CONFIG = RestoreConfig(Keys.of(KEY))
FORCED = RestoreConfig(Keys.of(KEY), force=True)


@pytest.fixture
def staff(where):
    """Eight people with consent, photographs, renamings, a removal and an operating point."""
    with opened(where, keys=KEY) as gallery:
        for n in range(8):
            new = [portrait(f"{n} {m}") for m in range(1 + n % 3)]
            consent = Consent(f"form {n}", "the front door", None)
            gallery.enroll(f"person {n}", new, encoder=ENCODER, consent=consent)
        gallery.rename("person 5", "Fünf 五 🎈")
        gallery.remove("person 6")
        gallery.put_operating_points([OperatingPoint(1.07, ENCODER, 1e-4, 2.5e-4, "made up")])
        yield gallery


def contents(gallery):
    with gallery._store.read() as db:
        return contents_of(db, gallery.where)


def answers(gallery):
    """Who is nearest to twenty probes, and at which distance, bit for bit."""
    searcher = ExactSearcher()
    catch_up(searcher, gallery)
    probes = np.stack([some_vector(f"{n % 8} {n % 3}") for n in range(20)])
    return [
        [(h.person, h.template, h.distance) for h in hits] for hits in searcher.nearest(probes, 3)
    ]


def everything(gallery):
    """All that can be asked of a gallery."""
    people = gallery.people()
    return {
        "people": people,
        "templates": [
            [(t.id, t.vector.tobytes(), t.digest, t.created) for t in gallery.templates(p.id)]
            for p in people
        ],
        "photographs": [gallery.photograph(t.id) for p in people for t in gallery.templates(p.id)],
        "points": gallery.operating_points(ENCODER),
        "encoder": gallery.encoder,
        "id": gallery.info().id,
        "answers": answers(gallery),
        "secret": gallery.search_secret(),
    }


def test_a_backup_is_the_gallery_row_for_row(staff, tmp_path):
    before = everything(staff)
    done = staff.backup(tmp_path / "kept.db")
    assert (tmp_path / "kept.db").stat().st_mode & 0o777 == 0o600
    with Gallery.open(tmp_path / "kept.db", keys=KEY) as kept:
        assert everything(kept) == before
        assert kept.check().problems == []
        assert contents(kept) == done.contents
    counts = done.contents.counts
    assert (counts["person"], counts["template"], counts["photograph"]) == (7, 14, 14)
    assert done.sequence == 16  # 15 templates came, and one of them went


def test_it_leaves_one_file_and_nothing_beside_it(staff, tmp_path):
    (tmp_path / "out").mkdir()
    staff.backup(tmp_path / "out" / "kept.db")
    assert files_of(tmp_path / "out") == ["kept.db"]


def test_a_backup_says_what_it_is_and_is_noted(staff, tmp_path):
    done = staff.backup(tmp_path / "kept.db")
    (copy,) = staff.copies()
    assert (copy.id, copy.place, copy.complete) == (done.id, str(tmp_path / "kept.db"), True)
    assert (copy.digest, copy.since, copy.until) == (done.contents.digest, 16, 16)
    begun, ended = staff.audit.entries(newest=2)
    assert (begun.action, begun.details["step"]) == ("backup", "begin")
    assert (ended.action, ended.details["step"]) == ("backup", "end")
    assert staff.audit.verify().intact


def test_progress_rises_to_the_whole(staff, tmp_path):
    seen = []
    staff.backup(tmp_path / "kept.db", told=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == 2 * contents(staff).rows - 2  # the entry of the end


def test_a_restored_gallery_answers_as_before(staff, tmp_path, request):
    """Out of either database into either."""
    before = everything(staff)
    done = staff.backup(tmp_path / "kept.db")
    for to in (tmp_path / "again.db", request.getfixturevalue("postgres").url("restored")):
        restored = restore(tmp_path / "kept.db", to, CONFIG)
        assert (restored.contents, restored.backup) == (done.contents, done.id)
        assert restored.returned == ()
        with Gallery.open(to, keys=KEY) as again:
            assert everything(again) == before
            assert again.check().problems == []
            (last,) = again.audit.entries(newest=1)
            assert (last.action, last.details["copy"]) == ("restore", done.id)
            # It goes on like any other.
            again.enroll("late", [template("late")], encoder=ENCODER)
            assert again.info().sequence == 17
            assert again.audit.verify().signed == again.audit.verify().entries - 2
    with closing(request.getfixturevalue("postgres").connect()) as db:
        db.execute("DROP SCHEMA restored CASCADE")


def test_a_gallery_that_holds_something_is_not_replaced_unless_forced(staff, where, tmp_path):
    staff.backup(tmp_path / "kept.db")
    staff.enroll("late", [portrait("late")], encoder=ENCODER)
    with pytest.raises(CopyRefused, match="not empty"):
        restore(tmp_path / "kept.db", where, CONFIG)
    assert staff.person("late").templates == 1
    done = restore(tmp_path / "kept.db", where, FORCED)
    assert done.erased
    assert {p.name for p in staff.people()} == {
        *(f"person {n}" for n in (0, 1, 2, 3, 4, 7)),
        "Fünf 五 🎈",
    }
    with Gallery.open(where, keys=KEY) as again:
        assert again.check().problems == []


def test_who_was_removed_since_is_named_when_a_backup_brings_them_back(staff, where, tmp_path):
    ada = staff.person("person 1")
    staff.backup(tmp_path / "kept.db")
    staff.remove("person 1")
    staff.enroll("Eve", [portrait("Eve")], encoder=ENCODER)
    staff.remove("Eve")
    (back,) = restore(tmp_path / "kept.db", where, FORCED).returned
    assert (back.id, back.name) == (ada.id, "person 1")


def test_the_copies_that_were_known_are_known_after_a_restoration(staff, where, tmp_path):
    staff.backup(tmp_path / "first.db")
    staff.remove("person 0")
    eve = staff.enroll("Eve", [portrait("Eve")], encoder=ENCODER).person
    staff.backup(tmp_path / "second.db")
    restore(tmp_path / "first.db", where, FORCED)
    with Gallery.open(where, keys=KEY) as again:
        assert {c.place for c in again.copies()} == {
            str(tmp_path / "first.db"),
            str(tmp_path / "second.db"),
        }
        assert all(copy.complete for copy in again.copies())
        bob = again.person("person 1").id
        again.remove("person 1")
        # The second was made of another story, in which person 1 was there as well.
        assert places(again, bob) == {str(tmp_path / "first.db"), str(tmp_path / "second.db")}
        assert eve.id not in {p.id for p in again.people()}


def places(gallery, person):
    report = gallery.check_erased(person)
    return {x.where for x in report.leftovers if "backup" in x.what or "migration" in x.what}


def test_the_backups_that_hold_somebody_removed_are_named(staff, tmp_path):
    """Only those made while they were there, until they are destroyed."""
    early, late = tmp_path / "early.db", tmp_path / "late.db"
    staff.backup(early)
    ada = staff.enroll("Ada", [portrait("Ada 1"), portrait("Ada 2")], encoder=ENCODER).person.id
    staff.backup(tmp_path / "with.db")
    assert places(staff, ada) == {str(tmp_path / "with.db")}
    staff.remove("Ada")
    staff.backup(late)
    report = staff.check_erased(ada)
    (left,) = report.leftovers
    assert (left.where, left.count) == (str(tmp_path / "with.db"), 2)
    with pytest.raises(CopyRefused, match="no copy"):
        staff.note_gone("another")
    assert staff.note_gone(str(tmp_path / "with.db")).place == str(tmp_path / "with.db")
    assert staff.check_erased(ada).leftovers == ()
    assert "backups" in " ".join(staff.check_erased("", "Ada").not_looked)


def test_a_backup_in_the_place_of_another_ends_it(staff, tmp_path):
    first = staff.backup(tmp_path / "kept.db")
    ada = staff.person("person 0").id
    staff.remove("person 0")
    assert places(staff, ada) == {str(tmp_path / "kept.db")}
    with pytest.raises(CopyRefused, match="--force"):
        staff.backup(tmp_path / "kept.db")
    second = staff.backup(tmp_path / "kept.db", force=True)
    assert [(c.id, c.gone) for c in staff.copies()] == [(first.id, True), (second.id, False)]
    assert places(staff, ada) == set()


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_the_gallery_itself_a_folder_and_a_gallery_in_use_are_no_place(staff, path, tmp_path):
    for place, said in (
        (path, "itself"),
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere" / "kept.db", "no folder"),
    ):
        with pytest.raises(CopyRefused, match=said):
            staff.backup(place, force=True)
    with opened(tmp_path / "other.db", keys=KEY) as other:
        other.enroll("Bob", [portrait("Bob")], encoder=ENCODER)
        with pytest.raises(CopyRefused, match="in use"):
            staff.backup(tmp_path / "other.db", force=True)
        assert other.size == 1
    assert staff.copies() == []


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_what_is_wrong_with_a_backup_is_told_and_nothing_is_replaced(staff, path, tmp_path):
    kept = tmp_path / "kept.db"
    staff.backup(kept)
    staff.enroll("late", [portrait("late")], encoder=ENCODER)
    before, whole = contents(staff), kept.read_bytes()

    def refused(kind, said, config=FORCED):
        with pytest.raises(kind, match=said):
            restore(kept, path, config)
        assert contents(staff) == before

    for change, said in (
        ("UPDATE person SET name = 'Mallory' WHERE name = 'person 1'", "digests to"),
        ("DELETE FROM photograph WHERE rowid = 3", "digests to"),
    ):
        with closing(sqlite3.connect(kept)) as db, db:
            db.execute(change)
        refused(CopyDiffers, said)
        kept.write_bytes(whole)
    # One who also changed what the file says of itself does not get past the seals.
    with closing(sqlite3.connect(kept)) as db, db:
        db.execute("UPDATE template SET person = (SELECT max(id) FROM person)")
        db.execute("DROP TABLE backup")
    refused(GalleryUnusable, "not whole")
    kept.write_bytes(whole)
    refused(CopyDiffers, "digests to", RestoreConfig(Keys.of(KEY), force=True, digest="0" * 64))
    refused(KeyWrong, "master key", RestoreConfig(Keys.of(bytes(32)), force=True))
    kept.write_bytes(whole[:-4096])
    refused(GalleryUnusable, "damaged")
    kept.write_bytes(b"")
    refused(GalleryUnusable, "empty")
    kept.write_bytes(b"no gallery at all" * 100)
    refused(GalleryUnusable, "not a gallery")
    kept.write_bytes(whole)
    restore(kept, path, FORCED)
    assert contents(staff) != before


def test_what_is_not_what_it_should_be_in_the_end_is_no_backup(staff, tmp_path, monkeypatch):
    """A row that the target swallows is found by count, one that it changes by digest."""
    right = copying._insert
    for change in (lambda rows: rows[:-1], lambda rows: [(*rows[0][:-1], "x"), *rows[1:]]):

        def wrong(target, table, rows, change=change):
            changed = change(rows) if table.name == "operating_point" else rows
            if changed:
                right(target, table, changed)

        # The last column is text, so the database takes it.
        monkeypatch.setattr(copying, "_insert", wrong)
        with pytest.raises(CopyDiffers, match="does not hold"):
            staff.backup(tmp_path / "out.db")
        assert not (tmp_path / "out.db").exists()
    assert [name for name in files_of(tmp_path) if "out" in name] == []
    assert staff.copies() == []


def test_a_plain_copy_of_an_earlier_gallery_is_restored_too(path, tmp_path):
    """Made by the first version, without seals: brought up to date in a copy of its own."""
    with closing(sqlite3.connect(tmp_path / "old.db")) as db, db:
        db.executescript(VERSION_1.read_text())
    before = (tmp_path / "old.db").read_bytes()
    with pytest.raises(GalleryUnusable, match=r"not of its digest.*--damaged"):
        restore(tmp_path / "old.db", path, CONFIG)  # its photograph is made up
    done = restore(tmp_path / "old.db", path, replace(CONFIG, damaged=True))
    assert [problem.kind for problem in done.problems] == ["digest"]
    assert (done.backup, done.contents.counts["person"]) == ("", 2)
    assert (tmp_path / "old.db").read_bytes() == before


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_a_gallery_that_can_only_be_read_is_backed_up_unrecorded(staff, path, tmp_path):
    with Gallery.open(f"sqlite:///{path}?mode=ro", keys=KEY) as reading:
        done = reading.backup(tmp_path / "kept.db")
    assert not done.recorded
    assert staff.copies() == []
    with Gallery.open(tmp_path / "kept.db", keys=KEY) as kept:
        assert kept.check().problems == []


@pytest.mark.slow
def test_a_backup_under_writers_is_one_moment(staff, where, tmp_path):
    """Three processes enrol, rename and remove while five backups are made."""
    stop = tmp_path / "stop"
    mine, theirs = others.CONTEXT.Pipe()
    with mine, theirs, ExitStack() as stack:
        for number in range(3):
            arguments = (theirs, copyists.write_until, (where, stop, number))
            stack.enter_context(others.started(others._answer, *arguments))
        try:
            time.sleep(0.5)
            made = []
            for n in range(5):
                made.append(staff.backup(tmp_path / f"kept {n}.db"))
                time.sleep(0.2)
        finally:
            stop.touch()
        counts = [mine.recv() if mine.poll(others.WAIT) else "no answer" for _ in range(3)]
    assert all(isinstance(count, int) and count > 3 for count in counts), counts
    assert len({backup.sequence for backup in made}) == 5  # others did write in between
    for backup in made:
        with Gallery.open(backup.file, keys=KEY) as kept:
            found = kept.check()
            assert found.problems == []
            assert contents(kept) == backup.contents
            assert kept.info().sequence == backup.sequence
            assert kept.audit.verify().intact
            # Nobody half there: each came with two templates and their photographs.
            visitors = [p for p in kept.people() if p.name.startswith(("visitor", "guest"))]
            assert {p.templates for p in visitors} <= {2}
            assert found.photographs == found.templates


@pytest.mark.slow
def test_a_killed_backup_leaves_the_old_one_and_a_remainder_that_the_next_removes(
    staff, where, tmp_path
):
    out, started = tmp_path / "out", tmp_path / "started"
    out.mkdir()
    crowd = [(f"many {n}", [portrait(f"many {n}")]) for n in range(300)]
    staff.enroll_all(crowd, encoder=ENCODER)
    first = staff.backup(out / "kept.db")
    arguments = (where, out / "other.db", started, 20)
    with others.started(copyists.back_up_in_portions, *arguments) as process:
        while not started.exists():
            assert process.is_alive()
            time.sleep(0.002)
        process.kill()
    left = files_of(out)
    assert "kept.db" in left
    assert "other.db" not in left
    assert any(".other.db.part" in name for name in left)
    with pytest.raises(Exception, match="not finished"):
        Gallery.open(out / ".other.db.part", keys=KEY)
    # What was begun is known: it may hold whoever was there.
    begun = staff.copies()[-1]
    assert (begun.place, begun.complete) == (str(out / "other.db"), False)
    ada = staff.person("many 7").id
    staff.remove("many 7")
    assert places(staff, ada) == {str(out / "kept.db"), f"{out / 'other.db'} (cut short)"}
    staff.backup(out / "other.db")
    assert files_of(out) == ["kept.db", "other.db"]
    assert staff.copies()[0].id == first.id


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_a_backup_to_a_full_disk_leaves_no_half_of_it(staff, where, tmp_path):
    """Out of a server, so that it is the backup alone that finds no room."""
    staff.enroll_all([(f"many {n}", [portrait(f"{n}")]) for n in range(200)], encoder=ENCODER)
    (tmp_path / "out").mkdir()
    arguments = ("backup", where, tmp_path / "out" / "kept.db", 300_000)
    assert others.answer_of(copyists.copy_to_a_full_disk, *arguments) == "gallery_full"
    assert files_of(tmp_path / "out") == []
    assert [e.details["step"] for e in staff.audit.entries(newest=2)] == ["begin", "undone"]
    assert staff.copies() == []


def test_a_restoration_to_a_full_disk_changes_nothing(path, tmp_path):
    with opened(path, keys=KEY) as gallery:
        crowd = [(f"many {n}", [portrait(f"many {n}")]) for n in range(200)]
        gallery.enroll_all(crowd, encoder=ENCODER)
        gallery.backup(tmp_path / "kept.db")
    to = tmp_path / "other.db"
    with opened(to, keys=KEY) as other:
        other.enroll("Bob", [portrait("Bob")], encoder=ENCODER)
        before = contents(other)
    arguments = ("restore", tmp_path / "kept.db", to, 300_000)
    assert others.answer_of(copyists.copy_to_a_full_disk, *arguments) == "gallery_full"
    with opened(to, keys=KEY) as other:
        assert contents(other) == before


def test_two_backups_to_one_place_do_not_meet(staff, tmp_path):
    with (
        held(tmp_path / ".kept.db.part-lock", 1.0),
        pytest.raises(GalleryBusy, match="another process"),
    ):
        staff.backup(tmp_path / "kept.db")
    assert staff.copies() == []
    staff.backup(tmp_path / "kept.db")
    assert len(staff.copies()) == 1


def test_what_a_tampered_log_tells_of_copies_breaks_nothing(staff, tmp_path):
    staff.backup(tmp_path / "kept.db")
    with staff._store.write() as db:
        for seq, details in enumerate(('{"copy": 1, "step": "end"}', "[", '{"copies": 3}'), 900):
            row = {"at": "2026-11-29T08:00:00+00:00", "actor": "x", "action": "backup"}
            row |= {"subject": "", "previous": "", "hash": "", "seq": seq, "details": details}
            db.execute(tables.audit.insert().values(**row))
            db.execute(tables.audit.insert().values(**row | {"seq": seq + 50, "action": "restore"}))
    assert [copy.place for copy in staff.copies()] == [str(tmp_path / "kept.db")]
    assert not staff.audit.verify().intact


def test_an_empty_gallery_can_be_copied(where, tmp_path):
    with Gallery.open(where, keys=KEY) as gallery:
        gallery.backup(tmp_path / "kept.db")
        gallery.migrate(tmp_path / "moved.db")
    restore(tmp_path / "kept.db", tmp_path / "again.db", CONFIG)
    for name in ("kept", "moved", "again"):
        with opened(tmp_path / f"{name}.db", keys=KEY) as copied:
            assert copied.size == 0
            copied.enroll("Ada", [portrait("Ada")], encoder=ENCODER)
            assert copied.check().problems == []


@pytest.mark.slow
def test_a_killed_restoration_has_changed_nothing(staff, where, tmp_path):
    staff.enroll_all([(f"many {n}", [portrait(f"{n}")]) for n in range(300)], encoder=ENCODER)
    staff.backup(tmp_path / "kept.db")
    staff.remove("many 7")
    before, chance = contents(staff), random.Random(3)
    for life in range(5):
        started = tmp_path / f"started {life}"
        arguments = (tmp_path / "kept.db", where, started, 20)
        with others.started(copyists.restore_in_portions, *arguments) as process:
            while not started.exists():
                assert process.is_alive()
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
        assert contents(staff) == before
    assert restore(tmp_path / "kept.db", where, FORCED).returned[0].name == "many 7"
