"""Nobody gets in twice, also when two processes enrol them at once."""

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from visavis.engine import Engine, FolderPlan, Status, enroll_folder
from visavis.errors import DuplicatePerson, GalleryBusy, PersonMismatch
from visavis.gallery import Gallery
from visavis.gallery.records import arrivals, changes
from visavis.values import Consent

from . import others
from .faceless import engine_on, portrait, raced, ready
from .given import opened

ADA, BOB, CY = 1, 2, 3


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
def test_of_two_processes_that_enrol_one_person_exactly_one_gets_in(where, together):
    """Thirty times; the other is told whom it looks like."""
    opened(where).close()
    rounds, barrier = 30, others.CONTEXT.Barrier(2)
    with ExitStack() as all_of_them:
        pipes = []
        for number in range(2):
            mine, theirs = others.CONTEXT.Pipe()
            arguments = (theirs, where, barrier, number, rounds, together)
            all_of_them.enter_context(others.started(raced, *arguments))
            pipes.append(mine)
        answers = []
        for pipe in pipes:
            assert pipe.poll(2 * others.WAIT)
            answers.append(pipe.recv())
    for turn, pair in enumerate(zip(*answers, strict=True)):
        assert sorted(answer == "in" for answer in pair) == [False, True], pair
        first = pair.index("in")
        assert f"looks like {turn} from {first}, who is enrolled already" in pair[1 - first]
    with opened(where) as gallery:
        assert gallery.size == rounds
        assert gallery.audit.verify().intact


def admitted(engine, name, who, photograph=1):
    new = [ready(f"{name} {photograph}", portrait(who, photograph))]
    return new, engine.admit(name, new)


def test_whoever_came_in_after_the_check_is_looked_at_by_the_writer(where):
    with engine_on(where) as engine, engine_on(where) as other:
        new, admission = admitted(engine, "Ada", ADA)
        other.store("Countess", [ready("c", portrait(ADA, 2))])
        with pytest.raises(DuplicatePerson, match="looks like Countess"):
            engine.commit([("Ada", new)], None, [admission])
        assert [person.name for person in engine.gallery.people()] == ["Countess"]
        engine.commit([("Ada", new)])  # forced
        assert engine.gallery.size == 2


def test_somebody_else_who_came_in_is_in_nobodys_way(where):
    with engine_on(where) as engine, engine_on(where) as other:
        new, admission = admitted(engine, "Ada", ADA)
        other.store("Bob", [ready("b", portrait(BOB, 1))])
        engine.commit([("Ada", new)], None, [admission])
        assert engine.gallery.size == 2


def test_the_same_name_with_the_same_face_is_one_person(where):
    with engine_on(where) as engine, engine_on(where) as other:
        new, admission = admitted(engine, "Ada", ADA)
        other.store("Ada", [ready("a", portrait(ADA, 2))])
        (done,) = engine.commit([("Ada", new)], None, [admission])
        assert done.person.templates == 2


def test_the_same_new_name_with_another_face_is_a_mismatch(where):
    with engine_on(where) as engine, engine_on(where) as other:
        new, admission = admitted(engine, "Ada", ADA)
        other.store("Ada", [ready("a", portrait(BOB, 2))])
        with pytest.raises(PersonMismatch, match="other photographs of Ada"):
            engine.commit([("Ada", new)], None, [admission])
        assert engine.gallery.person("Ada").templates == 1


def test_whoever_was_renamed_after_the_check_does_not_get_in_again_by_the_old_name(where):
    with engine_on(where) as engine:
        engine.store("Ada", [ready("a", portrait(ADA, 1))])
        new, admission = admitted(engine, "Ada", ADA, 2)
        engine.gallery.rename("Ada", "Countess")
        with pytest.raises(DuplicatePerson, match="is Countess now"):
            engine.commit([("Ada", new)], None, [admission])
        assert engine.gallery.size == 1


def test_whoever_was_merged_after_the_check_does_not_get_in_again_by_the_old_name(where):
    with engine_on(where) as engine:
        engine.store("Ada", [ready("a", portrait(ADA, 1))])
        engine.store("Countess", [ready("c", portrait(BOB, 1))])  # years later, say
        new, admission = admitted(engine, "Ada", ADA, 2)
        engine.merge("Ada", "Countess", force=True)
        with pytest.raises(DuplicatePerson, match="looks like Countess"):
            engine.commit([("Ada", new)], None, [admission])
        assert engine.gallery.size == 1


def test_whose_consent_ended_is_no_duplicate_as_in_the_first_check(where):
    """Nobody may be recognised as them any more, so nobody is."""
    with engine_on(where) as engine, engine_on(where) as other:
        new, admission = admitted(engine, "Ada", ADA)
        soon = Consent(expires=datetime.now(UTC) + timedelta(seconds=0.5))
        other.store("Countess", [ready("c", portrait(ADA, 2))], consent=soon)
        time.sleep(0.6)
        engine.commit([("Ada", new)], None, [admission])


