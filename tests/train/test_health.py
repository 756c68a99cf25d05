"""Runs that go well and ill, as a monitor sees them; the numbers by head and by scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from visavis.errors import TrainingRefused
from visavis.train.health import (
    Action,
    Ailment,
    Diagnosis,
    HealthConfig,
    Monitor,
    Recovery,
    Vitals,
    vitals,
)
from visavis.train.objectives import Mining

torch.set_num_threads(1)  # so small a work only suffers from more
LABELS = torch.arange(8).repeat_interleave(4)


def look(step: int = 0, **numbers) -> Vitals:
    """A run that does well: mates at 0.5, strangers at 2, ten dimensions."""
    well = {"loss": 0.1, "distance": 1.9, "spread": 0.3, "mated": 0.5, "nonmated": 2.0,
            "active": 0.2, "dimension": 10.0, "gradient": 1.0}  # fmt: skip
    return Vitals(step, **well | numbers)


def watched(looks, config: HealthConfig | None = None) -> list[tuple[int, str]]:
    monitor = Monitor(config)
    found = [(seen.step, monitor.update(seen)) for seen in looks]
    return [(step, str(ill.kind)) for step, ill in found if ill]


# A look


def test_distances_by_head():
    """Two people at 0 and 60, 180 and 240 degrees: mates 1, strangers 4, 3, 3, 4."""
    turned = torch.deg2rad(torch.tensor([0.0, 60.0, 180.0, 240.0]))
    vectors = 3 * torch.stack([turned.cos(), turned.sin()], 1)
    seen = vitals(7, vectors, torch.tensor([0, 0, 1, 1]), 0.25, 0.5, 2.0)
    d = [1, 4, 3, 3, 4, 1]
    assert seen.step == 7
    assert seen.distance == pytest.approx(np.mean(d), abs=1e-5)
    assert seen.spread == pytest.approx(np.std(d), abs=1e-5)
    assert (seen.mated, seen.nonmated) == pytest.approx((1, 3.5), abs=1e-5)
    assert (seen.loss, seen.active, seen.gradient) == (0.25, 0.5, 2.0)
    assert seen.gap == pytest.approx(1 - 1 / 3.5)


def test_the_effective_dimension_is_that_of_the_principal_components():
    torch.manual_seed(0)
    vectors = torch.randn(32, 16) * torch.linspace(0.1, 3, 16)
    power = PCA().fit(nn.functional.normalize(vectors).double().numpy()).explained_variance_
    assert vitals(0, vectors, LABELS, 0.0).dimension == pytest.approx(
        power.sum() ** 2 / (power**2).sum(), rel=1e-4
    )


def test_a_line_has_one_dimension_and_a_point_none():
    line = torch.tensor([[1.0, 0, 0], [-1, 0, 0]]).repeat(16, 1)
    assert vitals(0, line, LABELS, 0.0).dimension == pytest.approx(1)
    point = vitals(0, torch.ones(32, 3), LABELS, 0.2)
    assert point.dimension == 0
    assert point.distance == pytest.approx(0, abs=1e-6)
    assert point.gap == pytest.approx(0, abs=1)


def test_what_there_is_none_of_is_not_invented():
    seen = vitals(0, torch.randn(4, 3), torch.tensor([0, 1, 2, 3]), torch.tensor(0.1))
    assert math.isnan(seen.mated)
    assert (seen.active, seen.gradient, seen.gap) == (None, None, 0.0)
    assert vitals(0, torch.randn(4, 3), torch.zeros(4), 0.1, torch.tensor(math.nan)).active is None


@pytest.mark.parametrize(("loss", "gradient"), [(math.nan, 1.0), (math.inf, 1.0), (0.1, math.nan)])
def test_what_is_not_finite_is_seen(loss, gradient):
    assert vitals(0, torch.randn(32, 3), LABELS, loss, None, gradient).finite is False
    assert vitals(0, torch.full((32, 3), math.nan), LABELS, 0.1).finite is False
    assert vitals(0, torch.randn(32, 3), LABELS, 0.1, None, 1.0).finite is True


# Runs


def test_a_run_that_does_well_is_left_alone():
    assert watched(look(k, mated=2.0 * (1 - k / 210)) for k in range(200)) == []


@pytest.mark.parametrize(
    "odd",
    [{"loss": math.nan}, {"nonmated": 1e-6, "mated": 1e-6}, {"dimension": 1.0},
     {"mated": 2.0}, {"loss": math.inf, "gradient": math.nan}],
)  # fmt: skip
def test_one_odd_batch_says_nothing(odd):
    assert watched(look(k, **odd if k % 50 == 25 else {}) for k in range(200)) == []


def test_a_run_that_falls_into_a_point_is_caught_once_it_lasts():
    """Distances halve at every look from the 50th on."""
    found = watched(
        look(k, nonmated=2 * 0.5 ** max(0, k - 50), mated=0.5 * 0.5 ** max(0, k - 50))
        for k in range(100)
    )
    assert found[0][1] == "collapsing"
    assert 65 < found[0][0] < 90


def test_vectors_on_a_line_are_a_collapse_too():
    assert watched(look(k, dimension=1.01) for k in range(60))[0][1] == "collapsing"


def test_a_new_network_that_begins_at_one_point_and_spreads_is_well():
    start = ({"nonmated": 1e-4 * 1.2**k, "mated": 0.5e-4 * 1.2**k} for k in range(52))
    assert watched(look(k, **numbers) for k, numbers in enumerate(start)) == []


def test_a_network_that_begins_at_one_point_and_stays_there_is_caught_after_its_grace():
    found = watched(look(k, nonmated=1e-3, mated=0.5e-3) for k in range(60))
    assert found[0] == (37, "collapsing")


def test_batches_without_mates_say_nothing_of_what_is_learnt():
    """As ArcFace may be fed: one photograph of each person."""
    assert watched(look(k, mated=math.nan) for k in range(200)) == []


def test_a_loss_that_stays_at_the_margin_is_told_after_long():
    stuck = watched(look(k, loss=0.2, mated=2.0) for k in range(100))
    assert stuck == [(59, "stuck-at-margin")]


def test_learning_that_is_lost_is_told():
    lost = watched(look(k, mated=0.5 if k < 40 else 1.8) for k in range(80))
    assert lost[0][1] == "diverging"
    assert lost[0][0] < 60


def test_numbers_that_are_none_are_told_soon():
    assert watched(look(k, loss=math.nan) for k in range(8)) == [
        (3, "not-finite"),
        (7, "not-finite"),
    ]


def test_a_resumed_monitor_says_the_same():
    looks = [look(k, nonmated=2 * 0.8**k, mated=2 * 0.8**k * 0.4) for k in range(80)]
    whole = watched(looks)
    first, second = Monitor(), Monitor()
    found = [(s.step, first.update(s)) for s in looks[:30]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    found += [(s.step, second.update(s)) for s in looks[30:]]
    assert [(step, str(ill.kind)) for step, ill in found if ill] == whole != []


def test_anothers_numbers_are_not_taken():
    with pytest.raises(ValueError, match="monitor"):
        Monitor().load_state_dict({"looks": 1.0})


def test_a_diagnosis_says_why_and_what_helps():
    monitor = Monitor()
    told = [monitor.update(look(k, nonmated=1e-3, mated=1e-3)) for k in range(60)]
    words = str(next(filter(None, told)))
    assert "0.001" in words
    assert "semi-hard" in words


def test_a_network_that_is_drawn_to_one_point_is_caught():
    """Weights that a real optimiser moves: everybody's distances are made small."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer, monitor = torch.optim.Adam(net.parameters(), 0.01), Monitor()
    for step in range(150):
        vectors = net(torch.randn(32, 16))
        unit = nn.functional.normalize(vectors)
        loss = 2 - 2 * unit.mean(0).square().sum()  # the mean squared distance of all pairs
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found = monitor.update(vitals(step, vectors, LABELS, loss))
        if found:
            break
    assert found.kind == Ailment.COLLAPSING


