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


def test_the_log_numbers_are_never_given_twice(path, gallery):
    gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    gallery.remove("Ada")
    gallery.close()
    with Gallery.open(path) as again:
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
            elif step == "remove" and f"p{who}" in gallery.enrolled_digests():
                gallery.remove(f"p{who}")
            elif step == "look":
                follower.update(gallery.changes(follower.sequence))
        follower.update(gallery.changes(follower.sequence))
        fresh = ExactSearcher()
        fresh.update(gallery.changes(0))
        assert (len(follower), follower.people) == (len(fresh), gallery.size)
        probe = template("probe", 8).vector[None]
        assert follower.nearest(probe, 9) == fresh.nearest(probe, 9)
