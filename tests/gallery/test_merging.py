"""Two people who are one are joined, and nothing is left of the one who went."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from visavis.errors import (
    ConsentExpired,
    ConsentRefused,
    InputRefused,
    KeyMissing,
    PersonMismatch,
    PersonUnknown,
)
from visavis.gallery import ExactSearcher, Gallery, NewTemplate
from visavis.gallery.secrets.protection import Keys
from visavis.values import Consent

from . import others
from .faceless import engine_on, portrait, ready
from .given import ENCODER, opened

ADA, BOB = 1, 2
OLD, NEW = "Ada Augusta Byron", "Ada King Lovelace"
SOON = datetime.now(UTC) + timedelta(days=1)
LATER = datetime.now(UTC) + timedelta(days=30)


def photographed(who, photograph):
    picture = hashlib.sha256(f"{who} {photograph}".encode()).digest() * 100
    return NewTemplate(portrait(who, photograph), hashlib.sha256(picture).hexdigest(), picture)


@pytest.fixture
def twice(where):
    """Ada under two names, with one photograph in common; and Bob."""
    with opened(where) as gallery:
        for name, who, photographs in ((OLD, ADA, (1, 2)), ("Bob", BOB, (1,)), (NEW, ADA, (2, 3))):
            new = [photographed(who, n) for n in photographs]
            gallery.enroll(name, new, encoder=ENCODER)
        yield gallery


def vectors_of(gallery, name):
    return {t.vector.tobytes() for t in gallery.templates(gallery.person(name).id)}


def test_the_whole_story(where):
    """Enrolled twice by force, found, joined, recognised by one name; the other is gone."""
    with engine_on(where) as engine, engine_on(where) as other:
        engine.store("Bob", [ready("b", portrait(BOB, 1))])
        engine.store(OLD, [ready("a1", portrait(ADA, 1))])
        engine.store(NEW, [ready("a2", portrait(ADA, 2))], force=True)
        assert len(other.lookup.fresh()) == 3  # a searcher of another process, from before
        (pair,) = engine.duplicates().pairs
        assert (pair.first.name, pair.second.name) == (OLD, NEW)
        old = engine.gallery.person(OLD)
        merged = engine.merge(OLD, NEW)
        assert merged.distance == pytest.approx(pair.distance, abs=1e-6)
        assert (merged.person.name, merged.person.templates, merged.gone) == (NEW, 2, old)
        assert merged.erased
        for each in (engine, other):
            probes = [portrait(ADA, n)[None] for n in (1, 2)]
            near = [each.lookup.nearest(each.lookup.fresh(), probe, 1) for probe in probes]
            assert [people[hits[0][0].person].name for hits, people in near] == [NEW, NEW]
            assert [hits[0][0].distance for hits, _ in near] == pytest.approx([0, 0], abs=1e-6)
            assert each.duplicates().pairs == ()
        assert engine.gallery.audit.verify().intact
        assert engine.gallery.check().problems == []
        report = engine.gallery.check_erased(old.id, OLD)
        assert (report.leftovers, report.templates) == ((), 1)


def test_templates_and_photographs_come_over_save_those_that_are_there(twice):
    old, new = twice.person(OLD), twice.person(NEW)
    before = twice.templates(new.id)
    gone = {t.id for t in twice.templates(old.id)}
    merged = twice.merge(OLD, NEW)
    assert (len(merged.moved), merged.skipped, set(merged.removed)) == (1, 1, gone)
    assert merged.person.id == new.id
    templates = twice.templates(new.id)
    assert [t.id for t in templates] == [*(t.id for t in before), *merged.moved]
    wanted = {photographed(ADA, n).vector.tobytes() for n in (1, 2, 3)}
    assert {t.vector.tobytes() for t in templates} == wanted
    kept = {twice.photograph(t.id) for t in templates}
    assert kept == {photographed(ADA, n).photograph for n in (1, 2, 3)}
    assert twice.info().photographs == twice.info().templates == 4
    assert twice.check().problems == []
    # The photograph is known now: enrolling it again changes nothing.
    assert twice.enroll(NEW, [photographed(ADA, 1)], encoder=ENCODER).known == 1


def test_nothing_is_left_of_who_went_in_tables_and_raw_bytes(twice):
    old = twice.person(OLD)
    twice.merge(OLD, NEW)
    report = twice.check_erased(old.id, OLD)
    assert (report.leftovers, report.templates) == ((), 2)
    with pytest.raises(PersonUnknown):
        twice.person(OLD)
    if twice.path is not None:
        for part in ("", "-wal"):
            file = twice.path.with_name(twice.path.name + part)
            assert not file.exists() or OLD.encode() not in file.read_bytes()


def test_the_audit_log_says_who_went_where_and_holds_nothing_of_a_face(twice):
    old, new = twice.person(OLD), twice.person(NEW)
    twice.merge(OLD, NEW, within=1.0)
    came, went = list(twice.audit.entries(newest=2))
    assert (came.action, came.subject, went.action, went.subject) == (
        "merge",
        new.id,
        "merge",
        old.id,
    )
    sequence = twice.info().sequence
    assert came.details == {
        "from": old.id,
        "templates": 1,
        "skipped": 1,
        "checked": 1,
        "sequence": sequence,
    }
    assert went.details.keys() == {"into", "templates", "nonces", "sequence"}
    assert len(went.details["nonces"]) == 4
    assert OLD not in json.dumps([came.details, went.details])
    assert twice.audit.verify().intact


def test_a_searcher_that_follows_ends_up_as_one_that_loads(twice):
    follower = ExactSearcher()
    follower.update(twice.changes(0))
    merged = twice.merge(OLD, NEW)
    changes = twice.changes(follower.sequence, follower.mark)
    assert (changes.full, changes.added) == (False, merged.moved)
    assert set(changes.removed) == set(merged.removed)
    follower.update(changes)
    fresh = ExactSearcher()
    fresh.update(twice.changes(0))
    probe = portrait(ADA, 1)[None]
    assert len(follower) == len(fresh) == 4
    assert follower.nearest(probe, 9) == fresh.nearest(probe, 9)
    assert follower.nearest(probe, 9)[0][0].person == merged.person.id


def test_another_process_sees_it(twice, where):
    twice.merge(OLD, NEW)
    assert others.answer_of(names_in, where) == ["Ada King Lovelace", "Bob"]


def names_in(where):
    with opened(where) as gallery:
        return [person.name for person in gallery.people()]


def test_those_who_do_not_look_alike_are_refused_naming_the_distance(where):
    with engine_on(where) as engine:
        engine.store("Ada", [ready("a", portrait(ADA, 1))])
        engine.store("Bob", [ready("b", portrait(BOB, 1))])
        before = engine.gallery.info()
        with pytest.raises(PersonMismatch, match=r"d = \d\.\d\d, at most 1\.3"):
            engine.merge("Ada", "Bob")
        assert engine.gallery.info() == before
        assert engine.merge("Ada", "Bob", force=True).person.templates == 2
        assert [entry.details.get("checked") for entry in engine.gallery.audit.entries()][-2] == 0


def test_somebody_unknown_or_the_same_twice_is_refused_and_nothing_changes(twice):
    before = twice.info()
    for pair in ((OLD, "Nobody"), ("Nobody", OLD)):
        with pytest.raises(PersonUnknown):
            twice.merge(*pair)
    for pair in ((OLD, OLD), (OLD, twice.person(OLD).id)):
        with pytest.raises(InputRefused, match="one person already"):
            twice.merge(*pair)
    assert twice.info() == before


def test_by_id_too(twice):
    old, new = twice.person(OLD), twice.person(NEW)
    assert twice.merge(old.id, new.id).person.name == NEW


# Consent


@pytest.mark.parametrize(
    ("theirs", "mine", "joined"),
    [
        (Consent(), Consent("1", "door", LATER), Consent("1", "door", LATER)),
        (Consent("1", "door", SOON), Consent(), Consent("1", "door", SOON)),
        (Consent("1", "", LATER), Consent("", "door", SOON), Consent("1", "door", SOON)),
        (Consent("1", "door", SOON), Consent("1", "door", LATER), Consent("1", "door", SOON)),
        (Consent("1", "door"), Consent("1", "door"), Consent("1", "door")),
    ],
)
def test_what_one_states_stands_and_the_earlier_end(twice, theirs, mine, joined):
    twice.renew(OLD, theirs)
    twice.renew(NEW, mine)
    assert twice.merge(OLD, NEW).person.consent == joined
    assert twice.person(NEW).consent == joined


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [(Consent("1"), Consent("2")), (Consent("1", "the till"), Consent("1", "the door"))],
)
def test_who_agreed_to_different_things_is_merged_only_with_a_consent_for_all(twice, theirs, mine):
    twice.renew(OLD, theirs)
    twice.renew(NEW, mine)
    with pytest.raises(ConsentRefused, match="different things"):
        twice.merge(OLD, NEW)
    assert twice.size == 3
    agreed = Consent("form 3", "the door", LATER)
    assert twice.merge(OLD, NEW, consent=agreed).person.consent == agreed
    assert next(twice.audit.entries(newest=2)).details["consent"] == 1


@pytest.mark.parametrize("ended", [OLD, NEW])
def test_whose_consent_ended_is_not_brought_back_by_a_merge(twice, ended):
    twice.renew(ended, Consent("1", expires=datetime.now(UTC) + timedelta(seconds=0.1)))
    while not twice.person(ended).expired(datetime.now(UTC)):
        pass
    with pytest.raises(ConsentExpired, match="new consent"):
        twice.merge(OLD, NEW)
    assert twice.size == 3
    assert twice.merge(OLD, NEW, consent=Consent("2", expires=LATER)).person.templates == 3


# Seals


def test_it_needs_the_key_and_changes_nothing_without(twice, where):
    with Gallery.open(where, keys=Keys.none()) as locked, pytest.raises(KeyMissing):
        locked.merge(OLD, NEW)
    assert twice.size == 3


def test_in_the_clear_too(where):
    with opened(where, keys=Keys.none()) as gallery:
        for name, photographs in ((OLD, (1, 2)), (NEW, (2, 3))):
            new = [photographed(ADA, n) for n in photographs]
            gallery.enroll(name, new, encoder=ENCODER)
        old = gallery.person(OLD)
        assert gallery.merge(OLD, NEW).skipped == 1
        assert gallery.check().problems == []
        assert gallery.check_erased(old.id, OLD).leftovers == ()
        clear = gallery.templates(gallery.person(NEW).id)
        assert {t.digest for t in clear} == {photographed(ADA, n).digest for n in (1, 2, 3)}


@pytest.mark.parametrize(("sealed", "source", "target"), [(OLD, OLD, NEW), (OLD, NEW, OLD)])
def test_one_in_the_clear_and_one_sealed_know_their_common_photograph(
    where, sealed, source, target
):
    """As in a gallery of before that goes on with keys: its digests are not keyed yet."""
    for name, photographs, keys in ((NEW, (2, 3), Keys.none()), (sealed, (1, 2), None)):
        with opened(where, keys=keys) as gallery:
            new = [photographed(ADA, n) for n in photographs]
            gallery.enroll(name, new, encoder=ENCODER)
    with opened(where) as gallery:
        merged = gallery.merge(source, target)
        assert (merged.skipped, merged.person.templates) == (1, 3)
        assert gallery.check().problems == []


def test_after_a_rotation_too(twice):
    twice.rotate_key()
    old = twice.person(OLD)
    twice.merge(OLD, NEW)
    assert twice.check().problems == []
    assert twice.check_erased(old.id, OLD).leftovers == ()
    twice.rotate_key()
    assert vectors_of(twice, NEW) == {portrait(ADA, n).tobytes() for n in (1, 2, 3)}


def test_templates_without_a_photograph_all_come_over(where):
    """Without a digest nobody can tell whether it is the same photograph."""
    with opened(where) as gallery:
        for name in (OLD, NEW):
            new = [NewTemplate(portrait(ADA, n)) for n in (1, 2)]
            gallery.enroll(name, new, encoder=ENCODER)
        assert gallery.merge(OLD, NEW).person.templates == 4
