"""The pair head by itself: what it computes, what it keeps, what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.decide import squared
from visavis.errors import EncoderMismatch, HeadMissing, ModelRefused
from visavis.head import Form, PairHead, features, head_of
from visavis.values import Embedding, EncoderId

ENCODER = EncoderId("an encoder")


def head(form=Form.ABSOLUTE, weights=(1.0, 2.0, 0.0), bias=3.0, slope=2.0):
    return PairHead(form, np.array(weights, np.float64), bias, slope, ENCODER, "made up")


def unit_rows(count, length=16, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, length))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


# What it computes


def test_the_forms_on_numbers_done_by_head():
    a, b = np.array([3.0, -1.0, 0.0]), np.array([1.0, 1.0, 0.0])
    assert features(Form.ABSOLUTE, a, b).tolist() == [2, 2, 0]
    assert features(Form.SQUARED, a, b).tolist() == [4, 4, 0]
    assert features(Form.CHI_SQUARE, a, b).tolist() == [1, 2, 0]


def test_on_features_that_are_never_negative_chi_square_is_deepfaces():
    a, b = np.abs(unit_rows(2))
    assert features(Form.CHI_SQUARE, a, b) == pytest.approx((a - b) ** 2 / (a + b))


def test_a_unit_worked_out_by_head():
    unit = head()
    a, b = np.float32([[0.5, 0.0, 0.0]]), np.float32([[0.0, 0.25, 0.9]])
    assert unit.distances(a, b) == pytest.approx([0.5 * 1 + 0.25 * 2 + 0.9 * 0])
    assert unit.logit(a, b) == pytest.approx([3 - 2 * 1.0])
    assert unit.probability(a, b) == pytest.approx([1 / (1 + math.exp(-1))])
    assert unit.probability_at(1.0) == pytest.approx(unit.probability(a, b)[0])


def test_with_equal_weights_the_squared_form_is_the_plain_distance():
    a, b = unit_rows(2)
    unit = head(Form.SQUARED, np.ones(16))
    found = unit.distance(Embedding(a, ENCODER), Embedding(b, ENCODER))
    assert found == pytest.approx(squared(a, b), abs=1e-6)


@pytest.mark.parametrize("form", Form)
def test_all_against_all_is_each_against_each(form):
    a, b = unit_rows(5, seed=1), unit_rows(700, seed=2)  # more than a tile
    unit = head(form, np.random.default_rng(3).uniform(0, 1, 16))
    every = unit.between(a, b)
    assert every.dtype == np.float32
    for i, row in enumerate(a):
        each = unit.distances(np.tile(row, (len(b), 1)), b)
        assert every[i] == pytest.approx(each, abs=1e-5)


numbers = st.floats(-1, 1, width=32)
vectors = st.lists(numbers, min_size=4, max_size=4).map(lambda v: np.float32([v]))
weightings = st.lists(st.floats(0, 50), min_size=4, max_size=4).filter(any)


@given(st.sampled_from(Form), vectors, vectors, weightings)
def test_it_is_a_distance_alike_both_ways(form, a, b, weights):
    unit = head(form, weights)
    d = unit.distances(a, b)[0]
    assert 0 <= d <= 4
    assert d == unit.distances(b, a)[0]
    assert unit.between(a, b)[0, 0] == unit.between(b, a)[0, 0]
    assert 0 <= unit.between(a, b)[0, 0] <= 4
    assert unit.distances(a, a)[0] == 0
    assert 0 <= unit.probability(a, b)[0] <= unit.probability(a, a)[0] <= 1


def test_the_order_by_distance_is_the_order_by_probability():
    a, b = unit_rows(300, seed=4), unit_rows(300, seed=5)
    unit = head(Form.CHI_SQUARE, np.random.default_rng(6).uniform(0, 1, 16))
    order = np.argsort(unit.distances(a, b))
    assert (np.diff(unit.logit(a, b)[order]) <= 0).all()
    assert (np.diff(unit.probability(a, b)[order]) <= 0).all()


def test_a_very_sure_unit_overflows_nowhere():
    rows = np.float32([[0, 0, 0]]), np.float32([[1, 1, 1]])
    assert head(bias=1e6).probability(*rows) == 1
    assert head(slope=1e6).probability(*rows) == 0


# What it keeps and refuses


@pytest.mark.parametrize("form", Form)
def test_what_is_written_is_what_is_read(form):
    unit = head(form, np.random.default_rng(0).uniform(0, 1, 16), bias=0.1, slope=0.3)
    again = head_of(unit.as_json(), ENCODER, "sface (int8)")
    assert again.id == unit.id
    assert (again.weights == unit.weights).all()
    assert (again.form, again.bias, again.slope) == (form, 0.1, 0.3)
    assert again.trained_on == "made up"


def test_without_a_head_the_message_tells_how_to_make_one():
    with pytest.raises(HeadMissing, match=r"train pair-head --encoder sface --precision fp32"):
        head_of(None, ENCODER, "sface (fp32)")


def test_a_head_of_another_encoder_is_refused():
    with pytest.raises(EncoderMismatch, match="not for sface"):
        head_of(head().as_json(), EncoderId("other"), "sface (int8)")
    stranger = Embedding(np.zeros(3, np.float32), EncoderId("other"))
    own = Embedding(np.zeros(3, np.float32), ENCODER)
    for pair in ((stranger, own), (own, stranger)):
        with pytest.raises(EncoderMismatch, match="cannot compare"):
            head().distance(*pair)


@pytest.mark.parametrize(
    "damage",
    [
        {"bias": 3.5},
        {"weights": [1.0, 2.0]},
        {"weights": [1.0, "two", 0.0]},
        {"weights": None},
        {"form": "cosine"},
        {"slope": -2.0},
        {"encoder": "swapped"},
        {"id": "0" * 64},
        {"schema": 2},
    ],
)
def test_a_damaged_head_is_refused(damage):
    with pytest.raises(ModelRefused):
        head_of({**head().as_json(), **damage}, ENCODER, "sface (int8)")


@pytest.mark.parametrize("stored", [{}, [], "head", 3])
def test_what_is_no_head_at_all_is_refused(stored):
    with pytest.raises(ModelRefused):
        head_of(stored, ENCODER, "sface (int8)")


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (1.0, -1.0, 0.0)},
        {"weights": (0.0, 0.0, 0.0)},
        {"weights": (np.nan, 1.0, 0.0)},
        {"slope": 0.0},
        {"bias": np.inf},
    ],
)
def test_numbers_that_make_no_distance_are_refused_though_their_id_is_right(wrong):
    with pytest.raises(ModelRefused):
        head_of(head(**wrong).as_json(), ENCODER, "sface (int8)")


def test_pairs_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="pairs of rows"):
        head().distances(unit_rows(2, 4), unit_rows(2, 4))
