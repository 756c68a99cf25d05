"""How a head moved between two frames, and whether it is a head: the nose's parallax.

The eyes and the corners of the mouth lie nearly in a plane, the tip of the nose stands before it.
Pictures of a plane, however it is held, are related by a homography (Hartley & Zisserman 2004,
ch. 2): the one that brings the four points back to where they were brings the nose of a
photograph back too. The nose of a head that turned lands elsewhere, by its height over the plane
times the tangent of the turn. That distance is the parallax: it says which way a head turned, and a
photograph that is moved, tilted or brought closer has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.quality import pose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PLANE = [0, 1, 3, 4]
"""Eyes and corners of the mouth among the five landmarks."""
_NOSE = 2


@dataclass(frozen=True, slots=True)
class Motion:
    """A face in one frame against the same face at rest.

    Attributes
    ----------
    across, up
        The nose's parallax in distances between the eyes: positive when the head turned to the
        image's right, and when it looks up. A head turned by t shows about 0.45 tan(t).
    closer
        How many times as large as at rest, without what a turn foreshortens.
    tilt
        Tangent of the angle by which the plane of eyes and mouth turned away, from its
        foreshortening alone; noise makes it about 0.2 at rest.
    yaw, pitch
        Degrees, as `visavis.quality.pose` estimates them.
    size
        Pixels that the distance between the eyes has, or had if the head did not turn.
    centre
        Mean of eyes and mouth corners, pixels.
    """

    across: float
    up: float
    closer: float
    tilt: float
    yaw: float
    pitch: float
    size: float
    centre: tuple[float, float]

    @property
    def parallax(self) -> float:
        """Length of the nose's parallax, in distances between the eyes."""
        return math.hypot(self.across, self.up)


class Rest:
    """A face that looks into the camera: what later frames are held against.

    Parameters
    ----------
    landmarks
        Of several frames, (5, 2) each: they are brought to one place and size, and averaged, so
        that the detector's noise counts once and not twice.
    """

    def __init__(self, landmarks: Sequence[NDArray[np.float32]]) -> None:
        shapes = [standard(each) for each in landmarks]
        self._shape = np.mean([shape for shape, _ in shapes], axis=0)
        self._size = float(np.median([size for _, size in shapes]))

    def motion(self, landmarks: NDArray[np.float32]) -> Motion | None:
        """Compare a frame's landmarks (5, 2); None when they are no face (all in one line)."""
        points = landmarks.astype(np.float64)
        back = homography(points[PLANE], self._shape[PLANE])
        if back is None:
            return None
        x, y, w = back @ np.array([*points[_NOSE], 1.0])
        if abs(w) < 1e-9:
            return None
        across, down = np.array([x / w, y / w]) - self._shape[_NOSE]
        large, small = _stretch(self._shape[PLANE], points[PLANE])
        if large < 1e-9:
            return None
        yaw, pitch, _ = pose(landmarks)
        middle = points[PLANE].mean(0)
        return Motion(
            across=float(across),
            up=float(-down),
            closer=large / self._size,
            tilt=math.sqrt(max(0.0, 1 - (small / large) ** 2)) / max(small / large, 1e-3),
            yaw=yaw,
            pitch=pitch,
            size=large,
            centre=(float(middle[0]), float(middle[1])),
        )


def standard(landmarks: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Bring the eyes to (-0.5, 0) and (0.5, 0); gives the points and the eyes' distance."""
    points = landmarks.astype(np.float64)
    z = (points - (points[0] + points[1]) / 2) @ np.array([1, 1j])
    between = z[1] - z[0]
    z = z / between if abs(between) > 1e-9 else z
    return np.stack([z.real, z.imag], axis=1), float(abs(between))


def homography(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """(3, 3) that takes four points to four others; None when three lie in a line."""
    rows = []
    # Centred and scaled, or pixels squared would drown the rest (Hartley 1997).
    middle, spread = source.mean(0), max(float(np.abs(source - source.mean(0)).max()), 1e-9)
    for (x, y), (u, v) in zip((source - middle) / spread, target, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    try:
        h = np.linalg.solve(np.array(rows), target.ravel())
    except np.linalg.LinAlgError:
        return None
    inner = np.append(h, 1.0).reshape(3, 3)
    centring = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, spread]]) / spread
    whole: NDArray[np.float64] = inner @ centring
    return whole if np.isfinite(whole).all() else None


def _stretch(source: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float]:
    """Largest and smallest stretch of the affine map that takes ``source`` to ``target``.

    Under a distant camera a plane that turns is foreshortened along one direction only, so the
    larger is how close it is, and the ratio the cosine of its tilt.
    """
    a, _, _, _ = np.linalg.lstsq(source - source.mean(0), target - target.mean(0), rcond=None)
    large, small = np.linalg.svd(a, compute_uv=False)
    return float(large), float(small)
