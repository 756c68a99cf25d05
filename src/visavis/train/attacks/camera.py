"""One camera for everything: light, lens, sensor, white balance, sharpening, JPEG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import simplejpeg
import torch

from visavis.train.attacks.canvas import soften, streak
from visavis.train.augment import resampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from visavis.train.attacks.draw import Draw

_SIDES = (40.0, 96.0)
"""Of the crop on the sensor in pixels, before it is brought to the size that a network sees."""


def photograph(draw: Draw, scene: Tensor) -> NDArray[np.uint8]:
    """Take (N, 3, S, S) linear light to (N, S, S, 3) uint8 RGB as a file holds it.

    Nothing here knows what is before the camera: bona fide presentations and attacks of one batch
    draw from the same distributions.
    """
    side = scene.shape[-1]
    scene = scene * torch.exp(0.25 * draw.field(3, side)) * draw.evenly_in_log(0.55, 1.5)
    # It exposes for what it sees, more or less.
    mean = scene.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
    scene = scene * (0.25 / mean) ** draw.between(0.2, 1)
    # Stray light in the lens lifts the darks, the more the brighter the scene.
    scene = scene + draw.between(0, 0.15) * draw.yes(0.3) * scene.mean((1, 2, 3), keepdim=True)
    warmth = draw.between(-0.2, 0.2)
    scene = scene * torch.cat([1 + warmth, 1 + draw.between(-0.05, 0.05), 1 - warmth], 1)
    blur = draw.evenly_in_log(0.25, 0.8) + draw.yes(0.12) * draw.between(0, 1.2)
    scene = soften(scene, blur)
    moved = draw.yes(0.1)
    scene = torch.lerp(scene, streak(scene, draw.between(0.5, 2.5)), moved)
    cells = draw.evenly_in_log(*_SIDES).round().long().flatten()
    cells = torch.where(draw.yes(0.35).flatten() > 0, cells, torch.full_like(cells, side))
    down_up = resampling(side)[cells][:, None]
    scene = down_up @ scene @ down_up.mT
    shot, read = draw.evenly_in_log(0.004, 0.04), draw.evenly_in_log(0.001, 0.012)
    grain = soften(draw.noise(side, 3), draw.between(0.2, 0.8)) * 1.3
    scene = scene + grain * (shot * scene.clamp(min=0).sqrt() + read)
    picture = scene.clamp(0, 1) ** (1 / draw.between(2.0, 2.4))
    crisp = draw.between(0, 1.0) * draw.yes(0.6)
    picture = picture + crisp * (picture - soften(picture, draw.between(0.7, 1.5)))
    middle = 0.45
    picture = middle + (picture - middle) * draw.between(0.85, 1.2) + draw.between(-0.06, 0.06)
    grey = picture.mean(1, keepdim=True)
    picture = grey + (picture - grey) * draw.between(0.6, 1.25)
    pixels = (picture.clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return _compressed(draw, pixels)


def _compressed(draw: Draw, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    quality = draw.between(35, 98).flatten().int().tolist()
    fine = draw.yes(0.5).flatten().bool().tolist()
    kept = (draw.between(0, 1) < 0.15).flatten().tolist()
    out = pixels.copy()
    for i, picture in enumerate(pixels):
        if not kept[i]:
            planes = "444" if fine[i] else "420"
            data = simplejpeg.encode_jpeg(picture, quality[i], colorsubsampling=planes)
            out[i] = simplejpeg.decode_jpeg(data)
    return out
