"""Tails, promises and likelihoods in worlds whose truth is known."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from visavis.decide import curve_of
from visavis.errors import InputRefused, OperatingPointRefused
from visavis.evaluate.calibration import (
    LEAST_PAIRS,
    Likelihood,
    Point,
    Tail,
    Verdict,
    cllr,
    fit_isotonic,
    fit_likelihood,
    fit_tail,
    min_cllr,
    operating_points,
    promise,
    rate_of_one,
    reliability,
)
from visavis.evaluate.intervals import ByPair, ByPerson, Crossed, draws
from visavis.evaluate.metrics import Histogram, fmr, fnmr

NOBODY = np.zeros((0, 2), np.int64)


def everybody(distribution, people, seed, ceiling=4.0):
    """One photograph a person, every pair's distance drawn anew: counts, nearest, weights."""
    a, b = np.triu_indices(people, 1)
    chance = np.random.default_rng(seed)
    d = np.clip(distribution.rvs(len(a), random_state=chance), 0, 4)
    near = d <= ceiling
    crossed = Crossed(np.ones(people, np.int64), NOBODY)
    return Histogram.of(d), ByPair(d[near], a[near], b[near], crossed, ceiling)


def calibrated(distribution, people=400, seed=0, repeats=200):
    ceiling = float(distribution.ppf(0.12))
    counts, nearest = everybody(distribution, people, seed, ceiling)
    return operating_points(counts, nearest, draws(people, repeats, seed))


NORMAL = stats.norm(1.825, 0.18)
BETA = stats.beta(30, 30, scale=4)
"""4 * Beta((D - 1) / 2, (D - 1) / 2): random unit vectors, here in 61 dimensions."""


# The tail


@pytest.mark.parametrize(("shape", "scale"), [(0.0, 0.05), (0.15, 0.05), (0.35, 1.0)])
def test_scipy_draws_a_pareto_tail_and_it_is_found(shape, scale):
    excess = stats.genpareto(shape, scale=scale).rvs(40_000, random_state=1)
    found = fit_tail(excess, np.ones((len(excess), 1)))
    assert found[0][0] == pytest.approx(shape, abs=0.03)
    assert found[1][0] == pytest.approx(scale, rel=0.04)
    judge = stats.genpareto.fit(excess, floc=0)
    assert found[0][0] == pytest.approx(judge[0], abs=0.03)


def test_weights_count_as_repetitions():
    chance = np.random.default_rng(2)
    excess, times = chance.pareto(5, 800), chance.integers(0, 4, 800)
    heavy = [float(x[0]) for x in fit_tail(excess, times[:, None].astype(float))]
    again = np.repeat(excess, times)
    plain = [float(x[0]) for x in fit_tail(again, np.ones((len(again), 1)))]
    assert heavy == pytest.approx(plain, rel=1e-9)


def test_no_distance_is_taken_for_impossible():
    """A beta tail ends at d = 0, and its fit would end long before; the exponential does not."""
    excess = 1.2 - np.random.default_rng(3).uniform(0.9, 1.2, 1000)
    shape, scale = fit_tail(excess, np.ones((1000, 1)))
    assert shape[0] == 0
    assert scale[0] == pytest.approx(excess.mean())


@given(st.just(0.0) | st.floats(1e-6, 0.5), st.floats(0.01, 0.2), st.floats(1e-11, 1e-5))
def test_tau_and_fmr_are_inverse_and_scipy_agrees(shape, scale, rate):
    tail = Tail(shape, scale, threshold=1.0, rate=1e-5)
    tau = tail.tau(rate)
    assert tail.fmr(tau) == pytest.approx(rate, rel=1e-5)
    judge = stats.genpareto(shape, scale=scale)
    assert tail.fmr(tau) == pytest.approx(1e-5 * judge.sf(1.0 - tau), rel=1e-5)


@pytest.mark.parametrize(
    "distribution", [NORMAL, BETA, stats.logistic(1.8, 0.058)], ids=["normal", "beta", "logistic"]
)
def test_beyond_the_data_the_truth_lies_below_what_is_said(distribution):
    """Measured down to 3e-4, asked for 1e-6: three hundred times rarer than anything seen."""
    truth = []
    for seed in range(8):
        found = calibrated(distribution, seed=seed, repeats=60)
        assert found.points[-1].fmr >= 1e-4
        point = found.at(1e-6)
        assert point.extrapolated
        assert distribution.cdf(point.tau) <= 1.5 * point.upper
        truth.append(distribution.cdf(point.tau) / 1e-6)
    # Never systematically more than promised, and not so strict as to be of no use.
    assert 0.002 < np.median(truth) < 1.5


