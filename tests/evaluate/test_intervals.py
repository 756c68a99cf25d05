"""Binomial bounds against SciPy, bootstraps against worlds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from visavis.errors import InputRefused
from visavis.evaluate import metrics
from visavis.evaluate.intervals import (
    ByPair,
    ByPerson,
    Crossed,
    Interval,
    accuracy_interval,
    auc_interval,
    clopper_pearson,
    draws,
    equal_error_interval,
    fmr_interval,
    fnmr_interval,
    pair_sums,
    rule_of_three,
    tar_at_far_interval,
    wilson,
)

NOBODY = np.zeros((0, 2), np.int64)

# Independent trials


@given(st.integers(1, 5000), st.data())
@settings(max_examples=60)
def test_scipy_gives_the_same_binomial_intervals(trials, data):
    errors = data.draw(st.integers(0, trials))
    judge = stats.binomtest(errors, trials)
    for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
        found, expected = ours(errors, trials), judge.proportion_ci(0.95, method)
        assert found.value == errors / trials
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("errors", [1, 30, 4400, 440_000])
def test_many_millions_of_trials(errors):
    n = 44_000_000
    found = clopper_pearson(errors, n)
    assert found.low == pytest.approx(stats.beta.ppf(0.025, errors, n - errors + 1), rel=1e-6)
    assert found.high == pytest.approx(stats.beta.ppf(0.975, errors + 1, n - errors), rel=1e-6)


def test_three_for_none():
    assert rule_of_three(300) == pytest.approx(0.01, rel=0.01)
    assert (1 - rule_of_three(300)) ** 300 == pytest.approx(0.05)
    assert clopper_pearson(0, 50).low == wilson(0, 50).low == 0
    assert clopper_pearson(50, 50).high == wilson(50, 50).high == 1
    for call in (wilson, clopper_pearson):
        for errors, trials in ((1, 0), (3, 2), (-1, 5), (float("nan"), 5)):
            with pytest.raises(InputRefused, match="no share"):
                call(errors, trials)


# Drawing people


def test_people_are_drawn_with_replacement_from_a_seed():
    weights = draws(50, 400, seed=3)
    assert weights.shape == (50, 400)
    assert (weights.sum(axis=0) == 50).all()
    np.testing.assert_array_equal(weights, draws(50, 400, seed=3))
    assert (weights != draws(50, 400, seed=4)).any()
    # Multinomial: each person once on average, with variance 1 - 1 / P.
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.05)
    with pytest.raises(InputRefused, match="at least two"):
        draws(1)


@pytest.mark.parametrize("kept", [0.002, 0.9])
def test_rare_and_common_pairs_are_added_alike(kept):
    """Few pairs are gathered, many multiplied as a matrix; the sum written out judges both."""
    chance = np.random.default_rng(0)
    people = 300
    a, b = np.triu_indices(people, 1)
    counts = chance.integers(1, 9, len(a)) * (chance.random(len(a)) < kept)
    a, b, counts = a[counts > 0], b[counts > 0], counts[counts > 0]
    weights = draws(people, 7)
    matrix = np.zeros((people, people))
    matrix[a, b] = counts
    expected = [w @ matrix @ w for w in weights.T.astype(float)]
    np.testing.assert_allclose(pair_sums(a, b, counts, weights), expected, rtol=1e-5)


def listed(photographs, without=NOBODY):
    """Every comparison that Crossed only counts."""
    owner = np.repeat(np.arange(len(photographs)), photographs)
    i, j = np.triu_indices(len(owner), 1)
    banned = {tuple(sorted(pair)) for pair in without.tolist()}
    made = [
        owner[x] != owner[y] and (owner[x], owner[y]) not in banned
        for x, y in zip(i, j, strict=True)
    ]
    return owner[i[made]], owner[j[made]]


def test_crossing_everybody_counts_what_listing_would():
    photographs, without = np.array([1, 3, 2, 4, 1]), np.array([[1, 3], [4, 0]])
    a, b = listed(photographs, without)
    d = np.random.default_rng(1).random(len(a))
    long = ByPair(d, a, b)
    near = d <= 0.4
    short = ByPair(d[near], b[near], a[near], Crossed(photographs, without), ceiling=0.4)
    weights = draws(5, 200)
    np.testing.assert_allclose(short.trials(weights), long.trials(weights))
    assert short.size() == pytest.approx(long.size())
    # Eleven photographs make 55 pairs: 10 of one person, 12 and 1 of the pairs left out.
    assert long.size()[0] == len(a) == 55 - 10 - 12 - 1
    assert fmr_interval(short, 0.3, weights) == fmr_interval(long, 0.3, weights)
    far = float(np.mean(d <= 0.1))
    mated = ByPerson(np.linspace(0, 1, 20), np.arange(20) % 5)
    with pytest.raises(InputRefused, match="more"):
        fmr_interval(short, 0.5, weights)
    with pytest.raises(InputRefused, match="more"):
        tar_at_far_interval(mated, short, 0.9, weights)
    with pytest.raises(InputRefused, match="more"):
        auc_interval(mated, short, weights)
    assert tar_at_far_interval(mated, long, far, weights).value == pytest.approx(
        metrics.tar_at_far(mated.d, d, far)
    )


# The value in the middle is the metric itself; each repeat is the metric of who was drawn


@pytest.fixture(scope="module")
def world():
    """Thirty people with four photographs each; distances rounded so that ties are common."""
    chance = np.random.default_rng(2)
    owner = np.repeat(np.arange(30), 4)
    i, j = np.triu_indices(120, 1)
    same = owner[i] == owner[j]
    spread = chance.normal(0, 0.1, 30)
    d = chance.normal(np.where(same, 0.9, 1.6), 0.25) + spread[owner[i]] + spread[owner[j]]
    d = np.clip(d, 0, 4).round(2)
    return ByPerson(d[same], owner[i][same]), ByPair(d[~same], owner[i][~same], owner[j][~same])


def written_out(mated, nonmated, statistic, weights):
    """The slow way: repeat each distance as often as its people were drawn."""
    values = []
    for w in weights.T.astype(int):
        near = np.repeat(mated.d, w[mated.person])
        far = np.repeat(nonmated.d, w[nonmated.a] * w[nonmated.b])
        values.append(statistic(near, far))
    return np.quantile(values, [0.025, 0.975])


@pytest.mark.parametrize(
    ("interval", "statistic"),
    [
        (lambda _, n, w: fmr_interval(n, 1.2, w), lambda _, n: metrics.fmr(n, 1.2)),
        (lambda m, _, w: fnmr_interval(m, 1.2, w), lambda m, _: metrics.fnmr(m, 1.2)),
        (
            lambda m, n, w: tar_at_far_interval(m, n, 0.05, w),
            lambda m, n: metrics.tar_at_far(m, n, 0.05),
        ),
        (equal_error_interval, lambda m, n: metrics.equal_error(metrics.curve(m, n)).rate),
        (auc_interval, lambda m, n: metrics.auc(metrics.curve(m, n))),
    ],
    ids=["fmr", "fnmr", "tar at far", "eer", "auc"],
)
def test_a_repeat_is_the_metric_of_those_drawn(world, interval, statistic):
    mated, nonmated = world
    weights = draws(30, 60, seed=5)
    found = interval(mated, nonmated, weights)
    assert found.value == pytest.approx(statistic(mated.d, nonmated.d))
    expected = written_out(mated, nonmated, statistic, weights)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-6)
    assert found.as_json() == {"value": found.value, "low": found.low, "high": found.high}


def test_accuracy_chooses_its_thresholds_anew(world):
    mated, nonmated = world
    chance = np.random.default_rng(6)
    pick = chance.choice(len(nonmated.d), len(mated.d), replace=False)
    d = np.r_[mated.d, nonmated.d[pick]]
    same = np.arange(len(d)) < len(mated.d)
    people = np.r_[
        np.column_stack([mated.person] * 2), np.column_stack([nonmated.a, nonmated.b])[pick]
    ]
    folds = people[:, 0] % 5
    weights = draws(30, 40, seed=7)
    found = accuracy_interval(d, same, folds, people, weights)
    assert found.value == pytest.approx(metrics.fold_accuracy(d, same, folds).mean)
    values = []
    for w in weights.T.astype(int):
        again = np.repeat(np.arange(len(d)), w[people[:, 0]] * np.where(same, 1, w[people[:, 1]]))
        whole = metrics.fold_accuracy(d[again], same[again], folds[again])
        values.append(whole.mean)
    # The midpoint between two distances may lie elsewhere when one of them was not drawn.
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(values, [0.025, 0.975])), abs=0.01
    )


# Worlds with a known truth


def lambs(chance, people):
    """Each person is easier or harder to confuse; d falls with how easy both are."""
    easy = chance.normal(0, 0.12, people)
    a, b = np.triu_indices(people, 1)
    d = chance.normal(1.6, 0.15, len(a)) - easy[a] - easy[b]
    return ByPair(d, a, b)


def test_where_pairs_share_people_the_binomial_interval_is_too_narrow():
    """d is normal with variance 0.15^2 + 2 * 0.12^2, so the true FMR is known."""
    tau, worlds = 1.25, 120
    truth = stats.norm(1.6, np.sqrt(0.15**2 + 2 * 0.12**2)).cdf(tau)
    chance = np.random.default_rng(8)
    ours = naive = 0
    for _ in range(worlds):
        pairs = lambs(chance, 60)
        found = fmr_interval(pairs, tau, draws(60, 200, seed=int(chance.integers(1 << 30))))
        plain = clopper_pearson(int((pairs.d <= tau).sum()), len(pairs.d))
        ours += found.low <= truth <= found.high
        naive += plain.low <= truth <= plain.high
    assert naive / worlds < 0.6
    assert ours / worlds >= 0.86


def test_mated_pairs_of_one_person_stand_or_fall_together():
    worlds, people, each = 150, 60, 10
    chance = np.random.default_rng(9)
    ours = naive = 0
    for _ in range(worlds):
        rate = chance.beta(0.5, 4.5, people)  # of each person; mean 0.1
        missed = chance.random((people, each)) < rate[:, None]
        person = np.repeat(np.arange(people), each)
        pairs = ByPerson(missed.ravel() * 2.0, person)
        found = fnmr_interval(pairs, 1.0, draws(people, 200, seed=int(chance.integers(1 << 30))))
        plain = wilson(int(missed.sum()), missed.size)
        ours += found.low <= 0.1 <= found.high
        naive += plain.low <= 0.1 <= plain.high
    assert naive / worlds < 0.85
    assert ours / worlds >= 0.89


def test_no_error_is_not_no_risk():
    """The bootstrap of nothing is nothing; independent trials say what it may have been."""
    person = np.repeat(np.arange(40), 5)
    found = fnmr_interval(ByPerson(np.zeros(200), person), 1.0, draws(40))
    assert found.value == found.low == 0
    assert found.high == pytest.approx(clopper_pearson(0, 40).high)
    a, b = np.triu_indices(40, 1)
    none = fmr_interval(ByPair(np.full(len(a), 2.0), a, b), 1.0, draws(40))
    assert none.high == pytest.approx(clopper_pearson(0, 780).high)
    apart = ByPerson(np.zeros(40), np.arange(40)), ByPair(np.full(len(a), 2.0), a, b)
    assert equal_error_interval(*apart, draws(40)).high > 0.05
    assert auc_interval(*apart, draws(40)).low < 0.95
    assert tar_at_far_interval(*apart, 1e-3, draws(40)).low < 0.95


def test_one_prolific_pair_is_not_many_witnesses():
    """Two people with 100 photographs each make most comparisons, and are one pair of people."""
    crossed = Crossed(np.r_[100, 100, np.ones(20, np.int64)], NOBODY)
    empty = ByPair(np.array([]), np.array([], np.int64), np.array([], np.int64), crossed, 1.0)
    made, worth = empty.size()
    assert made == 100 * 100 + 2 * 100 * 20 + 190
    assert worth < 3
    assert fmr_interval(empty, 1.0, draws(22)).high > 0.7


def test_nothing_to_measure():
    empty = ByPerson(np.array([]), np.array([], np.int64))
    some = ByPerson(np.ones(5), np.arange(5))
    weights = draws(5)
    for call in (
        lambda: fnmr_interval(empty, 1.0, weights),
        lambda: tar_at_far_interval(empty, some, 0.1, weights),
        lambda: tar_at_far_interval(some, empty, 0.1, weights),
        lambda: equal_error_interval(empty, some, weights),
        lambda: auc_interval(some, empty, weights),
        lambda: fmr_interval(ByPair(empty.d, empty.person, empty.person), 1.0, weights),
    ):
        with pytest.raises(InputRefused, match="there are no comparisons"):
            call()


def test_a_failure_to_acquire_is_an_error_at_every_threshold():
    mated = ByPerson(np.r_[np.zeros(90), np.full(10, np.inf)], np.arange(100))
    weights = draws(100)
    assert fnmr_interval(mated, 4.0, weights).value == 0.1
    strangers = ByPerson(np.full(100, 2.0), np.arange(100))
    assert tar_at_far_interval(mated, strangers, 1.0, weights).value == pytest.approx(0.9)
    found = fnmr_interval(mated, 1.0, weights)
    assert isinstance(found, Interval)
    assert 0 < found.low < 0.1 < found.high < 0.2


def test_hardly_an_error_has_an_interval_too():
    """Weighted draws may come to 0.002 errors: no number is small enough for the lower end."""
    found = clopper_pearson(0.002, 3)
    assert found.low == pytest.approx(0, abs=1e-300)
    assert found.high == pytest.approx(stats.beta.ppf(0.975, 1.002, 2.998), rel=1e-9)
