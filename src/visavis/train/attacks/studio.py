"""What is behind the person in the photograph itself: a wall, a room, a window, light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from visavis.train.attacks.canvas import CANVAS, CROP
from visavis.train.attacks.frame import Reach, background, sheet, surface

if TYPE_CHECKING:
    from torch import Tensor

    from visavis.train.attacks.draw import Draw


def studio(draw: Draw, canvases: Tensor) -> Tensor:
    """Put a plain wall, a room or bright light behind some people, (N, 3, K, K) linear light.

    Photographs of the press have rich backgrounds; passport photographs and offices do not. It
    happens before it is settled what is presented, so it says nothing of that. The walls and rooms
    are those that a sheet is held up before: that there is one does not tell either. Windows and
    pictures hang on them, whose straight edges end at the person.
    """
    side = canvases.shape[-1]
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * (CANVAS / CROP)
    y, x = torch.meshgrid(line, line, indexing="ij")
    plane = torch.stack([x, y])[None].expand(len(canvases), -1, -1, -1)
    behind = torch.lerp(canvases, surface(draw, side), draw.yes(0.3))
    behind = torch.lerp(behind, background(draw, canvases, side), draw.yes(0.3))
    moved = plane + draw.between(-0.9, 0.9, 2)
    hung = sheet(draw, moved, Reach(0.1, 1.2)).inside() * draw.yes(0.3)
    behind = torch.lerp(behind, surface(draw, side) * draw.evenly_in_log(0.5, 2), hung)
    bright = draw.between(0.2, 0.9) * draw.yes(0.2)
    behind = torch.lerp(behind, torch.ones(1), bright)
    return torch.lerp(behind, canvases, silhouette(draw, plane))


def silhouette(draw: Draw, plane: Tensor) -> Tensor:
    """(N, 1, S, S) in [0, 1]: 1 where a head and shoulders are, at (N, 2, S, S) coordinates."""
    x, y = plane[:, :1], plane[:, 1:]
    wide, high = draw.between(0.42, 0.6), draw.between(0.55, 0.72)
    head = 1 - (x / wide) ** 2 - ((y + 0.08) / high) ** 2
    # Shoulders widen from the chin down.
    body = (0.25 + 1.3 * (y - 0.42).clamp(min=0) ** 0.7 - x.abs()) - 3 * (0.42 - y).clamp(min=0)
    return torch.sigmoid(torch.maximum(head, body) / draw.evenly_in_log(0.02, 0.2))