def test_a_heavy_tail_is_joined_to_the_last_point_with_the_scale_it_has_there():
    """Beyond any threshold a Pareto tail is one again, its scale grown by shape * distance."""
    heavy = stats.genpareto(0.1, scale=0.05)
    people, scales = 400, []
    a, b = np.triu_indices(people, 1)
    for seed in range(10):
        pairs = ByPair(np.clip(1.8 - heavy.rvs(len(a), random_state=seed), 0, 4), a, b)
        tail = operating_points(Histogram.of(pairs.d), pairs, draws(people, 20)).tail
        assert tail.fmr(tail.threshold) == pytest.approx(fmr(pairs.d, tail.threshold))
        scales.append(tail.scale / (0.05 + 0.1 * (1.8 - tail.threshold)))
    assert np.mean(scales) == pytest.approx(1, abs=0.1)


def test_a_shape_below_zero_would_have_broken_the_promise():
    """Why fit_tail refuses it: SciPy's maximum likelihood, and moments with both signs."""
    over = []
    for seed in range(12):
        d = NORMAL.rvs(80_000, random_state=seed)
        start = np.partition(d, 500)[500]
        shape, _, scale = stats.genpareto.fit(start - d[d < start], floc=0)
        beyond = stats.genpareto(shape, scale=scale).ppf(1 - 1e-7 * len(d) / 500)
        over.append(NORMAL.cdf(start - beyond) / 1e-7)
    assert np.quantile(over, 0.8) > 3


# Operating points


@pytest.fixture(scope="module")
def normal():
    return calibrated(NORMAL, people=900, seed=4)


def test_measured_rates_are_those_of_the_distribution(normal):
    assert normal.pairs == 900 * 899 // 2
    assert [p.fmr for p in normal.points][:3] == [0.1, 0.0316228, 0.01]
    for point in normal.points:
        assert point.measured <= point.fmr
        assert point.lower <= point.fmr <= point.upper
        assert point.lower <= NORMAL.cdf(point.tau) <= point.upper
    # 404,550 comparisons show 1e-4 by forty pairs of people, and 3e-5 by no more than thirteen.
    assert normal.points[-1].fmr == 1e-4
    assert normal.pairs * 1e-4 > LEAST_PAIRS > normal.pairs * 3.2e-5


def test_beyond_them_rates_and_thresholds_go_on_falling(normal):
    line = normal.points + normal.beyond
    assert all(a.fmr > b.fmr and a.tau > b.tau > 0 for a, b in itertools.pairwise(line))
    assert all(p.extrapolated == (p.measured is None) == (p in normal.beyond) for p in line)
    assert all(p.lower <= p.fmr <= p.upper for p in line)
    # The less was seen, the wider the bounds are relative to the rate.
    width = [math.log(p.upper / p.fmr) for p in normal.beyond]
    assert width[-1] > width[0]
    assert normal.tail.threshold == normal.points[-1].tau


@given(st.floats(-11, -1), st.floats(-11, -1))
def test_any_rate_in_reach_has_a_point(normal, a, b):
    low, high = sorted((max(10**a, normal.beyond[-1].fmr), max(10**b, normal.beyond[-1].fmr)))
    strict, loose = normal.at(min(low, 0.1)), normal.at(min(high, 0.1))
    assert strict.tau <= loose.tau
    assert strict.lower <= strict.fmr <= strict.upper
    assert strict.extrapolated == (strict.fmr < normal.points[-1].fmr * (1 - 1e-9))


@pytest.mark.parametrize("rate", [0.2, 0.0, 1e-15, math.nan])
def test_rates_out_of_reach_are_refused(normal, rate):
    with pytest.raises(OperatingPointRefused):
        normal.at(rate)


