"""Chance, from one seed: numbers for a batch, and smooth fields."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


class Draw:
    """Everything random about a batch; two with the same seed and calls give the same.

    Parameters
    ----------
    count
        Images of the batch, N below.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._source = torch.Generator().manual_seed(seed)
        self.count = count

    def between(self, low: float, high: float, planes: int = 1) -> Tensor:
        """(N, planes, 1, 1), evenly in [low, high)."""
        drawn = torch.rand(self.count, planes, 1, 1, generator=self._source)
        return low + (high - low) * drawn

    def evenly_in_log(self, low: float, high: float) -> Tensor:
        """(N, 1, 1, 1) in [low, high), each octave as likely as the next."""
        return torch.exp(self.between(math.log(low), math.log(high)))

    def yes(self, chance: float) -> Tensor:
        """(N, 1, 1, 1) of ones, with this chance, and zeros."""
        return (self.between(0, 1) < chance).float()

    def angle(self, most: float = math.pi) -> Tensor:
        """(N, 1, 1, 1) radians, evenly in [-most, most)."""
        return self.between(-most, most)

    def noise(self, side: int, planes: int = 1) -> Tensor:
        """(N, planes, side, side) of the standard normal distribution."""
        return torch.randn(self.count, planes, side, side, generator=self._source)

    def field(self, cells: int, side: int, planes: int = 1) -> Tensor:
        """(N, planes, side, side) smooth, about -1 to 1, with detail of ``side / cells`` pixels."""
        coarse = torch.rand(self.count, planes, cells, cells, generator=self._source) * 2 - 1
        return functional.interpolate(coarse, size=side, mode="bilinear", align_corners=True)

    def one_of(self, values: list[list[float]], spread: float = 0.0) -> Tensor:
        """(N, C, 1, 1): a row of ``values`` for each, moved by up to ``spread``."""
        table = torch.tensor(values)
        rows = torch.randint(len(values), (self.count,), generator=self._source)
        chosen = table[rows][:, :, None, None]
        return (chosen + self.between(-spread, spread, table.shape[1])).clamp(0, 1)

    def order(self) -> Tensor:
        """(N,) a rearrangement of the batch."""
        return torch.randperm(self.count, generator=self._source)
