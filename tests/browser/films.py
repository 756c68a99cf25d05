"""Films for the browser's camera, made from the demo's portraits: somebody there, or a print."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

sys.path.append(str(Path(__file__).parents[1] / "liveness"))

from rephotographed import printed, retaken

WIDE, HIGH = 640, 480
LENGTH = 30


def before_the_camera(portrait: Path, top: float = 0.0) -> list[Image.Image]:
    """Somebody who stands there, nearly still; ``top`` of the portrait's height is left out."""
    seen = _framed(portrait, top)
    return [retaken(_moved(seen, step), seed=step % 6) for step in range(LENGTH)]


def sitting_still(portrait: Path) -> list[Image.Image]:
    """Somebody who does nothing for a quarter of a minute; no frame comes twice."""
    seen = np.asarray(_framed(portrait, 0.0), np.int16)
    random = np.random.default_rng(0)
    grain = random.normal(0, 3, seen.shape).astype(np.int16)
    shifts = random.integers(0, HIGH, 400)
    return [
        Image.fromarray(np.clip(seen + np.roll(grain, shift, (0, 1)), 0, 255).astype(np.uint8))
        for shift in shifts
    ]


def held_up_on_paper(portrait: Path, top: float = 0.0) -> list[Image.Image]:
    """A print of the portrait, held up by somebody."""
    photographed = printed(_framed(portrait, top), seed=1)
    side = min(photographed.width // 4, photographed.height // 3)
    left, top = (photographed.width - 4 * side) // 2, (photographed.height - 3 * side) // 2
    view = photographed.crop((left, top, left + 4 * side, top + 3 * side))
    seen = view.resize((WIDE, HIGH), Image.Resampling.LANCZOS)
    return [_moved(seen, step) for step in range(LENGTH)]


def nobody() -> list[Image.Image]:
    """A wall."""
    return [Image.new("RGB", (WIDE, HIGH), (122, 118, 112))]


def filmed(frames: list[Image.Image], film: Path) -> Path:
    """Write them as MJPEG, which the browser plays over and over."""
    written = io.BytesIO()
    for frame in frames:
        frame.save(written, "JPEG", quality=92)
    film.write_bytes(written.getvalue())
    return film


def _framed(portrait: Path, top: float) -> Image.Image:
    """A part of a portrait, as wide as it is and shaped as a camera's picture."""
    picture = Image.open(portrait).convert("RGB")
    side, above = picture.width // 4, int(top * picture.height)
    part = picture.crop((0, above, 4 * side, above + 3 * side))
    return part.resize((WIDE, HIGH), Image.Resampling.LANCZOS)


def _moved(picture: Image.Image, step: int) -> Image.Image:
    angle = 2 * np.pi * step / LENGTH
    across, down = round(3 * np.cos(angle)), round(2 * np.sin(angle))
    return ImageChops.offset(picture, across, down)
