"""What photographs suffer on purpose while an encoder learns, on the device that trains it.

kornia's operations and one of our own (low resolution as ``evaluate`` measures it). They follow one
another as in a camera: the face turns, something hides it, the light falls, the lens blurs, the
sensor is coarse, the file is compressed. Everything is drawn from torch's global random numbers of
the CPU, whatever the device: who seeds them before a batch gets the same pictures again.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import kornia.augmentation as kornia
import torch
from torch import Tensor, nn

from visavis.errors import TrainingRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[Tensor], Tensor]

FACE = 0.73
"""Width of a face's box as a share of its aligned crop: the median of YuNet's boxes over 200
photographs of LFW, 0.68 to 0.77 from the 10th to the 90th percentile."""

Range = tuple[float, float]


class Preset(StrEnum):
    """Augmentations by name."""

    NONE = "none"
    """The crops as they are."""
    LIGHT = "light"
    """Mirrored and moved a little: for fine-tuning on one's own photographs."""
    STANDARD = "standard"
    """A little of everything."""
    LOW_RESOLUTION = "low-resolution"
    """For cameras far away: seven of ten faces are 8 to 40 pixels wide."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How often and how much; as built, the standard preset.

    The first eight are probabilities for each photograph, the rest ranges that are drawn from.

    Attributes
    ----------
    flip
        Mirrored.
    move
        Turned by up to ``degrees``, shifted by up to ``shift`` of the side, scaled by ``zoom``.
    occlude
        A grey box over ``covered`` (share of the area).
    colour
        Brightness, contrast and saturation, each multiplied by one in ``contrast``.
    grey
        Without colour.
    blur
        Gaussian with a standard deviation of ``sigma`` (share of the side).
    shrink
        By area averaging until the face is as wide as ``face`` says (pixels, drawn evenly over
        its logarithm), and enlarged again linearly.
    compress
        JPEG at ``quality`` (1 to 100).
    """

    flip: float = 0.5
    move: float = 0.5
    occlude: float = 0.1
    colour: float = 0.5
    grey: float = 0.05
    blur: float = 0.1
    shrink: float = 0.15
    compress: float = 0.1
    degrees: float = 8.0
    shift: float = 0.03
    zoom: Range = (0.94, 1.06)
    covered: Range = (0.02, 0.2)
    contrast: Range = (0.7, 1.3)
    sigma: Range = (0.004, 0.018)
    face: Range = (14.0, 60.0)
    quality: Range = (20.0, 90.0)

    def __post_init__(self) -> None:
        """Raise TrainingRefused for what cannot be drawn."""
        for name in CHANCES:
            chance = getattr(self, name)
            if not 0 <= chance <= 1:
                raise TrainingRefused(f"the probability of {name} is {chance:g}; it is in 0 to 1")
        for name, least, most in _LIMITS:
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise TrainingRefused(
                    f"the range of {name} is {low:g} to {high:g}; it rises, from {least:g} or "
                    f"more to {most:g} or less"
                )
        if not (0 <= self.degrees <= 180 and 0 <= self.shift < 0.5):
            raise TrainingRefused("a face turns by 0 to 180 degrees and shifts by less than half")


CHANCES = tuple(each.name for each in fields(AugmentConfig))[:8]
"""The fields that are probabilities."""

_LIMITS = (
    ("zoom", 0.1, 10.0),
    ("covered", 0.0, 0.9),
    ("contrast", 0.0, 4.0),
    ("sigma", 0.001, 0.2),
    ("face", 1.0, 1000.0),
    ("quality", 1.0, 100.0),
)

_NOTHING: dict[str, Any] = dict.fromkeys(CHANCES, 0.0)

PRESETS = {
    Preset.NONE: AugmentConfig(**_NOTHING),
    Preset.LIGHT: AugmentConfig(
        **_NOTHING | {"flip": 0.5, "move": 0.5, "colour": 0.3},
        degrees=4.0,
        shift=0.02,
        contrast=(0.85, 1.15),
    ),
    Preset.STANDARD: AugmentConfig(),
    Preset.LOW_RESOLUTION: AugmentConfig(shrink=0.7, face=(8.0, 40.0)),
}


