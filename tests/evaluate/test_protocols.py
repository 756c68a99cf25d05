"""Comparing listed pairs and all pairs, held against brute force and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from visavis.decide import Measured, OperatingCurve
from visavis.errors import ProtocolRefused
from visavis.evaluate import protocols
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.listing import Pair, PairList
from visavis.evaluate.protocols import (
    Setting,
    compare_all,
    compare_pairs,
    distances_between,
    verification,
    without_duplicates,
)

SETTING = Setting("SFace int8", "e" * 64, "a made world", repeats=100)


def encoded(name, vector, quality=1.0):
    if vector is None:
        return Encoded(f"digest of {name}", None, "no_face_found: no face", 0.0)
    return Encoded(f"digest of {name}", np.asarray(vector, np.float32), "", quality)


def at_angle(degrees):
    turn = np.radians(degrees)
    return np.array([np.cos(turn), np.sin(turn)])


def world(people, photos, spread, *, seed=0, length=16, failing=0):
    """Unit vectors around a centre for each person; the first ``failing`` photographs fail."""
    chance = np.random.default_rng(seed)
    found, listed = {}, {}
    for i in range(people):
        centre = chance.normal(size=length)
        listed[f"p{i:03d}"] = names = [f"p{i:03d}/{k}.jpg" for k in range(photos)]
        for name in names:
            vector = centre / np.linalg.norm(centre) + spread * chance.normal(size=length)
            vector = None if len(found) < failing else vector / np.linalg.norm(vector)
            found[name] = encoded(name, vector, chance.random())
    return found, listed


def brute(found, listed):
    """(mated, non-mated) distances of all pairs in float64; inf where one failed."""
    owner = {name: person for person, names in listed.items() for name in names}
    rows = ([], [])
    for a, b in itertools.combinations(owner, 2):
        one, two = found[a].vector, found[b].vector
        failed = one is None or two is None
        d = np.inf if failed else float(np.sum((one.astype(float) - two.astype(float)) ** 2))
        rows[owner[a] != owner[b]].append(d)
    return np.array(rows[0]), np.array(rows[1])


def pairs_of(listed, fold=lambda _: 0):
    owner = {name: person for person, names in listed.items() for name in names}
    return PairList(
        tuple(
            Pair(a, b, owner[a] == owner[b], fold(number), (owner[a], owner[b]))
            for number, (a, b) in enumerate(itertools.combinations(owner, 2))
        )
    )


# Four photographs on a circle: d = 2 - 2 cos(angle)

CIRCLE = {
    "ada/1": encoded("ada/1", at_angle(0)),
    "ada/2": encoded("ada/2", at_angle(60)),
    "bo/1": encoded("bo/1", at_angle(90)),
    "bo/2": encoded("bo/2", at_angle(180)),
}
TWO = {"ada": ["ada/1", "ada/2"], "bo": ["bo/1", "bo/2"]}


@pytest.mark.parametrize("compare", ["all", "pairs"])
def test_a_circle_by_hand(compare):
    done = compare_all(CIRCLE, TWO) if compare == "all" else compare_pairs(CIRCLE, pairs_of(TWO))
    assert sorted(done.mated.d) == pytest.approx([1, 2], abs=1e-6)  # 60, 90 degrees
    near = 2 - np.sqrt(3)  # 30 degrees
    assert sorted(done.nonmated.d) == pytest.approx([near, 2, 3, 4], abs=1e-6)  # 90, 120, 180
    assert (done.people, done.curve.mated, done.curve.nonmated) == (2, 2, 4)
    assert done.curve.at(1.5) == (0.25, 0.5)
    assert done.failed == {}
    result = verification(done, SETTING)
    d, a, b = result.worst_false_matches[0]
    assert (d, {a, b}) == (pytest.approx(near, abs=1e-6), {"ada/2", "bo/1"})
    d, a, b = result.worst_false_non_matches[0]
    assert (d, {a, b}) == (pytest.approx(2, abs=1e-6), {"bo/1", "bo/2"})
    assert result.auc == pytest.approx((3 + 2.5) / 8, abs=0.07)  # 60 degrees beat 3, 90 tie with 1


def test_a_photograph_without_a_face_is_never_accepted_and_always_counted():
    found = {**CIRCLE, "bo/2": encoded("bo/2", None)}
    for done in (compare_all(found, TWO), compare_pairs(found, pairs_of(TWO))):
        assert (done.curve.mated, done.curve.nonmated) == (2, 4)
        assert done.curve.at(4) == (0.5, 0.5)
        assert done.failed == {"bo/2": "no_face_found: no face"}
        result = verification(done, SETTING)
        assert all(np.isfinite(d) for d, _, _ in result.worst_false_matches)
        assert [x[1:] for x in result.worst_false_non_matches] == [("ada/1", "ada/2")]


def test_a_world_in_which_no_mated_comparison_succeeds_is_still_measured():
    found = {**CIRCLE, "ada/2": encoded("ada/2", None), "bo/2": encoded("bo/2", None)}
    result = verification(compare_all(found, TWO), SETTING)
    assert result.comparisons.curve.at(4)[1] == 1
    assert np.isnan(result.d_prime)
    assert result.worst_false_non_matches == ()


def test_nothing_is_measured_where_nobody_has_a_face():
    found = {name: encoded(name, None) for name in CIRCLE}
    for compare in (lambda: compare_all(found, TWO), lambda: compare_pairs(found, pairs_of(TWO))):
        with pytest.raises(ProtocolRefused, match="no photograph shows a face"):
            compare()


@pytest.mark.parametrize("failing", [0, 7])
def test_all_against_all_is_brute_force(failing, monkeypatch):
    monkeypatch.setattr(protocols, "_BLOCK", 32)  # several blocks
    found, listed = world(30, 4, 0.15, failing=failing)
    done = compare_all(found, listed)
    mated, nonmated = brute(found, listed)
    np.testing.assert_allclose(np.sort(done.mated.d), np.sort(mated), atol=2e-6)
    np.testing.assert_allclose(np.sort(done.nonmated.d), np.sort(nonmated), atol=2e-6)
    assert (done.curve.mated, done.curve.nonmated) == (len(mated), len(nonmated))
    for d, at, same in (
        (done.mated.d, done.mated_at, True),
        (done.nonmated.d, done.nonmated_at, False),
    ):
        for value, (i, j) in zip(d[:200], at[:200], strict=True):
            one, two = found[done.names[i]].vector, found[done.names[j]].vector
            assert (done.names[i][:4] == done.names[j][:4]) is same
            if np.isfinite(value):
                assert value == pytest.approx(float(np.sum((one - two) ** 2)), abs=1e-5)


def test_listed_pairs_are_brute_force_and_keep_their_order():
    found, listed = world(12, 3, 0.2, failing=2)
    pairs = pairs_of(listed)
    done = compare_pairs(found, pairs)
    mated, nonmated = brute(found, listed)
    np.testing.assert_allclose(done.mated.d, mated, atol=1e-6)
    np.testing.assert_allclose(done.nonmated.d, nonmated, atol=1e-6)
    assert done.same.tolist() == [pair.same for pair in pairs.pairs]
    np.testing.assert_array_equal(done.d[done.same], done.mated.d)
    assert [done.names[i] for i in done.mated_at[:, 0]] == [p.a for p in pairs.pairs if p.same]


@pytest.mark.parametrize("compare", ["all", "pairs"])
def test_scikit_learn_draws_the_same_curve(compare):
    found, listed = world(25, 4, 0.3, seed=3)
    done = (
        compare_all(found, listed) if compare == "all" else compare_pairs(found, pairs_of(listed))
    )
    mated, nonmated = brute(found, listed)
    truth, score = np.r_[np.ones(len(mated)), np.zeros(len(nonmated))], -np.r_[mated, nonmated]
    result = verification(done, SETTING)
    assert result.auc == pytest.approx(roc_auc_score(truth, score), abs=1e-4)
    far, tar, _ = roc_curve(truth, score, drop_intermediate=False)
    for wanted, found_tar in result.tar.items():
        judge = tar[np.searchsorted(far, float(wanted), "right") - 1]
        assert found_tar.value == pytest.approx(judge, abs=1e-9)
        assert found_tar.low <= found_tar.value <= found_tar.high
    crossing = np.argmin(np.abs(far - (1 - tar)))
    assert result.eer == pytest.approx((far[crossing] + 1 - tar[crossing]) / 2, abs=0.01)


def test_a_rate_that_too_few_comparisons_stand_for_is_left_out():
    found, listed = world(25, 2, 0.3)  # 1,200 non-mated
    assert list(verification(compare_all(found, listed), SETTING).tar) == ["1e-2"]


def test_folds_are_decided_by_the_others():
    """Every fold has a mated pair at 30 and a stranger at 60 degrees: any tau between is right."""
    found, pairs = {}, []
    for fold in range(3):
        for k, degrees in enumerate((0, 30, 60)):
            found[f"{fold}/{k}"] = encoded(f"{fold}/{k}", at_angle(degrees))
        pairs += [
            Pair(f"{fold}/0", f"{fold}/1", True, fold, (f"p{fold}", f"p{fold}")),
            Pair(f"{fold}/0", f"{fold}/2", False, fold, (f"p{fold}", f"q{fold}")),
        ]
    accuracy = verification(compare_pairs(found, PairList(tuple(pairs))), SETTING).accuracy
    assert (accuracy.mean, accuracy.se, accuracy.folds) == (1, 0, (1, 1, 1))
    found["2/1"] = encoded("2/1", None)
    accuracy = verification(compare_pairs(found, PairList(tuple(pairs))), SETTING).accuracy
    assert accuracy.folds == (1, 1, 0.5)


# Duplicates


def test_duplicates_of_a_person_are_compared_once_and_told():
    found = {**CIRCLE, "ada/3": CIRCLE["ada/1"]}
    done = compare_all(found, {**TWO, "ada": ["ada/1", "ada/2", "ada/3"]})
    assert (done.curve.mated, done.curve.nonmated) == (2, 4)
    assert done.remarks == ("1 duplicate photograph(s) left out",)
    assert "ada/3" not in done.names


def test_one_file_under_two_people_is_refused_by_name():
    found = {**CIRCLE, "bo/3": CIRCLE["ada/1"]}
    people = {**TWO, "bo": ["bo/1", "bo/2", "bo/3"]}
    for refuse in (compare_all, without_duplicates):
        with pytest.raises(ProtocolRefused, match="ada/1 and bo/3 are the same file"):
            refuse(found, people)


def test_photographs_that_could_not_be_opened_are_no_duplicates():
    gone = Encoded("", None, "image_not_found: gone", 0.0)
    found = {**CIRCLE, "ada/3": gone, "bo/3": gone}
    people = {name: [*photos, f"{name}/3"] for name, photos in TWO.items()}
    done = compare_all(found, people)
    assert (done.curve.mated, done.curve.nonmated) == (6, 9)
    assert set(done.failed) == {"ada/3", "bo/3"}
    assert done.remarks == ()


@pytest.mark.parametrize(
    "people", [{"ada": ["ada/1", "ada/2"]}, {"ada": ["ada/1"], "bo": ["bo/1"]}]
)
def test_all_against_all_needs_two_people_and_two_photographs_of_one(people):
    with pytest.raises(ProtocolRefused, match="needs at least two people"):
        compare_all(CIRCLE, people)


# Very many comparisons


def test_a_list_cut_at_a_ceiling_measures_the_same(monkeypatch):
    found, listed = world(60, 4, 0.4, seed=1, failing=3)
    curve = OperatingCurve(
        "e" * 64, "made", (Measured(1e-2, 0.9, 0, 1), Measured(1e-3, 0.5, 0, 1)), 4, 1000
    )
    setting = Setting("SFace", "e" * 64, "made", curve, repeats=100)
    whole = verification(compare_all(found, listed), setting)
    monkeypatch.setattr(protocols, "_FEW", 1000)
    cut = verification(compare_all(found, listed), setting)
    assert np.isinf(whole.comparisons.nonmated.ceiling)
    assert np.isfinite(cut.comparisons.nonmated.ceiling)
    assert len(cut.comparisons.nonmated.d) < 0.005 * len(whole.comparisons.nonmated.d)
    np.testing.assert_array_equal(cut.comparisons.curve.fmr, whole.comparisons.curve.fmr)
    assert cut.tar
    for far, tar in cut.tar.items():
        assert tar.value == whole.tar[far].value
        assert tar.low == pytest.approx(whole.tar[far].low, abs=0.02)
        assert tar.high == pytest.approx(whole.tar[far].high, abs=0.02)
    assert (cut.eer, cut.auc) == (whole.eer, whole.auc)
    assert np.isnan(cut.d_prime)
    nearest = len(cut.worst_false_matches)
    assert cut.worst_false_matches == whole.worst_false_matches[:nearest]
    assert nearest
    points = {point.fmr: point for point in whole.points}
    assert cut.points
    for point in cut.points:
        assert point.measured_fmr.value == points[point.fmr].measured_fmr.value
        assert point.measured_fnmr.value == points[point.fmr].measured_fnmr.value


def test_all_distances_are_counted_and_the_nearest_listed(monkeypatch):
    monkeypatch.setattr(protocols, "_FEW", 100)
    found, listed = world(40, 3, 0.3, failing=4)
    done = distances_between(found, listed, 0.1)
    mated, nonmated = (d[np.isfinite(d)] for d in brute(found, listed))
    nearest = done.nearest
    assert done.counts.trials == len(nonmated)
    assert done.people == 39  # the first person has no photograph left
    np.testing.assert_allclose(np.sort(done.mated.d), np.sort(mated), atol=2e-6)
    assert len(nearest.d) == pytest.approx(0.1 * len(nonmated), rel=0.05)
    inside = np.sort(nonmated)[: len(nearest.d)]
    np.testing.assert_allclose(np.sort(nearest.d), inside, atol=2e-6)
    assert nearest.size()[0] == len(nonmated)


# Promises


@pytest.mark.parametrize(("promised", "kept"), [(0.05, True), (0.002, False)])
def test_a_promise_is_held_against_what_is_measured(promised, kept):
    found, listed = world(40, 3, 0.3, seed=2)
    done = compare_all(found, listed)
    tau = float(np.quantile(done.nonmated.d, 0.03))
    points = tuple(Measured(rate, tau * rate / 1e-2, 0, promised) for rate in (1e-2, 1e-3))
    setting = Setting("x", "e", "y", OperatingCurve("e", "made", points, 1, 9), repeats=200)
    result = verification(done, setting)
    point = result.points[0]
    assert (point.fmr, point.promised_upper) == (1e-2, pytest.approx(promised))
    assert point.measured_fmr.value == pytest.approx(0.03, abs=0.001)
    assert point.kept is kept
    assert [p.extrapolated for p in result.points[:3]] == [False, False, True]


def test_points_above_what_was_measured_are_not_asked_for():
    points = (Measured(1e-3, 0.5, 0, 1), Measured(1e-4, 0.4, 0, 1))
    setting = Setting("x", "e", "y", OperatingCurve("e", "made", points, 9, 9), repeats=20)
    found, listed = world(10, 2, 0.3)
    rates = [point.fmr for point in verification(compare_all(found, listed), setting).points]
    assert rates == [1e-3, 1e-4, 1e-5, 1e-6]


def test_the_worst_pairs_come_sorted_and_are_twelve():
    found, listed = world(20, 3, 0.4)
    result = verification(compare_all(found, listed), SETTING)
    mated, nonmated = brute(found, listed)
    near = [d for d, _, _ in result.worst_false_matches]
    far = [d for d, _, _ in result.worst_false_non_matches]
    assert near == pytest.approx(sorted(nonmated)[:12], abs=1e-5)
    assert far == pytest.approx(sorted(mated, reverse=True)[:12], abs=1e-5)


def test_discarding_the_poorest_is_by_the_poorer_of_two():
    """Only the pair with the poor photograph is far: without it no error is left."""
    found, listed = world(20, 2, 0.01)
    found["p000/1.jpg"] = encoded("p000/1.jpg", -found["p000/0.jpg"].vector, quality=0.0)
    found = {
        n: encoded(n, e.vector, e.quality if n == "p000/1.jpg" else 0.9) for n, e in found.items()
    }
    discard = verification(compare_all(found, listed), SETTING).discard
    assert discard.fnmr[0] > 0
    assert discard.fnmr[1] == 0
