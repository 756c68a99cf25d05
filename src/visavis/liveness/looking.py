"""A face's landmarks, looked at several times, because one look is not exact enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from visavis.values import Face, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LOOKS = ((1.7, 0.05, 0.03, True), (2.0, -0.04, 0.05, False), (1.8, 0.02, -0.05, True))
"""Side of the square cut out and its shift, in widths of the box, and whether it is mirrored."""
_MIRRORED = [1, 0, 2, 4, 3]
_LEAST = 32
"""Of a cut-out's side, in pixels."""


class Observer(Protocol):
    """What active liveness needs of the networks; ``engine`` puts it together."""

    def faces(self, image: Image) -> Sequence[Face]:
        """Find the faces of a frame, the largest first."""

    def encode(self, image: Image, face: Face) -> NDArray[np.float32]:
        """Give the face's encoding: unit vector (D,)."""


def found_again(observer: Observer, image: Image, last: Face) -> Face | None:
    """Look where a face was a moment ago, in cut-outs, when the whole frame shows none.

    A turned face's score lies near the detector's limit, and differs from one cut-out to the next.
    """
    side = max(last.box[2], last.box[3])
    for look in _LOOKS:
        part, corner = _cut_out(image, last.box, look)
        for seen in observer.faces(part) if min(part.pixels.shape[:2]) >= _LEAST else ():
            points = _placed(seen, part, corner, mirrored=look[3])
            moved = np.abs(points.mean(0) - last.landmarks.mean(0)).max()
            if moved < 0.5 * side and 0.5 < seen.box[2] / last.box[2] < 2:
                x, y, w, h = seen.box
                x = part.width - x - w if look[3] else x
                return Face((x + corner[0], y + corner[1], w, h), points, seen.score)
    return None


def landmarks(
    observer: Observer, image: Image, face: Face, number: int | None = None
) -> NDArray[np.float32]:
    """(5, 2) mean over several looks at a face: as found, and shifted and mirrored.

    YuNet errs by a pixel or so, which differs with the place of the face on its grid: the nose's
    parallax at rest has a standard deviation of 0.028 with one look and of 0.02 with four.

    Parameters
    ----------
    number
        Of the frame, where only one more look is taken and the next frames take the others; None
        for all of them, at the cost of three more runs of the detector on a small picture.
    """
    looks = _LOOKS if number is None else (_LOOKS[2 * (number % 2)],)
    seen = [face.landmarks]
    for look in looks:
        part, corner = _cut_out(image, face.box, look)
        found = observer.faces(part) if min(part.pixels.shape[:2]) >= _LEAST else ()
        if not found:
            continue
        points = _placed(found[0], part, corner, mirrored=look[3])
        # Another face in the corner of the cut is not this one.
        if np.abs(points - face.landmarks).max() < 0.2 * max(face.box[2:]):
            seen.append(points)
    mean: NDArray[np.float32] = np.mean(seen, axis=0).astype(np.float32)
    return mean


def _cut_out(
    image: Image,
    box: tuple[float, float, float, float],
    look: tuple[float, float, float, bool],
) -> tuple[Image, tuple[int, int]]:
    """Cut a face out with its surroundings; gives the cut and its corner in the picture."""
    x, y, w, h = box
    grown, right, down, mirrored = look
    middle, half = (x + (0.5 + right) * w, y + h / 2 + down * w), grown * max(w, h) / 2
    left, top = (max(0, int(m - half)) for m in middle)
    part = image.pixels[top : max(0, int(middle[1] + half)), left : max(0, int(middle[0] + half))]
    return Image(np.ascontiguousarray(part[:, ::-1] if mirrored else part)), (left, top)


def _placed(
    face: Face, part: Image, corner: tuple[int, int], *, mirrored: bool
) -> NDArray[np.float32]:
    """Bring the landmarks (5, 2) of a face in a cut-out back into the picture."""
    points = face.landmarks.copy()
    if mirrored:
        points[:, 0] = part.width - 1 - points[:, 0]
        points = points[_MIRRORED]
    placed: NDArray[np.float32] = points + np.array(corner, np.float32)
    return placed
