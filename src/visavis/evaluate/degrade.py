"""Photographs spoilt on purpose, to find out what a camera must deliver.

Each spoils the photograph as a whole, before a face is looked for, so that failures to acquire
count too. All are seeded by the photograph, so that a second run spoils it the same way.
"""

from __future__ import annotations

import functools
import io
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageFilter

from visavis.errors import ProtocolRefused
from visavis.image import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Change = Callable[[bytes], NDArray[np.uint8]]


class Degradation(StrEnum):
    """What befalls a photograph; the unit of its level in brackets."""

    JPEG = "jpeg"
    """Compressed again (quality, 1 to 95)."""
    RESOLUTION = "resolution"
    """Shrunk by area averaging and enlarged again (longer side in pixels)."""
    BLUR = "blur"
    """Gaussian (standard deviation as a share of the longer side, in thousandths)."""
    NOISE = "noise"
    """White, of each colour (standard deviation in grey levels)."""
    DARKNESS = "darkness"
    """Less light, then the sensor's noise of 2 grey levels (share of the light left, in %)."""
    OCCLUSION = "occlusion"
    """A grey bar over the middle of the picture from below (share of the height, in %)."""
    ROTATION = "rotation"
    """Turned in the plane about the middle (degrees)."""


LEVELS: dict[Degradation, tuple[float, ...]] = {
    Degradation.JPEG: (90, 60, 30, 20, 10, 5),
    Degradation.RESOLUTION: (160, 120, 90, 70, 50, 35),
    Degradation.BLUR: (4, 8, 12, 16, 24),
    Degradation.NOISE: (5, 10, 20, 40),
    Degradation.DARKNESS: (50, 25, 12, 6, 3),
    Degradation.OCCLUSION: (30, 40, 45, 50, 55),
    Degradation.ROTATION: (5, 10, 20, 30, 45),
}
"""From mild to hard."""


@dataclass(frozen=True, slots=True)
class Step:
    """One degradation at one level."""

    kind: Degradation
    level: float

    def __str__(self) -> str:
        return f"{self.kind} {self.level:g}"

    def change(self) -> Change:
        """Give the function that spoils a photograph's bytes into (H, W, 3) RGB pixels."""
        return functools.partial(_changed, self)


def chosen(kinds: Sequence[str]) -> list[Step]:
    """Read kinds as the user names them; ``all`` stands for every one.

    Raises
    ------
    ProtocolRefused
        For a kind that there is not.
    """
    known = [str(kind) for kind in Degradation]
    wrong = [kind for kind in kinds if kind not in {*known, "all"}]
    if wrong:
        raise ProtocolRefused(f"no degradation {wrong[0]!r}; known are: {', '.join(known)}, all")
    return steps([k for k in Degradation if "all" in kinds or str(k) in kinds])


def steps(kinds: list[Degradation]) -> list[Step]:
    """List every level of the kinds, mild ones first."""
    return [Step(kind, level) for kind in kinds for level in LEVELS[kind]]


def _changed(step: Step, data: bytes) -> NDArray[np.uint8]:
    pixels = decode(data).pixels
    chance = np.random.default_rng(zlib.crc32(data))
    return _HOW[step.kind](pixels, step.level, chance)


def _jpeg(pixels: NDArray[np.uint8], level: float, _: np.random.Generator) -> NDArray[np.uint8]:
    stored = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stored, "JPEG", quality=int(level))
    return decode(stored.getvalue()).pixels


def _resolution(
    pixels: NDArray[np.uint8], level: float, _: np.random.Generator
) -> NDArray[np.uint8]:
    picture = PIL.Image.fromarray(pixels)
    factor = level / max(picture.size)
    if factor >= 1:
        return pixels
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    small = picture.resize(size, PIL.Image.Resampling.BOX)
    return np.asarray(small.resize(picture.size, PIL.Image.Resampling.BILINEAR))


def _blur(pixels: NDArray[np.uint8], level: float, _: np.random.Generator) -> NDArray[np.uint8]:
    radius = level / 1000 * max(pixels.shape[:2])
    picture = PIL.Image.fromarray(pixels).filter(PIL.ImageFilter.GaussianBlur(radius))
    return np.asarray(picture)


def _noise(
    pixels: NDArray[np.uint8], level: float, chance: np.random.Generator
) -> NDArray[np.uint8]:
    return _levels(pixels + chance.normal(0, level, pixels.shape))


def _darkness(
    pixels: NDArray[np.uint8], level: float, chance: np.random.Generator
) -> NDArray[np.uint8]:
    return _levels(pixels * (level / 100) + chance.normal(0, 2, pixels.shape))


def _occlusion(
    pixels: NDArray[np.uint8], level: float, _: np.random.Generator
) -> NDArray[np.uint8]:
    spoilt = pixels.copy()
    height, width = pixels.shape[:2]
    top = round(height * (1 - level / 100))
    spoilt[top:, width // 5 : width - width // 5] = 128
    return spoilt


def _rotation(
    pixels: NDArray[np.uint8], level: float, chance: np.random.Generator
) -> NDArray[np.uint8]:
    turn = level * chance.choice([-1, 1])
    picture = PIL.Image.fromarray(pixels).rotate(turn, PIL.Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_HOW = {
    Degradation.JPEG: _jpeg,
    Degradation.RESOLUTION: _resolution,
    Degradation.BLUR: _blur,
    Degradation.NOISE: _noise,
    Degradation.DARKNESS: _darkness,
    Degradation.OCCLUSION: _occlusion,
    Degradation.ROTATION: _rotation,
}
