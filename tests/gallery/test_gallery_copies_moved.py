"""A gallery moves between a file and a server, and is the same there."""

import random
import time
from contextlib import closing

import pytest

from visavis.errors import CopyRefused, GalleryError, GalleryUnfinished, GalleryUnreachable
from visavis.gallery import CopyKind, Gallery, NewTemplate, Way
from visavis.gallery.database import tables
from visavis.gallery.transfer import contents, copying

from . import copyists, others
from .copyists import KEY, portrait
from .given import ENCODER, opened
from .test_gallery_copies import contents as held
from .test_gallery_copies import everything, places, staff  # noqa: F401 -- a fixture

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def to(where, path, url, tmp_path):
    """The other database."""
    return url if where == path else tmp_path / "moved.db"


def test_it_is_the_same_gallery_on_the_other_database(staff, to):  # noqa: F811
    before = everything(staff)
    done = staff.migrate(to)
    assert done.way is Way.FILLED
    with Gallery.open(to, keys=KEY) as moved:
        assert everything(moved) == before
        assert moved.check().problems == []
        assert held(moved) == done.contents == held(staff)
        assert moved.audit.verify().anchor == staff.audit.verify().anchor
        # It goes on by itself, with numbers after those that came along.
        moved.enroll("late", [portrait("late")], encoder=ENCODER)
        assert moved.info().sequence == before_sequence(staff) + 1
        assert moved.rotate_key().key == 2
        assert moved.check().problems == []


def before_sequence(gallery):
    return gallery.info().sequence


def test_there_and_back_again_is_where_it_began(staff, to, tmp_path, postgres):  # noqa: F811
    staff.migrate(to)
    with Gallery.open(to, keys=KEY) as moved:
        back = postgres.url("back") if moved.path else tmp_path / "back.db"
        returned = moved.migrate(back)
        with Gallery.open(back, keys=KEY) as again:
            assert everything(again) == everything(staff)
            assert held(again) == returned.contents
    with closing(postgres.connect()) as db:
        db.execute("DROP SCHEMA IF EXISTS back CASCADE")


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_the_servers_own_counter_goes_on_after_what_was_copied(path, url, postgres, where):
    with opened(path, keys=KEY) as gallery:
        gallery.enroll("Ada", [portrait(n) for n in range(5)], encoder=ENCODER)
        gallery.migrate(url)
    schema = url.rpartition("schema=")[2]
    with closing(postgres.connect()) as db:
        asked = f"SELECT nextval(pg_get_serial_sequence('{schema}.change_log', 'seq'))"
        assert db.execute(asked).fetchone() == (6,)


def test_what_changed_since_comes_with_the_next_call(staff, to):  # noqa: F811
    """Names exchanged, somebody gone, rows sealed anew: whatever it is."""
    staff.migrate(to)
    staff.rename("person 1", "passing")
    staff.rename("person 2", "person 1")
    staff.rename("passing", "person 2")
    gone = staff.person("person 3").id
    staff.remove("person 3")
    staff.enroll("person 3", [portrait("another")], encoder=ENCODER)
    staff.rotate_key()
    done = staff.migrate(to)
    assert done.way is Way.REFRESHED
    assert staff.migrate(to).way is Way.REFRESHED
    with Gallery.open(to, keys=KEY) as moved:
        assert everything(moved) == everything(staff)
        assert moved.check().problems == []
        left = moved.check_erased(gone).leftovers
        assert {x.where for x in left if "migration" not in x.what} == set()


def test_a_copy_that_went_on_by_itself_is_not_overwritten(staff, to):  # noqa: F811
    staff.migrate(to)
    with Gallery.open(to, keys=KEY) as moved:
        moved.rename("person 1", "Ada")
        with pytest.raises(CopyRefused, match="written into"):
            staff.migrate(to)
        assert moved.person("Ada").templates == 2


def test_another_gallery_and_itself_are_no_place(staff, where, to):  # noqa: F811
    with opened(to, keys=KEY) as other:
        other.enroll("Bob", [portrait("Bob")], encoder=ENCODER)
        with pytest.raises(CopyRefused, match="another gallery"):
            staff.migrate(to)
        assert other.size == 1
    with pytest.raises(CopyRefused, match="itself"):
        staff.migrate(where)
    assert staff.copies() == []


def test_either_end_knows_of_the_other(staff, to):  # noqa: F811
    staff.migrate(to)
    with Gallery.open(to, keys=KEY) as moved:
        (here,), (there,) = staff.copies(), moved.copies()
        assert (here.kind, here.place) == (CopyKind.MIGRATION, moved.where)
        assert (there.kind, there.place) == (CopyKind.MIGRATION, staff.where)
        ada = moved.person("person 1").id
        moved.remove("person 1")
        assert places(moved, ada) == {staff.where}
        moved.note_gone(there.id)
        assert moved.check_erased(ada).leftovers == ()
        late = moved.enroll("late", [portrait("late")], encoder=ENCODER).person.id
        moved.remove("late")
        assert moved.check_erased(late).leftovers == ()


