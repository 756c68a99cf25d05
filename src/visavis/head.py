"""A learnt distance: one logistic unit over how two encodings differ, feature by feature.

Verification as binary classification (Taigman et al. 2014, "DeepFace", sec. 4.1 and 4.2): features
of a pair, a weight for each, a bias; 1 is the same person, 0 are two. The weights are never
negative, so that the weighted sum is itself a distance: 0 from a face to itself, alike both ways,
larger for less alike. It is scaled to where strangers lie in the plain distance, and everything
calibrated for distances applies to it: operating points, tau in [0, 4], accept when d <= tau.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import EncoderMismatch, HeadMissing, ModelRefused
from visavis.values import EncoderId

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.values import Embedding, Template

SCHEMA = 1
"""Of the head's JSON."""

STRANGERS = 2.0
"""Mean distance of two strangers that a head is scaled to: as good as orthogonal unit vectors."""

FARTHEST = 4.0

_TILE = 512
"""Pairs worked on together, so that their differences stay in the processor's cache."""
_LEAST = 1e-30
"""Instead of a denominator of 0; the numerator is 0 there too."""


class Form(StrEnum):
    """How two encodings become the features of a pair."""

    ABSOLUTE = "absolute"
    """|a - b| (DeepFace, sec. 4.2)."""
    CHI_SQUARE = "chi-square"
    """(a - b)^2 / (|a| + |b|), 0 where both are 0. DeepFace (sec. 4.1) divides by a + b: its
    features come out of a ReLU and are never negative, those of other encoders have signs."""
    SQUARED = "squared"
    """(a - b)^2: with equal weights it is the plain distance, which the other two cannot be."""


