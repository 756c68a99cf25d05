"""What is behind the person in the photograph itself: a plain wall, or light from behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from visavis.train.attacks.canvas import CANVAS, CROP

if TYPE_CHECKING:
    from torch import Tensor

    from visavis.train.attacks.draw import Draw


def studio(draw: Draw, canvases: Tensor) -> Tensor:
    """Put a plain wall or bright light behind some people, (N, 3, K, K) linear light.

    Photographs of the press have rich backgrounds; passport photographs and offices do not. It
    happens before it is settled what is presented, so it says nothing of that.
    """
    side = canvases.shape[-1]
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * (CANVAS / CROP)
    y, x = torch.meshgrid(line, line, indexing="ij")
    wide, high = draw.between(0.42, 0.6), draw.between(0.55, 0.72)
    head = 1 - (x / wide) ** 2 - ((y + 0.08) / high) ** 2
    # Shoulders widen from the chin down.
    body = (0.25 + 1.3 * (y - 0.42).clamp(min=0) ** 0.7 - x.abs()) - 3 * (0.42 - y).clamp(min=0)
    inside = torch.maximum(head, body.expand_as(head))
    person = torch.sigmoid(inside / draw.evenly_in_log(0.02, 0.2))
    wall = draw.between(0.15, 1.0) * (1 - draw.between(0, 0.25, 3))
    wall = (wall * (1 + 0.2 * draw.field(3, side))).clamp(0, 1)
    behind = torch.lerp(canvases, wall, draw.yes(0.4))
    bright = torch.lerp(behind, torch.ones_like(behind), draw.between(0.2, 0.9) * draw.yes(0.2))
    return torch.lerp(bright, canvases, person)
