"""Where everything lies: the crop a network sees, the canvas it is taken from, and the view.

Plane coordinates: the middle of the face's box is (0, 0), and the crop that a network sees reaches
from -1 to 1 when the camera looks straight. The canvas reaches further, so that the view can turn
and move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from visavis.train.attacks.draw import Draw

CROP = 2.2
"""How many times the longer side of a face's box the network sees."""
CROP_SIZE = 96
CANVAS = 3.2
CANVAS_SIZE = 140
"""The same resolution as the crop: 44 pixels a face."""

FACE = 1 / CROP
"""Half of the longer side of a face's box, in plane coordinates."""


def view(draw: Draw, side: int) -> Tensor:
    """Give (N, 2, side, side): the plane coordinates x, y that each of the camera's pixels sees."""
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    tilt_x, tilt_y = draw.between(-0.1, 0.1), draw.between(-0.1, 0.1)
    depth = 1 + tilt_x * x + tilt_y * y
    zoom, turn = draw.between(0.88, 1.08) / depth, draw.angle(0.14)
    x, y = x * zoom, y * zoom
    across = turn.cos() * x - turn.sin() * y + draw.between(-0.07, 0.07)
    down = turn.sin() * x + turn.cos() * y + draw.between(-0.07, 0.07)
    return torch.cat([across, down], 1)


def look(canvas: Tensor, plane: Tensor) -> Tensor:
    """Sample (N, C, K, K) canvases at (N, 2, S, S) plane coordinates; borders are repeated."""
    grid = (plane * (CROP / CANVAS)).permute(0, 2, 3, 1)
    return functional.grid_sample(canvas, grid, padding_mode="border", align_corners=False)


def soften(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by its own Gaussian.

    Parameters
    ----------
    sigma
        (N, 1, 1, 1) standard deviations in pixels, above 0.
    """
    along = _kernel(pixels.shape[-1], sigma)
    return along @ pixels @ along.mT


def streak(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image along its rows only."""
    return pixels @ _kernel(pixels.shape[-1], sigma).mT


def _kernel(side: int, sigma: Tensor) -> Tensor:
    at = torch.arange(side, dtype=torch.float32)
    distance = (at[:, None] - at[None]) / sigma
    weight = torch.exp(-0.5 * distance * distance)
    return weight / weight.sum(-1, keepdim=True)
