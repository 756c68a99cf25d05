"""Distance, operating points, decisions.

A threshold never stands alone: the user names an error rate, and tau follows from what was
measured with the encoder on a named set.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import EncoderMismatch, NotCalibrated, OperatingPointRefused
from visavis.values import EncoderId, OperatingPoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.values import Embedding, Template

SCHEMA = 1
"""Of the operating points' JSON."""

_LEAST_FMR = 1e-12


def distance(a: Embedding | Template, b: Embedding | Template) -> float:
    """Squared Euclidean distance in [0, 4]; lower is more alike (FaceNet, eq. 1).

    Raises
    ------
    EncoderMismatch
        When the two come from different encoders.
    """
    if a.encoder != b.encoder:
        raise EncoderMismatch(
            f"encodings of two encoders cannot be compared ({a.encoder[:8]} and {b.encoder[:8]})"
        )
    return squared(a.vector, b.vector)


def squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Squared Euclidean distance of two unit vectors (D,), in [0, 4]."""
    difference = a.astype(np.float64) - b.astype(np.float64)
    return min(4.0, float(difference @ difference))


@dataclass(frozen=True, slots=True)
class Measured:
    """One point of an encoder's false match curve.

    Attributes
    ----------
    fmr, tau
        At ``tau`` the share ``fmr`` of the non-mated pairs is accepted.
    lower, upper
        95 % interval of that share, over people.
    """

    fmr: float
    tau: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Missed:
    """What a threshold costs those who are whom they claim to be.

    Attributes
    ----------
    tau, fnmr
        At ``tau`` the share ``fnmr`` of the mated pairs is rejected.
    lower, upper
        95 % interval of that share, over people.
    """

    tau: float
    fnmr: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class OperatingCurve:
    """What was measured of an encoder: tau for each false match rate.

    Attributes
    ----------
    points
        By falling rate.
    beyond
        Extrapolated points that go on below the last one, with bounds of their own; may be empty.
    slope
        Without them, of the tail below the last point: d(log10 fmr) / d(tau), fitted to the nearest
        pairs.
    pairs
        Number of non-mated comparisons measured.
    misses
        By falling tau; empty where nobody measured them.
    mated
        Number of mated comparisons they were measured on.
    """

    encoder: EncoderId
    tuned_on: str
    points: tuple[Measured, ...]
    slope: float
    pairs: int
    beyond: tuple[Measured, ...] = ()
    misses: tuple[Missed, ...] = ()
    mated: int = 0

    def missed(self, tau: float) -> Missed | None:
        """Give the false non-match rate at tau, read between measured ones; None outside them.

        Photographs of one data set tell of their own quality: at a door with one camera fewer are
        turned away, in an archive more.
        """
        rising = self.misses[::-1]
        if not rising or not rising[0].tau <= tau <= rising[-1].tau:
            return None
        at = [miss.tau for miss in rising]
        fnmr, lower, upper = (
            float(np.interp(tau, at, [getattr(miss, name) for miss in rising]))
            for name in ("fnmr", "lower", "upper")
        )
        return Missed(tau, fnmr, lower, upper)

    def at(self, fmr: float) -> OperatingPoint:
        """Give tau for a false match rate.

        Between measured points tau is interpolated over log(fmr). Below the last one the tail's
        fit is followed, and the point says so.

        Raises
        ------
        OperatingPointRefused
            When ``fmr`` is not between 1e-12 and the largest rate measured.
        """
        first, last = self.points[0], self.points[-1]
        if not (math.isfinite(fmr) and _LEAST_FMR <= fmr <= first.fmr):
            raise OperatingPointRefused(
                f"a false match rate of {fmr:g} cannot be chosen: give one from {first.fmr:g} "
                f"down to {_LEAST_FMR:g} (measured down to {last.fmr:g})"
            )
        if fmr < last.fmr * (1 - 1e-9):
            if self.beyond and fmr >= self.beyond[-1].fmr:
                return self._between((last, *self.beyond), fmr, extrapolated=True)
            tau = max(0.0, last.tau + (math.log10(fmr) - math.log10(last.fmr)) / self.slope)
            # Beyond the data the interval can only be as good as the last one, relatively.
            return OperatingPoint(
                tau, self.encoder, fmr, fmr * last.upper / last.fmr, self.tuned_on, True
            )
        return self._between(self.points, fmr, extrapolated=False)

    def _between(
        self, points: tuple[Measured, ...], fmr: float, *, extrapolated: bool
    ) -> OperatingPoint:
        rising = points[::-1]
        rates, at = [math.log(p.fmr) for p in rising], math.log(fmr)
        tau = float(np.interp(at, rates, [p.tau for p in rising]))
        upper = float(np.interp(at, rates, [math.log(p.upper) for p in rising]))
        return OperatingPoint(tau, self.encoder, fmr, math.exp(upper), self.tuned_on, extrapolated)

    def verification(self, fmr: float, templates: int = 1) -> OperatingPoint:
        """Give tau so that a claim checked against ``templates`` templates is false at ``fmr``.

        The nearest of several templates is nearer to a stranger too: each comparison gets its
        share of the rate (Bonferroni), so that the person's rate stays at most ``fmr``.
        """
        point = self.at(fmr / max(templates, 1))
        return OperatingPoint(
            point.tau,
            point.encoder,
            fmr,
            point.fmr_upper * max(templates, 1),
            point.tuned_on,
            point.extrapolated,
        )

    def identification(self, fpir: float, templates: int) -> OperatingPoint:
        """Give tau so that a stranger is taken for one of the enrolled at ``fpir``.

        A search makes one comparison for each template. If they were independent, the false
        positive identification rate would be 1 - (1 - FMR)^M (ISO/IEC 19795-1, 1:N); they are
        positively correlated, so this is an upper bound of it.
        """
        if not (math.isfinite(fpir) and 0 < fpir < 1):
            raise OperatingPointRefused(
                f"a false positive identification rate of {fpir:g} cannot be chosen: "
                "give one between 0 and 1, such as 1e-3"
            )
        each = -math.expm1(math.log1p(-fpir) / max(templates, 1))
        return self.at(min(each, self.points[0].fmr))


def curve_of(stored: dict[str, Any] | None, encoder: EncoderId, name: str) -> OperatingCurve:
    """Read operating points as ``visavis calibrate`` writes them.

    Raises
    ------
    NotCalibrated
        When there are none, or they belong to another encoder, or are damaged.
    """
    model = name.split(maxsplit=1)[0]
    how = f"measure it on your own photographs: visavis calibrate --images DIR --encoder {model}"
    if stored is None:
        raise NotCalibrated(
            f"nobody has measured how often {name} confuses people, so it cannot decide; {how}"
        )
    # It comes from a JSON file that may hold anything.
    stored = stored if isinstance(stored, dict) else {}
    if stored.get("schema") != SCHEMA or stored.get("encoder") != encoder:
        raise NotCalibrated(f"the operating points beside {name} are not this encoder's; {how}")
    try:
        points, beyond = (
            tuple(
                Measured(float(p["fmr"]), float(p["tau"]), float(p["lower"]), float(p["upper"]))
                for p in listed
            )
            for listed in (stored["points"], stored.get("extrapolated", ()))
        )
        curve = OperatingCurve(
            encoder,
            str(stored["tuned_on"]),
            points,
            float(stored["tail_slope"]),
            int(stored["pairs"]),
            beyond,
            *_misses(stored.get("mated")),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as broken:
        raise NotCalibrated(f"the operating points beside {name} are damaged: {broken}") from broken
    falling = all(a.fmr > b.fmr and a.tau > b.tau for a, b in itertools.pairwise(points + beyond))
    if len(points) < 2 or not falling or not 0 < curve.slope < math.inf:
        raise NotCalibrated(f"the operating points beside {name} do not fall; {how}")
    if not all(_sound(p) for p in points + beyond) or not _rising(curve.misses):
        raise NotCalibrated(f"the operating points beside {name} are no rates of distances; {how}")
    return curve


def _misses(stored: Any) -> tuple[tuple[Missed, ...], int]:  # noqa: ANN401 - any JSON
    if stored is None:
        return (), 0
    listed = stored["misses"]
    names = ("tau", "fnmr", "lower", "upper")
    return tuple(Missed(*(float(m[name]) for name in names)) for m in listed), int(stored["pairs"])


def _rising(misses: tuple[Missed, ...]) -> bool:
    """Tell whether false non-match rates rise as tau falls, and lie where they can."""
    rates = all(0 <= m.lower <= m.fnmr <= m.upper <= 1 and 0 <= m.tau <= 4 for m in misses)
    rising = all(a.tau > b.tau and a.fnmr <= b.fnmr for a, b in itertools.pairwise(misses))
    return rates and rising


def _sound(p: Measured) -> bool:
    """Tell whether a point's rate, interval and threshold lie where they can; never for NaN."""
    return 0 < p.fmr <= 1 and 0 <= p.lower <= p.fmr <= p.upper < math.inf and 0 <= p.tau <= 4
