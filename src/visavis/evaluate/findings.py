"""Findings as data: what reports are made of besides the protocols' results, JSON and CSV.

Every JSON object has ``schema``; numbers that do not exist (an infinite threshold, d' of a list
that was cut short) are null, never NaN.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from visavis.evaluate import metrics
from visavis.evaluate.calibration import Verdict, cllr, min_cllr, reliability
from visavis.evaluate.identification import OpenSet
from visavis.evaluate.protocols import Verification

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from visavis.evaluate.calibration import Likelihood, Promise, Reliability
    from visavis.evaluate.degrade import Step
    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.presentation import AtThreshold, Presentations, Separation
    from visavis.evaluate.protocols import AtPoint, Comparisons, Setting

SCHEMA = 1
"""Of every JSON object here; raised when a field changes its meaning or goes."""

_TAR_ALWAYS = ("1e-2", "1e-3")
"""Stand in the JSON even where there were too few comparisons to tell; null then."""


@dataclass(frozen=True, slots=True, eq=False)
class Liveness:
    """What there is to say of a liveness network after showing it live faces and attacks.

    Attributes
    ----------
    live, attacks
        Scores; attacks by species.
    separation
        By species, and ``all``, as presentation.separation gives it.
    points
        Errors at thresholds; the first is the one that decisions are made at.
    failed
        Photograph to why it gave no score.
    """

    setting: Setting
    live: Presentations
    attacks: Mapping[str, Presentations]
    separation: Mapping[str, Separation]
    points: tuple[AtThreshold, ...]
    failed: Mapping[str, str]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Operating points, held against people who had no part in choosing them.

    ``setting.data`` names the people they were checked on, ``tuned_on`` those they come from.
    """

    setting: Setting
    tuned_on: str
    promises: tuple[Promise, ...]
    failed: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    @property
    def outside(self) -> tuple[Promise, ...]:
        """Those measured above the bound they came with."""
        bad = {Verdict.BROKEN, Verdict.EXCEEDED}
        return tuple(p for p in self.promises if p.verdict in bad)


Result: TypeAlias = Verification | OpenSet | Liveness | Checked


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """How well an encoder's log-likelihood ratios mean what they say.

    ``cllr`` is their cost in bits, ``least`` that of the best falling function of the same
    distances; the difference is bad calibration.
    """

    encoder: str
    tuned_on: str
    reliability: Reliability
    cllr: float
    least: float

    @classmethod
    def of(cls, result: Verification, likelihood: Likelihood, tuned_on: str) -> Calibrated:
        """Hold a likelihood against the comparisons of a result, best of other people."""
        done = result.comparisons
        mated, nonmated = done.mated.d, nonmated_sample(done)
        return cls(
            result.setting.encoder,
            tuned_on,
            reliability(likelihood.llr, mated, nonmated),
            cllr(likelihood.llr, mated, nonmated),
            min_cllr(mated, nonmated),
        )


@dataclass(frozen=True, slots=True)
class Degraded:
    """One row of the robustness table; ``step`` is None for the photographs as they are."""

    encoder: str
    step: Step | None
    photographs: int
    failed: int
    accuracy: metrics.FoldAccuracy | None
    tar: Mapping[str, Interval]

    @classmethod
    def of(cls, result: Verification, step: Step | None = None) -> Degraded:
        """Keep of a result what the table needs, so that the rest can be forgotten."""
        done = result.comparisons
        return cls(
            result.setting.encoder,
            step,
            len(done.names),
            len(done.failed),
            result.accuracy,
            result.tar,
        )


def verdict(measured: Interval, upper: float) -> Verdict:
    """Judge a measured rate by the bound promised for it.

    UNTESTED when no error, or hardly one, was seen among comparisons too few to have shown a
    breach; EXCEEDED when the rate lies above the bound and its interval does not wholly.
    """
    if measured.low > upper:
        return Verdict.BROKEN
    if measured.value > upper:
        return Verdict.EXCEEDED
    return Verdict.UNTESTED if measured.low <= 0 and measured.high > upper else Verdict.KEPT


def nonmated_sample(done: Comparisons) -> metrics.Sample:
    """Give all non-mated distances: the list where it is whole, else counts from the curve."""
    if math.isinf(done.nonmated.ceiling):
        return done.nonmated.d
    line = done.curve
    counts = np.zeros(metrics.BINS, np.int64)
    bins = np.rint(line.tau[1:] / metrics.WIDTH).astype(np.intp) - 1
    counts[bins] = np.rint(np.diff(line.fmr) * line.nonmated)
    return metrics.Histogram(counts, line.nonmated - int(counts.sum()))


