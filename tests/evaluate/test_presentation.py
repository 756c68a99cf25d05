"""Live faces and attacks that a reader counts by head, and scikit-learn's opinion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from visavis.errors import InputRefused
from visavis.evaluate.intervals import clopper_pearson, draws
from visavis.evaluate.presentation import (
    Presentations,
    apcer,
    at_threshold,
    bpcer,
    separation,
    threshold_at_apcer,
    threshold_at_bpcer,
)

LIVE = np.array([0.9, 0.8, 0.8, 0.6, 0.3])
PRINT = np.array([0.1, 0.2, 0.3, 0.4])
MASK = np.array([0.2, 0.6, 0.7, 0.85])


def shown(scores, subject=None):
    scores = np.asarray(scores, float)
    return Presentations(scores, np.arange(len(scores)) if subject is None else subject)


ATTACKS = {"print": shown(PRINT), "mask": shown(MASK)}

scores = st.lists(st.one_of(st.floats(0, 1), st.integers(0, 4).map(lambda k: k / 4)), min_size=1)
scores = scores.map(np.array)


@pytest.mark.parametrize(
    ("threshold", "prints", "masks", "lives"),
    [
        (0.0, 1, 1, 0),
        (0.3, 0.5, 0.75, 0),
        (0.31, 0.25, 0.75, 0.2),
        (0.8, 0, 0.25, 0.4),
        (1, 0, 0, 1),
    ],
)
def test_at_the_threshold_it_is_live(threshold, prints, masks, lives):
    assert apcer(PRINT, threshold) == prints
    assert apcer(MASK, threshold) == masks
    assert bpcer(LIVE, threshold) == pytest.approx(lives)


def test_the_worst_species_is_named():
    found = at_threshold(shown(LIVE), ATTACKS, 0.5, draws(5))
    assert found.worst == "mask"
    assert {kind: rate.value for kind, rate in found.apcer.items()} == {"mask": 0.75, "print": 0}
    assert found.bpcer.value == pytest.approx(0.2)
    # The mean over species, 0.375, stands nowhere.
    assert at_threshold(shown(LIVE), {}, 0.5, draws(5)).worst is None


def test_operating_points_by_head():
    assert threshold_at_bpcer(LIVE, 0.0) == 0.3
    assert threshold_at_bpcer(LIVE, 0.2) == 0.6
    assert threshold_at_bpcer(LIVE, 0.4) == 0.8
    assert threshold_at_bpcer(LIVE, 0.6) == 0.8  # two live faces at 0.8: both or neither
    assert threshold_at_bpcer(LIVE, 1.0) == np.inf
    assert threshold_at_apcer(ATTACKS, 0.25) == np.nextafter(0.7, 1)
    assert threshold_at_apcer({"print": ATTACKS["print"]}, 0.25) == np.nextafter(0.3, 1)
    assert threshold_at_apcer(ATTACKS, 1.0) == 0


@given(scores, scores, scores, st.floats(0, 1))
def test_no_species_gets_through_more_often_than_asked(live, one, two, rate):
    attacks = {"one": shown(one), "two": shown(two)}
    threshold = threshold_at_apcer(attacks, rate)
    assert max(apcer(one, threshold), apcer(two, threshold)) <= rate
    lower = np.nextafter(threshold, -1)
    assert threshold == 0 or max(apcer(one, lower), apcer(two, lower)) > rate
    threshold = threshold_at_bpcer(live, rate)
    assert bpcer(live, threshold) <= rate
    assert threshold == np.inf or bpcer(live, np.nextafter(threshold, 2)) > rate


def test_scikit_learn_gives_the_same_area_and_equal_error():
    chance = np.random.default_rng(0)
    live = chance.beta(6, 2, 400).round(2)
    attacks = {
        "print": shown(chance.beta(2, 6, 300).round(2)),
        "mask": shown(chance.beta(4, 4, 99)),
    }
    found = separation(shown(live), attacks, draws(400, 50))
    assert set(found) == {"print", "mask", "all"}
    for kind, fakes in {
        "print": attacks["print"].score,
        "mask": attacks["mask"].score,
        "all": np.r_[attacks["print"].score, attacks["mask"].score],
    }.items():
        labels = np.repeat([1, 0], [len(live), len(fakes)])
        both = np.r_[live, fakes]
        assert found[kind].auc.value == pytest.approx(judge.roc_auc_score(labels, both))
        false, true, _ = judge.roc_curve(labels, both, drop_intermediate=False)
        crossing = np.interp(0, false - (1 - true), false)
        assert found[kind].eer.value == pytest.approx(crossing)
        assert found[kind].eer.low < crossing < found[kind].eer.high


def test_many_frames_of_few_subjects_are_few_witnesses():
    """Ten subjects with fifty frames each, all frames of one subject alike."""
    chance = np.random.default_rng(1)
    subject = np.repeat(np.arange(40), 50)
    through = np.repeat(chance.random(40) < 0.4, 50)
    attack = Presentations(np.where(through, 0.9, 0.1), subject)
    found = at_threshold(shown(LIVE), {"print": attack}, 0.5, draws(40, 400)).apcer["print"]
    naive = clopper_pearson(int(through.sum()), len(through))
    honest = clopper_pearson(int(through.sum()) / 50, 40)
    assert naive.high - naive.low < 0.05
    assert found.high - found.low == pytest.approx(honest.high - honest.low, rel=0.2)


def test_no_attack_got_through_is_not_no_attack_can():
    found = at_threshold(shown(LIVE), {"print": shown(np.zeros(30))}, 0.5, draws(30))
    assert found.apcer["print"].value == 0
    assert found.apcer["print"].high == pytest.approx(clopper_pearson(0, 30).high)


def test_what_is_no_score_or_no_attack_is_refused():
    for bad in ([], [1.2], [-0.1], [np.nan]):
        with pytest.raises(InputRefused):
            shown(bad)
    with pytest.raises(InputRefused, match="2 subjects for 1"):
        Presentations(np.array([0.5]), np.array([0, 1]))
    with pytest.raises(InputRefused, match="no attacks"):
        separation(shown(LIVE), {}, draws(5))
    with pytest.raises(InputRefused, match="cannot be called 'all'"):
        separation(shown(LIVE), {"all": shown(PRINT)}, draws(5))
    with pytest.raises(InputRefused):
        apcer([], 0.5)
