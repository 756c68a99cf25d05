"""Where an encoder expects a face's landmarks: part of what it is, named by its manifest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alignment:
    """A square crop, and where the five landmarks lie in it.

    The name stands for the numbers in an encoder's id: other numbers need another name.

    Attributes
    ----------
    size
        Height and width in pixels.
    landmarks
        x and y of the eye on the image's left, the eye on its right, the tip of the nose, the
        corners of the mouth on the image's left and right; in pixels of the crop.
    """

    name: str
    size: int
    landmarks: tuple[tuple[float, float], ...]


ARCFACE_112 = Alignment(
    "arcface-112",
    112,
    (
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ),
)
"""Of most encoders (Deng et al. 2019, ArcFace, arXiv:1801.07698, sec. 3)."""


def _smaller(size: int) -> Alignment:
    """Shrink ArcFace's template: the same face in fewer pixels, for encoders that cost less."""
    factor = size / ARCFACE_112.size
    x, y = (0.5 * (factor - 1),) * 2  # pixel centres shrink towards the centre of the first pixel
    places = tuple(
        (round(a * factor + x, 4), round(b * factor + y, 4)) for a, b in ARCFACE_112.landmarks
    )
    return Alignment(f"arcface-{size}", size, places)


ARCFACE_64, ARCFACE_96 = _smaller(64), _smaller(96)
"""ArcFace's template shrunk, for encoders that learn and run faster."""

DLIB_150 = Alignment(
    "dlib-150",
    150,
    (
        (47.16, 44.97),
        (102.82, 45.37),
        (75.24, 77.05),
        (50.91, 101.17),
        (99.12, 102.17),
    ),
)
"""Of dlib's encoder, whose own chips come from other landmarks (the corners of the eyes and the
base of the nose, with a quarter of padding): the medians of where YuNet's fall in these chips, over
1,490 photographs of LFW View 1 (``benchmarks/dlib_alignment.py``)."""

ALIGNMENTS = {each.name: each for each in (ARCFACE_112, ARCFACE_96, ARCFACE_64, DLIB_150)}
"""By the name that manifests use."""
