"""Ten distances that a reader counts by head, then the same questions put to scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as judge

from visavis.errors import InputRefused
from visavis.evaluate.metrics import (
    BINS,
    WIDTH,
    Histogram,
    auc,
    best_tau,
    cmc,
    curve,
    d_prime,
    equal_error,
    error_versus_discard,
    fmr,
    fnir,
    fnir_at_fpir,
    fnmr,
    fold_accuracy,
    fpir,
    histogram_curve,
    hits,
    pair_quality,
    ranks,
    tar_at_far,
    tau_at_far,
)

MATED = np.array([0.2, 0.4, 0.4, 0.7, 1.1])
STRANGERS = np.array([0.7, 1.0, 1.2, 1.2, 1.5])

# Distances on a coarse grid, so that ties are common; and any.
grid = st.integers(0, 16).map(lambda k: k / 4)
some = st.lists(st.one_of(grid, st.floats(0, 4)), min_size=1, max_size=40).map(np.array)


def simulated(seed: int, mated: int = 700, nonmated: int = 2000, decimals: int = 2):
    chance = np.random.default_rng(seed)
    near = np.clip(chance.normal(0.9, 0.25, mated), 0, 4)
    far = np.clip(chance.normal(1.6, 0.25, nonmated), 0, 4)
    return near.round(decimals), far.round(decimals)


def as_scores(mated, nonmated):
    """What scikit-learn takes: labels, and scores that rise with likeness."""
    return np.repeat([1, 0], [len(mated), len(nonmated)]), -np.concatenate([mated, nonmated])


# Rates at a threshold, by head


@pytest.mark.parametrize(
    ("tau", "false", "missed"),
    [(0.1, 0, 1), (0.4, 0, 0.4), (0.69, 0, 0.4), (0.7, 0.2, 0.2), (1.2, 0.8, 0), (4, 1, 0)],
)
def test_at_tau_is_accepted(tau, false, missed):
    assert fmr(STRANGERS, tau) == pytest.approx(false)
    assert fnmr(MATED, tau) == pytest.approx(missed)
    assert curve(MATED, STRANGERS).at(tau) == pytest.approx((false, missed))


def test_the_whole_curve_by_head():
    line = curve(MATED, STRANGERS)
    assert line.tau.tolist() == [-np.inf, 0.2, 0.4, 0.7, 1.0, 1.1, 1.2, 1.5]
    np.testing.assert_allclose(line.fmr * 5, [0, 0, 0, 1, 2, 2, 4, 5])
    np.testing.assert_allclose(line.fnmr * 5, [5, 4, 2, 1, 1, 0, 0, 0])


def test_far_is_kept_to_the_last_bit():
    # One stranger in five may be let in: all below the second one, whatever lies between.
    assert tau_at_far(STRANGERS, 0.2) == np.nextafter(1.0, 0)
    assert tar_at_far(MATED, STRANGERS, 0.2) == pytest.approx(0.8)
    # Two strangers lie at 1.2: both or neither, and with 0.6 it is neither.
    assert tau_at_far(STRANGERS, 0.6) == np.nextafter(1.2, 0)
    assert tar_at_far(MATED, STRANGERS, 0.6) == 1
    assert tau_at_far(STRANGERS, 0.0) == np.nextafter(0.7, 0)
    assert tau_at_far(STRANGERS, 1.0) == 4
    assert fmr([0.0, 1.0], tau_at_far([0.0, 1.0], 0.4)) == 0


def test_a_float32_distance_is_not_let_in_by_rounding():
    """tau just below a stranger rounds up to the stranger when compared in float32."""
    strangers = np.array([0.7, 1.1, 1.3], np.float32)
    tau = tau_at_far(strangers, 0.0)
    assert (strangers <= tau).sum() == 1  # the trap, as NumPy 2 compares
    assert fmr(strangers, tau) == 0


@pytest.mark.parametrize(("n", "rate"), [(100, 0.29), (30, 0.1), (1000, 0.003), (7, 3 / 7)])
def test_a_rate_that_the_data_can_show_exactly_is_shown(n, rate):
    """0.29 * 100 is 28.999999999999996 in floating point."""
    d = np.arange(1, n + 1) / n
    assert fmr(d, tau_at_far(d, rate)) == pytest.approx(rate, abs=1e-15)


@given(some, some, st.floats(0, 1))
def test_far_is_never_exceeded_and_no_stranger_more_would_fit(mated, strangers, far):
    tau = tau_at_far(strangers, far)
    assert fmr(strangers, tau) <= far
    beyond = strangers[strangers > tau]
    if len(beyond):
        assert fmr(strangers, beyond.min()) > far
    line = curve(mated, strangers)
    assert line.fnmr_at_fmr(far) == pytest.approx(1 - tar_at_far(mated, strangers, far))


@given(some, some)
def test_rates_move_one_way(mated, strangers):
    line = curve(mated, strangers)
    assert (np.diff(line.tau) > 0).all()
    assert (np.diff(line.fmr) >= 0).all()
    assert (np.diff(line.fnmr) <= 0).all()
    assert (line.fmr[0], line.fnmr[0], line.fmr[-1], line.fnmr[-1]) == (0, 1, 1, 0)


@given(some, some, st.randoms(use_true_random=False))
def test_order_and_scale_change_nothing(mated, strangers, chance):
    """Powers of two scale floats exactly, so ties stay ties."""
    shuffled = mated.copy()
    chance.shuffle(shuffled)
    a, b = curve(mated, strangers), curve(shuffled / 4, strangers / 4)
    if (np.diff(a.tau) > 1e-300).all():
        np.testing.assert_array_equal(a.fmr, b.fmr)
        np.testing.assert_array_equal(a.fnmr, b.fnmr)
        assert equal_error(a).rate == equal_error(b).rate


# The second opinion


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_draws_the_same_roc_and_det(seed):
    mated, nonmated = simulated(seed)
    line = curve(mated, nonmated)
    labels, scores = as_scores(mated, nonmated)
    far, tar, thresholds = judge.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(line.fmr, far)
    np.testing.assert_allclose(1 - line.fnmr, tar)
    np.testing.assert_array_equal(line.tau[1:], -thresholds[1:])
    assert auc(line) == pytest.approx(judge.roc_auc_score(labels, scores))
    for rate in (0, 1e-3, 1e-2, 0.1, 0.5, 1):
        assert tar_at_far(mated, nonmated, rate) == pytest.approx(tar[far <= rate][-1])
    false, missed, _ = judge.det_curve(labels, scores)
    states = set(zip(line.fmr.round(12), line.fnmr.round(12), strict=True))
    assert set(zip(false.round(12), missed.round(12), strict=True)) <= states


@given(some, some)
def test_auc_is_the_chance_of_being_nearer(mated, strangers):
    less = (mated[:, None] < strangers).mean() + (mated[:, None] == strangers).mean() / 2
    assert auc(curve(mated, strangers)) == pytest.approx(less)


@given(some, some)
def test_equal_error_is_where_the_straight_lines_cross(mated, strangers):
    """A second way: on the ROC as a function, FNMR - FMR is bisected."""
    line = curve(mated, strangers)
    steps = np.arange(len(line.fmr), dtype=float)

    def gap(t):
        return np.interp(t, steps, line.fnmr) - np.interp(t, steps, line.fmr)

    low, high = 0.0, steps[-1]
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    assert equal_error(line).rate == pytest.approx(np.interp(high, steps, line.fmr), abs=1e-9)


def test_equal_error_by_head():
    assert equal_error(curve(MATED, STRANGERS)).rate == pytest.approx(0.2)
    assert equal_error(curve(MATED, STRANGERS)).tau == 0.7
    assert equal_error(curve([0.1, 0.2], [0.3, 0.4])).rate == 0
    # All at one distance: nothing is told apart, and neither kind of error is favoured.
    assert equal_error(curve([1.0], [1.0])).rate == pytest.approx(0.5)
    assert equal_error(curve([2.0], [1.0])).rate == 1


def test_decidability_of_two_normals():
    chance = np.random.default_rng(0)
    near, far = chance.normal(1, 0.1, 40_000), chance.normal(2, 0.2, 40_000)
    expected = 1 / math.sqrt((0.1**2 + 0.2**2) / 2)
    assert d_prime(near, far) == pytest.approx(expected, rel=0.02)
    by_bins = d_prime(Histogram.of(near), Histogram.of(far))
    assert by_bins == pytest.approx(d_prime(near, far), rel=1e-4)
    assert d_prime(np.array([1.0]), np.array([1.0])) == 0
    assert d_prime(np.array([1.0]), np.array([2.0])) == np.inf


# Failures to acquire


def test_what_was_never_compared_is_never_accepted_but_counted():
    mated = np.r_[MATED, np.inf]
    assert fnmr(mated, 4.0) == pytest.approx(1 / 6)
    line = curve(mated, STRANGERS)
    assert np.isfinite(line.tau[1:]).all()
    assert line.fnmr[-1] == pytest.approx(1 / 6)
    assert tar_at_far(mated, STRANGERS, 1.0) == pytest.approx(5 / 6)
    assert auc(line) < auc(curve(MATED, STRANGERS))


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [[0.1], [0.2]]])
def test_nothing_is_computed_on_nothing(bad):
    for call in (
        lambda: fmr(bad, 1.0),
        lambda: fnmr(bad, 1.0),
        lambda: tau_at_far(bad, 0.1),
        lambda: curve(bad, STRANGERS),
        lambda: curve(MATED, bad),
        lambda: fpir(bad, 1.0),
        lambda: error_versus_discard(bad, bad, 1.0),
    ):
        with pytest.raises(InputRefused):
            call()


@pytest.mark.parametrize("rate", [-0.1, np.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputRefused, match="from 0 to 1"):
        tau_at_far(STRANGERS, rate)


# Drawing


def test_a_thinned_curve_still_draws_the_line():
    mated, nonmated = simulated(1, 5000, 200_000, decimals=8)
    line = curve(mated, nonmated)
    thin = line.thinned(300)
    assert 150 < len(thin.tau) <= 302
    assert set(thin.tau) <= set(line.tau)
    assert (thin.tau[0], thin.tau[-1]) == (line.tau[0], line.tau[-1])
    rates = np.geomspace(2e-5, 0.5, 200)
    whole = np.interp(np.log(rates), np.log(np.maximum(line.fmr, 1e-9)), line.fnmr)
    drawn = np.interp(np.log(rates), np.log(np.maximum(thin.fmr, 1e-9)), thin.fnmr)
    np.testing.assert_allclose(drawn, whole, rtol=0.05, atol=1e-3)
    assert line.thinned(10**7) is line


# Histograms


@settings(max_examples=60)
@given(st.lists(some, min_size=1, max_size=4), some)
def test_histograms_merge_and_agree_to_a_bin(parts, mated):
    whole = np.concatenate(parts)
    merged = Histogram.of(parts[0])
    for part in parts[1:]:
        merged = merged + Histogram.of(part)
    np.testing.assert_array_equal(merged.counts, Histogram.of(whole).counts)
    assert merged.trials == len(whole)
    for tau in [*whole[:10], 0.0, WIDTH, 1.0, 3.3, 4.0]:
        assert fmr(whole, tau) <= merged.within(tau) <= fmr(whole, tau + WIDTH)
    assert merged.within(-1e-9) == 0
    for far in (0.0, 0.01, 0.1, 0.3, 0.5, 0.99):
        tau = merged.tau_at_far(far)
        assert merged.within(tau) == fmr(whole, tau) <= far
        assert max(tau, 0) <= max(tau_at_far(whole, far), 0) <= max(tau, 0) + WIDTH
    line, exact = histogram_curve(Histogram.of(mated), merged), curve(mated, whole)
    for tau, false, missed in zip(line.tau, line.fmr, line.fnmr, strict=True):
        assert exact.at(tau) == pytest.approx((false, missed))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_edges_are_exact(kind):
    edges = (np.arange(BINS + 1) * WIDTH).astype(kind)
    counts = Histogram.of(edges).counts
    assert counts[0] == 2  # d = 0 and d = WIDTH
    assert (counts[1:] == 1).all()
    above = np.nextafter(edges[1:-1], kind(4))
    assert (Histogram.of(above).counts[1:] == 1).all()


def test_a_histogram_takes_matrices_and_rounding_but_no_nonsense():
    d = np.array([[-1e-7, 4.0000005], [1.0, np.inf]], np.float32)
    counted = Histogram.of(d)
    assert (counted.trials, counted.never) == (4, 1)
    assert counted.counts[0] == counted.counts[-1] == 1
    assert counted.within(4.0) == 0.75
    for bad in ([5.0], [-0.1], [np.nan], [np.nan, np.inf]):
        with pytest.raises(InputRefused):
            Histogram.of(np.array(bad))
    with pytest.raises(InputRefused):
        _ = Histogram.of(np.array([])).trials


# Accuracy over folds


def test_accuracy_over_folds_by_head():
    """Three folds; the third holds one stranger who is nearer than every mated pair."""
    d = np.array([0.5, 1.5, 0.6, 1.4, 0.7, 0.1])
    same = np.array([True, False, True, False, True, False])
    folds = np.array([0, 0, 1, 1, 2, 2])
    found = fold_accuracy(d, same, folds)
    assert found.folds == (1.0, 1.0, 0.5)
    assert found.taus == pytest.approx(((0.7 + 1.4) / 2, (0.7 + 1.5) / 2, (0.6 + 1.4) / 2))
    assert found.mean == pytest.approx(5 / 6)
    assert found.se == pytest.approx(np.std([1, 1, 0.5], ddof=1) / math.sqrt(3))


def test_the_threshold_never_sees_its_own_fold():
    chance = np.random.default_rng(3)
    d, same = chance.uniform(0, 2, 400), chance.random(400) < 0.5
    folds = np.repeat(np.arange(10), 40)
    taus = fold_accuracy(d, same, folds).taus
    d[folds == 4] = 0.0  # whatever happens in a fold
    assert fold_accuracy(d, same, folds).taus[4] == taus[4]


@given(some, st.data())
def test_no_threshold_errs_less(d, data):
    same = np.array(data.draw(st.lists(st.booleans(), min_size=len(d), max_size=len(d))))
    tau = best_tau(d, same)
    every = np.r_[-np.inf, np.unique(d)]
    least = min(np.mean((d <= t) != same) for t in every)
    assert np.mean((d <= tau) != same) == pytest.approx(least)


def test_one_fold_has_nothing_to_learn_from():
    with pytest.raises(InputRefused, match="no others"):
        fold_accuracy([0.1, 0.2], np.array([True, False]), np.array([0, 0]))


# Identification


def test_ranks_by_head():
    d = np.array([[0.1, 0.5, 0.9], [0.5, 0.5, 0.2], [np.inf, np.inf, np.inf]])
    # The second probe's mate ties with another person behind the nearest: rank 3, not 2.
    assert ranks(d, np.array([0, 0, 1])).tolist() == [1, 3, 4]
    np.testing.assert_allclose(cmc(ranks(d, np.array([0, 0, 1])), 3), [1 / 3, 1 / 3, 2 / 3])


def test_scikit_learn_counts_the_same_ranks():
    chance = np.random.default_rng(4)
    d, mate = chance.uniform(0, 4, (300, 12)), chance.integers(0, 12, 300)
    d[np.arange(300), mate] -= 1
    shares = cmc(ranks(d, mate), 12)
    assert shares[-1] == 1
    for k in (1, 2, 5):
        top = judge.top_k_accuracy_score(mate, -d, k=k, labels=np.arange(12))
        assert shares[k - 1] == pytest.approx(top)


def test_open_set_by_head():
    nearest, right = np.array([0.2, 0.3, 0.9, 1.2]), np.array([True, False, True, True])
    strangers = np.array([0.8, 1.0, 1.1, 1.4])
    assert fnir(nearest, right, 1.0) == pytest.approx(0.5)  # one wrong name, one too far
    assert fpir(strangers, 1.0) == pytest.approx(0.5)
    assert fnir_at_fpir(nearest, right, strangers, 0.25) == pytest.approx(0.5)
    assert fnir_at_fpir(nearest, right, strangers, 0.0) == pytest.approx(0.75)
    # The limit of any threshold is closed-set rank 1.
    assert fnir(nearest, right, 4.0) == pytest.approx(0.25)
    line = curve(hits(nearest, right), strangers)
    assert line.at(1.0) == pytest.approx((0.5, 0.5))


# Quality


def test_discarding_by_head():
    d = np.array([0.5, 1.5, 0.6, 1.6])
    quality = pair_quality([0.9, 0.1, 0.8, 0.4], [0.7, 0.9, 0.9, 0.5])
    assert quality.tolist() == [0.7, 0.1, 0.8, 0.4]
    found = error_versus_discard(d, quality, 1.0)
    np.testing.assert_allclose(found.share, [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.fnmr, [0.5, 1 / 3, 0, 0])
    level = error_versus_discard(d, np.ones(4), 1.0)
    assert (level.share.tolist(), level.fnmr.tolist()) == ([0], [0.5])
    with pytest.raises(InputRefused, match="3 qualities for 4"):
        error_versus_discard(d, [1, 2, 3], 1.0)


def test_quality_that_knows_nothing_stays_level_and_that_knows_all_falls():
    chance = np.random.default_rng(5)
    d = chance.normal(1, 0.3, 20_000)
    tau = float(np.quantile(d, 0.95))
    blind = error_versus_discard(d, chance.random(20_000), tau)
    assert np.interp(0.5, blind.share, blind.fnmr) == pytest.approx(0.05, abs=0.005)
    knowing = error_versus_discard(d, -d, tau)
    assert np.interp(0.03, knowing.share, knowing.fnmr) == pytest.approx(0.02 / 0.97, abs=1e-3)
    assert np.interp(0.06, knowing.share, knowing.fnmr) == 0
