"""What liveness is learnt from: canvases cut from photographs, and presentations made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.align import surroundings
from visavis.detect import Search
from visavis.errors import InputRefused, TrainingRefused
from visavis.image import open_image
from visavis.train.attacks import CANVAS, CANVAS_SIZE, CROP_SIZE, Species, simulate, vary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.detect import Detector
    from visavis.evaluate.listing import Presentation
    from visavis.train.live_config import LivenessConfig

_BATCH = 64
_LEAST = 8  # pictures of a batch that backgrounds come from
_SMALLEST = 36.0
"""Longer side of a face's box in pixels from which a canvas is cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvases:
    """Faces with wide surroundings, cut from real presentations.

    Attributes
    ----------
    pixels
        (N, K, K, 3) uint8 RGB.
    live
        (N,) bool.
    species, subject
        (N,) texts.
    """

    pixels: NDArray[np.uint8]
    live: NDArray[np.bool_]
    species: NDArray[np.str_]
    subject: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.live)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Canvases:
        """Give some of them."""
        return Canvases(self.pixels[rows], self.live[rows], self.species[rows], self.subject[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Crops as the network sees them.

    Attributes
    ----------
    crops
        (N, S, S, 3) uint8 RGB.
    live, species, subject
        As in ``Canvases``; a simulated attack is of the kind ``simulated-print`` and so on, and of
        the subject of its photograph.
    """

    crops: NDArray[np.uint8]
    live: NDArray[np.bool_]
    species: NDArray[np.str_]
    subject: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.live)

    def take(self, rows: NDArray[np.bool_]) -> Bank:
        """Give some of it."""
        return Bank(self.crops[rows], self.live[rows], self.species[rows], self.subject[rows])


def cut_canvases(
    presentations: Sequence[Presentation],
    images: Path,
    detector: Detector,
    told: Callable[[int], None] = lambda _: None,
) -> Canvases:
    """Find the largest face of each photograph and cut it out with its surroundings.

    Photographs that cannot be read, or without a face large enough, are left out.

    Raises
    ------
    TrainingRefused
        When nothing is left.
    """
    cut, kept = [], []
    for each in presentations:
        told(1)
        try:
            image = open_image(images / each.path)
        except InputRefused:
            continue
        faces = detector.find(image, Search.SUBJECT)
        if faces and max(faces[0].box[2:]) >= _SMALLEST:
            cut.append(surroundings(image, faces[0], CANVAS, CANVAS_SIZE))
            kept.append(each)
    if not cut:
        raise TrainingRefused(f"no photograph in {images} shows a face large enough to learn from")
    return Canvases(
        np.stack(cut),
        np.array([each.live for each in kept]),
        np.array(["live" if each.live else each.species for each in kept]),
        np.array([each.subject for each in kept]),
    )


def split(canvases: Canvases, config: LivenessConfig) -> tuple[Canvases, Canvases]:
    """Part canvases by subject into those to learn from and those held out.

    Raises TrainingRefused with fewer than two subjects.
    """
    subjects = np.unique(canvases.subject)
    if len(subjects) < 2:
        raise TrainingRefused("one subject cannot be held out: photographs of more are needed")
    order = np.random.default_rng(config.seed).permutation(subjects)
    count = min(len(subjects) - 1, max(1, round(config.held_out * len(subjects))))
    out = np.isin(canvases.subject, order[:count])
    return canvases.take(~out), canvases.take(out)


def render(
    canvases: Canvases, config: LivenessConfig, told: Callable[[int], None] = lambda _: None
) -> Bank:
    """Present each live photograph as itself and as each attack, and each real attack again.

    Raises
    ------
    TrainingRefused
        With fewer photographs than backgrounds need.
    """
    if len(canvases) < _LEAST:
        raise TrainingRefused(f"{len(canvases)} photographs are too few; {_LEAST} are needed")
    random = np.random.default_rng(config.seed)
    alive = np.nonzero(canvases.live)[0]
    crops, rows, kinds = [], [], []
    seed = config.seed * 1_000_003
    jobs: list[tuple[NDArray[np.int64], Species | None]] = [
        (np.nonzero(~canvases.live)[0], None),
        (alive, None),
        (alive, Species.LIVE),
        *((alive, each) for each in config.attacks),
    ]
    for _ in range(config.rounds):
        for which, kind in jobs:
            for some in _batches(random.permutation(which)):
                seed += 1
                part = canvases.pixels[some]
                crops.append(vary(part, seed) if kind is None else simulate(part, kind, seed))
                rows.append(some)
                made = canvases.species[some] if kind in {None, Species.LIVE} else None
                kinds.append(made if made is not None else np.full(len(some), f"simulated-{kind}"))
                told(len(some))
    at = np.concatenate(rows)
    species = np.concatenate(kinds)
    return Bank(np.concatenate(crops), species == "live", species, canvases.subject[at])


def presented(canvases: Canvases) -> Bank:
    """Give real presentations as a camera took them: the middle of each canvas, unchanged."""
    edge = (CANVAS_SIZE - CROP_SIZE) // 2
    crops = canvases.pixels[:, edge : edge + CROP_SIZE, edge : edge + CROP_SIZE]
    return Bank(crops, canvases.live, canvases.species, canvases.subject)


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Part rows into batches, the last filled up from the others so that none is too small."""
    found = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
    if found and len(found[-1]) < _LEAST:
        last = found.pop()
        found = [*found[:-1], np.concatenate([found[-1], last])] if found else [last]
    return found
