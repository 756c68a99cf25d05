"""The person in front of the camera: what is before it when there is no attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from visavis.train.attacks.canvas import look, soften
from visavis.train.attacks.frame import Reach, against_light, background, glare, hands, sheet
from visavis.train.attacks.studio import silhouette

if TYPE_CHECKING:
    from torch import Tensor

    from visavis.train.attacks.draw import Draw


def in_person(draw: Draw, canvases: Tensor, plane: Tensor) -> Tensor:
    """Show faces as they are; arguments and result as ``paper.on_paper``.

    They pass through what says nothing of an attack: the same view, softness and resampling, tones
    that another camera would give, a window behind them, and now and then a straight edge on one
    side (a door, a shelf), a hand or a lamp, so that none of these alone gives an attack away.
    """
    side = plane.shape[-1]
    photo = soften(look(canvases, plane), draw.evenly_in_log(0.25, 1.1))
    tone = photo.clamp(1e-4, 1) ** draw.between(0.8, 1.25)
    grey = tone.mean(1, keepdim=True)
    tone = (grey + (tone - grey) * draw.between(0.7, 1.25)).clamp(0, 1)
    tone = tone * draw.between(0.85, 1.1, 3)
    front, back = against_light(draw)
    tone = tone * torch.lerp(back, front, silhouette(draw, plane))
    door = sheet(draw, plane, Reach(0.7, 6.0))
    beyond = background(draw, canvases, side) * draw.evenly_in_log(0.3, 2)
    tone = torch.lerp(tone, beyond, (1 - door.inside()) * draw.yes(0.3))
    return glare(draw, hands(draw, tone, plane, None, 0.06), plane, 0.05)
