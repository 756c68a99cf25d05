"""Thresholds that keep a promise, and distances that mean something.

Four things, in this order: operating points with bounds, measured and beyond what was measured;
the tail they are extrapolated with; the check of the promise on other people; and distances
turned into calibrated log-likelihood ratios.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from visavis.decide import Missed
from visavis.errors import InputRefused, OperatingPointRefused

from .intervals import FEW, LEVEL, Interval, fmr_interval, fnmr_interval
from .metrics import Floats, Histogram, Sample, weighted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .intervals import ByPair, ByPerson, Weights

SCHEMA = 1
"""Of the operating points' JSON, as decide.curve_of reads it."""

RATES = tuple(float(f"{10 ** (-k / 2):.6g}") for k in range(2, 13))
"""False match rates that are measured where the data can: 1e-1, two a decade, to 1e-6."""

LEAST_RATE = 1e-12

LEAST_PAIRS = 30
"""Different pairs of people within tau that a rate needs to count as measured.

The rule of 30 (Doddington et al. 2000; ISO/IEC 19795-1): with 30 errors the true rate is within
30 % of the measured one at 90 % confidence, if they are independent. Photographs of one pair of
people are not, so pairs of people are counted.
"""

TAIL_PAIRS = 500
"""Different pairs of people that the tail is fitted to, the nearest ones."""

TAIL_SHARE = 0.05
"""Of all comparisons: no more of them are called a tail."""


# The tail


@dataclass(frozen=True, slots=True)
class Tail:
    """The nearest end of the non-mated distances, as a generalised Pareto distribution.

    FMR(tau) = rate * (1 + shape * (threshold - tau) / scale) ** (-1 / shape) for tau <= threshold,
    and rate * exp((tau - threshold) / scale) at shape 0 (Pickands 1975; Balkema & de Haan 1974).
    ``shape`` is never below 0: see fit_tail.
    """

    shape: float
    scale: float
    threshold: float
    rate: float

    def fmr(self, tau: float) -> float:
        """Give the false match rate at tau, which is at most ``threshold``."""
        return float(_survival(self.threshold - tau, self.shape, self.scale)) * self.rate

    def tau(self, fmr: float) -> float:
        """Give tau for a false match rate of at most ``rate``; negative where no d has it."""
        steps = math.log(self.rate / fmr)
        if self.shape < _NO_SHAPE:
            return self.threshold - self.scale * steps
        return self.threshold - self.scale / self.shape * math.expm1(self.shape * steps)


_NO_SHAPE = 1e-9


def _survival(y: ArrayLike, shape: ArrayLike, scale: ArrayLike) -> Floats:
    """Share of exceedances larger than y >= 0; element by element."""
    y, shape, scale = np.asarray(y), np.asarray(shape), np.asarray(scale)
    bent = np.maximum(shape, _NO_SHAPE)
    power = np.log1p(bent * y / scale) / bent
    return np.asarray(np.exp(-np.where(shape < _NO_SHAPE, y / scale, power)))


