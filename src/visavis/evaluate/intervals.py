"""How sure a measured rate is: 95 % intervals, by bootstrap over people.

Comparisons that share a person are not independent: a binomial interval over comparisons is far
too narrow. So people, not comparisons, are drawn with replacement (the subsets bootstrap of Bolle,
Ratha & Pankanti 2004, "Error analysis of pattern recognition systems"). What belongs to one person
(a mated pair, a probe) weighs as often as the person was drawn; a comparison of two people weighs
the product of both (Owen 2007, "The pigeonhole bootstrap", whose theorem says that this errs to
the side of too wide an interval, mildly).

Fewer than ten people or pairs of people with an error are too few for a bootstrap, which for none
at all would say [0, 0]. Then the interval is widened to that of Clopper & Pearson (1934) for as
many independent trials as the comparisons are worth (Kish 1965: sum squared over sum of squares).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visavis.errors import InputRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metrics import Floats

LEVEL = 0.95
"""Of every interval here, two-sided."""

FEW = 10
"""Erring people, or pairs of people, below which the bootstrap is not trusted alone."""

Ints: TypeAlias = NDArray[np.integer[Any]]
Weights: TypeAlias = NDArray[np.float32]
"""(P, R): how often each of P people was drawn in each of R repeats."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Give what stands in reports."""
        return {"value": self.value, "low": self.low, "high": self.high}


# Independent trials


