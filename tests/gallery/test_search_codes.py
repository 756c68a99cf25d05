"""int8 codes: their bounds hold, every kernel computes the same, and ids survive packing."""

import sys
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.gallery.search import kernel
from visavis.gallery.search.codes import UNIT, quantise
from visavis.gallery.search.identifiers import Identifiers, Keys
from visavis.gallery.search.memory import zeros
from visavis.models import products
from visavis.models.products import IntegerProducts, lent_products

from .given import at_angle


def unit_rows(rng, count, length):
    rows = rng.normal(size=(count, length)) ** rng.choice([1, 3, 9])  # even, or a few large numbers
    rows[np.abs(rows).max(axis=1) == 0] = 1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def quantised(vectors):
    codes = np.zeros(vectors.shape, np.int8)
    scales = np.zeros(len(vectors), np.uint16)
    return codes, scales, quantise(vectors, codes, scales)


def test_a_code_is_the_vector_in_steps_of_its_scale():
    codes, scales, spread = quantised(np.array([at_angle(0), at_angle(90), at_angle(45)]))
    assert codes.tolist() == [[127, 0, 0, 0], [0, 127, 0, 0], [127, 127, 0, 0]]
    assert scales * UNIT == pytest.approx([1 / 127, 1 / 127, 0.5**0.5 / 127], rel=1e-3)
    assert spread.coarsest == pytest.approx(1 / 127, rel=1e-3)
    assert spread.drift < 1e-5


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 50), length=st.integers(1, 600))
def test_what_is_left_of_a_vector_is_no_longer_than_said(seed, count, length):
    vectors = unit_rows(np.random.default_rng(seed), count, length)
    codes, scales, spread = quantised(vectors)
    steps = scales.astype(np.float64) * UNIT
    rest = vectors.astype(np.float64) - codes * steps[:, None]
    assert np.all(np.linalg.norm(rest, axis=1) <= spread.rest * steps)
    assert spread.rest <= np.sqrt(length) / 2 + 0.1
    assert np.all(np.abs((vectors.astype(np.float64) ** 2).sum(axis=1) - 1) <= spread.drift)
    assert np.abs(codes.astype(int)).max() <= 127
    assert scales.min() > 0
    assert spread.coarsest == steps.max()


def found_by(kernel, codes, scales, probe, floor):
    rows, values = kernel.above(codes, scales, probe, 0.25, floor)
    return dict(zip(rows.tolist(), values.tolist(), strict=True))


@pytest.mark.parametrize("length", [1, 7, 64, 128, 130, 512])
def test_compiled_and_plain_find_the_same(length):
    rng = np.random.default_rng(length)
    codes, scales, _ = quantised(unit_rows(rng, 5000, length))
    scales[rng.choice(5000, 500, replace=False)] = 0  # dead
    probe = (rng.normal(size=length) * UNIT).astype(np.float32)
    for floor in (-np.inf, -1e-3, 0.0, 1e-2, 2.0):
        plain = found_by(kernel.Plain(), codes, scales, probe, floor)
        compiled = found_by(kernel.kernel_for(kernel.COMPILED_FROM), codes, scales, probe, floor)
        assert not set(plain) & set(np.flatnonzero(scales == 0))
        for row in plain.keys() & compiled.keys():
            assert plain[row] == pytest.approx(compiled[row], rel=1e-4, abs=1e-9)
        for row in plain.keys() ^ compiled.keys():  # only rounding can tell them apart
            assert (plain | compiled)[row] == pytest.approx(floor, rel=1e-4, abs=1e-9)
    assert len(found_by(kernel.Plain(), codes, scales, probe, -np.inf)) == 4500


def test_the_kernels_find_the_same_for_many():
    rng = np.random.default_rng(0)
    products = rng.integers(-100_000, 100_000, (3000, 32)).astype(np.float32)
    scales = rng.integers(0, 3, 2900).astype(np.uint16)
    extra, floor = rng.random(32, np.float32), np.full(32, 190_000, np.float32)
    truth = scales[:, None] * (products[:2900] + extra) >= floor
    for each in (kernel.kernel_for(kernel.COMPILED_FROM), kernel.Plain()):
        rows, probes, values = each.above_many(products.copy(), scales, extra, floor)
        assert np.array_equal(np.stack([rows, probes]), np.stack(np.nonzero(truth)))
        assert np.allclose(values, scales[rows] * (products[rows, probes] + extra[probes]))


