"""Error rates of comparing, identifying and discarding, each with its definition and source.

Distances are d in [0, 4], lower is more alike, accepted when d <= tau. A comparison that could not
be made (no face found) may stand in with d = inf: it is never accepted and still counted, so that
the rates become ISO/IEC 19795-1's false reject and false accept rates of single attempts. NaN is
refused. Everything is computed in float64: a float32 distance equal to tau stays equal to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.errors import InputRefused

Floats: TypeAlias = NDArray[np.float64]

BINS = 2**16
"""Of a Histogram. A power of two, so that edges are exact in binary floating point."""

WIDTH = 4.0 / BINS
"""Of one bin of a Histogram, 2 ** -14."""

_ROUNDING = 1e-3


def checked(d: ArrayLike, what: str) -> Floats:
    """Give distances as (N,) float64.

    Raises
    ------
    InputRefused
        When there are none, or one is NaN.
    """
    values = np.asarray(d, np.float64)
    if values.ndim != 1 or not len(values):
        raise InputRefused(f"there are no {what}, so nothing can be said of them")
    if np.isnan(values).any():
        raise InputRefused(f"{int(np.isnan(values).sum())} of the {what} are not a number")
    return values


# Rates at a threshold


def fmr(d_nonmated: ArrayLike, tau: float) -> float:
    """Give the false match rate: share of non-mated comparisons with d <= tau (ISO/IEC 19795-1)."""
    return float(np.mean(_accepted(checked(d_nonmated, "non-mated comparisons"), tau)))


def fnmr(d_mated: ArrayLike, tau: float) -> float:
    """Give the false non-match rate: share of mated comparisons with d > tau (ISO/IEC 19795-1)."""
    return float(np.mean(~_accepted(checked(d_mated, "mated comparisons"), tau)))


def _accepted(d: Floats, tau: float) -> NDArray[np.bool_]:
    return (d <= tau) & (d < np.inf)


def tau_at_far(d_nonmated: ArrayLike, far: float) -> float:
    """Give the largest tau (a float64) at which FMR <= ``far``.

    That is the number just below the first non-mated distance that must stay outside; comparisons
    at one and the same distance are accepted together or not at all. It is negative when d = 0
    has to be refused, and 4 when everybody may be accepted.
    """
    d = checked(d_nonmated, "non-mated comparisons")
    allowed = allowed_errors(len(d), far)
    if allowed >= len(d):
        return float(d[d < np.inf].max(initial=4.0))
    return float(np.nextafter(np.partition(d, allowed)[allowed], -np.inf))


def allowed_errors(trials: int, rate: float) -> int:
    """Give the largest k with k / trials <= rate, whatever ``rate * trials`` rounds to."""
    if not rate >= 0:
        raise InputRefused(f"a rate of {rate:g} cannot be chosen: give one from 0 to 1")
    k = min(trials, int(rate * trials) + 1)
    while k and k / trials > rate:
        k -= 1
    return k


def tar_at_far(d_mated: ArrayLike, d_nonmated: ArrayLike, far: float) -> float:
    """Give the true accept rate, 1 - FNMR, at the tau that tau_at_far gives."""
    return 1.0 - fnmr(d_mated, tau_at_far(d_nonmated, far))


# The whole curve


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Every state that a threshold can be in: DET is fnmr over fmr, ROC is 1 - fnmr over fmr.

    Attributes
    ----------
    tau
        (K,) rising. The first is -inf, where nobody is accepted; then each distance that occurs.
    fmr, fnmr
        (K,) rates at each tau; fmr rises from 0, fnmr falls from 1.
    mated, nonmated
        How many comparisons stand behind them.
    """

    tau: Floats
    fmr: Floats
    fnmr: Floats
    mated: int
    nonmated: int

    def at(self, tau: float) -> tuple[float, float]:
        """Give FMR and FNMR at any tau."""
        i = max(0, int(np.searchsorted(self.tau, tau, "right")) - 1)
        return float(self.fmr[i]), float(self.fnmr[i])

    def fnmr_at_fmr(self, rate: float) -> float:
        """Give FNMR at the largest tau with FMR <= ``rate``."""
        return float(self.fnmr[int(np.searchsorted(self.fmr, rate, "right")) - 1])

    def thinned(self, points: int = 500) -> Curve:
        """Keep about ``points`` states that draw the same line on linear and logarithmic axes.

        They lie at even steps along the curve, measured on both kinds of axes, so that the rare
        end of a DET keeps every step while the crowded middle loses most.
        """
        if len(self.tau) <= points:
            return self
        linear = np.abs(np.diff(self.fmr)) + np.abs(np.diff(self.fnmr))
        x = np.log10(np.maximum(self.fmr, 0.5 / self.nonmated))
        y = np.log10(np.maximum(self.fnmr, 0.5 / self.mated))
        way = np.cumsum(linear + np.abs(np.diff(x)) + np.abs(np.diff(y)))
        keep = np.searchsorted(way, np.linspace(0, way[-1], points - 1)) + 1
        keep = np.unique(np.r_[0, np.minimum(keep, len(way)), len(way)])
        return Curve(self.tau[keep], self.fmr[keep], self.fnmr[keep], self.mated, self.nonmated)


