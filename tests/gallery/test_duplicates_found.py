"""Who is enrolled twice is found: those pairs and no others, whatever is searched with."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.engine import pairs
from visavis.errors import OperatingPointRefused
from visavis.gallery import NewTemplate
from visavis.values import Consent

from .faceless import engine_on, portrait, ready
from .given import ENCODER, at_angle, opened

ADA, BOB, CY = 1, 2, 3


def named(found):
    return [(pair.first.name, pair.second.name) for pair in found.pairs]


def test_pairs_are_told_nearest_first_and_whoever_came_first_stands_first(where):
    """On a circle of four: 10, 30 and 170 degrees from Ada; d = 2 - 2 cos of the angle between."""
    with engine_on(where) as engine:
        for name, degrees in (("Ada", 0), ("Bob", 10), ("Cy", 30), ("Dan", 170)):
            engine.store(name, [ready(name, at_angle(degrees))], force=True)
        found = engine.duplicates()
        assert named(found) == [("Ada", "Bob"), ("Bob", "Cy"), ("Ada", "Cy")]
        angles = [np.radians(degrees) for degrees in (10, 20, 30)]
        assert [pair.distance for pair in found.pairs] == pytest.approx(2 - 2 * np.cos(angles))


def test_of_several_templates_the_nearest_counts(where):
    with engine_on(where) as engine:
        engine.store("Ada", [ready(f"a{n}", at_angle(n)) for n in (0, 90)], force=True)
        engine.store("Bob", [ready(f"b{n}", at_angle(n)) for n in (100, 180)], force=True)
        (pair,) = engine.duplicates().pairs
        assert pair.distance == pytest.approx(2 - 2 * np.cos(np.radians(10)))


def test_tau_is_the_one_at_which_enrolment_refuses_and_false_pairs_are_bounded(where):
    """Three people of 1, 1 and 2 templates: 1 + 2 + 2 comparisons, each false at 1e-3 / 4."""
    with engine_on(where) as engine:
        for who in (ADA, BOB):
            engine.store(str(who), [ready(f"{who}", portrait(who, 1))])
        engine.store("Cy", [ready(f"c{n}", portrait(CY, n)) for n in (1, 2)])
        found = engine.duplicates()
        assert (found.pairs, found.people, found.templates) == ((), 3, 4)
        assert (found.comparisons, found.fpir, found.encoder) == (5, 1e-3, ENCODER)
        assert found.tau == engine.curve.identification(1e-3, 4).tau
        assert found.fmr == pytest.approx(2.5e-4, rel=1e-3)
        assert found.false_pairs == pytest.approx(5 * found.fmr_upper)
        assert found.fmr_upper == pytest.approx(1.3 * found.fmr, rel=0.1)
        assert engine.duplicates(fpir=0.1).tau > found.tau
        with pytest.raises(OperatingPointRefused):
            engine.duplicates(fpir=1.0)


def test_whose_consent_ended_is_not_compared(where):
    with engine_on(where) as engine:
        engine.store("Ada", [ready("a", portrait(ADA, 1))])
        engine.store("Twin", [ready("t", portrait(ADA, 2))], force=True)
        assert named(engine.duplicates()) == [("Ada", "Twin")]
        engine.gallery.renew("Ada", Consent(expires=datetime.now(UTC) + timedelta(seconds=0.1)))
        while not engine.gallery.person("Ada").expired(datetime.now(UTC)):
            pass
        found = engine.duplicates()
        assert (found.pairs, found.people, found.templates) == ((), 1, 1)


def test_an_empty_gallery_has_none(where):
    with engine_on(where) as engine:
        found = engine.duplicates()
        assert (found.pairs, found.comparisons, found.false_pairs) == ((), 0, 0)


def test_progress_reaches_the_end(where, monkeypatch):
    """Ten templates in rows of four: of 50 comparisons, (10 + 9 + 8 + 7) and so on are done."""
    monkeypatch.setattr(pairs, "_ROWS", 4)
    with engine_on(where) as engine:
        people = [(f"p{n}", [NewTemplate(portrait(n, 1))]) for n in range(10)]
        engine.gallery.enroll_all(people, encoder=ENCODER)
        told = []
        engine.duplicates(told=lambda *numbers: told.append(numbers))
        assert told == [(32, 50), (48, 50), (50, 50)]


def test_of_very_many_pairs_the_nearest_are_kept(where, monkeypatch):
    """Twenty templates one degree apart: 19 pairs of neighbours are the nearest of 190."""
    monkeypatch.setattr(pairs, "_AT_ONCE", 8)
    with engine_on(where) as engine:
        people = [(f"p{n:02d}", [NewTemplate(at_angle(n))]) for n in range(20)]
        engine.gallery.enroll_all(people, encoder=ENCODER)
        found = engine.duplicates(most=19)
        assert {frozenset(pair) for pair in named(found)} == {
            frozenset((f"p{n:02d}", f"p{n + 1:02d}")) for n in range(19)
        }
        assert found.cut
        assert not engine.duplicates(most=190).cut
        assert len(engine.duplicates().pairs) == 190


def brute_force(engine, tau):
    """A second implementation: every pair of templates, in float64."""
    pairs = {}
    everybody = [
        (person.name, template.vector.astype(np.float64))
        for person in engine.gallery.people()
        for template in engine.gallery.templates(person.id)
    ]
    for n, (a, mine) in enumerate(everybody):
        for b, other in everybody[:n]:
            d = float((mine - other) @ (mine - other))
            if a != b and d <= tau:
                key = frozenset((a, b))
                pairs[key] = min(d, pairs.get(key, d))
    return pairs


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), max_size=40),
    st.integers(0, 99),
    st.sampled_from([(3, 5), (16, 16), (1024, 8192)]),
)
def test_it_agrees_with_comparing_everything_with_everything(
    tmp_path_factory, planted, seed, block
):
    """Faces at random, of which many are of the same few people under other names."""
    path = tmp_path_factory.mktemp("planted") / "people.db"
    opened(path).close()
    with pytest.MonkeyPatch.context() as patched, engine_on(path) as engine:
        patched.setattr(pairs, "_ROWS", block[0])
        patched.setattr(pairs, "_COLUMNS", block[1])
        people = [
            (f"p{n}", [NewTemplate(portrait(seed + face, 10 * n + k)) for k in range(count)])
            for n, (face, count) in enumerate(planted)
        ]
        if people:
            engine.gallery.enroll_all(people, encoder=ENCODER)
        found = engine.duplicates(fpir=0.5)
        wanted = brute_force(engine, found.tau)
        assert {frozenset((p.first.name, p.second.name)) for p in found.pairs} == set(wanted)
        assert [pair.distance for pair in found.pairs] == pytest.approx(sorted(wanted.values()))
        faces = [face for face, _ in planted]
        if len(set(faces)) < len(faces):
            assert found.pairs


@pytest.mark.slow
def test_in_a_large_gallery_the_planted_pairs_are_the_nearest(path):
    """20,000 people, of whom 40 are enrolled twice."""
    with engine_on(path) as engine:
        chance = np.random.default_rng(7)
        vectors = chance.normal(size=(20_000, 128)).astype(np.float32)
        noise = chance.normal(size=(40, 128)).astype(np.float32)
        vectors[-40:] = vectors[:40] + 0.3 * noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        people = [(f"p{n}", [NewTemplate(vector)]) for n, vector in enumerate(vectors)]
        engine.gallery.enroll_all(people, encoder=ENCODER)
        found = engine.duplicates()
        assert {frozenset(pair) for pair in named(found)[:40]} == {
            frozenset((f"p{n}", f"p{19_960 + n}")) for n in range(40)
        }
        assert found.comparisons == 20_000 * 19_999 // 2
        # A few strangers are as near as that, as was announced.
        assert len(found.pairs) - 40 <= found.false_pairs
