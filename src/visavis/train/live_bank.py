"""What liveness is learnt from: canvases cut from photographs, and presentations made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
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
    recorded
        (N,) bool: of a set that holds real attacks too, so that its camera tells nothing.
    """

    pixels: NDArray[np.uint8]
    live: NDArray[np.bool_]
    species: NDArray[np.str_]
    subject: NDArray[np.str_]
    recorded: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.live)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Canvases:
        """Give some of them."""
        return Canvases(*(getattr(self, each.name)[rows] for each in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Canvases]) -> Canvases:
        """Put several sets together."""
        names = [each.name for each in fields(cls)]
        return cls(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))


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
        np.full(len(kept), any(not each.live for each in kept)),
    )


def split(canvases: Canvases, config: LivenessConfig) -> tuple[Canvases, Canvases, Canvases]:
    """Part canvases by subject: to learn from, to choose the epoch by, to measure with.

    Subjects of recorded sets, of whom there are few, are parted by themselves, so that some of them
    are in each part.

    Raises TrainingRefused with fewer than three subjects, or photographs than backgrounds need.
    """
    subjects = np.unique(canvases.subject)
    if len(subjects) < 3:
        raise TrainingRefused(
            "subjects are held out twice, to choose and to measure: photographs of three or more "
            "are needed"
        )
    random = np.random.default_rng(config.seed)
    recorded = np.isin(subjects, canvases.subject[canvases.recorded])
    chosen, measured = [], []
    for some in (subjects[recorded], subjects[~recorded]):
        if len(some) < 3:  # too few to be parted: all of them are learnt from
            continue
        order = random.permutation(some)
        count = min(len(some) - 1, max(2, round(config.held_out * len(some))))
        chosen.append(order[: count // 2])
        measured.append(order[count // 2 : count])
    if not chosen:
        order = random.permutation(subjects)
        chosen, measured = [order[:1]], [order[1:2]]
    choose = np.isin(canvases.subject, np.concatenate(chosen))
    measure = np.isin(canvases.subject, np.concatenate(measured))
    learn = canvases.take(~choose & ~measure)
    if len(learn) < _LEAST:
        raise TrainingRefused(f"{len(learn)} photographs are too few; {_LEAST} are needed")
    return learn, canvases.take(choose), canvases.take(measure)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """Canvases that are presented together: as a species, looked at again, or as they are."""

    rows: NDArray[np.int64]
    how: Species | None
    unchanged: bool = False


def render(
    canvases: Canvases,
    config: LivenessConfig,
    told: Callable[[int], None] = lambda _: None,
    into: Path | None = None,
) -> Bank:
    """Present each live photograph as itself and as each attack, and each recorded one again.

    Parameters
    ----------
    into
        A file of NumPy's format that the crops are written to and mapped from; None keeps them in
        memory.
    """
    jobs = _jobs(canvases, config)
    rows = np.concatenate([job.rows for job in jobs])
    shape = (len(rows), CROP_SIZE, CROP_SIZE, 3)
    crops: NDArray[np.uint8] = (
        np.empty(shape, np.uint8)
        if into is None
        else np.lib.format.open_memmap(into, "w+", np.uint8, shape)
    )
    kinds, at = [], 0
    for number, job in enumerate(jobs, 1):
        part, seed = canvases.pixels[job.rows], config.seed * 1_000_003 + number
        if job.unchanged:
            made = _middle(part)
        elif job.how is None:
            made = vary(part, seed)
        else:
            made = simulate(part, job.how, seed, config.close)
        crops[at : at + len(made)] = made
        at += len(made)
        simulated = job.how not in {None, Species.LIVE}
        named = np.full(len(made), f"simulated-{job.how}")
        kinds.append(named if simulated else canvases.species[job.rows])
        told(len(made))
    species = np.concatenate(kinds)
    return Bank(crops, species == "live", species, canvases.subject[rows])


def planned(canvases: Canvases, config: LivenessConfig) -> int:
    """Say how many presentations ``render`` gives."""
    return sum(len(job.rows) for job in _jobs(canvases, config))


def _jobs(canvases: Canvases, config: LivenessConfig) -> list[_Job]:
    random = np.random.default_rng(config.seed)
    alive = np.nonzero(canvases.live)[0]
    kinds: list[tuple[NDArray[np.int64], Species | None]] = [
        (alive, each) for each in (Species.LIVE, *config.attacks)
    ]
    for real in (canvases.recorded & ~canvases.live, canvases.recorded & canvases.live):
        kinds += [(np.nonzero(real)[0], None)] * config.real
    jobs = [
        _Job(some, how)
        for _ in range(config.rounds)
        for which, how in kinds
        for some in _batches(random.permutation(which))
    ]
    if not config.real:
        jobs += [_Job(some, None, True) for some in _batches(np.nonzero(canvases.recorded)[0])]
    return jobs


def presented(canvases: Canvases) -> Bank:
    """Give real presentations as a camera took them: the middle of each canvas, unchanged."""
    crops = _middle(canvases.pixels)
    return Bank(crops, canvases.live, canvases.species, canvases.subject)


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    edge = (CANVAS_SIZE - CROP_SIZE) // 2
    return pixels[:, edge : edge + CROP_SIZE, edge : edge + CROP_SIZE]


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Part rows into batches, the last filled up from the others so that none is too small."""
    found = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
    if found and len(found[-1]) < _LEAST:
        last = found.pop()
        found = [*found[:-1], np.concatenate([found[-1], last])] if found else [last]
    return found
