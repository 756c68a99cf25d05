"""Films for the browser's camera, made from the demo's portraits: somebody there, or a print."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageFilter

sys.path.append(str(Path(__file__).parents[1] / "liveness"))

from rephotographed import printed, retaken

WIDE, HIGH = 640, 480
LENGTH = 30


def before_the_camera(portrait: Path) -> list[Image.Image]:
    """Somebody who stands there, nearly still."""
    seen = _framed(portrait, 500)
    return [retaken(_moved(seen, step), seed=step % 6) for step in range(LENGTH)]


def sitting_still(portrait: Path) -> list[Image.Image]:
    """Somebody who does nothing for a quarter of a minute; no frame comes twice."""
    seen = np.asarray(_framed(portrait, WIDE), np.int16)
    random = np.random.default_rng(0)
    grain = random.normal(0, 3, seen.shape).astype(np.int16)
    return [
        Image.fromarray(np.clip(seen + np.roll(grain, shift, (0, 1)), 0, 255).astype(np.uint8))
        for shift in random.integers(0, HIGH, 400)
    ]


def held_up_on_paper(portrait: Path) -> list[Image.Image]:
    """A print of the portrait, held up by somebody."""
    photographed = printed(_framed(portrait, WIDE), seed=1)
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


def _framed(portrait: Path, wide: int) -> Image.Image:
    """The upper part of a portrait, so wide, before a wall of its own colours."""
    picture = Image.open(portrait).convert("RGB")
    high = round(picture.height * wide / picture.width)
    part = picture.resize((wide, high), Image.Resampling.LANCZOS).crop((0, 0, wide, HIGH))
    room = part.resize((WIDE, HIGH)).filter(ImageFilter.GaussianBlur(25))
    room.paste(part, ((WIDE - wide) // 2, 0))
    return room


def _moved(picture: Image.Image, step: int) -> Image.Image:
    angle = 2 * np.pi * step / LENGTH
    across, down = round(3 * np.cos(angle)), round(2 * np.sin(angle))
    return ImageChops.offset(picture, across, down)
