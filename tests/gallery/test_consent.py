"""Consent that ends: who agreed until Friday is not recognised on Saturday, and can be erased."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from visavis.errors import ConsentExpired, ConsentRefused, GalleryReadOnly
from visavis.gallery.records import people as rows
from visavis.values import Consent

from .given import ENCODER, opened, template

SOON = datetime.now(UTC) + timedelta(hours=1)
LATER = SOON + timedelta(days=300)
YEARS = LATER + timedelta(days=3000)


def enrol(gallery, name, consent=None):
    return gallery.enroll(name, [template(name)], encoder=ENCODER, consent=consent).person


def test_a_consent_comes_back_as_it_was_given(gallery):
    consent = Consent("form 17", "the front door", SOON)
    ada, bob = enrol(gallery, "Ada", consent), enrol(gallery, "Bob")
    assert (ada.consent, bob.consent) == (consent, Consent())
    assert gallery.person("Ada") == ada
    assert [person.consent for person in gallery.people()] == [consent, Consent()]
    # Another zone, the same moment.
    there = SOON.astimezone(timezone(timedelta(hours=9)))
    assert gallery.renew("Bob", Consent(expires=there)).consent == Consent(expires=SOON)


def test_a_second_photograph_changes_it_only_when_it_brings_one(gallery):
    first, second = Consent("form 17", "", SOON), Consent("form 99", "", LATER)
    enrol(gallery, "Ada", first)
    gallery.enroll("Ada", [template("again")], encoder=ENCODER)
    assert gallery.person("Ada").consent == first
    gallery.enroll("Ada", [template("again")], encoder=ENCODER, consent=second)
    assert gallery.person("Ada").consent == second
    assert gallery.person("Ada").templates == 2


def test_many_are_enrolled_under_one_consent(gallery):
    consent = Consent("the works council's paper", expires=SOON)
    enrol(gallery, "p0")
    everybody = [(f"p{n}", [template(n)]) for n in range(5)]
    done = gallery.enroll_all(everybody, encoder=ENCODER, consent=consent)
    assert {one.person.consent for one in done} == {consent}
    assert {person.consent for person in gallery.people()} == {consent}


def test_whose_consent_ended_is_listed_and_erased(gallery):
    for name, end in (("Ada", LATER), ("Bob", SOON), ("Eve", None), ("Dan", YEARS)):
        enrol(gallery, name, Consent("form", expires=end))
    assert gallery.expired() == []
    assert [person.name for person in gallery.expired(LATER)] == ["Bob", "Ada"]
    assert [person.name for person in gallery.expired(LATER - timedelta(seconds=1))] == ["Bob"]
    nobody = gallery.expire()
    assert (nobody.persons, nobody.templates, nobody.erased) == ((), (), True)
    since = gallery.info().sequence
    gone = gallery.expire(LATER)
    assert [person.name for person in gone.persons] == ["Bob", "Ada"]
    assert gone.erased
    assert [person.name for person in gallery.people()] == ["Dan", "Eve"]
    assert gallery.changes(since).removed == gone.templates


@pytest.mark.parametrize(
    ("consent", "said"),
    [
        (Consent("two\nlines"), "reference"),
        (Consent(purpose="x" * 201), "purpose"),
        (Consent(expires=datetime(2999, 1, 1)), "time zone"),  # noqa: DTZ001 -- that is the point
        (Consent(expires=datetime(2020, 1, 1, tzinfo=UTC)), "ended"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_stored(gallery, consent, said):
    with pytest.raises(ConsentRefused, match=said):
        enrol(gallery, "Ada", consent)
    assert gallery.size == 0
    enrol(gallery, "Ada")
    with pytest.raises(ConsentRefused, match=said):
        gallery.renew("Ada", consent)


def test_after_the_end_another_photograph_needs_another_consent(gallery, monkeypatch):
    enrol(gallery, "Ada", Consent(expires=SOON))
    monkeypatch.setattr(rows, "now", lambda: LATER.isoformat(timespec="microseconds"))
    with pytest.raises(ConsentExpired, match=r"Ada ended .* new one"):
        gallery.enroll("Ada", [template(2)], encoder=ENCODER)
    assert gallery.template_count == 1
    gallery.enroll("Ada", [template(2)], encoder=ENCODER, consent=Consent(expires=YEARS))
    assert gallery.person("Ada").consent.expires == YEARS


def test_nobody_expires_in_a_gallery_opened_for_reading(path):
    with opened(path) as gallery:
        enrol(gallery, "Ada", Consent(expires=SOON))
    with opened(f"sqlite:///{path}?mode=ro") as gallery:
        assert len(gallery.expired(LATER)) == 1
        with pytest.raises(GalleryReadOnly):
            gallery.expire(LATER)


def test_a_clock_that_jumps_changes_no_order(gallery, monkeypatch):
    """Times are for people to read; what came first is told by its number."""
    clock = iter(f"20{year}-01-01T00:00:00.000000+00:00" for year in (99, 70, 26, 40, 11))
    monkeypatch.setattr(rows, "now", lambda: next(clock))
    for n in range(3):
        gallery.enroll("Ada", [template(n)], encoder=ENCODER)
    (first,) = gallery.enroll("Bob", [template(3)], encoder=ENCODER).added
    ada = gallery.templates(gallery.person("Ada").id)
    assert [t.vector.tobytes() for t in ada] == [template(n).vector.tobytes() for n in range(3)]
    assert [t.created.year for t in ada] == [2099, 2070, 2026]
    changes = gallery.changes(0)
    assert changes.added == (*(t.id for t in ada), first)
    assert changes.sequence == 4
    gone = gallery.remove("Ada")
    assert gallery.changes(4).removed == gone.templates == tuple(t.id for t in ada)