def curve(d_mated: ArrayLike, d_nonmated: ArrayLike) -> Curve:
    """Give FMR and FNMR at every distance that occurs, exactly."""
    mated = np.sort(checked(d_mated, "mated comparisons"))
    nonmated = np.sort(checked(d_nonmated, "non-mated comparisons"))
    tau = np.unique(np.concatenate([mated, nonmated]))
    tau = np.asarray(np.r_[-np.inf, tau[np.isfinite(tau)]])
    accepted = np.searchsorted(nonmated, tau, "right")
    refused = len(mated) - np.searchsorted(mated, tau, "right")
    m, n = len(mated), len(nonmated)
    return Curve(tau, np.asarray(accepted / n), np.asarray(refused / m), m, n)


@dataclass(frozen=True, slots=True)
class EqualError:
    """Equal error rate in [0, 1], and the tau next to it at which FMR has reached FNMR."""

    rate: float
    tau: float


def equal_error(line: Curve) -> EqualError:
    """EER: where the DET, its states joined by straight lines, meets FMR = FNMR.

    Interpolating matters: with few comparisons no threshold has both rates equal. Comparisons
    never accepted join as one last state, in which everybody is.
    """
    false, missed = _closed(line)
    i = int(np.argmax(false >= missed))
    before, after = missed[i - 1] - false[i - 1], false[i] - missed[i]
    rate = false[i - 1] + before / (before + after) * (false[i] - false[i - 1])
    return EqualError(float(rate), float(np.r_[line.tau, np.inf][i]))


def auc(line: Curve) -> float:
    """Area under the ROC: chance that a mated pair lies nearer than a non-mated one.

    Ties count half (Mann-Whitney; Hanley & McNeil 1982).
    """
    false, missed = _closed(line)
    return float(np.sum(np.diff(false) * (2 - missed[1:] - missed[:-1])) / 2)


def _closed(line: Curve) -> tuple[Floats, Floats]:
    return np.r_[line.fmr, 1.0], np.r_[line.fnmr, 0.0]


def d_prime(mated: Sample, nonmated: Sample) -> float:
    """Decidability |m1 - m2| / sqrt((s1^2 + s2^2) / 2) (Daugman 2000, population variances).

    It describes the middle of the two distributions and says nothing of their tails, which decide
    at a low FMR. Comparisons never accepted have no distance and are left out.
    """
    (m1, v1), (m2, v2) = _moments(mated), _moments(nonmated)
    spread = float(np.sqrt((v1 + v2) / 2))
    if spread == 0:
        return 0.0 if m1 == m2 else np.inf
    return abs(m1 - m2) / spread


def _moments(sample: Sample) -> tuple[float, float]:
    values, counts = weighted(sample)
    mean = float(np.average(values, weights=counts))
    return mean, float(np.average((values - mean) ** 2, weights=counts))