def test_decide_reads_what_is_written(normal):
    stored = json.loads(json.dumps(normal.as_json("ab" * 16, "drawn", "a normal distribution")))
    curve = curve_of(stored, "ab" * 16, "drawn")
    assert (curve.pairs, curve.tuned_on) == (normal.pairs, "a normal distribution")
    for rate in (1e-1, 1e-3, 5e-4):
        ours, theirs = normal.at(rate), curve.at(rate)
        assert theirs.tau == pytest.approx(ours.tau)
        assert theirs.fmr_upper == pytest.approx(ours.upper)
        assert theirs.extrapolated == ours.extrapolated
    # decide goes on by one slope: never looser than the tail, up to what was written.
    for rate in (1e-5, 1e-6, 1e-8):
        assert curve.at(rate).extrapolated
        assert curve.at(rate).tau <= normal.at(rate).tau + 1e-3
    assert stored["extrapolated"][0]["measured"] is None


def test_what_each_threshold_turns_away_is_measured_and_read():
    chance = np.random.default_rng(8)
    mated = ByPerson(np.clip(chance.normal(1.0, 0.15, 600), 0, 4), np.repeat(np.arange(300), 2))
    a, b = np.triu_indices(300, 1)
    pairs = ByPair(np.clip(NORMAL.rvs(len(a), random_state=8), 0, 4), a, b)
    done = operating_points(Histogram.of(pairs.d), pairs, draws(300, 200), mated=mated)
    assert [miss.tau for miss in done.misses] == [p.tau for p in done.points + done.beyond]
    for miss in done.misses:
        assert miss.fnmr == fnmr(mated.d, miss.tau)
        assert miss.lower <= 1 - stats.norm(1.0, 0.15).cdf(miss.tau) <= miss.upper
    curve = curve_of(json.loads(json.dumps(done.as_json("ab" * 16, "x", "y"))), "ab" * 16, "x")
    assert (curve.misses, curve.mated) == (done.misses, 600)


def test_pairs_of_people_are_counted_not_photographs():
    """Two people who look alike, with fifty photographs each, are one pair and no tail."""
    chance = np.random.default_rng(5)
    photographs = np.r_[50, 50, np.ones(58, np.int64)]
    owner = np.repeat(np.arange(60), photographs)
    i, j = np.triu_indices(len(owner), 1)
    other = owner[i] != owner[j]
    a, b = owner[i][other], owner[j][other]
    alike = (a == 0) & (b == 1)
    d = np.where(alike, chance.normal(0.5, 0.05, len(a)), chance.normal(1.8, 0.1, len(a)))
    assert alike.mean() > 0.2
    with pytest.raises(InputRefused, match="too few people"):
        operating_points(Histogram.of(d), ByPair(d, a, b), draws(60, 50))


def test_too_few_people_are_refused():
    counts, nearest = everybody(NORMAL, 10, 0)
    with pytest.raises(InputRefused, match="add people"):
        operating_points(counts, nearest, draws(10, 50))


def test_lists_that_end_too_early_are_refused():
    counts, nearest = everybody(NORMAL, 200, 0, ceiling=1.4)
    with pytest.raises(InputRefused, match="needs more"):
        operating_points(counts, nearest, draws(200, 50))


# Identification


@pytest.mark.parametrize(("fpir", "gallery"), [(0.05, 20), (0.02, 100), (0.01, 1)])
def test_a_search_keeps_its_rate(normal, fpir, gallery):
    assert (1 - rate_of_one(fpir, gallery)) ** gallery == pytest.approx(1 - fpir)
    point = normal.identification(fpir, gallery)
    nearest = NORMAL.rvs((20_000, gallery), random_state=gallery).min(axis=1)
    assert fmr(nearest, point.tau) == pytest.approx(fpir, abs=0.005 + 0.15 * fpir)


def test_a_stranger_near_to_many_is_still_one_stranger():
    """Per person the rate varies; the rate of searches stays below what was asked for."""
    chance = np.random.default_rng(6)
    easy = chance.normal(0, 0.12, (8000, 1))
    one = stats.norm(1.8, math.hypot(0.12, 0.15))
    nearest = (chance.normal(1.8, 0.15, (8000, 50)) + easy).min(axis=1)
    assert fmr(nearest, one.ppf(rate_of_one(0.1, 50))) < 0.07


@pytest.mark.parametrize("fpir", [0.0, 1.0, -1, math.nan])
def test_search_rates_that_make_no_sense(fpir):
    with pytest.raises(OperatingPointRefused, match="between 0 and 1"):
        rate_of_one(fpir, 10)


# The promise


def world(people, seed, shift=0.0):
    """Everybody is more or less easily confused, as people are."""
    chance = np.random.default_rng(seed)
    easy = chance.normal(0, 0.06, people)
    a, b = np.triu_indices(people, 1)
    d = np.clip(chance.normal(1.8 - shift, 0.15, len(a)) - easy[a] - easy[b], 0, 4)
    return ByPair(d, a, b)


