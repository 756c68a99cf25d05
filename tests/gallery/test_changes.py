"""A searcher that asks for the changes ends up with what lives, however long it was away."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.gallery import ExactSearcher, Gallery

from .given import ENCODER, opened, template


def test_a_first_load_is_everything_alive_and_no_history(gallery):
    ada = gallery.enroll("Ada", [template(1), template(2)], encoder=ENCODER)
    gallery.enroll("Bob", [template(3)], encoder=ENCODER)
    gallery.remove("Bob")
    changes = gallery.changes(0)
    assert (changes.full, changes.sequence, changes.encoder) == (True, 4, ENCODER)
    assert changes.templates == 2
    assert set(changes.added) == set(ada.added)
    assert set(changes.persons) == {ada.person.id}
    assert changes.removed == ()
    wanted = {template(1).vector.tobytes(), template(2).vector.tobytes()}
    assert {row.tobytes() for row in changes.vectors} == wanted
    assert changes.vectors.dtype == np.float32


def test_later_only_the_difference_comes(gallery):
    gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    here = gallery.changes(0).sequence
    assert gallery.changes(here).empty
    bob = gallery.enroll("Bob", [template(2)], encoder=ENCODER)
    ada = gallery.remove("Ada")
    changes = gallery.changes(here)
    assert (changes.full, changes.added, changes.removed) == (False, bob.added, ada.templates)
    assert changes.vectors.tobytes() == template(2).vector.tobytes()
    assert gallery.changes(changes.sequence).empty


def test_a_new_gallery_has_nothing_to_say(gallery):
    assert gallery.changes(0).empty
    assert gallery.changes(0).sequence == 0


def test_a_searcher_from_a_later_life_of_the_gallery_starts_afresh(gallery):
    gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    changes = gallery.changes(7000)  # the file was put back from an older backup
    assert (changes.full, changes.sequence, len(changes.added)) == (True, 1, 1)


def test_the_log_numbers_are_never_given_twice(where, gallery):
    gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    gallery.remove("Ada")
    gallery.close()
    with Gallery.open(where) as again:
        again.enroll("Ada", [template(1)], encoder=ENCODER)
        assert again.info().sequence == 3


STEPS = st.lists(
    st.tuples(st.sampled_from(["enrol", "remove", "look"]), st.integers(0, 4)), max_size=25
)


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_following_equals_loading(tmp_path_factory, steps):
    with opened(tmp_path_factory.mktemp("followed") / "people.db") as gallery:
        follower = ExactSearcher()
        for count, (step, who) in enumerate(steps):
            if step == "enrol":
                gallery.enroll(f"p{who}", [template(count, 8)], encoder=ENCODER)
            elif step == "remove" and f"p{who}" in gallery.enrolled_photographs():
                gallery.remove(f"p{who}")
            elif step == "look":
                follower.update(gallery.changes(follower.sequence))
        follower.update(gallery.changes(follower.sequence))
        fresh = ExactSearcher()
        fresh.update(gallery.changes(0))
        assert (len(follower), follower.people) == (len(fresh), gallery.size)
        probe = template("probe", 8).vector[None]
        assert follower.nearest(probe, 9) == fresh.nearest(probe, 9)


def loaded(gallery, limit, searcher=None):
    """Follow the gallery in portions; give the searcher, and the portions."""
    searcher, portions = searcher or ExactSearcher(), []
    while True:
        portions.append(gallery.changes(searcher.sequence, searcher.mark, limit))
        if not portions[-1].empty:
            searcher.update(portions[-1])
        if not portions[-1].more:
            return searcher, portions


def test_a_load_in_portions_holds_few_vectors_at_once_and_ends_up_the_same(gallery):
    everybody = [(f"p{n}", [template(n, 8)]) for n in range(50)]
    gallery.enroll_all(everybody, encoder=ENCODER)
    gallery.remove(*(f"p{n}" for n in range(10, 25)))  # whole portions of the log are dead
    searcher, portions = loaded(gallery, 7)
    assert [portion.full for portion in portions] == [True] + [False] * (len(portions) - 1)
    assert [portion.more for portion in portions] == [True] * (len(portions) - 1) + [False]
    assert max(len(portion.added) for portion in portions) == 7
    assert any(not portion.added and not portion.removed for portion in portions)
    whole, _ = loaded(gallery, 1000)
    assert (len(searcher), searcher.sequence) == (len(whole), whole.sequence) == (35, 65)
    probe = template(3, 8).vector[None]
    assert searcher.nearest(probe, 50) == whole.nearest(probe, 50)


def test_whoever_leaves_between_two_portions_is_not_left_behind(gallery):
    gallery.enroll_all([(f"p{n}", [template(n, 8)]) for n in range(20)], encoder=ENCODER)
    searcher = ExactSearcher()
    searcher.update(gallery.changes(0, "", 10))
    gone = {gallery.person(name).id for name in ("p3", "p15")}
    gallery.remove("p3", "p15")
    loaded(gallery, 10, searcher)
    hits = searcher.nearest(template(3, 8).vector[None], 20)[0]
    assert len(hits) == 18
    assert not {hit.person for hit in hits} & gone


def test_a_backup_that_went_on_differently_is_noticed_though_it_is_as_long(path):
    """Its numbers are the same; what they stand for is not."""
    with opened(path) as gallery:
        gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    backup = path.read_bytes()
    with opened(path) as gallery:
        gallery.enroll("Bob", [template(2)], encoder=ENCODER)
        searcher, _ = loaded(gallery, 100)
    path.write_bytes(backup)
    with opened(path) as gallery:
        eve = gallery.enroll("Eve", [template(3)], encoder=ENCODER).person
        assert gallery.changes(searcher.sequence).empty  # without the mark nothing is noticed
        for further in ([], ["Dan"]):  # neither when it is as long, nor when it is longer
            for name in further:
                gallery.enroll(name, [template(name)], encoder=ENCODER)
            follower = ExactSearcher()
            follower.update(gallery.changes(0))
            changes = gallery.changes(searcher.sequence, searcher.mark)
            assert changes.full
        loaded(gallery, 100, searcher)
        probe = template(3).vector[None]
        assert searcher.nearest(probe, 9) == follower.nearest(probe, 9)
        assert searcher.nearest(probe, 1)[0][0].person == eve.id


def test_vectors_can_be_asked_for_and_those_gone_are_left_out(gallery):
    ada = gallery.enroll("Ada", [template(1), template(2)], encoder=ENCODER).added
    bob = gallery.enroll("Bob", [template(3)], encoder=ENCODER).added
    eve = gallery.enroll("Eve", [template(4)], encoder=ENCODER)
    gallery.remove("Bob")
    found = gallery.vectors_of([*ada, *bob, "nobody's"])
    assert set(found) == set(ada)
    for key, n in zip(ada, (1, 2), strict=True):
        assert found[key].tobytes() == template(n).vector.tobytes()
    owned = gallery.owned_vectors_of([*eve.added, *bob, *ada])
    assert set(owned) == {*ada, *eve.added}
    assert owned[eve.added[0]].person == eve.person.id
    assert owned[ada[1]].vector.tobytes() == found[ada[1]].tobytes()
    assert gallery.vectors_of([]) == gallery.owned_vectors_of([]) == {}
