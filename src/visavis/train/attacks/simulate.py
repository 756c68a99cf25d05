"""From live canvases to presentations, by species."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import torch

from visavis.train.attacks.camera import photograph
from visavis.train.attacks.canvas import CROP_SIZE, look, view
from visavis.train.attacks.draw import Draw
from visavis.train.attacks.paper import on_paper
from visavis.train.attacks.person import in_person
from visavis.train.attacks.screen import on_screen
from visavis.train.attacks.studio import studio

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Species(StrEnum):
    """What is before the camera."""

    LIVE = "live"
    PRINT = "print"
    SCREEN = "screen"


_ATTACKS = {Species.PRINT: on_paper, Species.SCREEN: on_screen}


@torch.no_grad()
def simulate(
    canvases: NDArray[np.uint8],
    species: Species,
    seed: int,
    close: float = 0.0,
    side: int = CROP_SIZE,
) -> NDArray[np.uint8]:
    """Let a camera see each canvas as one species.

    The same arguments give the same pictures, with one version of torch on one kind of machine.

    Parameters
    ----------
    canvases
        (N, K, K, 3) uint8 RGB from live photographs: ``align.surroundings`` with scale ``CANVAS``
        and size ``CANVAS_SIZE``. Backgrounds and reflections come from the batch's other pictures.
    close
        Share of attacks that fill the view, in [0, 1].

    Returns
    -------
    (N, side, side, 3) uint8 RGB: the crop that a network sees.
    """
    draw = Draw(seed, len(canvases))
    light = torch.from_numpy(canvases).permute(0, 3, 1, 2).float().div_(255).pow_(2.2)
    plane = view(draw, side)
    photos = studio(draw, light)
    if species is Species.LIVE:
        scene = in_person(draw, photos, plane)
    else:
        scene = _ATTACKS[species](draw, photos, plane, close)
    return photograph(draw, scene)


@torch.no_grad()
def vary(canvases: NDArray[np.uint8], seed: int, side: int = CROP_SIZE) -> NDArray[np.uint8]:
    """Look again at real presentations, live or attacks: another view of them, the same camera.

    Half of them keep their own light, noise and sharpness. Arguments and result as ``simulate``.
    """
    draw = Draw(seed, len(canvases))
    light = torch.from_numpy(canvases).permute(0, 3, 1, 2).float().div_(255).pow_(2.2)
    scene = look(light, view(draw, side))
    plain = (scene.clamp(0, 1) ** (1 / 2.2) * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()
    keep = draw.yes(0.5).numpy().astype(bool)
    return np.where(keep, plain, photograph(draw, scene))