# What is done


def ill(kind: Ailment) -> Diagnosis:
    return Diagnosis(kind, 100, "so", "then")


def test_a_collapse_is_treated_three_times_ever_more_gently_and_then_given_up():
    recovery = Recovery(HealthConfig(warmup=50))
    taken = [recovery.next(ill(Ailment.COLLAPSING)) for _ in range(4)]
    assert taken == [
        Action(Mining.SEMI_HARD, 0.3, 50),
        Action(Mining.SEMI_HARD, 0.3, 100),
        Action(Mining.SEMI_HARD, 0.3, 200),
        None,
    ]
    assert all(action.restore for action in taken[:3])


def test_numbers_that_are_none_need_no_other_triplets():
    assert Recovery().next(ill(Ailment.NOT_FINITE)).mining is None


def test_a_resumed_run_is_not_treated_anew():
    recovery, resumed = Recovery(), Recovery()
    for _ in range(2):
        recovery.next(ill(Ailment.DIVERGING))
    resumed.load_state_dict(json.loads(json.dumps(recovery.state_dict())))
    assert resumed.next(ill(Ailment.DIVERGING)).warmup_steps == 400
    assert resumed.next(ill(Ailment.DIVERGING)) is None


def test_no_recoveries_is_to_stop_at_once():
    assert Recovery(HealthConfig(recoveries=0)).next(ill(Ailment.COLLAPSING)) is None


def test_an_action_reads_as_words():
    words = str(Action(Mining.SEMI_HARD, 0.3, 100))
    assert words == "semi-hard negatives, the learning rate times 0.3, warmed up in 100 steps"


@pytest.mark.parametrize("numbers", [{"smoothing": 1.0}, {"patience": 0}, {"rate_factor": 0.0}])
def test_what_cannot_be_is_refused(numbers):
    with pytest.raises(TrainingRefused):
        HealthConfig(**numbers)
