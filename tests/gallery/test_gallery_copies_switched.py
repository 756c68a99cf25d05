"""New vectors in place of all old ones: all of them in one transaction, or none."""

import pytest

from visavis.errors import CopyRefused, TemplateRefused
from visavis.gallery import ExactSearcher, Gallery
from visavis.gallery.search.searchers import catch_up
from visavis.gallery.secrets.protection import Keys
from visavis.gallery.upkeep import exchange, reencoding
from visavis.values import EncoderId

from .copyists import KEY, portrait
from .given import ENCODER, IN_THE_CLEAR, opened, some_vector

OTHER = (EncoderId("another-fp32-0123456789abcdef"), "another")


@pytest.fixture(params=[Keys.of(KEY), IN_THE_CLEAR], ids=["sealed", "clear"])
def keys(request):
    return request.param


@pytest.fixture
def staff(where, keys, monkeypatch):
    """Ten people of two templates, of which the photographs were kept."""
    monkeypatch.setattr(exchange, "_PORTION", 3)
    with opened(where, keys=keys) as gallery:
        crowd = [(f"person {n}", [portrait(f"{n} {m}") for m in range(2)]) for n in range(10)]
        gallery.enroll_all(crowd, encoder=ENCODER)
    with Gallery.open(where, keys=keys) as gallery:
        yield gallery


def plan(gallery, *, without=(), length=512):
    """New vectors for all but some people's templates, and all ids."""
    there = gallery.reencoding().enrolled()
    seen = frozenset(each.template for each in there)
    vectors = {
        each.template: some_vector(f"new {each.digest}", length)
        for each in there
        if each.name not in without
    }
    return vectors, seen


def test_every_vector_is_another_and_people_are_the_same(staff, where, keys):
    searcher = ExactSearcher()
    catch_up(searcher, staff)
    people = staff.people()
    kept = {t.digest: staff.photograph(t.id) for p in people for t in staff.templates(p.id)}
    vectors, seen = plan(staff)
    done = staff.reencoding().switch(vectors, OTHER, seen=seen)
    assert (done.templates, done.lost, done.missing) == (20, 0, ())
    with Gallery.open(where, keys=keys) as again:
        assert (again.encoder, again.people()) == (OTHER[0], people)
        for person in people:
            for t in again.templates(person.id):
                assert t.vector.tobytes() == some_vector(f"new {t.digest}", 512).tobytes()
                assert t.encoder == OTHER[0]
                assert t.id not in seen
                assert again.photograph(t.id) == kept[t.digest]
        assert again.check().problems == []
        # A searcher that knew the old ones forgets all of them, also of another length.
        fresh = ExactSearcher()
        catch_up(fresh, again)
        assert len(fresh) == 20
        changes = again.changes(20)
        assert set(changes.removed) == seen
        assert len(changes.added) == 20
        entries = list(again.audit.entries(subject=""))
        (entry,) = [e for e in entries if e.action == "reencode"]
        assert (entry.details["from"], entry.details["to"]) == (ENCODER, OTHER[0])
        assert again.audit.verify().intact


def test_whom_it_would_lose_keeps_everything_as_it_was(staff):
    vectors, seen = plan(staff, without=("person 3", "person 4"))
    with pytest.raises(CopyRefused, match="person 3, person 4"):
        staff.reencoding().switch(vectors, OTHER, seen=seen)
    assert (staff.encoder, staff.template_count, staff.info().sequence) == (ENCODER, 20, 20)
    done = staff.reencoding().switch(vectors, OTHER, seen=seen, drop_missing=True)
    lost = {staff.person("person 3").id, staff.person("person 4").id}
    assert (done.templates, done.lost, set(done.missing)) == (16, 4, lost)
    assert staff.info().photographs == 16
    assert staff.check().problems == []


def test_whoever_came_in_meanwhile_is_looked_at_first(staff):
    vectors, seen = plan(staff)
    staff.enroll("late", [portrait("late")], encoder=ENCODER)
    with pytest.raises(reencoding.Newcomers):
        staff.reencoding().switch(vectors, OTHER, seen=seen)
    assert (staff.encoder, staff.template_count) == (ENCODER, 21)


def test_whoever_was_removed_meanwhile_stays_removed(staff):
    vectors, seen = plan(staff)
    staff.remove("person 3")
    done = staff.reencoding().switch(vectors, OTHER, seen=seen)
    assert (done.templates, done.lost, done.missing) == (18, 0, ())
    assert staff.check().problems == []


def test_vectors_that_no_encoder_gives_are_refused(staff):
    vectors, seen = plan(staff)
    first = next(iter(vectors))
    for wrong in (some_vector(1, 128), 2 * some_vector(1, 512)):
        with pytest.raises(TemplateRefused):
            staff.reencoding().switch(vectors | {first: wrong}, OTHER, seen=seen)
    assert staff.encoder == ENCODER
