"""The pair head learnt: logistic regression over how encodings differ (see ``visavis.head``).

An encoder trained for its plain distance leaves little to gain, and a hundred free weights lose
more on strangers than they find: so the weights are drawn towards *equal* ones, and how strongly
is chosen on people who had no part in the fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import InputRefused, MissingExtra
from visavis.evaluate.calibration import fit_likelihood
from visavis.head import STRANGERS, Form, PairHead, features
from visavis.train.pairs import PairChoice, Pairs, draw_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.evaluate.metrics import Sample
    from visavis.values import EncoderId

_SHARED = 1000.0
"""Scale of the column that all features share: so large that its penalty is nothing."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """How a head is learnt.

    Attributes
    ----------
    form
        The features of a pair. Squared ones are the only ones among which the plain distance is.
    strengths
        Rising values of scikit-learn's C to choose among: a small one holds the weights to equal
        ones, a large one leaves them free.
    folds
        Groups of people that the choice is made over.
    """

    form: Form = Form.SQUARED
    pairs: PairChoice = field(default_factory=PairChoice)
    strengths: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.strengths, self.strengths[1:], strict=False))
        if not self.strengths or not rising or self.strengths[0] <= 0 or self.folds < 2:
            raise ValueError("a head needs rising positive strengths and two folds or more")


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A head, and how its strength was chosen.

    Attributes
    ----------
    strength
        The C taken: the smallest whose loss is within one standard error of the least.
    losses
        C to mean log loss, in nats, over the held-out people; mated and non-mated pairs count
        alike, so that knowing nothing costs log 2.
    spread
        Standard deviation of the weights over their mean; 0 when all are equal.
    """

    head: PairHead
    strength: float
    losses: dict[float, float]
    pairs: int

    @property
    def spread(self) -> float:
        """How unequal the weights are; 0 when they are all the same."""
        return float(self.head.weights.std() / self.head.weights.mean())


def learn_head(
    vectors: NDArray[np.float32],
    owner: NDArray[np.int64],
    encoder: EncoderId,
    trained_on: str,
    config: HeadConfig | None = None,
) -> Learnt:
    """Learn a head from the encodings of some people.

    Parameters
    ----------
    vectors
        (N, D) unit rows; rows of one person stand together.
    owner
        (N,) whose each is.

    Raises
    ------
    ProtocolRefused
        See ``draw_pairs``.
    InputRefused
        When mated pairs are no nearer than others.
    MissingExtra
        Without scikit-learn.
    """
    config = config or HeadConfig()
    drawn = draw_pairs(vectors, owner, config.pairs, config.seed)
    x = np.asarray(features(config.form, vectors[drawn.a], vectors[drawn.b]))
    strength, losses = _chosen(x, drawn, owner, config)
    line = fit_logistic(x, drawn.same, strength)
    # Strangers drawn at random, not the nearest ones, say where strangers lie.
    mated = int(drawn.same.sum())
    usual = x[mated : mated + round(config.pairs.strangers * mated)].mean(0, np.float64)
    unit = STRANGERS / float(usual @ line.weights)
    head = PairHead(config.form, line.weights * unit, line.bias, 1 / unit, encoder, trained_on)
    return Learnt(head, strength, losses, len(drawn))


def calibrated_head(head: PairHead, mated: Sample, nonmated: Sample) -> PairHead:
    """Let the logit tell the truth about pairs as they come: other people's, none hand-picked.

    The order of the pairs stays. Raises InputRefused when mated pairs are not the nearer ones.
    """
    line = fit_likelihood(mated, nonmated)
    return replace(head, bias=line.offset, slope=-line.slope)


# Logistic regression towards equal weights


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """logit = bias - weights . x, with (D,) weights of which none is negative."""

    weights: NDArray[np.float64]
    bias: float

    def logit(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Give it for features (N, D)."""
        return np.asarray(self.bias - x @ self.weights)


def fit_logistic(x: NDArray[np.floating[Any]], same: NDArray[np.bool_], strength: float) -> Line:
    """Fit by scikit-learn, the weights drawn towards equal ones.

    One more column, the sum of all features, is scaled so that its weight is practically free;
    the penalty then falls on what each feature's weight differs by. A feature whose weight comes
    out negative, "the more they differ the more they are one", is left out and the rest is fitted
    again. Both kinds of pairs count alike, however many there are.
    """
    kept = np.ones(x.shape[1], np.bool_)
    scale = float(x.mean(dtype=np.float64)) or 1.0
    while kept.any():
        model = logistic(strength)
        model.fit(_design(x[:, kept] / scale), same)
        each = model.coef_[0, 1:] + model.coef_[0, 0] * _SHARED / math.sqrt(kept.sum())
        weights = np.zeros(x.shape[1])
        weights[kept] = -each / scale
        if (weights >= 0).all():
            return Line(weights, float(model.intercept_[0]))
        kept &= weights > 0
    raise InputRefused("pairs of one person are no nearer than others; are the labels right?")


def logistic(strength: float) -> Any:  # noqa: ANN401 - scikit-learn carries no types
    """Give scikit-learn's logistic regression as it is used here."""
    try:
        from sklearn.linear_model import (  # type: ignore[import-untyped]  # noqa: PLC0415
            LogisticRegression,
        )
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "a pair head needs scikit-learn: pip install 'visavis[train]'"
        ) from missing
    return LogisticRegression(
        C=strength, class_weight="balanced", solver="newton-cholesky", max_iter=200, tol=1e-6
    )


def _design(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    shared = x.sum(1, dtype=np.float64) * (_SHARED / math.sqrt(x.shape[1]))
    return np.column_stack([shared, x])


def _chosen(
    x: NDArray[np.floating[Any]], drawn: Pairs, owner: NDArray[np.int64], config: HeadConfig
) -> tuple[float, dict[float, float]]:
    """Choose the strength by cross-validation over people.

    Pairs of which one person is held out and the other is not are left out of both sides.
    """
    _, person = np.unique(owner, return_inverse=True)
    chance = np.random.default_rng(config.seed)
    group = chance.permutation(int(person.max()) + 1)[person] % config.folds
    a, b = group[drawn.a], group[drawn.b]
    losses = []
    for fold in range(config.folds):
        inside, outside = (a == fold) & (b == fold), (a != fold) & (b != fold)
        if min(_kinds(drawn.same[inside]), _kinds(drawn.same[outside])) < 2:
            continue
        lines = [fit_logistic(x[outside], drawn.same[outside], c) for c in config.strengths]
        losses.append([_loss(line.logit(x[inside]), drawn.same[inside]) for line in lines])
    if len(losses) < 2:
        return config.strengths[0], {}
    every = np.array(losses)
    mean, error = every.mean(0), every.std(0, ddof=1) / math.sqrt(len(every))
    best = int(mean.argmin())
    taken = int(np.argmax(mean <= mean[best] + error[best]))
    told = {c: float(m) for c, m in zip(config.strengths, mean, strict=True)}
    return config.strengths[taken], told


def _kinds(same: NDArray[np.bool_]) -> int:
    return int(same.any()) + int((~same).any())


def _loss(logit: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    missed, false = np.logaddexp(0, -logit[same]), np.logaddexp(0, logit[~same])
    return float(missed.mean() + false.mean()) / 2
