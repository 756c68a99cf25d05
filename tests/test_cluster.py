"""Clustering on geometry with known answers, and B-cubed against its definition."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from visavis.cluster import Evidence, carried_on, common_cosine, group, neighbours
from visavis.evaluate.bcubed import bcubed

NEAR = Evidence(tau=1.0)


def at_angles(*degrees):
    """Unit vectors in a plane: d = 2 - 2 cos of the angle between them."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def crowd(people, faces, spread, *, seed=0, width=64):
    """Draw ``faces`` of each of ``people`` around a direction of their own; gives who each is."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, width))
    rows = np.repeat(centres, faces, axis=0) + spread * rng.normal(size=(people * faces, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(people), faces)


@pytest.mark.parametrize(("apart", "together"), [(59, True), (60, True), (61, False)])
def test_two_faces_are_one_person_up_to_tau(apart, together):
    # 60 degrees are d = 1.
    evidence = Evidence(tau=1.0 + 1e-6)
    found = group(at_angles(0, apart), evidence)
    assert (found[0] == found[1]) == together


def test_faces_near_nobody_stay_alone_and_groups_are_numbered_by_their_first_face():
    assert group(at_angles(100, 0, 5, 200, 10, 205), NEAR).tolist() == [0, 1, 1, 2, 1, 2]
    assert group(at_angles(7), NEAR).tolist() == [0]
    assert group(np.empty((0, 2), np.float32), NEAR).tolist() == []


def test_a_chain_of_near_faces_is_not_one_person():
    """Each is 50 degrees from the next, within tau; the ends are 250 degrees apart."""
    chain = at_angles(*range(0, 300, 50))
    a, _ = neighbours(chain, NEAR.tau)
    assert len(a) == 5  # single linkage would make one group of them
    assert np.bincount(group(chain, NEAR)).max() == 2


def test_many_faces_together_say_more_than_one():
    """A face far from each of ten others, but not too far for all ten together, is theirs.

    Its cosine to the person's direction is 0.55, to their faces 0.47 on average (d = 1.06), beyond
    tau = 1.05 for a single one of them.
    """
    rng = np.random.default_rng(4)
    width = 400
    person = np.eye(width)[0]
    many = person + 0.03 * rng.normal(size=(10, width))
    side = np.zeros(width)
    side[1] = 1.0
    one = 0.55 * person + np.sqrt(1 - 0.55**2) * side
    rows = np.vstack([many, one])
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    distances = 2 - 2 * rows[:10] @ rows[10]
    assert distances.mean() > 1.05 > distances.min()
    assert len(set(group(rows, Evidence(1.05)).tolist())) == 1
    # Against one alone it is two people.
    far = rows[[int(distances.argmax()), 10]]
    assert len(set(group(far, Evidence(1.05)).tolist())) == 2


def test_people_drawn_apart_are_found_whatever_the_order():
    vectors, truth = crowd(60, 5, spread=0.8)
    found = group(vectors, Evidence(1.25))
    assert bcubed(truth, found).f1 > 0.98
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(vectors))
        again = group(vectors[order], Evidence(1.25))
        assert bcubed(found[order], again).f1 == 1.0
        # ... and the first face always begins group 0.
        assert again[0] == 0


def test_what_all_faces_share_is_no_evidence():
    """Encodings that all lean one way look alike to whoever does not know it."""
    vectors, truth = crowd(40, 4, spread=0.8, seed=2)
    lean = np.zeros(vectors.shape[1], np.float32)
    lean[0] = 1.5
    leaning = vectors + lean
    leaning /= np.linalg.norm(leaning, axis=1, keepdims=True)
    cosines = leaning @ leaning.T
    different = truth[:, None] != truth[None]
    shared = float(cosines[different].mean())
    assert shared > 0.5
    same = ~different & ~np.eye(len(truth), dtype=bool)
    tau = float(2 - 2 * np.quantile(cosines[same], 0.02))
    assert bcubed(truth, group(leaning, Evidence(tau, shared))).f1 > 0.97
    assert np.bincount(group(leaning, Evidence(tau))).max() >= np.bincount(truth).max()


def test_the_mean_of_different_people_is_read_off_a_normal_curve():
    rates = [10**-n for n in (1, 1.5, 2, 2.5, 3, 4, 5)]
    normal = NormalDist(0.3, 0.1)
    taus = [2 - 2 * normal.inv_cdf(1 - rate) for rate in rates]
    assert common_cosine(rates, taus) == pytest.approx(0.3, abs=1e-9)


def test_neighbours_are_those_within_tau_and_of_many_the_nearest():
    vectors, _ = crowd(30, 6, spread=0.7, seed=1)
    exact = 2 - 2 * vectors.astype(np.float64) @ vectors.T
    near = {(a, b) for a, b in zip(*np.nonzero(exact <= 1.0), strict=True) if a < b}
    assert set(zip(*(side.tolist() for side in neighbours(vectors, 1.0)), strict=True)) == near
    nearest = set()
    for row in range(len(vectors)):
        others = [o for o in np.argsort(exact[row]) if o != row and exact[row, o] <= 1.0][:2]
        nearest |= {(min(row, o), max(row, o)) for o in others}
    few = neighbours(vectors, 1.0, most=2)
    assert set(zip(*(side.tolist() for side in few), strict=True)) == nearest


def test_memory_is_blocked_and_blocks_change_nothing(monkeypatch):
    vectors, _ = crowd(30, 6, spread=0.7, seed=1)
    whole = [side.tolist() for side in neighbours(vectors, 1.0)]
    monkeypatch.setattr("visavis.cluster._BLOCK", 7 * len(vectors))
    assert [side.tolist() for side in neighbours(vectors, 1.0)] == whole


# Ids that stay


def test_groups_keep_the_id_of_those_they_share_most_faces_with():
    before = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2}
    assert carried_on(before, [["a", "b", "c", "new"], ["d", "e"], ["x", "y"]], 3) == [1, 2, 3]
    # Split: the larger part keeps the id. Joined: the larger part's id stays.
    assert carried_on(before, [["c", "x"], ["a", "b"], ["d", "e"]], 7) == [7, 1, 2]
    assert carried_on(before, [["a", "b", "c", "d", "e"]], 3) == [1]
    assert carried_on({}, [["a", "b"], ["c", "d"]], 1) == [1, 2]


def test_an_id_is_never_given_to_two_groups():
    rng = np.random.default_rng(5)
    before = {face: int(rng.integers(1, 8)) for face in range(60)}
    for _ in range(50):
        labels = rng.integers(0, 9, 80)
        now = [np.flatnonzero(labels == n).tolist() for n in range(9)]
        ids = carried_on(before, now, 8)
        assert len(set(ids)) == 9


# B-cubed


def by_definition(truth, found, counted):
    """Each item looks at each other item, as Bagga and Baldwin 1998 put it."""
    precision, recall = [], []
    for item in np.flatnonzero(counted):
        cluster = [o for o in range(len(truth)) if found[o] == found[item]]
        person = [o for o in range(len(truth)) if truth[o] == truth[item]]
        right = len(set(cluster) & set(person))
        precision.append(right / len(cluster))
        recall.append(right / len(person))
    return np.mean(precision), np.mean(recall)


def test_b_cubed_is_that_of_its_paper():
    """Their figures 2 and 3: chains 1-5, 6-7, 8-12; one error joins 6-7, another 1-5, to 8-12."""
    truth = [1] * 5 + [2] * 2 + [3] * 5
    first = bcubed(truth, [1] * 5 + [2] * 7)
    second = bcubed(truth, [1] * 5 + [2] * 2 + [1] * 5)
    assert first.precision == pytest.approx(0.76, abs=0.005)
    assert second.precision == pytest.approx(0.58, abs=0.005)
    assert first.recall == second.recall == 1.0


def test_b_cubed_is_that_of_its_definition():
    rng = np.random.default_rng(6)
    for _ in range(20):
        truth, found = rng.integers(0, 7, 40), rng.integers(0, 9, 40)
        counted = rng.random(40) < 0.7
        told = bcubed(truth, found, counted)
        assert (told.precision, told.recall) == pytest.approx(by_definition(truth, found, counted))


def test_a_stranger_in_a_cluster_costs_precision_though_not_counted():
    assert bcubed([0, 0, 1], [0, 0, 0], [True, True, False]).precision == pytest.approx(2 / 3)
    assert bcubed([0, 0], [0, 0]).f1 == 1.0
    assert bcubed([0, 0], [0, 1]).recall == 0.5
    with pytest.raises(ValueError, match="at least one"):
        bcubed([], [])
