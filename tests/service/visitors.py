"""People who come to a door, and pictures of people, made from the demo's portraits."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "liveness"))

from rephotographed import printed, retaken
from scripted import Actor, Performer, Solid, Style

from visavis.image import image_of
from visavis.liveness.answer import Guidance, Phrase

if TYPE_CHECKING:
    from visavis.engine.door import Door, DoorView

ENROLLED, CAMERA, STRANGER = "obama.jpg", "obama2.jpg", "biden.jpg"
"""Ada's photograph, what the camera sees of her, and what it sees of somebody else."""


def small(path: Path, side: int = 640) -> Image.Image:
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((side, side))
    return picture


def jpeg(picture: Image.Image | np.ndarray, quality: int = 90) -> bytes:
    file = io.BytesIO()
    given = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    given.save(file, "JPEG", quality=quality)
    return file.getvalue()


def live(path: Path, shots: int = 3) -> list[bytes]:
    """Frames of somebody before the camera."""
    return [jpeg(retaken(small(path), seed)) for seed in range(shots)]


def on_paper(path: Path, shots: int = 3) -> list[bytes]:
    """Frames of a printed photograph before the camera."""
    return [jpeg(printed(small(path), seed)) for seed in range(1, 1 + shots)]


def beside(a: Path, b: Path) -> bytes:
    """A frame with two people."""
    left, right = small(a, 480), small(b, 480)
    both = Image.new("RGB", (left.width + right.width, 480), (128, 128, 128))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return jpeg(both)


def empty() -> bytes:
    return jpeg(np.full((480, 640, 3), 120, np.uint8))


class Camera:
    """Shows frames to a door, at ten a second, and keeps what it says."""

    def __init__(self, door: Door, step: float = 0.2) -> None:
        self.door, self.step, self.now = door, step, 100.0
        self.views: list[DoorView] = []

    def show(self, frames: list[bytes], times: int) -> list[DoorView]:
        """Show some frames in turn, so many in all."""
        shown = []
        for number in range(times):
            self.now += self.step
            shown.append(self.door.update(frames[number % len(frames)], self.now))
        self.views += shown
        return shown

    @property
    def decided(self) -> list:
        return [view.decided for view in self.views if view.decided]


def performer(engine, path: Path, solid: Solid = Solid.HEAD, seed: int = 0, **how) -> Performer:
    """Somebody who does what the door tells them, or a picture that is moved about."""
    image = image_of(np.asarray(Image.open(path).convert("RGB")))
    face = engine.sight.detector.find(image)[0]
    how = {"style": Style.TURNS, **how}
    actor = Actor(image.pixels, face.landmarks, solid)
    return Performer(actor, np.random.default_rng(seed), rate=10, **how)


def visit(door: Door, someone: Performer, until=lambda view: view.decided) -> list[DoorView]:
    """Let a performer hear the door until it has decided."""
    views = []
    for timestamp, frame in someone.frames():
        view = door.update(frame, timestamp + 1)
        views.append(view)
        if until(view):
            break
        phrase = view.phrase
        if phrase in set(Phrase):
            someone.hear(Guidance(Phrase(phrase), view.action, view.done, view.of, view.remaining))
    return views
