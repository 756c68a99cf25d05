"""People are called what they are called; only what breaks a line is refused."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.errors import NameRefused
from visavis.gallery import clean_name

from .given import ENCODER, template


@pytest.mark.parametrize(
    "name",
    [
        "Ada Lovelace",
        "../../etc/passwd",
        "C:\\con",
        'O\'Brien "Bob"; DROP TABLE person;--',
        "தமிழ்ச்செல்வி",
        "נועה",
        "علی‌رضا",  # with a zero-width non-joiner, as it is written
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈 Sam",
        "<script>alert(1)</script>",
        "%s {0} $HOME",
        "x" * 200,
    ],
)
def test_real_names_are_kept_as_they_are(name, gallery):
    gallery.enroll(name, [template(1)], encoder=ENCODER)
    assert [person.name for person in gallery.people()] == [unicodedata.normalize("NFC", name)]
    assert gallery.person(name).templates == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\u200b", "shows nothing"),
        ("\u3164", "shows nothing"),
        ("Ada\nLovelace", "line break"),
        ("Ada\n", "line break"),
        ("\tAda", "control character"),
        ("Ada\0", "U\\+0000"),
        ("Ada\x7f", "U\\+007F"),
        ("Ada\x85", "control character"),
        ("Ada\u2028", "line separator"),
        ("Ada\u2029", "paragraph separator"),
        ("Ada\ud800", "lone surrogate"),
        ("Ada\u202egnp.exe", "direction"),
        ("Ada\u2066", "direction"),
        ("x" * 201, "201 characters"),
    ],
)
def test_a_refusal_says_what_is_wrong(name, said):
    with pytest.raises(NameRefused, match=said):
        clean_name(name)


def test_two_spellings_of_one_name_are_one_person(gallery):
    composed, decomposed = "Zoë", "Zoe\u0308"
    first = gallery.enroll(composed, [template(1)], encoder=ENCODER)
    second = gallery.enroll(f"  {decomposed} ", [template(2)], encoder=ENCODER)
    assert second.person.id == first.person.id
    assert gallery.person(decomposed).name == composed


@given(st.text(max_size=250))
def test_a_clean_name_is_one_readable_line_and_stays_as_it_is(text):
    try:
        name = clean_name(text)
    except NameRefused:
        return
    assert clean_name(name) == name
    assert 1 <= len(name) <= 200
    assert name.splitlines() == [name]
    assert name.encode("utf-8").decode("utf-8") == name
