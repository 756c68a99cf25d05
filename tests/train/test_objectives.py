"""Objectives on a circle, where distances are counted by head, and against plain loops.

The losses and miners are pytorch-metric-learning's; what is tested is that they do what the papers
say once they stand on squared distances, and what this package makes of them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.errors import TrainingRefused
from visavis.train.objectives import (
    Mining,
    Objective,
    ObjectiveConfig,
    Term,
    keep_loss,
    parse_objective,
    possible_triplets,
    random_triplets,
)

torch.set_num_threads(1)  # so small a work only suffers from more


def at_angles(*degrees: float, length: float = 1.0) -> torch.Tensor:
    turned = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    return length * torch.stack([turned.cos(), turned.sin()], 1)


def objective(
    text: str = "triplet", *, dimension: int = 2, people: int = 8, **numbers
) -> Objective:
    return Objective(ObjectiveConfig(parse_objective(text), **numbers), dimension, people)


def by_hand(vectors: torch.Tensor, labels: torch.Tensor) -> list[tuple[int, int, int, float]]:
    """Every triplet of a batch and d(a, n) - d(a, p), in plain loops and float64."""
    unit = vectors.detach().numpy().astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    who = labels.tolist()
    found = []
    for a, p, n in itertools.product(range(len(who)), repeat=3):
        if a != p and who[a] == who[p] and who[a] != who[n]:
            away = np.sum((unit[a] - unit[n]) ** 2) - np.sum((unit[a] - unit[p]) ** 2)
            found.append((a, p, n, float(away)))
    return found


def chosen(mining: Mining, vectors, labels, alpha: float = 0.2) -> set[tuple[int, int, int]]:
    triplets, _ = objective(alpha=alpha, mining=mining).triplets(vectors, labels)
    return set(zip(*(each.tolist() for each in triplets), strict=True))


def batch(seed: int, people: int = 6, images: int = 3, dimension: int = 5):
    torch.manual_seed(seed)
    centres = torch.randn(people, dimension).repeat_interleave(images, 0)
    labels = torch.arange(people).repeat_interleave(images)
    return centres + 0.7 * torch.randn(len(labels), dimension), labels


# One person at 0 and 60 degrees (d = 1), the other where we put them


@pytest.mark.parametrize(("stranger", "loss"), [(0, 1.2), (-60, 0.2), (-90, 0.0), (60, 0.2)])
def test_a_triplet_by_head(stranger, loss):
    """Anchor at 0, mate at 60, d = 1: hinges 1 - d(a, n) + 0.2 for d(a, n) = 0, 1, 2, 1."""
    vectors, labels = at_angles(0, 60, stranger), torch.tensor([0, 0, 1])
    hinges = [max(0.0, 0.2 - away) for *_, away in by_hand(vectors, labels)]
    assert hinges[0] == pytest.approx(loss, abs=1e-6)  # of anchor 0; the other anchor is at 60
    outcome = objective(mining=Mining.ALL)(vectors, labels)
    assert float(outcome.loss) == pytest.approx(np.mean(hinges), abs=1e-5)


def test_the_length_of_a_vector_does_not_matter():
    labels = torch.tensor([0, 0, 1])
    short = objective(mining=Mining.ALL)(at_angles(0, 60, 30), labels).loss
    long = objective(mining=Mining.ALL)(at_angles(0, 60, 30, length=50.0), labels).loss
    assert float(short) == pytest.approx(float(long), abs=1e-5)


@pytest.mark.parametrize(
    ("stranger", "semi_hard"), [(-59, False), (-61, True), (-66, True), (-67, False)]
)
def test_semi_hard_lies_between_the_positive_and_the_margin(stranger, semi_hard):
    """Mates at d = 1; d = 1.2 is reached at 66.4 degrees. Else what violates the margin, if any."""
    vectors, labels = at_angles(0, 60, stranger), torch.tensor([0, 0, 1])
    found, _ = objective(mining=Mining.SEMI_HARD).triplets(vectors, labels)
    pairs = set(zip(*(each.tolist() for each in found), strict=True))
    if semi_hard:
        assert pairs == {(0, 1, 2)}
    else:
        assert pairs == {(a, p, n) for a, p, n, away in by_hand(vectors, labels) if away <= 0.2}


def _semi_hard(vectors, labels, alpha):
    return {(a, p, n) for a, p, n, away in by_hand(vectors, labels) if 0 < away < alpha}


# Miners against plain loops


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.1, 0.2, 0.5]))
def test_semi_hard_mining_is_facenets(seed, alpha):
    vectors, labels = batch(seed)
    wanted = _semi_hard(vectors, labels, alpha)
    if wanted:
        assert chosen(Mining.SEMI_HARD, vectors, labels, alpha) == wanted


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_hard_mining_is_hermans(seed):
    """Each photograph once, with its farthest mate and its nearest stranger."""
    vectors, labels = batch(seed)
    unit = torch.nn.functional.normalize(vectors).double().numpy()
    d = ((unit[:, None] - unit[None]) ** 2).sum(-1)
    same = labels[:, None].numpy() == labels[None].numpy()
    far, near = np.where(same, d, -1).argmax(1), np.where(same, 9, d).argmin(1)
    wanted = {(a, int(far[a]), int(near[a])) for a in range(len(labels))}
    assert chosen(Mining.HARD, vectors, labels) == wanted


def test_all_is_every_triplet():
    vectors, labels = batch(0)
    found = chosen(Mining.ALL, vectors, labels)
    assert found == {(a, p, n) for a, p, n, _ in by_hand(vectors, labels)}
    assert len(found) == possible_triplets(labels) == 18 * 2 * 15


def test_random_triplets_are_triplets_and_come_again_with_the_seed():
    vectors, labels = batch(1)
    torch.manual_seed(5)
    first = torch.stack(random_triplets(labels, 100))
    torch.manual_seed(5)
    assert torch.equal(first, torch.stack(random_triplets(labels, 100)))
    assert not torch.equal(first, torch.stack(random_triplets(labels, 100)))
    every = {(a, p, n) for a, p, n, _ in by_hand(vectors, labels)}
    assert {tuple(column) for column in first.T.tolist()} <= every


def test_random_sees_as_many_as_semi_hard_finds():
    vectors, labels = batch(2)
    semi_hard = len(_semi_hard(vectors, labels, 2.0))
    drawn, looked_at = objective(mining=Mining.RANDOM, alpha=2.0).triplets(vectors, labels)
    assert len(labels) * 2 < semi_hard <= len(drawn[0]) == looked_at < semi_hard + len(labels)


def test_random_sees_every_pair_of_mates_when_nothing_is_semi_hard():
    vectors, labels = at_angles(0, 1, 180, 181), torch.tensor([0, 0, 1, 1])
    drawn, _ = objective(mining=Mining.RANDOM).triplets(vectors, labels)
    assert len(drawn[0]) == 4


@pytest.mark.parametrize("mining", Mining)
def test_the_loss_is_the_mean_over_what_was_chosen(mining):
    vectors, labels = batch(3)
    away = {(a, p, n): gap for a, p, n, gap in by_hand(vectors, labels)}
    torch.manual_seed(9)
    outcome = objective(mining=mining)(vectors, labels)
    torch.manual_seed(9)
    triplets, looked_at = objective(mining=mining).triplets(vectors, labels)
    hinges = [max(0.0, 0.2 - away[t]) for t in zip(*(e.tolist() for e in triplets), strict=True)]
    assert float(outcome.loss) == pytest.approx(np.mean(hinges), abs=1e-5)
    assert float(outcome.active) == pytest.approx(np.count_nonzero(hinges) / looked_at, abs=1e-6)


# What a reader of the loss must be able to see


@pytest.mark.parametrize("mining", Mining)
@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_one_point_for_every_face_shows_a_loss_of_alpha(mining, noise):
    torch.manual_seed(0)
    vectors = torch.ones(16, 8) + noise * torch.randn(16, 8)
    labels = torch.arange(4).repeat_interleave(4)
    outcome = objective(mining=mining, alpha=0.3)(vectors, labels)
    assert float(outcome.loss) == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("mining", [Mining.SEMI_HARD, Mining.RANDOM, Mining.ALL, Mining.HARD])
def test_people_far_apart_cost_nothing_and_still_give_a_gradient(mining):
    vectors = at_angles(0, 1, 90, 91, 180, 181).requires_grad_()
    outcome = objective(mining=mining)(vectors, torch.tensor([0, 0, 1, 1, 2, 2]))
    outcome.loss.backward()
    assert float(outcome.loss.detach()) == 0
    assert float(outcome.active) == 0
    assert torch.equal(vectors.grad, torch.zeros(6, 2))


def test_a_batch_of_one_person_has_no_triplets():
    vectors = at_angles(0, 60).requires_grad_()
    for mining in Mining:
        outcome = objective(mining=mining)(vectors, torch.tensor([0, 0]))
        outcome.loss.backward()
        assert float(outcome.loss.detach()) == 0


def test_what_is_not_a_number_is_not_hidden():
    vectors = torch.full((4, 2), math.nan)
    for text in ("triplet", "contrastive", "arcface", "softmax"):
        outcome = objective(text)(vectors, torch.tensor([0, 0, 1, 1]))
        assert not torch.isfinite(outcome.loss)


# The other terms


def test_contrastive_pulls_mates_and_pushes_near_strangers():
    """Mates 60 degrees apart: d = 1. Strangers at 30 degrees: d = 0.268 from both."""
    outcome = objective("contrastive", contrastive_margin=1.0)(
        at_angles(0, 60, 30, 180), torch.tensor([0, 0, 1, 2])
    )
    near = 2 - 2 * math.cos(math.radians(30))
    strangers = [1 - near] * 2 + [0.0] * 3  # pairs: 0-30, 60-30, and those with 180 degrees
    assert float(outcome.loss) == pytest.approx(1 + np.mean(strangers), abs=1e-5)
    assert float(outcome.active) == pytest.approx(2 / 5)


def test_arcface_adds_an_angle():
    """Class weights at 0 and 90 degrees; a face at 30 degrees, margin 30 degrees: cos 60."""
    model = objective("arcface", people=2, arcface_margin=math.radians(30), arcface_scale=4.0)
    _set_classes(model, at_angles(0, 90))
    logits = 4 * np.cos(np.radians([60, 60]))
    loss = float(model(at_angles(30, length=7.0), torch.tensor([0])).loss.detach())
    assert loss == pytest.approx(-math.log(np.exp(logits[0]) / np.exp(logits).sum()), abs=1e-4)


def test_softmax_divides_cosines_by_the_temperature():
    model = objective("softmax", people=2, softmax_temperature=0.5)
    _set_classes(model, at_angles(0, 90))
    logits = np.cos(np.radians([30, 60])) / 0.5
    loss = float(model(at_angles(30, length=7.0), torch.tensor([0])).loss.detach())
    assert loss == pytest.approx(-math.log(np.exp(logits[0]) / np.exp(logits).sum()), abs=1e-4)


def _set_classes(model: Objective, rows: torch.Tensor) -> None:
    (weights,) = model.parameters()
    with torch.no_grad():
        weights.copy_(rows.T)


@pytest.mark.parametrize(("degrees", "d"), [(0, 0), (60, 1), (90, 2), (180, 4)])
def test_keeping_is_the_squared_distance_to_what_was(degrees, d):
    loss = keep_loss(at_angles(degrees, length=3.0), at_angles(0))
    assert float(loss) == pytest.approx(d, abs=1e-5)


def test_a_sum_is_weighted_and_told_in_parts():
    vectors, labels = batch(4)
    kept = torch.nn.functional.normalize(torch.randn(18, 5))
    outcome = objective("triplet+0.5*keep", dimension=5)(vectors, labels, kept)
    parts = {name: float(value) for name, value in outcome.parts.items()}
    assert parts == {
        "triplet": pytest.approx(float(objective(dimension=5)(vectors, labels).loss)),
        "keep": pytest.approx(float(keep_loss(vectors, kept))),
    }
    assert float(outcome.loss) == pytest.approx(parts["triplet"] + 0.5 * parts["keep"])


def test_keeping_needs_something_to_keep():
    with pytest.raises(ValueError, match="starting encoder"):
        objective("triplet+keep")(*batch(0))


@pytest.mark.parametrize("term", sorted(set(Term) - {Term.KEEP}))
def test_every_term_moves_the_vectors(term):
    vectors, labels = batch(5)
    vectors.requires_grad_()
    objective(str(term), dimension=5)(vectors, labels).loss.backward()
    assert vectors.grad.abs().sum() > 0


def test_half_precision_vectors_are_judged_in_single():
    vectors, labels = batch(6)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective("arcface+triplet", dimension=5)(vectors.bfloat16(), labels)
    assert mixed.loss.dtype == torch.float32


# Configurations


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("triplet", ((Term.TRIPLET, 1.0),)),
        ("arcface+0.5*triplet", ((Term.ARCFACE, 1.0), (Term.TRIPLET, 0.5))),
        (" Triplet + 2 * keep ", ((Term.TRIPLET, 1.0), (Term.KEEP, 2.0))),
    ],
)
def test_objectives_are_read(text, terms):
    assert parse_objective(text) == terms


@pytest.mark.parametrize(
    "text", ["", "tripplet", "triplet+", "x*triplet", "-1*triplet", "nan*triplet", "keep",
             "triplet+triplet", "0*triplet", "inf*triplet", "*triplet"]
)  # fmt: skip
def test_what_cannot_be_an_objective_is_refused(text):
    with pytest.raises(TrainingRefused):
        parse_objective(text)


def test_the_refusal_names_what_is_allowed():
    with pytest.raises(TrainingRefused, match=r"contrastive, triplet, softmax, arcface, keep"):
        parse_objective("tripplet")


@pytest.mark.parametrize(
    "numbers",
    [{"alpha": -0.1}, {"alpha": math.nan}, {"alpha": 5}, {"arcface_scale": 0},
     {"contrastive_margin": 4.5}, {"softmax_temperature": -1}, {"arcface_margin": 28.6},
     {"terms": ()}],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(TrainingRefused):
        ObjectiveConfig(**numbers)


def test_mining_changes_while_a_run_goes_on():
    vectors, labels = batch(7)
    model = objective(mining=Mining.HARD)
    before = float(model(vectors, labels).loss)
    model.mining = Mining.SEMI_HARD
    assert float(model(vectors, labels).loss) != pytest.approx(before)