@pytest.fixture(scope="module")
def stated():
    pairs = world(400, 7)
    return operating_points(Histogram.of(pairs.d), pairs, draws(400, 300, 1)).points


def test_the_promise_holds_on_other_people_of_the_same_world():
    """Both sets are samples of people, so about one stated interval in six is missed by chance."""
    within, broken = [], []
    for seed in range(10):
        pairs = world(400, seed)
        points = operating_points(Histogram.of(pairs.d), pairs, draws(400, 100, seed)).points
        found = promise(points, world(400, 100 + seed), draws(400, 100, 100 + seed))
        within += [each.within for each in found]
        broken += [each.verdict is Verdict.BROKEN for each in found]
        assert all((each.verdict is Verdict.KEPT) <= each.within for each in found)
    assert np.mean(within) > 0.7
    assert np.mean(broken) < 0.1


def test_the_promise_is_broken_where_people_look_more_alike(stated):
    found = promise(stated, world(400, 9, shift=0.12), draws(400, 100))
    assert {each.verdict for each in found[:5]} == {Verdict.BROKEN}
    assert not any(each.within for each in found[:5])
    assert found[2].matches == round(found[2].measured.value * found[2].comparisons)


def test_where_people_look_less_alike_it_is_safer(stated):
    found = promise(stated[:3], world(400, 9, shift=-0.12), draws(400, 100))
    assert {each.verdict for each in found} == {Verdict.SAFER}


def test_a_handful_of_people_cannot_vouch_for_a_rare_rate():
    point = Point(1e-5, 0.9, 1e-6, 2e-5, 1e-5)
    a, b = np.triu_indices(30, 1)
    far = ByPair(np.full(len(a), 1.5), a, b)
    assert promise([point], far, draws(30))[0].verdict is Verdict.UNTESTED
    one = ByPair(np.r_[0.5, far.d[1:]], a, b)
    found = promise([point], one, draws(30))[0]
    assert found.verdict is Verdict.EXCEEDED  # one pair of brothers may be chance
    assert (found.matches, found.comparisons) == (1, 435)


# Likelihood ratios


def two_normals(seed, mated=600, nonmated=3000):
    """Equal variances: the true llr is a line, 20 * (1.3 - d) for means 0.9, 1.7 and s = 0.2."""
    chance = np.random.default_rng(seed)
    return chance.normal(0.9, 0.2, mated), chance.normal(1.7, 0.2, nonmated)


def test_the_true_line_is_found_whatever_the_numbers_of_pairs():
    for nonmated in (3000, 60_000):
        line = fit_likelihood(*two_normals(0, 3000, nonmated))
        assert line.llr(1.3) == pytest.approx(0, abs=0.4)
        assert line.slope == pytest.approx(-20, rel=0.15)


@pytest.mark.parametrize("prior", [0.5, 0.01])
def test_scikit_learn_and_scipy_find_the_same_line(prior):
    mated, nonmated = two_normals(1)
    line = fit_likelihood(mated, nonmated, prior)
    d = np.r_[mated, nonmated]
    size = np.repeat([len(mated), len(nonmated)], [len(mated), len(nonmated)])
    same = np.arange(len(d)) < len(mated)
    weight = np.where(same, prior, 1 - prior) / size
    target = np.where(same, (size + 1) / (size + 2), 1 / (size + 2))
    # scikit-learn takes no soft targets: each pair stands in twice, once for either answer.
    judge = LogisticRegression(C=1e9, tol=1e-12, max_iter=5000, solver="newton-cholesky").fit(
        np.r_[d, d][:, None],
        np.repeat([1, 0], len(d)),
        sample_weight=np.r_[weight * target, weight * (1 - target)] * 1e4,
    )
    logit = math.log(prior / (1 - prior))
    assert line.slope == pytest.approx(judge.coef_[0, 0], rel=1e-4)
    assert line.offset == pytest.approx(judge.intercept_[0] - logit, rel=1e-4)

    def loss(at):
        z = at[0] + at[1] * d + logit
        return weight @ (np.logaddexp(0, z) - target * z)

    found = optimize.minimize(loss, [10, -8], method="BFGS", options={"gtol": 1e-10}).x
    assert loss([line.offset, line.slope]) <= loss(found) + 1e-12