def test_without_numba_numpy_does_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    kernel._compiled.cache_clear()
    assert isinstance(kernel.kernel_for(10**9), kernel.Plain)
    kernel._compiled.cache_clear()


def test_few_rows_are_not_worth_compiling():
    assert isinstance(kernel.kernel_for(1000), kernel.Plain)
    assert isinstance(kernel.kernel_for(100_000), kernel.Compiled)


@pytest.mark.parametrize(("length", "width"), [(1, 32), (128, 32), (128, 64), (512, 64)])
def test_integer_products_are_exact_even_at_their_largest(length, width):
    rng = np.random.default_rng(length)
    rows = rng.integers(-127, 128, (1024, length), dtype=np.int8)
    probes = rng.integers(-127, 128, (width - 3, length), dtype=np.int8)
    rows[:4], probes[:2] = [[127], [-127], [127], [-127]], [[127], [-127]]
    found = IntegerProducts(1024, length, width)(rows, probes)
    assert np.array_equal(found[:, : width - 3], rows.astype(int) @ probes.T.astype(int))
    assert not found[:, width - 3 :].any()


def test_a_kernel_that_is_not_exact_is_not_used(monkeypatch):
    """Some processors add int8 products up in 16 bits, where they do not fit."""
    exact = IntegerProducts.__call__
    monkeypatch.setattr(
        IntegerProducts, "__call__", lambda *given: np.clip(exact(*given), -32768, 32767)
    )
    with pytest.raises(ArithmeticError, match="not exact"):
        IntegerProducts(256, 96, 32)
    with lent_products(256, 96, 32) as lent:
        assert lent is None
    monkeypatch.undo()
    products._INEXACT.clear()
    with lent_products(256, 96, 32) as first:
        assert first is not None
    with lent_products(256, 96, 32) as again:
        assert again is first


@given(st.lists(st.one_of(st.uuids().map(lambda u: u.hex), st.text(max_size=40)), max_size=30))
def test_ids_come_back_as_they_were(ids):
    names = Identifiers()
    pairs = names.pack(ids)
    assert [names.name(*pair) for pair in pairs.tolist()] == ids
    assert np.array_equal(names.pack(ids), pairs)
    assert len({*map(tuple, pairs.tolist())}) == len(set(ids))


@pytest.mark.parametrize(
    "odd", ["f" * 32, "A" * 32, "0" * 31 + "g", " " * 32, "0" * 16 + "\u0660" * 16, ""]
)
def test_ids_of_another_form_are_kept_apart(odd):
    ids = [uuid.UUID(int=5).hex, odd, "a" * 32]
    names = Identifiers()
    assert [names.name(*pair) for pair in names.pack(ids).tolist()] == ids


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), portions=st.lists(st.integers(1, 3000), max_size=8))
def test_every_row_of_a_key_is_found(seed, portions):
    rng = np.random.default_rng(seed)
    keys = Keys(1 << 16)
    different = rng.integers(0, 2**63, (300, 2)).astype(np.uint64)
    different[1, 0] = different[0, 0]  # half an id is not enough
    written = np.empty((0, 2), np.uint64)
    for portion in portions:
        new = different[rng.integers(0, 300, portion)]
        keys.put(len(written), new)
        written = np.concatenate([written, new])
        count = int(rng.integers(0, len(written) + 1))
        asked = different[:20]
        truth = [np.flatnonzero((written[:count] == pair).all(axis=1)).tolist() for pair in asked]
        assert [sorted(keys.rows(pair, count)) for pair in asked.tolist()] == truth
        if rng.random() < 0.3:
            many = sorted(keys.rows_of_many(asked, count))
            assert many == [(n, row) for n, rows in enumerate(truth) for row in rows]
        halves, half = keys.halved(), written[:count, 0]
        truth = [np.flatnonzero(half == high).tolist() for high in asked[:, 0]]
        assert [sorted(halves.rows(pair, count)) for pair in asked.tolist()] == truth
        assert np.array_equal(halves.pairs(np.arange(count))[:, 0], half)


def test_memory_of_blocks_is_zero_at_first_and_ones_own():
    one, other = zeros((1 << 16, 64), np.int8), zeros(3, np.uint64)
    assert (one.shape, one.dtype, other.shape, other.dtype) == ((1 << 16, 64), np.int8, (3,), "u8")
    assert not one.any()
    assert not other.any()
    one[:], other[:] = 7, 8
    assert (one.min(), other.tolist()) == (7, [8, 8, 8])
    assert zeros((5, 0), np.int8).shape == (5, 0)