# JSON


def result_json(result: Result) -> dict[str, Any]:
    """Give the JSON of any result."""
    if isinstance(result, Verification):
        return verification_json(result)
    if isinstance(result, OpenSet):
        return identification_json(result)
    return liveness_json(result) if isinstance(result, Liveness) else checked_json(result)


def verification_json(result: Verification) -> dict[str, Any]:
    """Give what ``evaluate verification --json`` prints.

    ``pairs`` counts comparisons, ``failed_to_acquire`` photographs. ``tar`` has 1e-2 and 1e-3
    always: without an interval where all-against-all lists too few comparisons for one, null
    where there were too few to tell.
    """
    done, accuracy = result.comparisons, result.accuracy
    wanted: dict[str, Interval | None] = dict.fromkeys(_TAR_ALWAYS) | result.tar
    return {
        "schema": SCHEMA,
        "pairs": done.curve.mated + done.curve.nonmated,
        "failed_to_acquire": len(done.failed),
        "accuracy": accuracy
        and {"mean": accuracy.mean, "se": _number(accuracy.se), "folds": list(accuracy.folds)},
        "eer": _number(result.eer),
        "tar": {far: _interval(found) or _bare(done, far) for far, found in wanted.items()},
        "auc": _number(result.auc),
        "d_prime": _number(result.d_prime),
        "mated": done.curve.mated,
        "nonmated": done.curve.nonmated,
        "photographs": len(done.names),
        "people": done.people,
        "points": [_point_json(point) for point in result.points],
        "worst_false_matches": _worst_json(result.worst_false_matches),
        "worst_false_non_matches": _worst_json(result.worst_false_non_matches),
        **_common(result.setting, done.failed, done.remarks),
    }


def _point_json(point: AtPoint) -> dict[str, Any]:
    return {
        "fmr": point.fmr,
        "tau": _number(point.tau),
        "promised_upper": point.promised_upper,
        "measured_fmr": _interval(point.measured_fmr),
        "measured_fnmr": _interval(point.measured_fnmr),
        "extrapolated": point.extrapolated,
        "kept": bool(point.kept),
        "verdict": str(verdict(point.measured_fmr, point.promised_upper)),
    }


def _worst_json(worst: Iterable[tuple[float, str, str]]) -> list[dict[str, Any]]:
    return [{"distance": d, "a": printable(a), "b": printable(b)} for d, a, b in worst]


def identification_json(result: OpenSet) -> dict[str, Any]:
    """Give what ``evaluate identification --json`` prints; ``cmc`` is that of ranks 1 to 100."""
    whole = result.sizes[-1]
    return {
        "schema": SCHEMA,
        "gallery_size": whole.people,
        "templates_per_person": result.per_person,
        "mated_probes": result.mated,
        "nonmated_probes": result.strangers,
        "failed_to_acquire": len(result.failed),
        "rank1": whole.rank1,
        "fnir": {fpir: _interval(found) for fpir, found in whole.fnir.items()},
        "sizes": [
            {
                "people": size.people,
                "templates": size.templates,
                "rank1": size.rank1,
                "fnir": {fpir: _interval(found) for fpir, found in size.fnir.items()},
            }
            for size in result.sizes
        ],
        "cmc": [float(share) for share in result.cmc[:100]],
        "points": [
            {
                "fpir": fpir,
                "tau": _number(tau),
                "measured_fpir": _interval(found),
                "measured_fnir": _interval(missed),
                "kept": bool(found.low <= fpir),
                "verdict": str(verdict(found, fpir)),
            }
            for fpir, tau, found, missed in result.promised
        ],
        **_common(result.setting, result.failed, result.remarks),
    }


def liveness_json(result: Liveness) -> dict[str, Any]:
    """Give what ``evaluate liveness --json`` prints; rates are those at ``threshold``."""
    point, together = result.points[0], result.separation["all"]
    return {
        "schema": SCHEMA,
        "eer": together.eer.value,
        "auc": together.auc.value,
        "apcer": {species: found.value for species, found in point.apcer.items()},
        "bpcer": point.bpcer.value,
        "threshold": _number(point.threshold),
        "worst_species": point.worst,
        "live": len(result.live.score),
        "attacks": {species: len(kind.score) for species, kind in result.attacks.items()},
        "failed_to_acquire": len(result.failed),
        "separation": {
            species: {"eer": _interval(found.eer), "auc": _interval(found.auc)}
            for species, found in result.separation.items()
        },
        "points": [
            {
                "threshold": _number(at.threshold),
                "apcer": {species: _interval(found) for species, found in at.apcer.items()},
                "worst_species": at.worst,
                "bpcer": _interval(at.bpcer),
            }
            for at in result.points
        ],
        **_common(result.setting, result.failed, result.remarks),
    }