class Augment(nn.Module):
    """Crops to what the network is shown; in ``eval`` mode they are only converted."""

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    @torch.no_grad()
    def forward(self, crops: Tensor) -> Tensor:
        """Spoil (B, S, S, 3) uint8 RGB into (B, 3, S, S) float32 RGB in 0..255."""
        pixels = crops.permute(0, 3, 1, 2).contiguous().float()
        if not self.training:
            return pixels
        pixels /= 255
        for chance, change in _changes(self.config, pixels.shape[-1]):
            pixels = _some(pixels, chance, change)
        return (pixels * 255).clamp_(0, 255)


@functools.cache
def _changes(config: AugmentConfig, side: int) -> list[tuple[float, Change]]:
    """List what happens, first to last, and how often; kornia's hold only their last draw."""
    reach = 2 * max(1, round(3 * config.sigma[1] * side)) + 1
    blur = kornia.RandomGaussianBlur(
        (reach, reach), (config.sigma[0] * side, config.sigma[1] * side), p=1.0
    )
    move = kornia.RandomAffine(
        degrees=config.degrees,
        translate=(config.shift, config.shift),
        scale=config.zoom,
        padding_mode="border",
        p=1.0,
    )
    light = (config.contrast,) * 3
    steps: list[tuple[float, Change]] = [
        (config.flip, kornia.RandomHorizontalFlip(p=1.0)),
        (config.move, move),
        (config.occlude, kornia.RandomErasing(config.covered, value=0.5, p=1.0)),
        (config.colour, kornia.ColorJitter(*light, p=1.0)),
        (config.grey, kornia.RandomGrayscale(p=1.0)),
        (config.blur, blur),
        (config.shrink, functools.partial(_coarse, config.face)),
        (config.compress, kornia.RandomJPEG(config.quality, p=1.0)),
    ]
    return [(chance, change) for chance, change in steps if chance > 0]


def _some(pixels: Tensor, chance: float, change: Change) -> Tensor:
    """Change some of the images; kornia's own choice would compress all and keep some."""
    at = (torch.rand(len(pixels)) < chance).nonzero().squeeze(1).to(pixels.device)
    return pixels.index_copy(0, at, change(pixels[at])) if len(at) else pixels


def _coarse(face: Range, pixels: Tensor) -> Tensor:
    low, high = (math.log(width) for width in face)
    return shrink(pixels, torch.exp(low + (high - low) * torch.rand(len(pixels))))


def shrink(pixels: Tensor, widths: Tensor) -> Tensor:
    """Shrink until faces are so wide, by area averaging, and enlarge again linearly.

    Both are sums along rows and columns, so each image is multiplied by one matrix from the left
    and from the right, whatever its width: exact, and one call for a batch of many widths.

    Parameters
    ----------
    pixels
        (B, C, S, S).
    widths
        (B,) of the faces in pixels; one that is wider than the crop shows leaves it as it is.
    """
    side = pixels.shape[-1]
    cells = (widths / FACE).round().long().clamp(1, side)
    matrix = resampling(side).to(pixels.device, pixels.dtype)[cells.to(pixels.device)][:, None]
    return matrix @ pixels @ matrix.mT


@functools.cache
def resampling(side: int) -> Tensor:
    """Give (side + 1, side, side) float32: entry n takes a line to n cells and back.

    Entry 0 is empty; a line is multiplied from the left.
    """
    edges = torch.arange(side, dtype=torch.float64)
    found = torch.zeros(side + 1, side, side)
    for cells in range(1, side + 1):
        starts = torch.arange(cells, dtype=torch.float64)[:, None] * side / cells
        shared = torch.minimum(starts + side / cells, edges + 1) - torch.maximum(starts, edges)
        area = shared.clamp(min=0) * cells / side
        enlarged = nn.functional.interpolate(
            area.T[None], size=side, mode="linear", align_corners=False
        )
        found[cells] = enlarged[0].T
    return found