def test_after_a_backup_was_put_in_its_place_everybody_counts_as_new(path):
    with engine_on(path) as engine:
        engine.store("Bob", [ready("b", portrait(BOB, 1))])
    backup = path.read_bytes()
    with engine_on(path) as engine:
        engine.store("Cy", [ready("c", portrait(CY, 1))])
        new, admission = admitted(engine, "Ada", ADA)
    path.write_bytes(backup)
    with engine_on(path) as engine:
        engine.store("Countess", [ready("c", portrait(ADA, 2))])
        assert engine.gallery.changes(0).sequence == admission.since
        with pytest.raises(DuplicatePerson, match="Countess"):
            engine.commit([("Ada", new)], None, [admission])


def test_of_very_many_who_came_in_the_last_counts_too(where, monkeypatch):
    """They are looked at in portions of two."""
    monkeypatch.setattr(arrivals, "PORTION", 2)
    with engine_on(where) as engine:
        new, admission = admitted(engine, "Ada", ADA)
        for n in range(4):
            engine.store(f"p{n}", [ready(f"p{n}", portrait(10 + n, 1))])
        engine.gallery.remove("p1")
        engine.store("Countess", [ready("c", portrait(ADA, 2))])
        with pytest.raises(DuplicatePerson, match="Countess"):
            engine.commit([("Ada", new)], None, [admission])


def test_where_nothing_came_in_no_vector_is_read_again(where, monkeypatch):
    with engine_on(where) as engine:
        engine.store("Bob", [ready("b", portrait(BOB, 1))])
        new, admission = admitted(engine, "Ada", ADA)
        monkeypatch.setattr(changes, "_living", None)
        engine.commit([("Ada", new)], None, [admission])


def test_many_threads_that_check_and_write_do_not_wait_for_each_other_for_ever(where):
    """More writers than a pool has connections: the recheck asks for none of its own."""
    with engine_on(where) as engine:
        answers, start = [], threading.Barrier(24)

        def work(number):
            start.wait()
            try:
                engine.store(f"p{number}", [ready(f"{number}", portrait(number // 2, number))])
            except (DuplicatePerson, GalleryBusy) as refused:
                answers.append(refused.code)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["duplicate_person"] * 12
        assert engine.gallery.size == 12


class Interrupted(Engine):
    """Another process is quicker each time, for as long as it has somebody to enrol."""

    def prepare(self, taken, **_):
        who, photograph = map(int, taken.name.rpartition("/")[2].split(".")[0].split("-"))
        return ready(taken.name, portrait(who, photograph))

    def commit(self, people, consent=None, admissions=()):
        if self.quicker:
            name, who = self.quicker.pop()
            with engine_on(self.gallery.path) as other:
                other.store(name, [ready(name, portrait(who, 99))])
        return super().commit(people, consent, admissions)


@pytest.fixture
def plan(tmp_path):
    """Three people of two photographs each; a photograph's name says what it shows."""
    people = []
    for who in (ADA, BOB, CY):
        paths = tuple(tmp_path / f"{who}-{n}.jpg" for n in (1, 2))
        for path in paths:
            path.write_bytes(path.name.encode())
        people.append((f"person {who}", paths))
    return FolderPlan(tuple(people), ())


def test_in_a_folder_only_those_are_refused_whom_another_process_enrolled_meanwhile(path, plan):
    with engine_on(path, Interrupted) as engine:
        engine.quicker = [("Robert", BOB)]
        outcomes = list(enroll_folder(engine, plan))
        statuses = {(o.person, o.path.name): o.status for o in outcomes}
        assert len(outcomes) == len(statuses) == 6
        assert {status for (name, _), status in statuses.items() if name != "person 2"} == {
            Status.ENROLLED
        }
        refused = [o.error for o in outcomes if o.person == "person 2"]
        assert all(isinstance(error, DuplicatePerson) for error in refused)
        assert all("looks like Robert" in str(error) for error in refused)
        there = {person.name: person.templates for person in engine.gallery.people()}
        assert there == {"person 1": 2, "person 3": 2, "Robert": 1}


def test_a_folder_enrolled_twice_at_once_is_there_once(path, plan):
    with engine_on(path, Interrupted) as one:
        one.quicker = []
        everybody = [name for name, _ in plan.people]
        with engine_on(path, Interrupted) as two:
            two.quicker = []
            between = enroll_folder(two, plan)
            list(enroll_folder(one, plan))
            assert {o.status for o in between} <= {Status.ENROLLED, Status.KNOWN}
        assert [person.name for person in one.gallery.people()] == everybody
        with Gallery.open(path) as gallery:
            assert gallery.template_count == 6