def checked_json(result: Checked) -> dict[str, Any]:
    """Give the check of an encoder's operating points on other people."""
    return {
        "schema": SCHEMA,
        "tuned_on": result.tuned_on,
        "kept": not result.outside,
        "points": [
            {
                "fmr": p.point.fmr,
                "tau": _number(p.point.tau),
                "lower": p.point.lower,
                "upper": p.point.upper,
                "measured_fmr": _interval(p.measured),
                "comparisons": p.comparisons,
                "matches": p.matches,
                "verdict": str(p.verdict),
            }
            for p in result.promises
        ],
        "failed_to_acquire": len(result.failed),
        **_common(result.setting, result.failed, result.remarks),
    }


def _common(
    setting: Setting, failed: Mapping[str, str], remarks: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "encoder": setting.encoder_id,
        "encoder_name": setting.encoder,
        "data": printable(setting.data),
        "interval": "95 %, bootstrap over people",
        "failures": {printable(name): printable(why) for name, why in failed.items()},
        "remarks": [printable(remark) for remark in remarks],
    }


def _bare(done: Comparisons, far: str) -> dict[str, float | None] | None:
    """Give the rate without an interval, where the comparisons that it needs are not listed."""
    if float(far) * done.curve.nonmated < 1:
        return None
    return {"value": 1 - done.curve.fnmr_at_fmr(float(far)), "low": None, "high": None}


def _interval(found: Interval | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {key: _number(value) for key, value in found.as_json().items()}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def printable(text: str) -> str:
    """Replace what is no Unicode (a file's name may hold any bytes), so that it can be written."""
    return text.encode("utf-8", "replace").decode("utf-8")


# CSV


def write_curve(path: Path, result: Verification | OpenSet | Liveness) -> None:
    """Write the whole curve, a row for each threshold that changes a rate.

    Columns are ``tau,fmr,fnmr`` for verification; ``people,tau,fpir,fnir`` with every size of
    gallery for identification; ``species,threshold,apcer,bpcer`` for liveness.
    """
    if isinstance(result, Verification):
        _write(path, ("tau", "fmr", "fnmr"), _states(result.comparisons.curve))
    elif isinstance(result, OpenSet):
        rows = ((s.people, *state) for s in result.sizes for state in _states(s.curve))
        _write(path, ("people", "tau", "fpir", "fnir"), rows)
    else:
        live = result.live.as_distance().d
        scores = (
            (species, abs(minus), through, refused)
            for species, kind in result.attacks.items()
            for minus, through, refused in _states(metrics.curve(live, kind.as_distance().d))
        )
        _write(path, ("species", "threshold", "apcer", "bpcer"), scores)


def _states(line: metrics.Curve) -> Iterable[tuple[float, float, float]]:
    """Leave out the first state, in which nobody is accepted: it has no finite threshold."""
    columns = (column[1:].tolist() for column in (line.tau, line.fmr, line.fnmr))
    return zip(*columns, strict=True)


def write_pairs(path: Path, result: Verification) -> None:
    """Write the listed comparisons as ``a,b,same,d``, and ``fold`` where there are folds.

    In the order of the list of pairs; of all-against-all the mated ones first, then those
    non-mated ones that were near enough to be listed. ``d`` is empty where a photograph showed no
    face.
    """
    done = result.comparisons
    if done.same is None or done.d is None or done.folds is None:
        at = np.concatenate([done.mated_at, done.nonmated_at])
        same = np.arange(len(at)) < len(done.mated_at)
        d, folds = np.concatenate([done.mated.d, done.nonmated.d]), None
    else:
        same, d, folds = done.same, done.d, done.folds
        at = np.empty((len(same), 2), np.int64)
        at[same], at[~same] = done.mated_at, done.nonmated_at
    rows = (
        (
            done.names[a],
            done.names[b],
            int(same[i]),
            f"{d[i]:.9g}" if math.isfinite(d[i]) else "",
            *([] if folds is None else [int(folds[i])]),
        )
        for i, (a, b) in enumerate(at)
    )
    _write(path, ("a", "b", "same", "d") + (() if folds is None else ("fold",)), rows)


def _write(path: Path, head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    # A file's name is written back byte for byte as it came.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