# Very many comparisons


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Exact counts of distances in bins of 2 ** -14; add two to merge them.

    Bin i counts i * WIDTH < d <= (i + 1) * WIDTH (the first one d = 0 too), so at the upper edge
    of a bin every rate equals the exact one, and elsewhere that of the next edge above.

    Attributes
    ----------
    counts
        (BINS,) int64.
    never
        Comparisons with d = inf.
    """

    counts: NDArray[np.int64]
    never: int = 0

    @classmethod
    def of(cls, d: NDArray[np.floating[Any]]) -> Histogram:
        """Count distances of any shape; what rounding took over 0 or 4 is put back.

        Raises
        ------
        InputRefused
            When one is NaN, or finite and no squared distance of unit vectors.
        """
        flat = d.ravel()
        never = 0
        if flat.size and not flat.max() < np.inf:
            finite = flat < np.inf
            never = int(flat.size - finite.sum() - np.isnan(flat).sum())
            flat = flat[finite | np.isnan(flat)]
        if flat.size and not (flat.min() >= -_ROUNDING and flat.max() <= 4 + _ROUNDING):
            raise InputRefused("distances must lie in [0, 4]; are the encodings unit vectors?")
        bins = np.ceil(flat * (1 / WIDTH)).astype(np.intp) - 1
        np.clip(bins, 0, BINS - 1, out=bins)
        return cls(np.bincount(bins, minlength=BINS).astype(np.int64), never)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts, self.never + other.never)

    @property
    def trials(self) -> int:
        """How many comparisons there are, those never accepted among them; refused when none."""
        total = int(self.counts.sum()) + self.never
        if not total:
            raise InputRefused("there are no comparisons, so nothing can be said of them")
        return total

    def within(self, tau: float) -> float:
        """Share with d <= tau: FMR of non-mated, 1 - FNMR of mated ones.

        Between two edges the next one above counts, so that FMR is never told too low.
        """
        bins = int(np.clip(np.ceil(tau / WIDTH), 1, BINS)) if tau >= 0 else 0
        return int(self.counts[:bins].sum()) / self.trials

    def tau_at_far(self, far: float) -> float:
        """Give the largest edge with a share of at most ``far``; -WIDTH when no edge has one.

        The exact tau lies less than one WIDTH above it.
        """
        allowed = allowed_errors(self.trials, far)
        return float(np.searchsorted(np.cumsum(self.counts), allowed, "right")) * WIDTH or -WIDTH


Sample: TypeAlias = NDArray[np.floating[Any]] | Histogram
"""Distances (N,), or their counts."""


def weighted(sample: Sample) -> tuple[Floats, Floats]:
    """Give the finite distances and how often each occurs; of a Histogram the bins' middles."""
    if isinstance(sample, Histogram):
        filled = np.flatnonzero(sample.counts)
        values = np.asarray((filled + 0.5) * WIDTH, np.float64)
        counts = sample.counts[filled].astype(np.float64)
    else:
        every = checked(sample, "comparisons")
        values = every[np.isfinite(every)]
        counts = np.ones(len(values))
    if not len(values):
        raise InputRefused("there are no comparisons, so nothing can be said of them")
    return values, counts


def histogram_curve(mated: Histogram, nonmated: Histogram) -> Curve:
    """Give FMR and FNMR at every edge below which something was counted."""
    filled = np.flatnonzero(mated.counts + nonmated.counts)
    accepted = np.r_[0, np.cumsum(nonmated.counts)[filled]]
    missed = mated.trials - np.r_[0, np.cumsum(mated.counts)[filled]]
    tau = np.r_[-np.inf, (filled + 1) * WIDTH]
    m, n = mated.trials, nonmated.trials
    return Curve(tau, accepted / n, missed / m, m, n)


# Accuracy over folds


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over folds: mean, its standard error, each fold's accuracy and tau."""

    mean: float
    se: float
    folds: tuple[float, ...]
    taus: tuple[float, ...]


def fold_accuracy(
    d: ArrayLike, same: NDArray[np.bool_], folds: NDArray[np.integer[Any]]
) -> FoldAccuracy:
    """Mean share of right decisions over the folds (LFW View 2; Huang et al. 2007).

    Each fold is decided at the tau that errs least on all the others. The standard error is
    s / sqrt(K) with s the folds' sample standard deviation.
    """
    d = checked(d, "pairs")
    scores, taus = [], []
    for fold in np.unique(folds):
        inside = folds == fold
        if inside.all():
            raise InputRefused("one fold has no others to choose its threshold from")
        taus.append(best_tau(d[~inside], same[~inside]))
        scores.append(float(np.mean((d[inside] <= taus[-1]) == same[inside])))
    se = float(np.std(scores, ddof=1) / np.sqrt(len(scores)))
    return FoldAccuracy(float(np.mean(scores)), se, tuple(scores), tuple(taus))


