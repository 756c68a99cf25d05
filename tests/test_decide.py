"""Distances on a circle, thresholds on a line drawn by hand, rates against a simulation."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.decide import Measured, Missed, OperatingCurve, curve_of, distance, squared
from visavis.errors import EncoderMismatch, NotCalibrated, OperatingPointRefused
from visavis.values import Embedding, EncoderId

ENCODER = EncoderId("ab" * 16)

POINTS = (
    Measured(1e-1, 1.52, 0.98e-1, 1.02e-1),
    Measured(1e-2, 1.40, 0.97e-2, 1.03e-2),
    Measured(1e-3, 1.28, 0.9e-3, 1.1e-3),
    Measured(1e-4, 1.14, 0.7e-4, 1.4e-4),
    Measured(1e-5, 1.00, 0.4e-5, 2e-5),
)
CURVE = OperatingCurve(ENCODER, "drawn by hand", POINTS, slope=10.0, pairs=10**6)
"""Below 1e-5 tau falls by 0.1 for each factor of ten."""

rates = st.floats(math.log(1e-12), math.log(1e-1)).map(lambda x: min(max(math.exp(x), 1e-12), 1e-1))


def at_angle(degrees: float, encoder: EncoderId = ENCODER) -> Embedding:
    angle = math.radians(degrees)
    return Embedding(np.array([math.cos(angle), math.sin(angle)], np.float32), encoder)


# Distance


@pytest.mark.parametrize(
    ("degrees", "d"), [(0, 0), (60, 1), (90, 2), (120, 3), (180, 4), (270, 2), (-60, 1)]
)
def test_distance_follows_the_angle(degrees, d):
    assert distance(at_angle(0), at_angle(degrees)) == pytest.approx(d, abs=1e-6)
    assert distance(at_angle(200), at_angle(200 + degrees)) == pytest.approx(d, abs=1e-6)


@given(st.floats(-360, 360), st.floats(-360, 360))
def test_distance_is_symmetric_and_bounded(a, b):
    d = distance(at_angle(a), at_angle(b))
    assert d == distance(at_angle(b), at_angle(a))
    assert 0 <= d <= 4
    assert d == pytest.approx(2 - 2 * math.cos(math.radians(a - b)), abs=1e-6)


@given(st.floats(0, 180), st.floats(0, 180))
def test_a_wider_angle_is_never_nearer(a, b):
    near, far = sorted((a, b))
    assert distance(at_angle(0), at_angle(near)) <= distance(at_angle(0), at_angle(far)) + 1e-6


def test_a_vector_has_no_distance_to_itself():
    vector = np.random.default_rng(1).normal(size=128)
    embedding = Embedding((vector / np.linalg.norm(vector)).astype(np.float32), ENCODER)
    assert distance(embedding, embedding) == 0.0


def test_opposites_are_no_further_than_four():
    vector = np.full(128, 128**-0.5, np.float32) * np.float32(1.0000001)
    assert squared(vector, -vector) <= 4.0


def test_squared_is_as_exact_as_float64():
    chance = np.random.default_rng(2)
    for _ in range(50):
        a = chance.normal(size=512)
        a = (a / np.linalg.norm(a)).astype(np.float32)
        b = (a + chance.normal(size=512) * 1e-4).astype(np.float32)
        exact = float(np.square(a.astype(np.float64) - b.astype(np.float64)).sum())
        assert squared(a, b) == pytest.approx(exact, rel=1e-12)


def test_two_encoders_have_no_distance():
    with pytest.raises(EncoderMismatch, match="abababab and cdcdcdcd"):
        distance(at_angle(0), at_angle(0, EncoderId("cd" * 16)))


# Operating points


@pytest.mark.parametrize("point", POINTS)
def test_measured_points_are_hit(point):
    at = CURVE.at(point.fmr)
    assert at.tau == pytest.approx(point.tau, abs=1e-9)
    assert at.fmr == point.fmr
    assert at.fmr_upper == pytest.approx(point.upper)
    assert not at.extrapolated
    assert (at.encoder, at.tuned_on) == (ENCODER, "drawn by hand")


def test_between_points_tau_follows_the_logarithm():
    middle = CURVE.at(math.sqrt(1e-3 * 1e-4))
    assert middle.tau == pytest.approx((1.28 + 1.14) / 2)
    assert middle.fmr_upper == pytest.approx(math.sqrt(1.1e-3 * 1.4e-4))
    assert not middle.extrapolated


@given(rates, rates)
def test_a_lower_rate_never_has_a_looser_threshold(a, b):
    low, high = sorted((a, b))
    assert CURVE.at(low).tau <= CURVE.at(high).tau
    assert CURVE.at(low).fmr_upper <= CURVE.at(high).fmr_upper * (1 + 1e-9)


@given(rates)
def test_the_upper_bound_lies_above_the_rate(fmr):
    point = CURVE.at(fmr)
    assert point.fmr_upper >= fmr
    assert 0 <= point.tau <= 4
    assert point.extrapolated == (fmr < 1e-5 * (1 - 1e-9))


@pytest.mark.parametrize(("fmr", "tau"), [(1e-6, 0.9), (1e-8, 0.7), (1e-12, 0.3)])
def test_beyond_the_data_the_tail_is_followed_and_said_so(fmr, tau):
    point = CURVE.at(fmr)
    assert point.tau == pytest.approx(tau)
    assert point.fmr_upper == pytest.approx(2 * fmr)
    assert point.extrapolated


def test_tau_does_not_fall_below_nothing():
    steep = OperatingCurve(ENCODER, "x", POINTS, slope=1.0, pairs=10)
    assert steep.at(1e-12).tau == 0.0


@pytest.mark.parametrize("fmr", [0.0, -1e-4, -2, 0.11, 1, 2, 1e-13, math.nan, math.inf, -math.inf])
def test_rates_that_make_no_sense_are_refused(fmr):
    for ask in (CURVE.at, CURVE.verification):
        with pytest.raises(OperatingPointRefused, match=r"0\.1"):
            ask(fmr)


@pytest.mark.parametrize("fpir", [0.0, 1.0, 2, -2, math.nan, math.inf])
def test_identification_rates_that_make_no_sense_are_refused(fpir):
    with pytest.raises(OperatingPointRefused, match="between 0 and 1"):
        CURVE.identification(fpir, 10)


def test_identification_beyond_every_measure_is_refused():
    with pytest.raises(OperatingPointRefused):
        CURVE.identification(1e-9, 100_000)


# Several templates


def test_each_template_gets_its_share_of_the_rate():
    point = CURVE.verification(1e-3, 10)
    assert point.tau == CURVE.at(1e-4).tau
    assert point.fmr == 1e-3
    assert point.fmr_upper == pytest.approx(10 * 1.4e-4)
    assert not point.extrapolated
    assert CURVE.verification(1e-5, 2).extrapolated


@pytest.mark.parametrize("templates", [0, 1])
def test_one_template_or_none_yet_changes_nothing(templates):
    assert CURVE.verification(1e-3, templates) == CURVE.at(1e-3)


@given(rates, st.integers(1, 50), st.integers(1, 50))
def test_more_templates_never_loosen(fmr, a, b):
    few, many = sorted((a, b))
    if fmr / many < 1e-12:
        return
    assert CURVE.verification(fmr, many).tau <= CURVE.verification(fmr, few).tau
    if fmr < 1e-2 and fmr / many >= 1e-12:
        loose, tight = (CURVE.identification(fmr, n).tau for n in (few, many))
        assert tight <= loose


@pytest.mark.parametrize(("fpir", "templates"), [(0.05, 1), (0.05, 20), (0.02, 100), (0.3, 50)])
def test_identification_holds_its_rate_against_a_simulation(fpir, templates):
    """Strangers whose comparisons are independent, each below tau as often as the curve says.

    The curve is drawn so that d is uniform in [0, 4]: then FMR(tau) = tau / 4.
    """
    tau = np.geomspace(4, 4e-6, 2000)
    points = tuple(Measured(t / 4, t, t / 4, t / 4) for t in tau)
    uniform = OperatingCurve(ENCODER, "uniform", points, slope=1000.0, pairs=10**6)
    threshold = uniform.identification(fpir, templates).tau
    assert threshold == pytest.approx(4 * (1 - (1 - fpir) ** (1 / templates)), rel=0.02)
    chance = np.random.default_rng(7)
    strangers = chance.uniform(0, 4, (40_000, templates)).min(1)
    taken = float((strangers <= threshold).mean())
    assert taken == pytest.approx(fpir, abs=4 * math.sqrt(fpir * (1 - fpir) / 40_000) + 0.01 * fpir)


def test_correlated_templates_stay_below_the_rate():
    """Several templates of one person lie close together: fewer chances for a stranger."""
    tau = np.geomspace(4, 4e-6, 2000)
    points = tuple(Measured(t / 4, t, t / 4, t / 4) for t in tau)
    uniform = OperatingCurve(ENCODER, "uniform", points, slope=1000.0, pairs=10**6)
    threshold = uniform.verification(0.05, 10).tau
    chance = np.random.default_rng(8)
    one = chance.uniform(0, 4, (40_000, 1))
    together = np.clip(one + chance.normal(0, 0.05, (40_000, 10)), 0, 4).min(1)
    assert (together <= threshold).mean() < 0.05
    apart = chance.uniform(0, 4, (40_000, 10)).min(1)
    assert (apart <= threshold).mean() == pytest.approx(0.05, abs=0.005)


def test_an_empty_gallery_has_a_threshold():
    assert CURVE.identification(1e-3, 0).tau == pytest.approx(CURVE.at(1e-3).tau)


def test_identification_by_head():
    assert CURVE.identification(1e-3, 100).tau == pytest.approx(CURVE.at(1.0005e-5).tau, abs=1e-4)
    assert CURVE.identification(1e-3, 1000).extrapolated
    # A rate so loose that the curve does not reach it is decided at the loosest it has.
    assert CURVE.identification(0.9, 1).tau == POINTS[0].tau


# Files of operating points

STORED = {
    "schema": 1,
    "encoder": str(ENCODER),
    "tuned_on": "drawn by hand",
    "points": [{"fmr": p.fmr, "tau": p.tau, "lower": p.lower, "upper": p.upper} for p in POINTS],
    "tail_slope": 10.0,
    "pairs": 10**6,
}


def test_a_file_is_read():
    assert curve_of(json.loads(json.dumps(STORED)), ENCODER, "sface") == CURVE


def test_nothing_measured():
    with pytest.raises(NotCalibrated, match="nobody has measured how often sface"):
        curve_of(None, ENCODER, "sface")


def changed(**fields: object) -> dict[str, object]:
    return copy.deepcopy(STORED) | fields


def point_changed(number: int, **fields: object) -> dict[str, object]:
    stored = copy.deepcopy(STORED)
    stored["points"][number] |= fields
    return stored


def missing(mated: object = None, **fields: object) -> dict[str, object]:
    """Have false non-match rates too, of which the third is no such thing."""
    listed = [
        {"tau": p.tau, "fnmr": n / 10, "lower": n / 20, "upper": n / 5}
        for n, p in enumerate(POINTS, 1)
    ]
    listed[2] |= fields
    return changed(mated=mated or {"pairs": 900, "misses": listed})


def test_what_a_threshold_costs_is_read_between_the_measured_ones():
    curve = curve_of(json.loads(json.dumps(missing())), ENCODER, "sface")
    assert curve.mated == 900
    assert curve.missed(1.40) == Missed(1.40, 0.2, 0.1, 0.4)
    assert curve.missed(1.07).fnmr == pytest.approx(0.45)
    assert curve.missed(1.07).upper == pytest.approx(0.9)
    assert curve.missed(0.99) is None
    assert curve.missed(1.53) is None
    assert CURVE.missed(1.40) is None, "nobody measured it"


@pytest.mark.parametrize(
    "stored",
    [
        {},
        [],
        "points",
        changed(schema=2),
        changed(encoder="cd" * 16),
        changed(encoder=None),
        changed(points=None),
        changed(points=[]),
        changed(points=[1, 2, 3]),
        changed(points=STORED["points"][:1]),
        changed(points=STORED["points"][::-1]),
        changed(points=[{"fmr": 1e-1}, {"fmr": 1e-2}]),
        changed(points=STORED["points"] + STORED["points"][-1:]),
        changed(tail_slope=0),
        changed(tail_slope=-3),
        changed(tail_slope=math.nan),
        changed(tail_slope=math.inf),
        changed(tail_slope="steep"),
        changed(pairs="many"),
        changed(pairs=math.inf),
        changed(tuned_on=None, points=()),
        {k: v for k, v in STORED.items() if k != "tail_slope"},
        {k: v for k, v in STORED.items() if k != "tuned_on"},
        point_changed(2, tau=1.5),
        point_changed(2, tau=math.nan),
        point_changed(0, tau=math.inf),
        point_changed(0, tau=17.0),
        point_changed(4, tau=-0.1),
        point_changed(4, fmr=0.0),
        point_changed(4, fmr=-1e-5),
        point_changed(0, fmr=1.5),
        point_changed(4, upper=0.0),
        point_changed(4, upper=math.nan),
        point_changed(3, upper=1e-5),
        point_changed(3, lower=1e-3),
        point_changed(3, lower=math.nan),
        point_changed(3, fmr="rare"),
        missing(mated=3),
        missing(mated={"pairs": 9}),
        missing(fnmr=1.5),
        missing(fnmr=-0.1),
        missing(lower=math.nan),
        missing(upper=0.0),
        missing(tau=1.6),
        missing(tau="near"),
        missing(fnmr=0.0, lower=0.0),
    ],
)
def test_files_that_cannot_vouch_for_anything(stored):
    with pytest.raises(NotCalibrated, match="sface"):
        curve_of(stored, ENCODER, "sface")


def test_a_whole_curve_answers_for_every_rate_it_says():
    curve = curve_of(STORED, ENCODER, "sface")
    for k in range(1, 13):
        assert curve.at(10.0**-k).fmr_upper > 0