def test_sets_that_are_cleanly_apart_get_a_finite_line():
    line = fit_likelihood(np.linspace(0.2, 0.8, 20), np.linspace(1.2, 1.9, 50))
    assert -200 < line.slope < -5
    assert 0.8 < -line.offset / line.slope < 1.2
    with pytest.raises(InputRefused, match="labels"):
        fit_likelihood(np.linspace(1.2, 1.9, 20), np.linspace(0.2, 0.8, 50))


def test_a_histogram_gives_the_same_line():
    mated, nonmated = two_normals(2, 2000, 40_000)
    exact = fit_likelihood(mated, nonmated)
    counted = fit_likelihood(Histogram.of(mated), Histogram.of(np.clip(nonmated, 0, 4)))
    assert counted.slope == pytest.approx(exact.slope, rel=1e-3)
    assert counted.offset == pytest.approx(exact.offset, rel=1e-3)
    assert min_cllr(Histogram.of(mated), Histogram.of(nonmated)) == pytest.approx(
        min_cllr(mated, nonmated), rel=5e-3
    )


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_scikit_learn_pools_the_same_violators(decimals):
    mated, nonmated = (d.round(decimals) for d in two_normals(3, 300, 500))
    ours = fit_isotonic(mated, nonmated)
    assert (np.diff(ours.steps) < 0).all()
    d, labels = np.r_[mated, nonmated], np.repeat([1.0, 0.0], [300, 500])
    weight = np.repeat([1 / 300, 1 / 500], [300, 500])
    judge = IsotonicRegression(increasing=False).fit(d, labels, sample_weight=weight)
    with np.errstate(over="ignore"):
        posterior = 1 / (1 + np.exp(-ours.llr(d)))
    np.testing.assert_allclose(posterior, judge.predict(d), atol=1e-9)


def test_cllr_by_head():
    def nothing(d):
        return np.zeros_like(d)

    d = np.array([1.0, 2.0])
    assert cllr(nothing, d, d) == pytest.approx(1)

    def sure(d):
        return np.where(d < 1.5, np.inf, -np.inf)

    assert cllr(sure, np.array([1.0]), np.array([2.0])) == 0
    assert cllr(sure, np.array([1.0, 2.0]), np.array([2.0])) == np.inf
    one = Likelihood(0.0, math.log(3))
    assert cllr(one.llr, d, d) == pytest.approx((math.log2(4 / 3) + math.log2(4)) / 2)


@given(st.integers(0, 1000), st.floats(-30, -1), st.floats(-20, 40))
def test_no_falling_line_beats_the_least_cost(seed, slope, offset):
    mated, nonmated = two_normals(seed, 30, 50)
    least = min_cllr(mated, nonmated)
    assert 0 <= least <= 1 + 1e-12
    assert cllr(Likelihood(slope, offset).llr, mated, nonmated) >= least - 1e-9


def test_a_calibrated_score_is_reliable_and_a_boastful_one_is_caught():
    fitted = fit_likelihood(*two_normals(4, 4000, 4000))
    mated, nonmated = two_normals(5, 20_000, 20_000)
    honest = reliability(fitted.llr, mated, nonmated)
    seen = (honest.mated + honest.nonmated) > 200
    np.testing.assert_allclose(honest.stated[seen], honest.observed[seen], atol=0.08)
    assert honest.mated.sum() == honest.nonmated.sum() == 20_000
    boastful = Likelihood(fitted.slope * 4, fitted.offset * 4)
    loud = reliability(boastful.llr, mated, nonmated)
    assert np.abs(loud.stated - loud.observed).max() > 0.2
    assert cllr(boastful.llr, mated, nonmated) > 1.3 * cllr(fitted.llr, mated, nonmated)
    assert cllr(fitted.llr, mated, nonmated) < 1.05 * min_cllr(mated, nonmated)


def test_reliability_by_head():
    table = reliability(
        Likelihood(-2.0, 2.0).llr, np.array([0.0, 0.0]), np.array([0.0, 2.0, 2.0]), 2
    )
    assert (table.low.tolist(), table.high.tolist()) == ([0, 0.5], [0.5, 1])
    assert (table.mated.tolist(), table.nonmated.tolist()) == ([0, 2], [2, 1])
    np.testing.assert_allclose(table.observed, [0, 1 / (1 + 1 / 3)])
    said = 1 / (1 + math.exp(-2))
    np.testing.assert_allclose(table.stated, [1 - said, said])
