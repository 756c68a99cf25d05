"""Error rates of telling a live face from an attack: APCER and BPCER (ISO/IEC 30107-3).

Scores are in [0, 1], higher is more alive; a presentation is taken for live when
score >= threshold. Attacks are reported by species (print, replay, mask), since a mean over
species hides the one that gets through. A presentation that gave no score (no face found) is
counted apart, by whoever reads the files, and does not belong in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import InputRefused

from .intervals import ByPerson, Interval, auc_interval, equal_error_interval, share_interval
from .metrics import allowed_errors, checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from .intervals import Ints, Weights
    from .metrics import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Presentations:
    """Scores of one kind: all the bona fide ones, or the attacks of one species.

    Attributes
    ----------
    score
        (N,) in [0, 1], higher is more alive.
    subject
        (N,) who was before the camera, or was imitated, as row of the weights; intervals are
        over subjects. Number the frames instead where nobody knows.
    """

    score: Floats
    subject: Ints

    def __post_init__(self) -> None:
        score = checked(self.score, "presentations")
        if score.min() < 0 or score.max() > 1:
            raise InputRefused("liveness scores must lie in [0, 1], higher for live faces")
        if len(score) != len(self.subject):
            raise InputRefused(f"{len(self.subject)} subjects for {len(score)} presentations")

    def as_distance(self) -> ByPerson:
        """Give them as the functions for distances take them: lower is more alive."""
        return ByPerson(-np.asarray(self.score, np.float64), self.subject)


def apcer(attack_scores: ArrayLike, threshold: float) -> float:
    """Give the share of attacks, of one species, taken for live (ISO/IEC 30107-3)."""
    return float(np.mean(checked(attack_scores, "attacks") >= threshold))


def bpcer(live_scores: ArrayLike, threshold: float) -> float:
    """Give the share of bona fide presentations taken for attacks (ISO/IEC 30107-3)."""
    return float(np.mean(checked(live_scores, "live presentations") < threshold))


def threshold_at_bpcer(live_scores: ArrayLike, rate: float) -> float:
    """Give the largest threshold with BPCER <= ``rate``: the score of a live face, or inf."""
    live = np.sort(checked(live_scores, "live presentations"))
    allowed = allowed_errors(len(live), rate)
    return np.inf if allowed >= len(live) else float(live[allowed])


def threshold_at_apcer(attacks: Mapping[str, Presentations], rate: float) -> float:
    """Give the lowest threshold at which no species has APCER > ``rate``.

    That is the number just above the strongest attack that must be stopped; 0 when none must.
    """
    needed = [0.0]
    for kind in attacks.values():
        falling = -np.sort(-np.asarray(kind.score, np.float64))
        allowed = allowed_errors(len(falling), rate)
        if allowed < len(falling):
            needed.append(float(np.nextafter(falling[allowed], np.inf)))
    return max(needed)


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Both kinds of error at one threshold.

    Attributes
    ----------
    apcer
        By species, with intervals.
    worst
        The species with the largest APCER, which the standard wants named; None without attacks.
    bpcer
        With its interval.
    """

    threshold: float
    apcer: dict[str, Interval]
    worst: str | None
    bpcer: Interval


def at_threshold(
    live: Presentations,
    attacks: Mapping[str, Presentations],
    threshold: float,
    weights: Weights,
) -> AtThreshold:
    """Measure both kinds of error, with intervals over subjects (weights from draws)."""
    through = {
        species: _share(kind, kind.score >= threshold, weights)
        for species, kind in sorted(attacks.items())
    }
    worst = max(through, key=lambda species: through[species].value, default=None)
    return AtThreshold(threshold, through, worst, _share(live, live.score < threshold, weights))


def _share(kind: Presentations, chosen: NDArray[np.bool_], weights: Weights) -> Interval:
    return share_interval(kind.as_distance(), chosen, weights)


@dataclass(frozen=True, slots=True)
class Separation:
    """How well scores tell live from attack at every threshold: equal error rate and AUC."""

    eer: Interval
    auc: Interval


def separation(
    live: Presentations, attacks: Mapping[str, Presentations], weights: Weights
) -> dict[str, Separation]:
    """Give EER and AUC for each species, and for all attacks together under ``all``.

    Pooled numbers depend on how many attacks of each species the set happens to have; the
    species' own do not.
    """
    if not attacks:
        raise InputRefused("there are no attacks, so nothing can be said of them")
    if "all" in attacks:
        raise InputRefused("a species cannot be called 'all': that is all of them together")
    together = Presentations(
        np.concatenate([kind.score for kind in attacks.values()]),
        np.concatenate([kind.subject for kind in attacks.values()]),
    )
    near = live.as_distance()
    return {
        species: Separation(
            equal_error_interval(near, kind.as_distance(), weights),
            auc_interval(near, kind.as_distance(), weights),
        )
        for species, kind in {**dict(sorted(attacks.items())), "all": together}.items()
    }
