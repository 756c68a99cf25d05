"""Learning a pair head: in a made world where some features tell people apart and others do not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from visavis.decide import curve_of
from visavis.errors import (
    InputRefused,
    MissingExtra,
    PackRefused,
    ProtocolRefused,
)
from visavis.evaluate import metrics
from visavis.head import Form, PairHead, features
from visavis.models import ALIGNMENTS
from visavis.train.head_onnx import head_onnx, write_head_onnx
from visavis.train.head_trial import Trial, encode_rows, photographs, try_pair_head
from visavis.train.pair_head import HeadConfig, fit_logistic, learn_head, logistic
from visavis.train.pairs import PairChoice, draw_pairs
from visavis.values import EncoderId

ENCODER = EncoderId("a made encoder")
QUICK = HeadConfig(
    pairs=PairChoice(per_person=6, strangers=3), strengths=(1e-6, 1e-3, 1e-1), folds=2
)


def world(people=120, photos=4, noise=1.0, seed=0, length=32):
    """Unit rows: the first half of the features is the person's, the rest is chance."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(people * photos, length)) * noise
    own = chance.normal(size=(people, length // 2))
    rows[:, : length // 2] *= 0.3
    rows[:, : length // 2] += np.repeat(own, photos, axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(people), photos)


def eer(d, owner):
    i, j = np.triu_indices(len(owner), 1)
    same, line = owner[i] == owner[j], d[i, j]
    return metrics.equal_error(metrics.curve(line[same], line[~same])).rate


# Pairs


def test_the_pairs_are_what_they_are_called():
    rows, owner = world(40, 5)
    drawn = draw_pairs(rows, owner, PairChoice(per_person=3))
    assert ((owner[drawn.a] == owner[drawn.b]) == drawn.same).all()
    assert (drawn.a != drawn.b).all()
    assert drawn.same.sum() == 40 * 3
    assert (np.bincount(owner[drawn.a[drawn.same]]) == 3).all()
    assert len(drawn) == 120 * 7


def test_the_hard_pairs_are_the_nearest_there_are():
    rows, owner = world(30, 2)
    choice = PairChoice(strangers=1, nearest=1)
    drawn = draw_pairs(rows, owner, choice)
    near = ~drawn.same
    near[: 2 * drawn.same.sum()] = False
    d = 2 - 2 * rows @ rows.T
    i, j = np.triu_indices(len(rows), 1)
    nearest = np.sort(d[i, j][owner[i] != owner[j]])
    assert d[drawn.a[near], drawn.b[near]].min() == pytest.approx(nearest[0])
    assert d[drawn.a[near], drawn.b[near]].mean() < np.median(nearest) - 0.5


def test_the_same_seed_draws_the_same_pairs_and_another_others():
    rows, owner = world(20, 8)
    choice = PairChoice(per_person=5)
    one, again, other = (draw_pairs(rows, owner, choice, seed) for seed in (1, 1, 2))
    assert (one.a == again.a).all()
    assert not (one.a == other.a).all()


@pytest.mark.parametrize("owner", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_no_pairs_of_one_kind_no_head(owner):
    rows, _ = world(4, 1)
    with pytest.raises(ProtocolRefused, match="two photographs"):
        draw_pairs(rows, np.array(owner), PairChoice())


# Learning


@pytest.mark.parametrize("form", Form)
def test_the_unit_answers_as_scikit_learns_own_model_does(form):
    rows, owner = world()
    drawn = draw_pairs(rows, owner, PairChoice())
    a, b = rows[drawn.a], rows[drawn.b]
    x = features(form, a.astype(np.float64), b.astype(np.float64))
    kept, weights = np.ones(32, bool), np.array([-1.0])
    while weights.min() < 0:  # a head has no negative weights: fitted again on the others
        model = logistic(1.0).fit(x[:, kept], drawn.same)
        weights = np.zeros(32)
        weights[kept] = -model.coef_[0]
        kept &= weights > 0
    kept = weights > 0
    unit = PairHead(form, weights, float(model.intercept_[0]), 1.0, ENCODER, "")
    expected = model.predict_proba(x[:, kept])[:, 1]
    assert unit.probability(a, b) == pytest.approx(expected, abs=1e-12)


def test_a_loose_fit_is_scikit_learns_and_a_tight_one_has_equal_weights():
    rows, owner = world(noise=3)
    drawn = draw_pairs(rows, owner, PairChoice())
    x = features(Form.SQUARED, rows[drawn.a], rows[drawn.b]).astype(np.float64)
    informative = x[:, :16]  # so that no weight is negative and both fits have all of them
    loose, tight = (fit_logistic(informative, drawn.same, c) for c in (1e3, 1e-9))
    plain = logistic(1e9).fit(informative, drawn.same)
    expected = plain.decision_function(informative)
    assert loose.logit(informative) == pytest.approx(expected, rel=0.02, abs=0.05)
    assert np.ptp(tight.weights) < 1e-4 * tight.weights.mean()
    assert np.ptp(loose.weights) > 1e-2 * loose.weights.mean()


@pytest.mark.parametrize("form", Form)
def test_where_half_of_the_features_are_chance_the_head_beats_the_distance(form):
    rows, owner = world(seed=1)
    learnt = learn_head(rows, owner, ENCODER, "made", replace(QUICK, form=form))
    others, whose = world(seed=2)
    plain = eer(2 - 2 * others @ others.T, whose)
    assert eer(learnt.head.between(others, others), whose) < plain / 3
    assert plain > 0.05
    own, chance = learnt.head.weights[:16], learnt.head.weights[16:]
    assert own.mean() > 5 * chance.mean()
    assert learnt.strength > 1e-6


def test_where_all_features_tell_alike_the_weights_stay_equal():
    chance = np.random.default_rng(3)
    own = np.repeat(chance.normal(size=(150, 32)), 4, axis=0)
    rows = own + 0.9 * chance.normal(size=own.shape)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    config = replace(QUICK, form=Form.SQUARED)
    learnt = learn_head(rows, np.repeat(np.arange(150), 4), ENCODER, "made", config)
    assert learnt.spread < 0.05
    assert learnt.losses[1e-6] <= learnt.losses[1e-1]


def test_strangers_are_at_two_on_average():
    rows, owner = world()
    learnt = learn_head(rows, owner, ENCODER, "made", QUICK)
    d = learnt.head.between(rows, rows)
    assert d[owner[:, None] != owner].mean() == pytest.approx(2, abs=0.05)


def test_labels_that_are_wrong_are_told():
    rows, _ = world(60, 2)
    x = features(Form.ABSOLUTE, rows[::2], rows[1::2])
    far_apart = x.mean(1) > np.median(x.mean(1))
    with pytest.raises(InputRefused, match="labels"):
        fit_logistic(x, far_apart, 1e-6)


def test_without_scikit_learn_the_message_holds_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtra, match=r"visavis\[train\]"):
        learn_head(*world(20, 2), ENCODER, "made", QUICK)


def test_it_needs_no_torch():
    code = "import sys, visavis.train.head_trial, visavis.train.head_onnx, visavis.cli.train; "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ONNX


@pytest.mark.parametrize("form", Form)
def test_the_onnx_says_what_the_unit_says(form, tmp_path):
    a, b = world(20, 3)[0], world(20, 3, seed=9)[0]
    a[0, :3] = b[0, :3] = 0  # chi-square's 0 / 0
    weights = np.random.default_rng(1).uniform(0, 1, 32)
    unit = PairHead(form, weights, 1.5, 2.0, ENCODER, "made")
    write_head_onnx(unit, tmp_path / "head.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")
    for count in (1, 60):
        (found,) = session.run(None, {"a": a[:count], "b": b[:count]})
        assert found.shape == (count,)
        assert found == pytest.approx(unit.probability(a[:count], b[:count]), abs=1e-5)
    told = {p.key: p.value for p in head_onnx(unit).metadata_props}
    assert told["id"] == unit.id
    assert told["encoder"] == ENCODER


# From a pack to a head on trial


class Rows:
    """A pack whose crops say only which row they are."""

    def __init__(self, folder, people=320, photos=3, seed=0):
        self.vectors, _ = world(people, photos, seed=seed)
        self.path, self.digest, self.alignment = folder / "pack", f"d{seed}", "arcface-112"
        self.offsets = np.arange(people + 1) * photos

    def source(self, row):
        return f"{row}.jpg"

    def read(self, rows):
        crops = np.zeros((len(rows), 112, 112, 3), np.uint8)
        crops[:, 0, 0] = np.stack([rows % 256, rows // 256, 0 * rows], axis=1)
        return crops


class Teller:
    """An encoder that looks the row up."""

    id, name, alignments = ENCODER, "made (fp32)", (ALIGNMENTS["arcface-112"],)

    def __init__(self, vectors):
        self.vectors, self.seen = vectors, 0

    def encode(self, crops):
        self.seen += len(crops)
        first = crops[:, 0, 0].astype(np.int64)
        return self.vectors[first[:, 0] + 256 * first[:, 1]]


TRIAL = Trial(QUICK, repeats=100)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return Rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def tried(pack):
    return try_pair_head(pack, Teller(pack.vectors), TRIAL)


def test_a_trial_finds_the_head_better_where_it_is(tried):
    assert tried.people == (192, 64, 64)
    assert tried.learnt.eer < tried.plain.eer / 3
    assert tried.right[1] > tried.right[0]
    assert tried.verdict.startswith("the head is better")
    assert tried.learnt.comparisons.curve.mated == 64 * 3


def test_the_heads_points_are_its_own_and_hold_on_the_tested_people(tried):
    curve = curve_of(tried.points, EncoderId(tried.head.id), "made")
    assert "calibrating people" in curve.tuned_on
    assert all(point.kept for point in tried.learnt.points)
    assert len(tried.learnt.points) >= 1
    assert "learning people" in tried.head.trained_on


def test_the_probability_is_calibrated_on_other_people(tried, pack):
    """Of tested pairs given 80 to 99 %, as many are mated, at equal priors."""
    rows, owner = world(120, 4, seed=8)
    i, j = np.triu_indices(len(rows), 1)
    same = owner[i] == owner[j]
    p = tried.head.probability(rows[i], rows[j])
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    some = (p > 0.3) & (p < 0.97)
    stated = np.average(p[some], weights=weight[some])
    assert np.average(same[some], weights=weight[some]) == pytest.approx(stated, abs=0.12)


def test_the_report_is_json_with_both_side_by_side(tried):
    told = tried.as_json()
    assert told["people"] == {"learnt": 192, "calibrated": 64, "tested": 64}
    assert told["learnt"]["eer"] < told["distance"]["eer"]
    assert told["head"] == tried.head.id
    assert told["verdict"] == tried.verdict


def test_encodings_are_made_once_and_kept_for_their_owner_only(pack, tmp_path):
    trial, rows = replace(TRIAL, cache=tmp_path), np.arange(200)
    first, second, told = Teller(pack.vectors), Teller(pack.vectors), []
    made = encode_rows(pack, first, rows, trial, told.append)
    again = encode_rows(pack, second, rows, trial, told.append)
    assert (made == again).all()
    assert (made == pack.vectors[:200]).all()
    assert (first.seen, second.seen) == (200, 0)
    assert sum(told) == 400
    (kept,) = (tmp_path / "encodings").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_bytes(kept.read_bytes()[:-100])  # a damaged cache is made anew
    assert (encode_rows(pack, second, rows, trial) == made).all()
    assert second.seen == 200


def test_another_pack_or_encoder_is_encoded_anew(pack, tmp_path):
    trial, rows = replace(TRIAL, cache=tmp_path), np.arange(10)
    encode_rows(pack, Teller(pack.vectors), rows, trial)
    other = Teller(-pack.vectors)
    other.id = EncoderId("another")
    assert (encode_rows(pack, other, rows, trial) == -pack.vectors[:10]).all()


def test_crops_cut_for_another_encoder_are_refused(pack):
    teller = Teller(pack.vectors)
    teller.alignments = (ALIGNMENTS["dlib-150"],)
    with pytest.raises(PackRefused, match="wants dlib-150"):
        try_pair_head(pack, teller, TRIAL)


def test_too_few_people_are_told_so(tmp_path):
    small = Rows(tmp_path, people=30)
    with pytest.raises(ProtocolRefused, match="pack more people"):
        try_pair_head(small, Teller(small.vectors), TRIAL)


def test_a_large_pack_is_cut_down_and_counted_before(pack):
    few = replace(TRIAL, most=100)
    assert photographs(pack, few) == 3 * 99
    assert photographs(pack, TRIAL) == 960


def test_a_verdict_needs_people_enough(tried):
    none = replace(tried, plain=SimpleNamespace(tar={}), learnt=SimpleNamespace(tar={}))
    assert "too few" in none.verdict
    swapped = replace(tried, plain=tried.learnt, learnt=tried.plain)
    assert swapped.verdict.startswith("the head is worse")
    equal = replace(tried, plain=tried.learnt)
    assert equal.verdict.startswith("no difference")
