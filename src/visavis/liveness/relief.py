"""How far a nose really stands out: the landmarks followed by their look, not as a network places.

YuNet knows heads and sees one in a picture too: turned by 45 degrees, the nose of a print that is
bent to a cylinder comes out where a head's would. So in the turns each landmark of the face at rest
is looked for again by its own pixels: both frames are brought to one geometry by the plane of eyes
and mouth, and a patch around the landmark is found by normalised cross-correlation (Lewis 1995).
What the nose then moved for each unit of tilt is its height over that plane: 0.36 to 0.55 in a
head, 0.06 to 0.13 on a cylinder of one to two eye distances' radius, none on a plane.

Three of the four points make a plane too, under a camera that is far away. They are asked where no
side showed all four, as of somebody whose goggles hide the far eye; a bent print comes out higher
by them, by a third at most of those measured, so what is not clearly a head's then tells nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from visavis.liveness.motion import PLANE, Rest, homography, standard

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sides = dict[bool, list[tuple[float, float]]]
"""For a face turned to the image's right or not: heights, and how alike the nose looked."""

_UNIT = 32
"""Pixels between the eyes in the geometry that frames are brought to."""
_PATCH = 9
"""Half of a patch's side."""
_SEARCH = (7, 6)
"""Furthest sideways and up or down that a landmark is looked for."""
_BESIDE = (4, 5, 11)
"""The nose is looked for from so far on the wrong side of where a plane's would be to so far beyond
where the network sees it, at least so far: noses are nearly symmetric, and one nostril looks like
the other."""
_NOSE = 2
_FAR = {False: (0, 3), True: (1, 4)}
"""Eye and corner of the mouth on the far side of a face turned to the image's right, or not: either
may be hidden. Without one of the near ones a cylinder of one eye distance's radius reaches 0.19."""
_CLEAR = 0.2
"""Least height that three points tell: heads have 0.23 to 0.35 by them, bent prints up to 0.13."""
_ALIKE = (0.55, 0.3)
"""Least correlation of the nose, and of the others; their far ones are seen at a sharp angle."""
_TILTED = 0.25
"""Least tilt that gives a height: of less, noise is too large a share."""
_FRAMES = 10
_ENOUGH = 3
"""At most, and at least so many frames of a side are looked at."""


