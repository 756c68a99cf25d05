"""Batches are P people x K images, repeatable, fair, and alike to an independent sampler's."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils import common_functions

from visavis.errors import ProtocolRefused
from visavis.train.sampler import PeopleSampler, paired, split_people


def offsets_of(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def people_in(rows, offsets):
    return np.searchsorted(offsets, rows, side="right") - 1


COUNTS = st.lists(st.integers(1, 9), min_size=4, max_size=40).filter(
    lambda counts: sum(n > 1 for n in counts) >= 4
)


@given(COUNTS, st.integers(2, 4), st.integers(2, 6), st.integers(0, 50), st.integers(0, 9))
def test_a_batch_is_p_people_times_k_images(counts, p, k, step, seed):
    offsets = offsets_of(counts)
    sampler = PeopleSampler(offsets, paired(offsets), p, k, seed)
    rows = sampler.batch(step)
    assert rows.shape == (p * k,)
    assert rows.dtype == np.int64
    people = people_in(rows, offsets).reshape(p, k)
    assert (people == people[:, :1]).all(), "images of a person stand together"
    assert len(set(people[:, 0])) == p, "nobody is in it twice"
    for person, images in zip(people[:, 0], rows.reshape(p, k), strict=True):
        assert counts[person] >= 2
        often = Counter(images.tolist())
        assert len(often) == min(k, counts[person]), "no repetition while there are others"
        assert max(often.values()) - min(often.values()) <= 1, "and evenly when there are not"


@given(COUNTS, st.integers(2, 4), st.integers(1, 2), st.integers(0, 9))
@settings(max_examples=50)
def test_an_epoch_visits_everybody_once_before_anybody_twice(counts, p, world, seed):
    offsets = offsets_of(counts)
    among = paired(offsets)
    if len(among) < p * world:
        return
    sampler = PeopleSampler(offsets, among, p, 2, seed)
    steps = sampler.steps_per_epoch(world)
    for epoch in range(3):
        drawn = [
            people_in(sampler.batch(step, rank, world), offsets)[::2]
            for step in range(epoch * steps, (epoch + 1) * steps)
            for rank in range(world)
        ]
        visited = np.concatenate(drawn)[: len(among)]
        assert sorted(visited) == sorted(among)


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 9))
def test_the_ranks_of_a_step_have_different_people(step, world, seed):
    offsets = offsets_of([3] * 23)
    sampler = PeopleSampler(offsets, paired(offsets), 4, 2, seed)
    drawn = [people_in(sampler.batch(step, rank, world), offsets)[::2] for rank in range(world)]
    assert len(set(np.concatenate(drawn))) == 4 * world


def test_a_batch_depends_on_nothing_but_its_arguments():
    offsets = offsets_of(np.random.default_rng(0).integers(1, 8, 60))
    walked = PeopleSampler(offsets, paired(offsets), 8, 4, seed=3)
    path = [walked.batch(step) for step in range(40)]
    for step in (39, 0, 17, 17, 5):  # as a run that is resumed asks, in whatever order
        resumed = PeopleSampler(offsets, paired(offsets), 8, 4, seed=3)
        assert np.array_equal(resumed.batch(step), path[step])
        assert np.array_equal(walked.batch(step), path[step])
    other = PeopleSampler(offsets, paired(offsets), 8, 4, seed=4)
    assert not np.array_equal(other.batch(0), path[0])
    assert len({tuple(batch) for batch in path}) == len(path)
    assert not np.array_equal(walked.batch(3, 0, 2), walked.batch(3, 1, 2))


def test_long_run_frequencies_are_those_of_an_independent_sampler(monkeypatch):
    """The judge is pytorch-metric-learning's MPerClassSampler, over the same labels."""
    monkeypatch.setattr(common_functions, "NUMPY_RANDOM", np.random.RandomState(0))
    counts = [2, 2, 3, 4, 5, 6, 7, 9, 9, 12, 20, 40]
    p, k, batches = 4, 4, 6000
    offsets = offsets_of(counts)
    labels = np.repeat(np.arange(len(counts)), counts)
    judge = MPerClassSampler(labels, k, batch_size=p * k, length_before_new_iter=batches * p * k)
    ours = PeopleSampler(offsets, paired(offsets), p, k, seed=0)
    drawn = np.concatenate([ours.batch(step) for step in range(batches)])
    seen = np.bincount(drawn, minlength=len(labels)) / batches
    theirs = np.bincount(np.fromiter(judge, np.int64), minlength=len(labels)) / batches
    # Geometry of the draw: P of 12 people, then K of the person's n images.
    wanted = p / len(counts) * k / np.repeat(counts, counts)
    for found in (seen, theirs):
        assert np.abs(found - wanted).max() < 5 * np.sqrt(wanted.max() * k / batches)
    assert np.corrcoef(seen, theirs)[0, 1] > 0.999
    pairs = Counter(tuple(sorted(set(people_in(ours.batch(s), offsets)))) for s in range(batches))
    assert len(pairs) == 495, "all 12-over-4 groups of people meet"


