"""A face's landmarks, looked at several times, because one look is not exact enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from visavis.values import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.values import Face

_LOOKS = ((1.7, 0.05, 0.03, True), (2.0, -0.04, 0.05, False), (1.8, 0.02, -0.05, True))
"""Side of the square cut out and its shift, in widths of the box, and whether it is mirrored."""
_MIRRORED = [1, 0, 2, 4, 3]


class Observer(Protocol):
    """What active liveness needs of the networks; ``engine`` puts it together."""

    def faces(self, image: Image) -> Sequence[Face]:
        """Find the faces of a frame, the largest first."""

    def encode(self, image: Image, face: Face) -> NDArray[np.float32]:
        """Give the face's encoding: unit vector (D,)."""


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
    x, y, w, h = face.box
    side = max(w, h)
    seen = [face.landmarks]
    for grown, right, down, mirrored in looks:
        middle, half = (x + (0.5 + right) * w, y + h / 2 + down * w), grown * side / 2
        left, top = (max(0, int(m - half)) for m in middle)
        part = image.pixels[top : int(middle[1] + half), left : int(middle[0] + half)]
        if min(part.shape[:2]) < 32:
            continue
        part = np.ascontiguousarray(part[:, ::-1] if mirrored else part)
        found = observer.faces(Image(part))
        if not found:
            continue
        points = found[0].landmarks.copy()
        if mirrored:
            points[:, 0] = part.shape[1] - 1 - points[:, 0]
            points = points[_MIRRORED]
        points += np.array([left, top], np.float32)
        # Another face in the corner of the cut is not this one.
        if np.abs(points - face.landmarks).max() < 0.2 * side:
            seen.append(points)
    mean: NDArray[np.float32] = np.mean(seen, axis=0).astype(np.float32)
    return mean