class Relief:
    """The height of a nose, from the frames in which a head is turned.

    Parameters
    ----------
    pixels, landmarks
        A frame (H, W, 3) of the face at rest, and its landmarks (5, 2) there.
    """

    def __init__(self, pixels: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> None:
        self._rest = Rest([landmarks])
        self._places = standard(landmarks)[0] * _UNIT
        grey, points = _grey(pixels, landmarks)
        self._map = homography(self._places[PLANE], points[PLANE])
        self._patches = (
            [_looked(grey, self._map, place, (_PATCH, _PATCH)) for place in self._places]
            if self._map is not None
            else []
        )
        self._shape = self._places / _UNIT
        self._whole: Sides = {False: [], True: []}
        self._three: Sides = {False: [], True: []}

    def add(self, pixels: NDArray[np.uint8], landmarks: NDArray[np.float32], across: float) -> None:
        """Take in a frame of a turned face; ``across`` is the parallax that the network sees."""
        right = across > 0
        if len(self._whole[right]) >= _FRAMES or not self._patches:
            return
        found = self._found(pixels, landmarks, across)
        if found is None:
            return
        points, alike = found
        known = ~np.isnan(points[PLANE, 0])
        tilted = self._tilted(points) if known.all() else _tilted(self._shape, points, known)
        if tilted is not None and tilted[1] >= _TILTED:
            height = math.copysign(tilted[0], tilted[0] * across) / tilted[1]
            (self._whole if known.all() else self._three)[right].append((height, alike))

    @property
    def height(self) -> float | None:
        """Parallax for each unit of tilt; None if it cannot be told.

        The medians of both sides count by how far above half the nose's correlation is: where it is
        hardly known again, it may well have been taken for something else.
        """
        whole, three = _mean(self._whole), _mean(self._three)
        if whole is None and three is not None and three >= _CLEAR:
            return three
        return whole

    def _tilted(self, points: NDArray[np.float64]) -> tuple[float, float] | None:
        """Parallax across, and tilt, by all five points; None when they are no face."""
        motion = self._rest.motion(points.astype(np.float32))
        return None if motion is None else (motion.across, motion.tilt)

    def _found(
        self, pixels: NDArray[np.uint8], landmarks: NDArray[np.float32], across: float
    ) -> tuple[NDArray[np.float64], float] | None:
        """Where the landmarks (5, 2) are by their pixels, and how alike the nose looked.

        One of the far side's may be NaN; None if more, or others, were not found again.
        """
        grey, points = _grey(pixels, landmarks)
        back = homography(self._places[PLANE], points[PLANE])
        if back is None:
            return None
        found, alike = np.empty((5, 2)), np.empty(5)
        for i, (patch, place) in enumerate(zip(self._patches, self._places, strict=True)):
            middle, (wide, high) = place, _SEARCH
            if i == _NOSE:
                before, beyond, least = _BESIDE
                most = max(least, round(abs(across) * _UNIT) + beyond)
                wide = (before + most + 1) // 2
                middle = place + np.array([math.copysign(wide - before, across), 0])
            window = _looked(grey, back, middle, (_PATCH + wide, _PATCH + high))
            shift, alike[i] = _best(window, patch)
            at_edge = abs(shift[0]) >= wide or abs(shift[1]) >= high
            lost = alike[i] < _ALIKE[i != _NOSE] or at_edge
            found[i] = np.nan if lost else middle + shift
        missing = set(np.flatnonzero(np.isnan(found[:, 0])).tolist())
        there = np.column_stack([found, np.ones(5)]) @ back.T
        if len(missing) > 1 or missing - {*_FAR[across > 0]}:
            return None
        if np.nanmin(np.abs(there[:, 2])) < 1e-9:
            return None
        return there[:, :2] / there[:, 2:], float(alike[_NOSE])


def _mean(frames: Sides) -> float | None:
    """Height by the medians of both sides; None where neither has enough frames."""
    sides = [np.median(seen, axis=0) for seen in frames.values() if len(seen) >= _ENOUGH]
    if not sides:
        return None
    heights, alike = np.array(sides).T
    return float(np.average(heights, weights=alike - 0.5))


def _tilted(
    shape: NDArray[np.float64], points: NDArray[np.float64], known: NDArray[np.bool_]
) -> tuple[float, float] | None:
    """Parallax across, and tilt, by the nose and three of eyes and mouth; None of a line."""
    three = [i for i, there in zip(PLANE, known, strict=True) if there]
    rest, seen = shape[three], points[three]
    try:
        turned = np.linalg.solve(rest[1:] - rest[0], seen[1:] - seen[0]).T
        nose = rest[0] + np.linalg.solve(turned, points[_NOSE] - seen[0])
    except np.linalg.LinAlgError:
        return None
    large, small = np.linalg.svd(turned, compute_uv=False)
    cosine = max(float(small / large), 1e-3)
    return float(nose[0] - shape[_NOSE, 0]), math.sqrt(max(0.0, 1 - cosine**2)) / cosine


def _grey(
    pixels: NDArray[np.uint8], landmarks: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Cut out the face, grey, and so far reduced that sampling it does not alias."""
    points = landmarks.astype(np.float64)
    eyes = float(np.hypot(*(points[1] - points[0])))
    by = max(1, int(eyes / (1.5 * _UNIT)))
    size = np.array([pixels.shape[1], pixels.shape[0]])
    low = np.clip(points.min(0) - 1.2 * eyes, 0, size - by).astype(int)
    high = np.clip(points.max(0) + 1.2 * eyes, low + by, size).astype(int)
    wide, tall = (high - low) // by
    part = pixels[low[1] : low[1] + tall * by, low[0] : low[0] + wide * by]
    blocks = part.reshape(tall, by, wide, by, 3).mean((1, 3, 4), dtype=np.float32)
    return blocks, (points - low + 0.5) / by - 0.5


def _looked(
    grey: NDArray[np.float32],
    back: NDArray[np.float64],
    place: NDArray[np.float64],
    reach: tuple[int, int],
) -> NDArray[np.float32]:
    """(2 high + 1, 2 wide + 1) around a place, through the map back into the frame; bilinear."""
    wide, high = reach
    x = place[0] + np.arange(-wide, wide + 1)
    y = place[1] + np.arange(-high, high + 1)
    u, v, w = np.moveaxis(
        np.stack([*np.meshgrid(x, y), np.ones((y.size, x.size))], -1) @ back.T, -1, 0
    )
    w = np.where(np.abs(w) < 1e-9, 1e-9, w)
    u = np.clip(u / w, 0, grey.shape[1] - 1.001)
    v = np.clip(v / w, 0, grey.shape[0] - 1.001)
    left, top = np.maximum(u.astype(int), 0), np.maximum(v.astype(int), 0)
    right = np.minimum(left + 1, grey.shape[1] - 1)
    bottom = np.minimum(top + 1, grey.shape[0] - 1)
    a, b = u - left, v - top
    upper = grey[top, left] * (1 - a) + grey[top, right] * a
    lower = grey[bottom, left] * (1 - a) + grey[bottom, right] * a
    seen: NDArray[np.float32] = (upper * (1 - b) + lower * b).astype(np.float32)
    return seen


def _best(
    window: NDArray[np.float32], patch: NDArray[np.float32]
) -> tuple[NDArray[np.float64], float]:
    """Where in a window a patch is, as (x, y) from the middle, and the correlation there."""
    views = np.lib.stride_tricks.sliding_window_view(window, patch.shape)
    flat = views.reshape(*views.shape[:2], -1)
    flat = flat - flat.mean(-1, keepdims=True)
    wanted = patch.ravel() - patch.mean()
    size = np.linalg.norm(flat, axis=-1) * np.linalg.norm(wanted)
    alike = (flat @ wanted) / np.maximum(size, 1e-6)
    row, column = np.unravel_index(int(alike.argmax()), alike.shape)
    middle = (np.array(alike.shape) - 1) / 2
    shift = np.array(
        [
            column + _between(alike[row], int(column)) - middle[1],
            row + _between(alike[:, column], int(row)) - middle[0],
        ]
    )
    return shift, float(alike[row, column])


def _between(values: NDArray[np.float32], at: int) -> float:
    """Give the top of the parabola through a maximum and its neighbours, from the maximum."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, top, after = (float(v) for v in values[at - 1 : at + 2])
    bend = before - 2 * top + after
    return 0.5 * (before - after) / bend if bend < -1e-9 else 0.0