def test_people_with_one_image_are_left_out_and_refused_when_given():
    offsets = offsets_of([1, 3, 1, 2, 5])
    assert paired(offsets).tolist() == [1, 3, 4]
    assert paired(offsets, np.array([0, 4, 2, 3])).tolist() == [4, 3]
    with pytest.raises(ValueError, match="one image"):
        PeopleSampler(offsets, np.array([0, 1, 3]), 2, 2, 0)


def test_more_people_a_batch_than_there_are_is_refused_in_words():
    offsets = offsets_of([3] * 5)
    with pytest.raises(ProtocolRefused, match=r"takes 6 people .* there are 5"):
        PeopleSampler(offsets, paired(offsets), 6, 2, 0)
    with pytest.raises(ProtocolRefused, match="takes 6 people"):
        PeopleSampler(offsets, paired(offsets), 3, 2, 0).batch(0, 0, 2)
    for p, k in ((1, 2), (2, 1)):
        with pytest.raises(ValueError, match="two"):
            PeopleSampler(offsets, paired(offsets), p, k, 0)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        PeopleSampler(offsets, paired(offsets), 2, 2, 0).batch(0, 2, 2)


@given(
    st.lists(st.integers(1, 6), min_size=80, max_size=200),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 9),
)
def test_a_split_is_disjoint_complete_sorted_and_of_its_shares(counts, first, second, seed):
    counts = [2] * 60 + counts
    offsets = offsets_of(counts)
    split = split_people(offsets, (first, second), seed)
    parts = [split.train, split.validation, split.calibration]
    assert sorted(np.concatenate(parts)) == list(range(len(counts)))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    # Shares hold for those with pairs and for those without, to one person of rounding each.
    for several in (True, False):
        of = [n for n, c in enumerate(counts) if (c >= 2) == several]
        for part, share in ((split.validation, first), (split.calibration, second)):
            wanted = max(share * len(of), 2 if several and share else 0)
            assert abs(np.isin(of, part).sum() - wanted) <= 1
    again = split_people(offsets, (first, second), seed)
    assert np.array_equal(again.train, split.train)


def test_a_split_without_calibration_gives_none_away_for_it():
    split = split_people(offsets_of([2] * 20), (0.5, 0.0), 0)
    assert (len(split.train), len(split.validation), len(split.calibration)) == (10, 10, 0)


def test_even_a_small_share_holds_two_people():
    split = split_people(offsets_of([2] * 6), (0.1, 0.1), 0)
    assert [len(part) for part in (split.train, split.validation, split.calibration)] == [2, 2, 2]


@pytest.mark.parametrize(("people", "shares"), [(20, (0.5, 0.45)), (5, (0.1, 0.1))])
def test_a_group_without_two_people_of_pairs_is_refused(people, shares):
    counts = [2] * people + [1] * 300
    with pytest.raises(ProtocolRefused, match=f"{people} people with two images or more are too"):
        split_people(offsets_of(counts), shares, 0)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (1.0, 0.0)])
def test_shares_that_leave_nothing_are_a_mistake(shares):
    with pytest.raises(ValueError, match="shares"):
        split_people(offsets_of([2] * 20), shares, 0)


def test_a_million_people_cost_milliseconds_a_batch():
    """Of the order only: benchmarks/training_data.py measures."""
    offsets = offsets_of(np.random.default_rng(0).integers(1, 20, 1_000_000))
    sampler = PeopleSampler(offsets, paired(offsets), 32, 4, seed=0)
    sampler.batch(0)
    took = []
    for step in range(1, 40):
        start = time.perf_counter()
        sampler.batch(step)
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.005
