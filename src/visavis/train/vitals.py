"""A look at one batch of a run: numbers that say whether it learns, whatever the objective."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Vitals:
    """A look at one batch.

    Attributes
    ----------
    loss
        As the objective reports it.
    distance, spread
        Mean and standard deviation of the squared distances of all pairs, each in [0, 4].
    mated, nonmated
        Mean squared distance of one person's photographs, and of two persons'; NaN without any.
    active
        Share of the triplets that give a gradient; None where the objective has none.
    dimension
        Effective one: (sum of the covariance's eigenvalues)^2 / (sum of their squares); 1 when all
        vectors lie on a line, 0 when they are one point.
    gradient
        Length over all weights.
    """

    step: int
    loss: float
    distance: float
    spread: float
    mated: float
    nonmated: float
    active: float | None
    dimension: float
    gradient: float | None = None

    @property
    def finite(self) -> bool:
        """False when the loss, the gradient or a vector is infinite or not a number."""
        told = (self.loss, self.distance, 0.0 if self.gradient is None else self.gradient)
        return all(map(math.isfinite, told))

    @property
    def gap(self) -> float:
        """By what share mates are nearer than strangers: 0 when nothing is learnt, at most 1."""
        if not self.nonmated > 0 or math.isnan(self.mated):
            return 0.0
        return 1 - self.mated / self.nonmated

    def as_row(self) -> dict[str, float | None]:
        """Give the numbers by name, for a journal; without the step."""
        return {name: value for name, value in asdict(self).items() if name != "step"}


@torch.no_grad()
def vitals(  # noqa: PLR0913, PLR0917 - what a step knows
    step: int,
    vectors: Tensor,
    labels: Tensor,
    loss: float | Tensor,
    active: float | Tensor | None = None,
    gradient: float | Tensor | None = None,
) -> Vitals:
    """Look at a batch of (B, D) vectors of any length and their (B,) labels."""
    unit = nn.functional.normalize(vectors.detach().float())
    gram = unit @ unit.T
    apart = (2 - 2 * gram).clamp(min=0)
    pairs = torch.ones_like(gram, dtype=torch.bool).triu(1)
    same = labels[:, None] == labels[None, :]
    every = apart[pairs]
    centred = unit - unit.mean(0)
    inner = centred @ centred.T  # has the covariance's eigenvalues, but for a factor
    power = inner.square().sum()
    numbers = torch.stack(
        [
            every.mean(),
            every.std(correction=0),
            apart[pairs & same].mean(),
            apart[pairs & ~same].mean(),
            inner.trace().square() / power if power > _POINT else power * 0,
        ]
    ).tolist()
    distance, spread, mated, nonmated, dimension = numbers
    share, length = _number(active), _number(gradient)
    if share is not None and math.isnan(share):
        share = None
    return Vitals(
        step,
        _number(loss) or 0.0,
        distance,
        spread,
        mated,
        nonmated,
        share,
        dimension,
        length,
    )


def _number(value: float | Tensor | None) -> float | None:
    return None if value is None else float(torch.as_tensor(value).detach())


_POINT = 1e-18
"""Squared scatter below which vectors in float32 are one point."""
