"""A day at the registry: people come, bring a second photograph, change their name, leave."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from visavis.errors import (
    EncoderMismatch,
    PersonExists,
    PersonUnknown,
    TemplateRefused,
)
from visavis.gallery import Gallery, NewTemplate
from visavis.values import EncoderId, OperatingPoint, TemplateId

from .given import ENCODER, at_angle, some_vector, template


def test_an_enrolled_person_can_be_found_by_name_and_by_id(gallery):
    done = gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    assert (len(done.added), done.known) == (1, 0)
    assert gallery.person("Ada") == gallery.person(done.person.id) == done.person
    assert done.person.templates == 1
    assert abs(datetime.now(UTC) - done.person.created) < timedelta(minutes=1)


def test_what_was_stored_comes_back_bit_for_bit(where, gallery):
    new = template(1)
    done = gallery.enroll("Ada", [new], encoder=ENCODER)
    gallery.close()
    with Gallery.open(where) as again:
        (stored,) = again.templates(done.person.id)
    assert stored.vector.tobytes() == new.vector.tobytes()
    assert (stored.id, stored.person) == (done.added[0], done.person.id)
    assert stored.encoder == ENCODER


def test_the_same_photograph_again_changes_nothing(gallery):
    gallery.enroll("Ada", [template(1)], encoder=ENCODER)
    before = gallery.info().sequence
    again = gallery.enroll("Ada", [template(1), template(2), template(2)], encoder=ENCODER)
    assert (len(again.added), again.known, again.person.templates) == (1, 2, 2)
    assert gallery.info().sequence == before + 1
    # The same photograph under another name is another matter: whether that is a duplicate is
    # for the one who compares faces to say.
    assert len(gallery.enroll("Eve", [template(1)], encoder=ENCODER).added) == 1


def test_templates_without_a_digest_are_always_new(gallery):
    unknown = NewTemplate(some_vector(1))
    done = gallery.enroll("Ada", [unknown, unknown], encoder=ENCODER)
    assert (len(done.added), done.known) == (2, 0)


def test_digests_say_what_a_folder_need_not_encode_again(gallery):
    gallery.enroll("Ada", [template(1), template(2)], encoder=ENCODER)
    gallery.enroll("Bob", [template(3), NewTemplate(some_vector(4))], encoder=ENCODER)
    enrolled = gallery.enrolled_photographs()
    found = {
        (name, n) for name in enrolled for n in range(5) if template(n).digest in enrolled[name]
    }
    assert found == {("Ada", 1), ("Ada", 2), ("Bob", 3)}


def test_photographs_are_kept_only_when_given(gallery):
    kept = gallery.enroll("Ada", [template(1, photograph=b"jpeg")], encoder=ENCODER).added[0]
    left = gallery.enroll("Bob", [template(2)], encoder=ENCODER).added[0]
    assert gallery.photograph(kept) == b"jpeg"
    assert gallery.photograph(left) is None
    assert gallery.photograph(TemplateId("nobody's")) is None
    assert gallery.info().photographs == 1


def test_an_unknown_name_is_answered_with_the_one_that_was_meant(gallery):
    with pytest.raises(PersonUnknown, match="nobody is enrolled yet"):
        gallery.person("Ada")
    gallery.enroll("Ada Lovelace", [template(1)], encoder=ENCODER)
    with pytest.raises(PersonUnknown, match="did you mean 'Ada Lovelace'"):
        gallery.person("ada lovelase")
    with pytest.raises(PersonUnknown, match="list everybody"):
        gallery.person("Grace Hopper")
    with pytest.raises(PersonUnknown):
        gallery.person("Ada\ud800")


def test_a_name_that_spells_an_id_does_not_stand_in_for_its_owner(gallery):
    ada = gallery.enroll("Ada", [template(1)], encoder=ENCODER).person
    gallery.enroll(ada.id, [template(2)], encoder=ENCODER)
    assert gallery.person(ada.id) == ada


def test_a_new_name_keeps_id_and_templates(gallery):
    ada = gallery.enroll("Ada", [template(1)], encoder=ENCODER).person
    assert gallery.rename("Ada", "Augusta") == replace(ada, name="Augusta")
    with pytest.raises(PersonUnknown):
        gallery.person("Ada")
    assert gallery.rename("Augusta", "Augusta").id == ada.id
    gallery.enroll("Bob", [template(2)], encoder=ENCODER)
    with pytest.raises(PersonExists, match="Bob"):
        gallery.rename("Augusta", "Bob")
    assert [person.name for person in gallery.people()] == ["Augusta", "Bob"]


def test_removing_several_is_all_or_nothing(gallery):
    ada, bob = (gallery.enroll(n, [template(n)], encoder=ENCODER) for n in ("Ada", "Bob"))
    with pytest.raises(PersonUnknown, match="Eve"):
        gallery.remove("Ada", "Eve")
    assert gallery.size == 2
    gone = gallery.remove("Ada", ada.person.id, "Bob")
    assert gone.persons == (ada.person, bob.person)
    assert set(gone.templates) == {*ada.added, *bob.added}
    assert gone.erased
    assert (gallery.size, gallery.template_count, gallery.enrolled_photographs()) == (0, 0, {})
    assert gallery.people_of([ada.person.id]) == {}


def test_people_of_leaves_out_who_is_gone(gallery):
    people = [gallery.enroll(f"p{n}", [template(n)], encoder=ENCODER).person for n in range(3)]
    gallery.remove("p1")
    found = gallery.people_of([person.id for person in people])
    assert found == {people[0].id: people[0], people[2].id: people[2]}


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (at_angle(0).astype(np.float64), "float64"),
        (at_angle(0)[None], r"\(1, 4\)"),
        (at_angle(0) * np.float32(1.01), "length 1.01"),
        (at_angle(0) * np.float32(0.0), "length 0"),
        (np.full(4, np.nan, np.float32), "nan"),
        (np.array([np.inf, 0, 0, 0], np.float32), "inf"),
        (np.empty(0, np.float32), "length 0"),
        ([1.0, 0.0], "list"),
    ],
)
def test_a_vector_that_is_no_template_is_refused_and_nobody_is_enrolled(gallery, vector, said):
    fine = NewTemplate(at_angle(30))
    with pytest.raises(TemplateRefused, match=said):
        gallery.enroll("Ada", [fine, NewTemplate(vector)], encoder=ENCODER)
    assert gallery.size == 0


def test_all_templates_have_one_length(gallery):
    with pytest.raises(TemplateRefused, match="different lengths"):
        gallery.enroll("Ada", [template(1, 4), template(2, 8)], encoder=ENCODER)
    gallery.enroll("Ada", [template(1, 4)], encoder=ENCODER)
    with pytest.raises(TemplateRefused, match="8 numbers and the gallery's have 4"):
        gallery.enroll("Bob", [template(2, 8)], encoder=ENCODER)
    with pytest.raises(TemplateRefused, match="nothing to enrol"):
        gallery.enroll("Bob", [], encoder=ENCODER)
    assert gallery.size == 1


def test_a_nearly_unit_vector_is_stored_as_a_unit_vector(gallery):
    done = gallery.enroll("A", [NewTemplate(at_angle(30) * np.float32(1.0009))], encoder=ENCODER)
    (stored,) = gallery.templates(done.person.id)
    assert np.linalg.norm(stored.vector.astype(np.float64)) == pytest.approx(1, abs=1e-7)


def test_the_first_encoder_decides(where):
    with Gallery.open(where) as gallery:
        assert gallery.encoder is None
        with pytest.raises(EncoderMismatch, match="not bound"):
            gallery.enroll("Ada", [template(1)], encoder=ENCODER)
        gallery.bind(ENCODER, "sface")
        gallery.bind(ENCODER, "sface")
        assert gallery.encoder == ENCODER
        other = EncoderId("buffalo-0011")
        with pytest.raises(EncoderMismatch, match=r"of sface .* buffalo .*--encoder.*new gallery"):
            gallery.bind(other, "buffalo")
        with pytest.raises(EncoderMismatch, match="sface"):
            gallery.enroll("Ada", [template(1)], encoder=other)
        assert (gallery.encoder, gallery.size) == (ENCODER, 0)


def test_a_calibration_replaces_the_one_before(gallery):
    def point(fmr, tau, encoder=ENCODER):
        return OperatingPoint(tau, encoder, fmr, 2 * fmr, "LFW folds 1-9")

    gallery.put_operating_points([point(1e-4, 0.9), point(1e-2, 1.2)])
    gallery.put_operating_points([point(1e-4, 0.5, EncoderId("other"))])
    gallery.put_operating_points([point(1e-3, 0.8)], kind="pair-head")
    assert gallery.operating_points(ENCODER) == [point(1e-2, 1.2), point(1e-4, 0.9)]
    gallery.put_operating_points([point(1e-3, 1.0)])
    assert gallery.operating_points(ENCODER) == [point(1e-3, 1.0)]
    assert gallery.operating_points(ENCODER, "pair-head") == [point(1e-3, 0.8)]
    assert len(gallery.operating_points(EncoderId("other"))) == 1


def test_info_counts_and_names_nobody(where, gallery):
    gallery.enroll("Ada", [template(1), template(2)], encoder=ENCODER)
    info = gallery.info()
    assert (gallery.where, info.schema_version, info.writable) == (info.where, 3, True)
    assert (info.encoder, info.encoder_name) == (ENCODER, "sface")
    assert (info.people, info.templates, info.photographs, info.sequence) == (1, 2, 0, 2)
    assert info.bytes_on_disk > 4096
    assert "Ada" not in repr(info)