def features(
    form: Form, a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Give the features (..., D) of pairs of encodings (..., D), which broadcast; never negative.

    They are the same for (a, b) and (b, a), and 0 for a face and itself.
    """
    apart: NDArray[np.floating[Any]] = np.abs(a - b)
    if form is Form.ABSOLUTE:
        return apart
    apart *= apart
    if form is Form.CHI_SQUARE:
        apart /= np.maximum(np.abs(a) + np.abs(b), _LEAST)
    return apart


@dataclass(frozen=True, slots=True, eq=False)
class PairHead:
    """A logistic unit that says whether two encodings are of one person.

    With x the features of a pair, d = weights . x and logit = bias - slope * d.

    Attributes
    ----------
    form
        How encodings become features.
    weights
        (D,) float64, none negative; scaled so that strangers are at d = 2 on average.
    bias, slope
        Of the logit over d; ``slope`` is positive. The logit is the natural logarithm of
        p(pair | same person) / p(pair | different people).
    encoder
        Whose encodings it takes.
    trained_on
        Data set and split.
    """

    form: Form
    weights: NDArray[np.float64]
    bias: float
    slope: float
    encoder: EncoderId
    trained_on: str

    @property
    def id(self) -> str:
        """Name the head by its numbers and its encoder: SHA-256, 64 hex digits."""
        told = [self.form, self.weights.tolist(), self.bias, self.slope, self.encoder]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def distance(self, a: Embedding | Template, b: Embedding | Template) -> float:
        """Give the learnt distance in [0, 4]; lower is more alike.

        Raises
        ------
        EncoderMismatch
            When one of the two comes from another encoder than the head's.
        """
        for each in (a, b):
            if each.encoder != self.encoder:
                raise EncoderMismatch(
                    f"the head was trained for encoder {self.encoder[:8]} and cannot compare "
                    f"encodings of {each.encoder[:8]}"
                )
        return float(self.distances(a.vector[None], b.vector[None])[0])

    def distances(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give d for pairs of rows, (N, D) and (N, D) to (N,), in [0, 4].

        What lies beyond 4, twice as far as strangers, is said to be at 4.
        """
        return np.minimum(self._sums(a, b), FARTHEST)

    def between(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give d of all rows to all others, (N, D) and (M, D) to (N, M) float32, in [0, 4]."""
        d: NDArray[np.float32]
        if self.form is Form.SQUARED:
            root = np.sqrt(self.weights).astype(np.float32)
            a, b = a * root, b * root
            d = np.sum(a * a, 1)[:, None] + np.sum(b * b, 1)[None]
            d -= 2 * (a @ b.T)
            np.clip(d, 0, FARTHEST, out=d)
            return d
        weights = self.weights.astype(np.float32)
        d = np.empty((len(a), len(b)), np.float32)
        for start in range(0, len(b), _TILE):
            tile = b[start : start + _TILE]
            for i, row in enumerate(a):
                d[i, start : start + _TILE] = features(self.form, tile, row) @ weights
        np.minimum(d, FARTHEST, out=d)
        return d

    def logit(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the log-likelihood ratio of pairs of rows, (N, D) and (N, D) to (N,).

        0 speaks for neither; above it for the same person.
        """
        return self.bias - self.slope * self._sums(a, b)

    def probability(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the probability that the rows are of one person, if both were as likely before.

        (N, D) and (N, D) to (N,), in [0, 1]: the unit's output.
        """
        return np.asarray(_sigmoid(self.logit(a, b)))

    def probability_at(self, d: float) -> float:
        """Give the probability for a distance of this head."""
        return float(_sigmoid(np.float64(self.bias - self.slope * d)))

    def _sums(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
        if a.ndim != 2 or a.shape != b.shape or a.shape[1] != len(self.weights):
            raise ValueError(f"pairs of rows (N, {len(self.weights)}), not {a.shape}, {b.shape}")
        x = features(self.form, a.astype(np.float64), b.astype(np.float64))
        return np.asarray(x @ self.weights)

    def as_json(self) -> dict[str, Any]:
        """Give what ``head_of`` reads."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "encoder": self.encoder,
            "form": str(self.form),
            "trained_on": self.trained_on,
            "bias": self.bias,
            "slope": self.slope,
            "weights": self.weights.tolist(),
        }


def head_of(stored: dict[str, Any] | None, encoder: EncoderId, name: str) -> PairHead:
    """Read a head as ``visavis train pair-head`` writes it.

    Raises
    ------
    HeadMissing
        When there is none for this encoder.
    EncoderMismatch
        When it belongs to another encoder.
    ModelRefused
        When it is damaged: its numbers are not those that its id names, or make no distance.
    """
    how = f"make one: {how_to_make(name)}"
    if stored is None:
        raise HeadMissing(f"there is no head to decide by for {name}; {how}")
    try:
        if stored["schema"] != SCHEMA:
            raise ModelRefused(
                f"the head for {name} is of version {stored['schema']}, this visavis reads "
                f"version {SCHEMA}; {how}"
            )
        found = PairHead(
            Form(stored["form"]),
            np.array(stored["weights"], np.float64),
            float(stored["bias"]),
            float(stored["slope"]),
            EncoderId(stored["encoder"]),
            str(stored["trained_on"]),
        )
        whole = found.id == stored["id"] and _sound(found)
    except (KeyError, TypeError, ValueError, OverflowError) as broken:
        raise ModelRefused(f"the head for {name} is damaged ({broken}); {how}") from broken
    if not whole:
        raise ModelRefused(f"the head for {name} is damaged: its numbers were changed; {how}")
    if found.encoder != encoder:
        raise EncoderMismatch(
            f"the head was trained for encoder {found.encoder[:8]}, not for {name} "
            f"({encoder[:8]}); {how}"
        )
    return found


def how_to_make(name: str) -> str:
    """Give the command that makes a head for an encoder, such as "sface (fp32)"."""
    model, _, precision = name.partition(" (")
    chosen = f" --precision {precision.rstrip(')')}" if precision else ""
    return f"visavis train pair-head --encoder {model}{chosen} --data PACK"


def _sound(head: PairHead) -> bool:
    """Tell whether it gives distances: a weight that counts, none negative, a falling logit."""
    w = head.weights
    good = w.ndim == 1 and len(w) > 0 and bool(np.isfinite(w).all() and (w >= 0).all() and w.any())
    return good and math.isfinite(head.bias) and 0 < head.slope < math.inf


def _sigmoid(z: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    # tanh never overflows, however sure the unit is.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * z)))