def fit_tail(excess: Floats, weights: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Fit shape and scale, each (R,), to how far below a threshold the nearest distances lie.

    Probability-weighted moments of Hosking & Wallis (1987), in a closed form that a
    thousand repeats can afford. Where they give a shape below 0, the exponential is taken
    instead (shape 0, scale the mean). A shape below 0 says that no two people can be nearer than
    some d; a hundredfold below the data its 95 % worst case let in six times what it promised on
    normal and beta distances, and up to three times between SFace's encodings of other people.

    Parameters
    ----------
    excess
        (N,) threshold - d >= 0.
    weights
        (N, R) how much each counts in each repeat.
    """
    order = np.argsort(excess, kind="stable")
    y, w = excess[order], weights[order].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        w /= w.sum(axis=0)
        above = 1 - (np.cumsum(w, axis=0) - w / 2)
        mean, low = y @ w, np.sum(y[:, None] * above * w, axis=0)
        shape = 2 - mean / (mean - 2 * low)
        scale = 2 * mean * low / (mean - 2 * low)
    light = ~(shape > 0)
    return np.where(light, 0.0, shape), np.where(light, mean, scale)


# Operating points


@dataclass(frozen=True, slots=True)
class Point:
    """A threshold, what was promised for it and how sure that is.

    Attributes
    ----------
    fmr, tau
        The rate wanted, and the largest edge of a Histogram at which no more was measured; beyond
        the data, what the tail's fit gives.
    lower, upper
        95 % interval over people of the rate at tau.
    measured
        The rate at tau; None where it is extrapolated.
    """

    fmr: float
    tau: float
    lower: float
    upper: float
    measured: float | None

    @property
    def extrapolated(self) -> bool:
        """True where no data showed the rate."""
        return self.measured is None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Operating points of an encoder on one set of people.

    Attributes
    ----------
    points, beyond
        Measured ones and extrapolated ones, by falling rate; the second go on below the first.
    tail
        What ``beyond`` was read from, joined to the last measured point.
    pairs, people
        Non-mated comparisons and the people they are between.
    misses
        What each tau costs those who are whom they claim to be, by falling tau.
    mated
        Mated comparisons that this was measured on.
    """

    points: tuple[Point, ...]
    beyond: tuple[Point, ...]
    tail: Tail
    pairs: int
    people: int
    misses: tuple[Missed, ...] = ()
    mated: int = 0

    def at(self, fmr: float) -> Point:
        """Give the point for any rate in reach, interpolated over log(fmr).

        Raises
        ------
        OperatingPointRefused
            When the rate is above all that was measured, or below what any d in [0, 4] can have.
        """
        line = self.points + self.beyond
        if not line[-1].fmr <= fmr <= line[0].fmr:
            raise OperatingPointRefused(
                f"a false match rate of {fmr:g} cannot be chosen: "
                f"give one from {line[0].fmr:g} down to {line[-1].fmr:g}"
            )
        below = next(p for p in line if p.fmr <= fmr * (1 + 1e-9))
        above = line[max(0, line.index(below) - 1)]
        if math.isclose(below.fmr, fmr) or above is below:
            return below
        part = math.log(fmr / below.fmr) / math.log(above.fmr / below.fmr)
        tau = below.tau + part * (above.tau - below.tau)
        upper = below.upper * (above.upper / below.upper) ** part
        # A lower bound may be 0 and has no logarithm then; the lower one of both holds for sure.
        return Point(fmr, tau, below.lower, upper, None if below.extrapolated else fmr)

    def identification(self, fpir: float, templates: int) -> Point:
        """Give the point at which a search among so many templates is false at most at ``fpir``."""
        return self.at(min(rate_of_one(fpir, templates), self.points[0].fmr))

    def as_json(self, encoder: str, encoder_name: str, tuned_on: str) -> dict[str, Any]:
        """Give what decide.curve_of reads; ``tail`` and ``extrapolated`` are additions to it."""
        last, end = self.points[-1], (*self.points, *self.beyond)[-1]
        slope = 1 / (self.tail.scale * math.log(10))
        if self.beyond:
            slope = math.log10(last.fmr / end.fmr) / (last.tau - end.tau)
        return {
            "schema": SCHEMA,
            "encoder": encoder,
            "encoder_name": encoder_name,
            "tuned_on": tuned_on,
            "interval": "95 %, bootstrap over people",
            "pairs": self.pairs,
            "people": self.people,
            "points": [_point_json(point) for point in self.points],
            "tail_slope": slope,
            "tail": {
                "shape": self.tail.shape,
                "scale": self.tail.scale,
                "threshold": self.tail.threshold,
                "rate": self.tail.rate,
            },
            "extrapolated": [_point_json(point) for point in self.beyond],
            **misses_json(self.misses, self.mated),
        }


def misses_json(misses: Sequence[Missed], pairs: int) -> dict[str, Any]:
    """Spell false non-match rates as decide.curve_of reads them; nothing where there are none."""
    if not misses:
        return {}
    return {"mated": {"pairs": pairs, "misses": [asdict(miss) for miss in misses]}}


def _point_json(point: Point) -> dict[str, float | None]:
    return {
        "fmr": point.fmr,
        "tau": point.tau,
        "lower": point.lower,
        "upper": point.upper,
        "measured": point.measured,
    }


def misses_at(taus: Sequence[float], mated: ByPerson, weights: Weights) -> tuple[Missed, ...]:
    """Measure FNMR at each tau, which fall, with 95 % intervals over people."""
    found = [(tau, fnmr_interval(mated, tau, weights)) for tau in taus]
    return tuple(Missed(tau, miss.value, miss.low, miss.high) for tau, miss in found)


def operating_points(
    counts: Histogram,
    nearest: ByPair,
    weights: Weights,
    rates: Sequence[float] = RATES,
    *,
    mated: ByPerson | None = None,
) -> Calibration:
    """Find tau for each rate: measured as far as the data goes, then along the tail to 1e-12.

    Parameters
    ----------
    counts
        All non-mated distances.
    nearest
        The same comparisons, listed as far as the largest rate needs (or all of them).
    weights
        (P, R) from intervals.draws, for the P people.
    rates
        Falling.
    mated
        Distances of photographs of one person: what each tau turns away is measured on them.

    The tail is fitted below the distance within which 500 different pairs of people, or 5 % of
    the comparisons, lie. Its bounds tell what other people would change, not what another shape
    of the tail would: relatives and twins are in no fit.

    Raises
    ------
    InputRefused
        When there are too few people for even two rates, or ``nearest`` ends too early.
    """
    firsts = _first_of_each_pair(nearest)
    points: list[Point] = []
    for rate in rates:
        tau = counts.tau_at_far(rate)
        seen = int(np.searchsorted(firsts, tau, "right"))
        if tau <= 0 or seen < LEAST_PAIRS or (points and tau >= points[-1].tau):
            break
        found = fmr_interval(nearest, tau, weights)
        low, high = min(found.low, rate), max(found.high, rate)
        points.append(Point(rate, tau, low, high, found.value))
    if len(points) < 2:
        raise InputRefused(
            f"too few people to measure false match rates: fewer than {LEAST_PAIRS} pairs of "
            f"people are as near as {rates[1]:g} of all comparisons; add people"
        )
    start = max(
        points[-1].tau,
        min(float(firsts[:TAIL_PAIRS][-1]), counts.tau_at_far(TAIL_SHARE)),
    )
    tail, beyond = _beyond(nearest, points[-1], start, weights)
    taus = [point.tau for point in (*points, *beyond)]
    made = 0 if mated is None else len(mated.d)
    misses = misses_at(taus, mated, weights) if mated is not None and made else ()
    return Calibration(tuple(points), beyond, tail, counts.trials, len(weights), misses, made)


def _first_of_each_pair(nearest: ByPair) -> Floats:
    """Give the nearest distance of each pair of people, sorted."""
    order = np.argsort(nearest.d, kind="stable")
    a, b = nearest.a[order].astype(np.int64), nearest.b[order].astype(np.int64)
    keys = np.minimum(a, b) * (int(max(a.max(initial=0), b.max(initial=0))) + 1) + np.maximum(a, b)
    return np.asarray(np.sort(nearest.d[order][np.unique(keys, return_index=True)[1]]))


def _beyond(
    nearest: ByPair, last: Point, start: float, weights: Weights
) -> tuple[Tail, tuple[Point, ...]]:
    """Fit the tail below ``start``, join it to the last point, and read rates below it."""
    near = nearest.d <= start
    listed = type(nearest)(nearest.d[near], nearest.a[near], nearest.b[near])
    excess, deep = start - listed.d, start - last.tau
    assert last.measured is not None
    shape, scale = (float(x[0]) for x in fit_tail(excess, np.ones((len(excess), 1))))
    tail = Tail(shape, scale + shape * deep, last.tau, last.measured)
    shapes, scales, rates = [], [], []
    for at in range(0, weights.shape[1], 50):
        drawn = weights[:, at : at + 50]
        one, two = fit_tail(excess, listed.weight(drawn))
        shapes.append(one)
        scales.append(two + one * deep)
        rates.append(nearest.sums(nearest.d <= last.tau, drawn) / nearest.trials(drawn))
    bent, wide, rate = (np.concatenate(x) for x in (shapes, scales, rates))
    points = []
    for k in itertools.count(1):
        fmr = float(f"{10 ** (-k / 2):.6g}")
        if fmr >= last.measured * (1 - 1e-9) or fmr >= last.fmr:
            continue
        tau = tail.tau(fmr)
        if fmr < LEAST_RATE * (1 - 1e-6) or tau <= 0:
            break
        values = rate * _survival(last.tau - tau, bent, wide)
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        points.append(Point(fmr, tau, min(float(low), fmr), max(float(high), fmr), None))
    return tail, tuple(points)


def rate_of_one(fpir: float, templates: int) -> float:
    """Give the false match rate of one comparison for a search among so many to have ``fpir``.

    1 - (1 - fpir) ** (1 / templates): the comparisons of one search taken as independent
    (ISO/IEC 19795-1). Some people are near to many (Doddington's lambs), so strangers' false
    matches bunch, and the rate that results is at most ``fpir``.
    """
    if not 0 < fpir < 1:
        raise OperatingPointRefused(
            f"a false positive identification rate of {fpir:g} cannot be chosen: "
            "give one between 0 and 1, such as 1e-3"
        )
    return -math.expm1(math.log1p(-fpir) / max(templates, 1))


# The promise


class Verdict(StrEnum):
    """What other people said about a stated rate."""

    KEPT = "kept"
    """Measured within the stated bounds."""
    SAFER = "safer"
    """Measured below the stated lower bound: fewer false matches than promised."""
    EXCEEDED = "exceeded"
    """Measured above the stated upper bound, though chance may have done it."""
    BROKEN = "broken"
    """The whole interval of what was measured lies above the stated upper bound."""
    UNTESTED = "untested"
    """Too few comparisons to have shown a breach."""


class Stated(Protocol):
    """A point with its bounds: Point here, Measured in decide."""

    @property
    def fmr(self) -> float:
        """The rate promised."""

    @property
    def tau(self) -> float:
        """The threshold it was promised for."""

    @property
    def lower(self) -> float:
        """Lower end of the stated interval."""

    @property
    def upper(self) -> float:
        """Upper end of the stated interval."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One operating point, checked on people who had no part in choosing it.

    Attributes
    ----------
    point
        What was stated.
    measured
        The rate at its tau on the other people, with its own interval.
    comparisons, matches
        How many non-mated comparisons were made, and how many of them were accepted.
    """

    point: Stated
    measured: Interval
    comparisons: int
    matches: int
    verdict: Verdict

    @property
    def within(self) -> bool:
        """True when the measured rate lies within the stated bounds."""
        return self.point.lower <= self.measured.value <= self.point.upper


def promise(points: Sequence[Stated], nonmated: ByPair, weights: Weights) -> tuple[Promise, ...]:
    """Check each point on a disjoint set of people.

    A stated 95 % interval tells where the calibrating people's rate may truly be. Others are a
    sample too, so that even a true promise is measured outside it now and then: with as many
    people on both sides, in about one of six. BROKEN is only said where the others' own interval
    cannot explain it.
    """
    results = []
    for point in points:
        measured = fmr_interval(nonmated, point.tau, weights)
        accepted = nonmated.d <= point.tau
        verdict = _verdict(point, measured, nonmated.groups(accepted))
        made = round(nonmated.size()[0])
        results.append(Promise(point, measured, made, int(accepted.sum()), verdict))
    return tuple(results)


def _verdict(point: Stated, measured: Interval, pairs: int) -> Verdict:
    if measured.low > point.upper:
        return Verdict.BROKEN
    if measured.value > point.upper:
        return Verdict.EXCEEDED
    if pairs < FEW and measured.high > point.upper:
        return Verdict.UNTESTED
    return Verdict.SAFER if measured.value < point.lower else Verdict.KEPT


# Likelihood ratios


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Natural logarithm of p(d | same person) / p(d | different people), as a line over d."""

    slope: float
    offset: float

    def llr(self, d: ArrayLike) -> Floats:
        """Give it for distances of any shape; 0 speaks for neither, falling with d."""
        return self.offset + self.slope * np.asarray(d, np.float64)


def fit_likelihood(mated: Sample, nonmated: Sample, prior: float = 0.5) -> Likelihood:
    """Fit the line by logistic regression at a prior that the data's own numbers do not touch.

    Minimises prior * mean(log(1 + exp(-z))) over mated plus (1 - prior) * mean(log(1 + exp(z)))
    over non-mated, z = llr + logit(prior) (Brümmer & du Preez 2006, "Application-independent
    evaluation of speaker detection"), by Newton's method.
    The targets are Platt's (1999), (n + 1) / (n + 2) instead of 1: sets that are cleanly apart
    get a finite slope, and thousands of pairs feel no difference.

    Raises
    ------
    InputRefused
        When mated pairs are not the nearer ones.
    """
    (x1, n1), (x0, n0) = weighted(mated), weighted(nonmated)
    x = np.concatenate([x1, x0])
    middle, spread = float(x.mean()), float(x.std()) or 1.0
    design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    sizes = n1.sum(), n0.sum()
    target = np.repeat([(sizes[0] + 1) / (sizes[0] + 2), 1 / (sizes[1] + 2)], [len(x1), len(x0)])
    weight = np.concatenate([n1 * prior / sizes[0], n0 * (1 - prior) / sizes[1]])
    logit = math.log(prior / (1 - prior))

    def loss(at: Floats) -> float:
        z = design @ at + logit
        return float(weight @ (np.logaddexp(0, z) - target * z))

    line = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-(design @ line + logit)))
        gradient = design.T @ (weight * (p - target))
        curvature = design.T @ ((weight * p * (1 - p))[:, None] * design)
        step = np.linalg.solve(curvature + 1e-15 * np.eye(2), gradient)
        while loss(line - step) > loss(line) and np.abs(step).max() > 1e-12:
            step /= 2
        line = line - step
        if np.abs(step).max() < 1e-10:
            break
    slope = float(line[1]) / spread
    if slope >= 0:
        raise InputRefused("mated pairs are no nearer than non-mated ones; are the labels right?")
    return Likelihood(slope, float(line[0]) - slope * middle)


@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """The falling steps that fit best: up to d = end[i] the llr is steps[i]; (K,) each.

    The first may be inf and the last -inf, where only one kind of pair occurs.
    """

    end: Floats
    steps: Floats

    def llr(self, d: ArrayLike) -> Floats:
        """Give it for distances of any shape; between two steps the lower, beyond all the last."""
        at = np.searchsorted(self.end, np.asarray(d, np.float64), "left")
        return np.asarray(self.steps[np.minimum(at, len(self.steps) - 1)])


def fit_isotonic(mated: Sample, nonmated: Sample) -> Isotonic:
    """Pool adjacent violators (Ayer et al. 1955), read as likelihood ratios.

    Each step's ratio is its share of the mated over its share of the non-mated pairs, so the
    prior of the data drops out (Brümmer & du Preez 2006).
    """
    (x1, n1), (x0, n0) = weighted(mated), weighted(nonmated)
    d, group = np.unique(np.concatenate([x1, x0]), return_inverse=True)
    m = np.bincount(group[: len(x1)], n1, len(d))
    n = np.bincount(group[len(x1) :], n0, len(d))
    # Neighbours that hold one kind only are one step already.
    kind = np.where(n == 0, 1, np.where(m == 0, -1, 0))
    start = np.flatnonzero(np.r_[True, (np.diff(kind) != 0) | (kind[1:] == 0)])
    ends = np.r_[start[1:], len(d)] - 1
    blocks: list[tuple[float, float, float]] = []
    same, other = np.add.reduceat(m, start), np.add.reduceat(n, start)
    for block in zip(d[ends].tolist(), same.tolist(), other.tolist(), strict=True):
        last, pooled_m, pooled_n = block
        while blocks and blocks[-1][1] * pooled_n <= pooled_m * blocks[-1][2]:
            _, before_m, before_n = blocks.pop()
            pooled_m, pooled_n = pooled_m + before_m, pooled_n + before_n
        blocks.append((last, pooled_m, pooled_n))
    end, same, other = np.array(blocks).T
    with np.errstate(divide="ignore"):
        steps = np.log(same / n1.sum()) - np.log(other / n0.sum())
    return Isotonic(end, steps)


def cllr(llr: Callable[[Floats], Floats], mated: Sample, nonmated: Sample) -> float:
    """Give the cost of log-likelihood ratios in bits (Brümmer & du Preez 2006).

    0 is perfect, 1 is what llr = 0 for every pair costs; a single confident error costs much.
    """
    (x1, n1), (x0, n0) = weighted(mated), weighted(nonmated)
    missed = np.average(np.logaddexp(0, -llr(x1)), weights=n1)
    false = np.average(np.logaddexp(0, llr(x0)), weights=n0)
    return float(missed + false) / (2 * math.log(2))


def min_cllr(mated: Sample, nonmated: Sample) -> float:
    """Give the least cost of any falling function of d; the rest of cllr is miscalibration."""
    return cllr(fit_isotonic(mated, nonmated).llr, mated, nonmated)


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What was said against what was so, at equal priors; (K,) each, empty bins left out.

    Attributes
    ----------
    low, high
        Edges of the bin of stated probability that a pair is mated.
    stated, observed
        Mean stated probability, and the share that was mated, both kinds counting alike as a whole.
    mated, nonmated
        Pairs in the bin.
    """

    low: Floats
    high: Floats
    stated: Floats
    observed: Floats
    mated: Floats
    nonmated: Floats


def reliability(
    llr: Callable[[Floats], Floats], mated: Sample, nonmated: Sample, bins: int = 10
) -> Reliability:
    """Compare stated probabilities with shares, in equal bins over [0, 1]."""
    totals = []
    for values, counts in (weighted(mated), weighted(nonmated)):
        p = 1 / (1 + np.exp(-np.clip(llr(values), -700, 700)))
        at = np.minimum((p * bins).astype(np.intp), bins - 1)
        totals.append((np.bincount(at, counts, bins), np.bincount(at, counts * p, bins)))
    (m, said_m), (n, said_n) = totals
    share_m, share_n = m / m.sum(), n / n.sum()
    filled = np.flatnonzero(m + n)
    both = (share_m + share_n)[filled]
    stated = (said_m / m.sum() + said_n / n.sum())[filled] / both
    return Reliability(
        np.asarray(filled / bins),
        np.asarray((filled + 1) / bins),
        stated,
        share_m[filled] / both,
        np.asarray(m[filled], np.float64),
        np.asarray(n[filled], np.float64),
    )