def test_cut_short_it_is_no_gallery_and_is_gone_on_with(staff, to, monkeypatch):  # noqa: F811
    """Interrupted after every portion, with somebody removed in between."""
    monkeypatch.setattr(contents, "PORTION", 3)
    calls = 0

    def interrupt(done, total):
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    ways = []
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            staff.migrate(to, told=interrupt)
        with pytest.raises(GalleryUnfinished, match="migrate"):
            Gallery.open(to, keys=KEY)
        staff.rename("person 1", "person 1")
    staff.remove("person 4")
    ways.append(staff.migrate(to).way)
    assert ways == [Way.RESUMED]
    assert calls == 3
    with Gallery.open(to, keys=KEY) as moved:
        assert everything(moved) == everything(staff)
        assert moved.check().problems == []


@pytest.mark.slow
def test_killed_at_any_moment_it_is_gone_on_with(staff, where, to, tmp_path):  # noqa: F811
    """Kill -9 again and again while others write; the last call finishes, and it is the same."""
    crowd = [(f"many {n}", [portrait(f"many {n}")]) for n in range(400)]
    staff.enroll_all(crowd, encoder=ENCODER)
    chance, unfinished = random.Random(11), 0
    for life in range(5):
        started = tmp_path / f"started {life}"
        arguments = (where, to, started, 20)
        with others.started(copyists.migrate_in_portions, *arguments) as process:
            while not started.exists() and process.is_alive():
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
        try:
            with Gallery.open(to, keys=KEY) as moved:  # it was quicker
                assert moved.check().problems == []
        except GalleryUnfinished:
            unfinished += 1
        staff.remove(f"many {life}")
        staff.enroll(f"new {life}", [portrait(f"new {life}")], encoder=ENCODER)
    assert unfinished >= 3
    done = staff.migrate(to)
    with Gallery.open(to, keys=KEY) as moved:
        assert held(moved) == done.contents == held(staff)
        assert moved.check().problems == []
        assert moved.audit.verify().intact


@pytest.mark.slow
def test_under_writers_it_is_one_moment_and_catches_up(staff, where, to, tmp_path):  # noqa: F811
    stop = tmp_path / "stop"
    mine, theirs = others.CONTEXT.Pipe()
    arguments = (theirs, copyists.write_until, (where, stop, 0))
    with mine, theirs, others.started(others._answer, *arguments):
        time.sleep(0.3)
        try:
            first = staff.migrate(to)
            with Gallery.open(to, keys=KEY) as moved:
                assert moved.check().problems == []
                assert held(moved) == first.contents
            time.sleep(0.3)
            staff.migrate(to)
        finally:
            stop.touch()
        assert mine.poll(others.WAIT)
        assert mine.recv() > 3
    last = staff.migrate(to)
    assert last.contents == held(staff)
    with Gallery.open(to, keys=KEY) as moved:
        assert everything(moved) == everything(staff)


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_on_a_full_disk_it_stops_and_goes_on_when_there_is_room(staff, where, tmp_path):  # noqa: F811
    crowd = [(f"many {n}", [portrait(f"many {n}")]) for n in range(200)]
    staff.enroll_all(crowd, encoder=ENCODER)
    to = tmp_path / "moved.db"
    code = others.answer_of(copyists.copy_to_a_full_disk, "migrate", where, to, 300_000)
    assert code == "gallery_full"
    with pytest.raises(GalleryUnfinished):
        Gallery.open(to, keys=KEY)
    assert staff.migrate(to).way is Way.RESUMED
    with Gallery.open(to, keys=KEY) as moved:
        assert everything(moved) == everything(staff)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_a_server_that_goes_down_in_the_middle_is_said_and_gone_on_with(staff, to, postgres):  # noqa: F811
    crowd = [(f"many {n}", [portrait(f"many {n}")]) for n in range(50)]
    staff.enroll_all(crowd, encoder=ENCODER)
    calls = 0

    def told(done, total):
        nonlocal calls
        calls += 1
        if calls == 3:
            postgres.stop("immediate")

    try:
        with pytest.raises(GalleryUnreachable):
            staff.migrate(to, told=told)
    finally:
        postgres.start()
    assert staff.migrate(to).way is Way.RESUMED
    with Gallery.open(to, keys=KEY) as moved:
        assert everything(moved) == everything(staff)


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_what_the_server_says_to_rows_in_bulk_is_told_as_everything_it_says(staff):  # noqa: F811
    with staff._store.read() as db:
        rows = [tuple(row) for row in db.execute(tables.person.select())]
    with pytest.raises(GalleryError, match="refused the change"), staff._store.write() as db:
        copying._insert(db, tables.person, rows)
    assert staff.size == len(rows)


def test_an_unsealed_gallery_moves_as_well(where, to):
    from visavis.gallery.secrets.protection import Keys  # noqa: PLC0415

    with opened(where, keys=Keys.none()) as gallery:
        gallery.enroll("Ada", [NewTemplate(portrait(1).vector)], encoder=ENCODER)
        gallery.migrate(to)
        with Gallery.open(to, keys=Keys.none()) as moved:
            assert held(moved) == held(gallery)
            assert moved.check().problems == []