def wilson(errors: float, trials: float, level: float = LEVEL) -> Interval:
    """Give the interval of a binomial share (Wilson 1927), which covers 95 % on average."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = _share(errors, trials)
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    half /= 1 + z * z / trials
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Interval(share, low if errors else 0.0, high if errors < trials else 1.0)


def clopper_pearson(errors: float, trials: float, level: float = LEVEL) -> Interval:
    """Give an interval that never covers less often than it says (Clopper & Pearson 1934).

    Numbers need not be whole, so that effective numbers of trials can be put in.
    """
    share, tail = _share(errors, trials), (1 - level) / 2
    low = _beta_quantile(tail, errors, trials - errors + 1) if errors > 0 else 0.0
    high = _beta_quantile(1 - tail, errors + 1, trials - errors) if errors < trials else 1.0
    return Interval(share, low, high)


def rule_of_three(trials: float, level: float = LEVEL) -> float:
    """Bound from above, one-sided, a rate of which no error was seen: about 3 / trials.

    Exactly 1 - (1 - level) ** (1 / trials) (the rule of 3 of ISO/IEC 19795-1), for
    independent trials.
    """
    _share(0, trials)
    return -math.expm1(math.log1p(-level) / trials)


def _share(errors: float, trials: float) -> float:
    if not (trials > 0 and 0 <= errors <= trials):
        raise InputRefused(f"{errors:g} errors in {trials:g} trials is no share")
    return errors / trials


def _beta_quantile(share: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if not low < middle < high:  # a quantile below the smallest number there is
            break
        low, high = (middle, high) if _beta_cdf(middle, a, b) < share else (low, middle)
    return (low + high) / 2


def _beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function, by Lentz's continued fraction (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_cdf(1 - x, b, a)
    if x <= 0:
        return 0.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    value, c, d = 1.0, 1.0, 0.0
    for i in range(100_000):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + i - 1) * (a + i))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + i - 1) * (a + i))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        value *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return math.exp(front) * (value - 1) / a


# Whose comparisons they are


def draws(people: int, repeats: int = 1000, seed: int = 0) -> Weights:
    """Draw as many people as there are, with replacement, ``repeats`` times."""
    if people < 2:
        raise InputRefused("an interval over people needs at least two of them")
    picks = np.random.default_rng(seed).integers(0, people, (repeats, people))
    picks += people * np.arange(repeats)[:, None]
    counts = np.bincount(picks.ravel(), minlength=people * repeats)
    return np.ascontiguousarray(counts.reshape(repeats, people).T, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ByPerson:
    """What belongs to one person each: mated comparisons, probes, presentations.

    Attributes
    ----------
    d
        (N,) distances.
    person
        (N,) whose, as row of the weights.
    """

    d: Floats
    person: Ints

    ceiling = np.inf

    def weight(self, weights: Weights) -> Weights:
        """Give how much each counts in each repeat, (N, R)."""
        return weights[self.person]

    def sums(self, chosen: NDArray[np.bool_], weights: Weights) -> Floats:
        """Add the weights of those chosen, (R,)."""
        counts = np.bincount(self.person[chosen], minlength=len(weights))
        return np.asarray(counts.astype(np.float64) @ weights)

    def trials(self, weights: Weights) -> Floats:
        """Add the weights of all, (R,)."""
        return self.sums(np.ones(len(self.d), np.bool_), weights)

    def size(self) -> tuple[float, float]:
        """Give how many there are, and how many independent ones they are worth at least."""
        return _kish(np.bincount(self.person).astype(np.float64))

    def groups(self, chosen: NDArray[np.bool_]) -> int:
        """Count the people among those chosen."""
        return len(np.unique(self.person[chosen]))


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """Everybody's photographs compared with everybody else's: how many, without listing them.

    Attributes
    ----------
    photographs
        (P,) how many each person has.
    without
        (E, 2) pairs of people that were left out, each once.
    """

    photographs: Ints
    without: Ints

    def sums(self, weights: NDArray[np.floating[Any]], power: int = 1) -> Floats:
        """Add weight_a * weight_b * (n_a * n_b) ** power over all pairs of people, (R,)."""
        n = self.photographs.astype(np.float64) ** power
        once, twice = n @ weights, n**2 @ (weights * weights)
        a, b = self.without.reshape(-1, 2).T
        return np.asarray((once**2 - twice) / 2 - (n[a] * n[b]) @ (weights[a] * weights[b]))


@dataclass(frozen=True, slots=True, eq=False)
class ByPair:
    """Comparisons of two different people.

    Attributes
    ----------
    d
        (N,) distances.
    a, b
        (N,) the two people, as rows of the weights.
    design
        None when every comparison is listed. Else which comparisons were made, while those listed
        are all that have d <= ceiling: false matches are rare, and 87 million need no list.
    ceiling
        See design.
    """

    d: Floats
    a: Ints
    b: Ints
    design: Crossed | None = None
    ceiling: float = np.inf

    def weight(self, weights: Weights) -> Weights:
        """Give how much each counts in each repeat, (N, R)."""
        return weights[self.a] * weights[self.b]

    def sums(self, chosen: NDArray[np.bool_], weights: Weights) -> Floats:
        """Add the weights of those chosen, (R,)."""
        return pair_sums(*self._pairs(chosen), weights)

    def trials(self, weights: Weights) -> Floats:
        """Add the weights of all comparisons made, listed or not, (R,)."""
        if self.design is None:
            return self.sums(np.ones(len(self.d), np.bool_), weights)
        return self.design.sums(weights.astype(np.float64))

    def size(self) -> tuple[float, float]:
        """Give how many were made, and how many independent ones they are worth at least."""
        if self.design is None:
            return _kish(self._pairs(np.ones(len(self.d), np.bool_))[2].astype(np.float64))
        ones = np.ones((len(self.design.photographs), 1))
        total, square = (float(self.design.sums(ones, power)[0]) for power in (1, 2))
        return _made(total), total**2 / square

    def groups(self, chosen: NDArray[np.bool_]) -> int:
        """Count the pairs of people among those chosen."""
        return len(self._pairs(chosen)[0])

    def _pairs(self, chosen: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
        a, b = self.a[chosen].astype(np.int64), self.b[chosen].astype(np.int64)
        base = int(max(a.max(initial=0), b.max(initial=0))) + 1
        keys, counts = np.unique(np.minimum(a, b) * base + np.maximum(a, b), return_counts=True)
        return keys // base, keys % base, counts


Grouped: TypeAlias = ByPerson | ByPair


def _kish(counts: Floats) -> tuple[float, float]:
    total = _made(float(counts.sum()))
    return total, total**2 / float((counts**2).sum())


def _made(comparisons: float) -> float:
    if comparisons <= 0:
        raise InputRefused("there are no comparisons, so nothing can be said of them")
    return comparisons


def pair_sums(a: Ints, b: Ints, counts: Ints, weights: Weights) -> Floats:
    """Add counts * weight_a * weight_b over pairs of people, (R,); each pair once, sorted by a.

    Rare pairs are gathered; where pairs are many, a matrix product over blocks of people is
    faster. Neither holds more than a few megabytes for each repeat.
    """
    people, repeats = weights.shape
    total = np.zeros(repeats)
    if len(a) * 60 < people * people:
        for start in range(0, len(a), 4096):
            part = slice(start, start + 4096)
            product = weights[a[part]] * weights[b[part]]
            total += counts[part].astype(np.float32) @ product
        return total
    for start in range(0, people, 256):
        rows = weights[start : start + 256]
        first, last = np.searchsorted(a, [start, start + len(rows)])
        block = np.zeros((len(rows), people), np.float32)
        block[a[first:last] - start, b[first:last]] = counts[first:last]
        total += np.sum(rows * (block @ weights), axis=0, dtype=np.float64)
    return total


# Rates of dependent comparisons


def share_interval(grouped: Grouped, chosen: NDArray[np.bool_], weights: Weights) -> Interval:
    """Give the share of comparisons chosen, and its interval over people."""

    def share(drawn: Weights) -> Floats:
        trials = grouped.trials(drawn)
        with np.errstate(invalid="ignore"):
            return grouped.sums(chosen, drawn) / trials

    worth = grouped.size()[1]
    interval = _bootstrap(share, weights, rows=1)
    return _widened(interval, min(grouped.groups(chosen), grouped.groups(~chosen)), worth)


def fmr_interval(nonmated: Grouped, tau: float, weights: Weights) -> Interval:
    """Give FMR at tau (FPIR, when grouped by probes) and its interval."""
    _reaches(nonmated, tau)
    return share_interval(nonmated, (nonmated.d <= tau) & (nonmated.d < np.inf), weights)


def fnmr_interval(mated: ByPerson, tau: float, weights: Weights) -> Interval:
    """Give FNMR at tau (FNIR, see metrics.hits) and its interval."""
    return share_interval(mated, (mated.d > tau) | (mated.d == np.inf), weights)


def tar_at_far_interval(
    mated: ByPerson, nonmated: Grouped, far: float, weights: Weights
) -> Interval:
    """Give TAR at FAR and its interval: in each repeat tau is chosen anew, then TAR measured.

    So it tells what both kinds of comparison leave open, not only the mated ones. One minus it
    is FNIR at FPIR, for probes grouped by person (metrics.hits).

    Raises
    ------
    InputRefused
        When the listed comparisons end (ByPair.ceiling) before a repeat has found its tau.
    """
    worth, _ = mated.size()[1], nonmated.size()
    order = np.argsort(nonmated.d, kind="stable")
    d, near = np.r_[nonmated.d[order], np.inf], np.argsort(mated.d, kind="stable")

    def first_outside(drawn: Weights) -> NDArray[np.intp]:
        accepted = np.cumsum(nonmated.weight(drawn)[order], axis=0, dtype=np.float64)
        outside = accepted > far * nonmated.trials(drawn) * (1 + 1e-12)
        enough = outside.any(axis=0)
        if not enough.all():
            _reaches(nonmated, np.inf)
        return np.where(enough, outside.argmax(axis=0), len(order))

    def tar(drawn: Weights) -> Floats:
        taken = np.searchsorted(mated.d[near], d[first_outside(drawn)], "left")
        below = _cumulative(mated.weight(drawn)[near])
        with np.errstate(invalid="ignore"):
            return np.asarray(below[taken, np.arange(len(taken))] / below[-1])

    interval = _bootstrap(tar, weights, rows=len(d) + len(near))
    accepted = mated.d < d[first_outside(_everybody_once(weights))]
    erring = min(mated.groups(accepted), mated.groups(~accepted))
    return _widened(interval, erring, worth)


def equal_error_interval(mated: ByPerson, nonmated: Grouped, weights: Weights) -> Interval:
    """Give the equal error rate and its interval; see metrics.equal_error."""
    worth = mated.size()[1], nonmated.size()[1]
    tau = _states(mated, nonmated)

    def rate(drawn: Weights) -> Floats:
        false, missed = _curves(mated, nonmated, tau, drawn)
        crossed = false >= missed
        if not crossed.any(axis=0).all():
            _reaches(nonmated, np.inf)
        i, at = np.maximum(crossed.argmax(axis=0), 1), np.arange(drawn.shape[1])
        before, after = (missed - false)[i - 1, at], (false - missed)[i, at]
        with np.errstate(invalid="ignore"):
            step = before / (before + after)
        return np.asarray(false[i - 1, at] + step * (false[i, at] - false[i - 1, at]))

    interval = _bootstrap(rate, weights, rows=2 * len(tau))
    false, missed = _curves(mated, nonmated, tau, _everybody_once(weights))
    at = tau[int((false >= missed)[:, 0].argmax())]
    interval = _widened(interval, mated.groups(mated.d > at), worth[0])
    return _widened(interval, nonmated.groups(nonmated.d <= at), worth[1])


def auc_interval(mated: ByPerson, nonmated: Grouped, weights: Weights) -> Interval:
    """Give the area under the ROC and its interval; see metrics.auc."""
    _reaches(nonmated, np.inf)
    worth = min(mated.size()[1], nonmated.size()[1])
    tau = _states(mated, nonmated)

    def area(drawn: Weights) -> Floats:
        false, missed = _curves(mated, nonmated, tau, drawn)
        return np.asarray(np.sum(np.diff(false, axis=0) * (2 - missed[1:] - missed[:-1]), 0) / 2)

    interval = _bootstrap(area, weights, rows=2 * len(tau))
    return _widened(interval, 0 if interval.value in {0.0, 1.0} else FEW, worth)


def accuracy_interval(
    d: Floats, same: NDArray[np.bool_], folds: Ints, people: Ints, weights: Weights
) -> Interval:
    """Give the accuracy over folds and its interval; each repeat chooses its thresholds anew.

    Parameters
    ----------
    d, same, folds
        (N,) as metrics.fold_accuracy takes them.
    people
        (N, 2) the two people of each pair, as rows of the weights; twice the same when mated.
    weights
        From draws.
    """
    values, group = np.unique(d, return_inverse=True)
    finite = values[np.isfinite(values)]
    between = np.r_[-np.inf, (finite[1:] + finite[:-1]) / 2, finite[-1:]]
    order, sign = np.argsort(group, kind="stable"), np.where(same, 1.0, -1.0)[:, None]
    last = np.flatnonzero(np.r_[np.diff(group[order]) != 0, True])[: len(finite)]

    def accuracy(drawn: Weights) -> Floats:
        each = drawn[people[:, 0]] * np.where(same[:, None], 1, drawn[people[:, 1]])
        scores = []
        for fold in np.unique(folds):
            inside = folds == fold
            gain = np.cumsum((each * sign * ~inside[:, None])[order], axis=0)[last]
            tau = between[np.concatenate([np.zeros_like(gain[:1]), gain]).argmax(axis=0)]
            right = (d[inside, None] <= tau) == same[inside, None]
            with np.errstate(invalid="ignore"):
                scores.append((each[inside] * right).sum(0) / each[inside].sum(0))
        return np.asarray(np.mean(scores, axis=0))

    interval = _bootstrap(accuracy, weights, rows=2 * len(d))
    wrong = round((1 - interval.value) * len(d))
    return _widened(interval, wrong, len(d))


# How a repeat is made


def _bootstrap(statistic: Callable[[Weights], Floats], weights: Weights, rows: int) -> Interval:
    """Take the statistic of everybody drawn once, and the percentiles of all the repeats."""
    value = float(statistic(_everybody_once(weights))[0])
    step = max(1, _AT_ONCE // rows)
    parts = [
        statistic(np.ascontiguousarray(weights[:, start : start + step]))
        for start in range(0, weights.shape[1], step)
    ]
    repeats = np.concatenate(parts)
    repeats = repeats[np.isfinite(repeats)]
    if not len(repeats):
        return Interval(value, 0.0, 1.0)
    low, high = np.quantile(repeats, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


_AT_ONCE = 4_000_000
"""Numbers held at once in one array of a bootstrap: 32 MB."""


def _widened(interval: Interval, erring: int, worth: float) -> Interval:
    """Where too few err for a bootstrap, reach as far as independent trials would."""
    if erring >= FEW:
        return interval
    few = clopper_pearson(min(interval.value * worth, worth), worth)
    return Interval(interval.value, min(interval.low, few.low), max(interval.high, few.high))


def _everybody_once(weights: Weights) -> Weights:
    return np.ones((len(weights), 1), np.float32)


def _reaches(grouped: Grouped, tau: float) -> None:
    if tau > grouped.ceiling:
        raise InputRefused(
            f"only comparisons with d <= {grouped.ceiling:g} are listed, and this needs more"
        )


def _states(mated: ByPerson, nonmated: Grouped) -> Floats:
    """Give the thresholds of a curve: -inf, then every distance up to the ceiling, then inf."""
    tau = np.unique(np.concatenate([mated.d, nonmated.d]))
    tau = tau[np.isfinite(tau) & (tau <= nonmated.ceiling)]
    return np.asarray(
        np.r_[-np.inf, tau, np.inf] if np.isinf(nonmated.ceiling) else np.r_[-np.inf, tau]
    )


def _curves(
    mated: ByPerson, nonmated: Grouped, tau: Floats, drawn: Weights
) -> tuple[Floats, Floats]:
    """FMR and FNMR at each tau in each repeat, (T, R)."""
    rates = []
    for side in (nonmated, mated):
        order = np.argsort(side.d, kind="stable")
        below = _cumulative(side.weight(drawn)[order])
        with np.errstate(invalid="ignore"):
            rates.append(below[np.searchsorted(side.d[order], tau, "right")] / side.trials(drawn))
    return rates[0], 1 - rates[1]


def _cumulative(weights: NDArray[np.floating[Any]]) -> Floats:
    """Add up from the top, beginning with nothing: (N + 1, R)."""
    return np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(weights, 0, np.float64)])
