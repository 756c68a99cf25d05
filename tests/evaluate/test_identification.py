"""Open-set search, by hand on a circle and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from visavis.decide import Measured, OperatingCurve
from visavis.errors import ProtocolRefused
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.identification import Search, identification
from visavis.evaluate.protocols import Setting

SETTING = Setting("SFace int8", "e" * 64, "a made world", repeats=100)
ALL = Search(sizes=())


def encoded(name, vector):
    if vector is None:
        return Encoded(f"digest of {name}", None, "no_face_found: no face", 0.0)
    return Encoded(f"digest of {name}", np.asarray(vector, np.float32), "", 1.0)


def circle(**people):
    """Photographs at angles in degrees, or None where no face was found."""
    found, listed = {}, {}
    for person, angles in people.items():
        listed[person] = [f"{person}/{i}" for i in range(len(angles))]
        for name, angle in zip(listed[person], angles, strict=True):
            turn = np.radians(angle or 0)
            vector = None if angle is None else (np.cos(turn), np.sin(turn))
            found[name] = encoded(name, vector)
    return found, listed


def world(people, photos, strangers, spread, seed=0):
    chance = np.random.default_rng(seed)
    found, listed = {}, {}
    for i in range(people + strangers):
        centre = chance.normal(size=24)
        listed[f"p{i:03d}"] = [f"p{i:03d}/{k}" for k in range(photos if i < people else 1)]
        for name in listed[f"p{i:03d}"]:
            vector = centre / np.linalg.norm(centre) + spread * chance.normal(size=24)
            found[name] = encoded(name, vector / np.linalg.norm(vector))
    return found, listed


def brute(found, listed, templates=1):
    """Distances at which probes are rightly named (inf: never), and of strangers to anybody."""

    def nearest(name):
        probe = found[name].vector
        best = (np.inf, None)
        for person, photos in enrolled.items():
            for photo in photos[:templates]:
                template = found[photo].vector
                if probe is not None and template is not None:
                    d = float(np.sum((probe.astype(float) - template.astype(float)) ** 2))
                    best = min(best, (d, person))
        return best

    enrolled = {n: photos for n, photos in listed.items() if len(photos) > templates}
    own = []
    for person, photos in enrolled.items():
        d, who = nearest(photos[templates])
        own.append(d if who == person else np.inf)
    away = [nearest(photos[0])[0] for photos in listed.values() if len(photos) == 1]
    return np.array(own), np.array(away)


# By hand


def test_three_people_and_a_stranger_by_hand():
    """Ada is found at 10 degrees, Bo at 20; Cy's probe lies next to Ada; Di is 30 from Bo."""
    found, listed = circle(ada=(0, 10), bo=(120, 140), cy=(240, 5), di=(150,))
    done = identification(found, listed, SETTING, ALL)
    assert (done.mated, done.strangers, done.per_person) == (3, 1, 1)
    (whole,) = done.sizes
    assert (whole.people, whole.templates) == (3, 3)
    assert whole.rank1 == pytest.approx(2 / 3)
    # Cy's own template is 125 degrees from her probe, Bo's 115, Ada's 5: she is third.
    np.testing.assert_allclose(done.cmc, [2 / 3, 2 / 3, 1])
    d = {angle: 2 - 2 * np.cos(np.radians(angle)) for angle in (10, 20, 30)}
    for tau, rates in ((d[10], (0, 2 / 3)), (d[20], (0, 1 / 3)), (d[30], (1, 1 / 3))):
        assert whole.curve.at(tau + 1e-6) == pytest.approx(rates)
    assert whole.fnir == {}  # one stranger tells no rate
    assert done.failed == {}


def test_photographs_without_a_face_enrol_nobody_and_are_found_by_no_search():
    people = {"ada": (0, 10), "bo": (None, 140), "cy": (240, None), "di": (None,), "ed": (2,)}
    done = identification(*circle(**people), SETTING, ALL)
    assert (done.mated, done.strangers) == (3, 2)
    assert set(done.failed) == {"bo/0", "cy/1", "di/0"}
    (whole,) = done.sizes
    # Bo's probe finds Cy instead, Cy's finds nobody; of the strangers Di never matches.
    assert whole.rank1 == pytest.approx(1 / 3)
    assert whole.curve.at(4) == pytest.approx((1 / 2, 2 / 3))
    assert done.cmc[-1] == pytest.approx(1 / 3)


def test_several_templates_are_as_near_as_their_nearest():
    found, listed = circle(ada=(0, 90, 85), bo=(180, 270, 190), cy=(45,), di=(44,))
    done = identification(found, listed, SETTING, Search(2, ()))
    (whole,) = done.sizes
    assert (whole.people, whole.templates, whole.rank1) == (2, 4, 1)
    near = [2 - 2 * np.cos(np.radians(angle)) for angle in (5, 10, 44, 45)]
    rates = [whole.curve.at(d + 1e-5) for d in near]
    assert rates == [(0, 0.5), (0, 0), (0.5, 0), (1, 0)]


# Against brute force