def best_tau(d: ArrayLike, same: NDArray[np.bool_]) -> float:
    """Give the tau with the fewest wrong decisions: midway between two distances that occur.

    Of several equally good ones the lowest; -inf when refusing everybody errs least.
    """
    values, group = np.unique(checked(d, "pairs"), return_inverse=True)
    gain = np.bincount(group, np.where(same, 1.0, -1.0))[np.isfinite(values)]
    best = int(np.argmax(np.r_[0, np.cumsum(gain)]))
    if not best:
        return -np.inf
    above = values[best] if best < len(values) else values[best - 1]
    return float((values[best - 1] + above) / 2 if np.isfinite(above) else values[best - 1])


# Identification


def ranks(d: NDArray[np.floating[Any]], mate: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Rank of each probe's own person among the G enrolled, (P,) from 1 on.

    Parameters
    ----------
    d
        (P, G) distance of each probe to each person's nearest template.
    mate
        (P,) the column of the probe's own person.

    People at exactly the mate's distance are counted before it. Where that distance is inf (no
    face found) the rank is G + 1: found at no rank.
    """
    own = np.take_along_axis(d, mate[:, None], axis=1)
    rank = np.where(np.isfinite(own[:, 0]), np.sum(d <= own, axis=1), d.shape[1] + 1)
    return np.asarray(rank, np.int64)


def cmc(rank: NDArray[np.integer[Any]], people: int) -> Floats:
    """Cumulative match characteristic: (G,) share of probes whose rank is at most 1 ... G.

    Closed set: everybody looked for is enrolled (ISO/IEC 19795-1); the first is rank-1 accuracy.
    """
    if not len(rank):
        raise InputRefused("there are no mated probes, so nothing can be said of them")
    return np.cumsum(np.bincount(rank, minlength=people + 2)[1 : people + 1]) / len(rank)


def hits(d_nearest: ArrayLike, correct: NDArray[np.bool_]) -> Floats:
    """Give the distance at which each mated probe is identified rightly; inf where it never is.

    With these as mated and the non-mated probes' nearest distances, every function for
    verification answers for open-set identification: FNMR becomes FNIR, FMR becomes FPIR, and
    ``curve`` is the identification DET (ISO/IEC 19795-1).

    Parameters
    ----------
    d_nearest
        (P,) distance of each mated probe to the nearest person enrolled.
    correct
        (P,) whether that nearest person is the probe's own.
    """
    return np.where(correct, checked(d_nearest, "mated probes"), np.inf)


def fnir(d_nearest: ArrayLike, correct: NDArray[np.bool_], tau: float) -> float:
    """Give the false negative identification rate: mated probes not named rightly at tau."""
    return fnmr(hits(d_nearest, correct), tau)


def fpir(d_nearest: ArrayLike, tau: float) -> float:
    """Give the false positive identification rate: strangers with anybody within tau."""
    return float(np.mean(_accepted(checked(d_nearest, "non-mated probes"), tau)))


def fnir_at_fpir(
    d_nearest: ArrayLike, correct: NDArray[np.bool_], d_strangers: ArrayLike, rate: float
) -> float:
    """FNIR at the largest tau with FPIR <= ``rate``."""
    return fnir(d_nearest, correct, tau_at_far(checked(d_strangers, "non-mated probes"), rate))


# Quality


@dataclass(frozen=True, slots=True, eq=False)
class Discard:
    """FNMR of what is left when the worst pairs are discarded; (K,) each, by rising share."""

    share: Floats
    fnmr: Floats


def pair_quality(a: ArrayLike, b: ArrayLike) -> Floats:
    """Quality of a pair: that of the worse one (Grother & Tabassi 2007)."""
    return np.minimum(np.asarray(a, np.float64), np.asarray(b, np.float64))


def error_versus_discard(d_mated: ArrayLike, quality: ArrayLike, tau: float) -> Discard:
    """FNMR at a fixed tau against the share of mated pairs discarded for low quality.

    Grother & Tabassi 2007, "Performance of biometric quality measures". A measure that
    foresees errors falls steeply; one that knows nothing stays level. Pairs of equal quality go
    together. Usually tau is where FNMR is, say, 5 % with nothing discarded.
    """
    missed = ~_accepted(checked(d_mated, "mated comparisons"), tau)
    worth = checked(quality, "qualities")
    if len(worth) != len(missed):
        raise InputRefused(f"{len(worth)} qualities for {len(missed)} mated comparisons")
    order = np.argsort(worth, kind="stable")
    cut = np.flatnonzero(np.r_[True, np.diff(worth[order]) != 0])
    gone = np.r_[0, np.cumsum(missed[order])][cut]
    return Discard(cut / len(worth), (missed.sum() - gone) / (len(worth) - cut))
