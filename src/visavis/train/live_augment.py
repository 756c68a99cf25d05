"""What a batch goes through while it is learnt from, whatever its class: another look each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

_MOVED = 0.5
"""Share of crops that are looked at closer and from the side."""
_COVERED = 0.3
"""Share of crops of which a rectangle is covered, so that no one place decides (Zhong et al. 2017,
arXiv:1708.04896)."""


def another_look(crops: NDArray[np.uint8], source: Generator) -> Tensor:
    """Mirror, move, light, tint and cover each crop by chance.

    A presentation is rendered once and learnt from many times. What is drawn here costs little and
    says nothing of the class, so neither tints nor places are worth learning by heart.

    Parameters
    ----------
    crops
        (B, S, S, 3) uint8 RGB.

    Returns
    -------
    (B, 3, S, S) in [-1, 1].
    """
    count, side = crops.shape[:2]
    drawn = _Drawn(count, source)
    seen = _moved(_toned(crops, drawn), drawn)
    # Colours are mixed by one matrix each: saturation first, then a tint.
    saturation = drawn.between(0.4, 1.3)[:, :, None]
    tint = torch.exp(drawn.between(-0.3, 0.3) + drawn.between(-0.15, 0.15, 3))[:, :, None]
    mix = tint * (saturation * torch.eye(3) + (1 - saturation) / 3)
    seen = torch.baddbmm(drawn.between(-0.08, 0.08)[:, :, None], mix, seen.flatten(2))
    seen = seen.clamp_(0, 1).mul_(2).sub_(1).view(count, 3, side, side)
    return _covered(seen, drawn)


class _Drawn:
    def __init__(self, count: int, source: Generator) -> None:
        self.count = count
        self.source = source

    def between(self, low: float, high: float, columns: int = 1) -> Tensor:
        """(B, columns), evenly in [low, high)."""
        return low + (high - low) * torch.rand(self.count, columns, generator=self.source)


def _toned(crops: NDArray[np.uint8], drawn: _Drawn) -> Tensor:
    """Give (B, 3, S, S) in [0, 1] after a gamma of its own for each, by a table of 256 entries."""
    gamma = torch.exp(drawn.between(-0.5, 0.5)).numpy()
    tables = (np.arange(256) / 255).astype(np.float32) ** gamma
    planes = np.ascontiguousarray(np.moveaxis(crops, 3, 1))
    out = np.empty(planes.shape, np.float32)
    for table, crop, to in zip(tables, planes, out, strict=True):
        np.take(table, crop, out=to)
    return torch.from_numpy(out)


def _moved(seen: Tensor, drawn: _Drawn) -> Tensor:
    """Mirror half, and look at some through a smaller window; none looks past the border."""
    mirror = 1 - 2 * (drawn.between(0, 1) < 0.5).float()[:, 0]
    zoom = torch.where(drawn.between(0, 1) < _MOVED, drawn.between(0.85, 1), torch.ones(1))[:, 0]
    shift = drawn.between(-1, 1, 2) * (1 - zoom)[:, None]
    none = torch.zeros_like(zoom)
    rows = torch.stack([zoom * mirror, none, shift[:, 0], none, zoom, shift[:, 1]], 1)
    grid = functional.affine_grid(rows.view(-1, 2, 3), list(seen.shape), align_corners=False)
    return functional.grid_sample(seen, grid, padding_mode="border", align_corners=False)


def _covered(seen: Tensor, drawn: _Drawn) -> Tensor:
    side = seen.shape[-1]
    chosen = (drawn.between(0, 1) < _COVERED)[:, 0]
    corner = (drawn.between(-0.2, 1, 2) * side).long()
    size = (drawn.between(0.1, 0.45, 2) * side).long()
    colour = drawn.between(-1, 1, 3)
    for i in chosen.nonzero()[:, 0].tolist():
        (left, top), (wide, high) = corner[i].clamp(min=0).tolist(), size[i].tolist()
        seen[i, :, top : top + high, left : left + wide] = colour[i][:, None, None]
    return seen