@pytest.mark.parametrize("templates", [1, 2, 3])
def test_rates_are_brute_force(templates):
    found, listed = world(60, 4, 150, 0.25)
    for name in ("p000/0", "p001/1", "p100/0"):
        found[name] = encoded(name, None)
    done = identification(found, listed, SETTING, Search(templates, ()))
    own, away = brute(found, listed, templates)
    (whole,) = done.sizes
    assert whole.rank1 == np.isfinite(own).mean()
    for tau in np.quantile(away[np.isfinite(away)], [0.01, 0.1, 0.5]) + 1e-5:
        assert whole.curve.at(tau) == pytest.approx(
            (np.mean(away <= tau), np.mean(own > tau)), abs=1e-9
        )
    assert set(whole.fnir) == {"1e-1"}  # 150 strangers
    allowed = int(0.1 * len(away))
    tau = np.sort(away)[allowed] - 1e-6
    found_rate = whole.fnir["1e-1"]
    assert found_rate.value == pytest.approx(np.mean(own > tau))
    assert found_rate.low <= found_rate.value <= found_rate.high


def test_more_templates_never_worsen_rank_1():
    """The same probe (the last photograph) against ever more templates of its own person."""
    chance = np.random.default_rng(5)
    centres = chance.normal(size=(40, 24))
    found, ranks = {}, []
    photos = {}
    for i, centre in enumerate(centres):
        photos[f"p{i}"] = [f"p{i}/{k}" for k in range(5)]
        for k, name in enumerate(photos[f"p{i}"]):
            vector = centre / np.linalg.norm(centre) + 0.32 * (5 - k) / 5 * chance.normal(size=24)
            found[name] = encoded(name, vector / np.linalg.norm(vector))
    found["s"] = encoded("s", np.eye(24)[0])
    for templates in (1, 2, 3, 4):
        listed = {n: [*some[:templates], some[4]] for n, some in photos.items()}
        done = identification(found, {**listed, "s": ["s"]}, SETTING, Search(templates, ()))
        ranks.append(done.sizes[-1].rank1)
    assert ranks == sorted(ranks)
    assert ranks[0] < ranks[-1]


# Sizes


def test_galleries_of_rising_size_and_harder_the_larger():
    found, listed = world(120, 2, 100, 0.3)
    done = identification(found, listed, SETTING, Search(sizes=(10, 30, 100, 300)))
    assert [size.people for size in done.sizes] == [10, 30, 100, 120]
    tau = 0.9
    fpir = [size.curve.at(tau)[0] for size in done.sizes]
    assert fpir == sorted(fpir)
    assert fpir[0] < fpir[-1]
    assert done.sizes[-1].rank1 == done.cmc[0]
    assert (np.diff(done.cmc) >= 0).all()
    assert done.cmc[-1] == 1


def test_people_who_look_like_themselves_are_found_in_a_gallery_of_any_size():
    found, listed = world(40, 2, 30, 0.01)
    done = identification(found, listed, SETTING, Search(sizes=(5, 20)))
    assert [(size.people, size.rank1) for size in done.sizes] == [(5, 1), (20, 1), (40, 1)]


def test_drawing_is_repeatable():
    found, listed = world(40, 2, 30, 0.3)
    one, two, other = (
        identification(found, listed, SETTING, Search(sizes=(10,), seed=seed)).sizes[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.curve.fnmr, two.curve.fnmr)
    assert one.curve.tau.tolist() != other.curve.tau.tolist()


# Promises


def test_the_tau_promised_for_a_search_is_that_of_its_templates():
    found, listed = world(20, 3, 30, 0.3)
    points = (Measured(1e-1, 1.4, 0, 1), Measured(1e-6, 0.4, 0, 1))
    curve = OperatingCurve("e" * 64, "made", points, 5, 9)
    setting = Setting("x", "e" * 64, "y", curve, 50)
    done = identification(found, listed, setting, Search(2, ()))
    own, away = brute(found, listed, 2)
    assert [rate for rate, *_ in done.promised] == [1e-1, 1e-2, 1e-3]
    for rate, tau, fpir, fnir in done.promised:
        assert tau == curve.identification(rate, 40).tau
        assert fpir.value == pytest.approx(np.mean(away <= tau))
        assert fnir.value == pytest.approx(np.mean(own > tau))
    assert identification(found, listed, SETTING, ALL).promised == ()


# Bad input


@pytest.mark.parametrize(
    ("people", "templates"),
    [
        ({"ada": (0, 1), "bo": (2,)}, 1),
        ({"ada": (0, 1), "bo": (2, 3)}, 1),
        ({"ada": (0,), "bo": (2,)}, 1),
        ({"ada": (0, 1), "bo": (2, 3), "cy": (9,)}, 2),
    ],
)
def test_too_few_are_refused_with_how_many_there_are(people, templates):
    with pytest.raises(ProtocolRefused, match=rf"two people with {templates + 1} photographs"):
        identification(*circle(**people), SETTING, Search(templates))


def test_people_between_strangers_and_enrolled_are_told():
    """Two templates need three photographs: who has two is in neither part, and counted."""
    found, listed = circle(ada=(0, 1, 2), bo=(90, 91, 92), cy=(180, 181), di=(270,))
    done = identification(found, listed, SETTING, Search(2, ()))
    assert (done.mated, done.strangers) == (2, 1)
    assert any("1 people have 2 photographs" in remark for remark in done.remarks)


def test_duplicates_are_left_out_before_people_are_counted():
    found, listed = circle(ada=(0, 1), bo=(90, 91), cy=(180, 181))
    found["cy/1"] = found["cy/0"]
    done = identification(found, listed, SETTING, ALL)
    assert (done.mated, done.strangers) == (2, 1)
    assert done.remarks == ("1 duplicate photograph(s) left out",)


def test_nobody_with_a_face_is_refused():
    found, listed = circle(ada=(None, None), bo=(None, None), cy=(None,))
    with pytest.raises(ProtocolRefused, match="no photograph shows a face"):
        identification(found, listed, SETTING, ALL)
