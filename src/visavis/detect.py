"""Image to faces: YuNet at one scale, or from coarse to fine."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from visavis.values import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.models import Session
    from visavis.values import Image

_STRIDES = (8, 16, 32)
_ALIGN = 32


class Search(StrEnum):
    """How thoroughly a picture is searched."""

    SUBJECT = "subject"
    """Stop when a large face is found in a small copy: for one person before the camera."""
    ALL = "all"
    """Every scale down to single pixels: for groups, and faces far away."""


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """What counts as a face and how it is searched.

    Attributes
    ----------
    score
        Least confidence in [0, 1].
    overlap
        Of two faces whose boxes overlap more (intersection over union), the weaker is dropped.
    coarse
        Longer side, in pixels, of the copy that is searched first.
    subject
        A face this wide in the coarse copy, in pixels, is large enough to be the subject.
    tile
        Pictures with longer sides are searched in overlapping tiles of this size.
    margin
        How far the tiles overlap: faces up to this size are seen whole in one of them.
    """

    score: float = 0.7
    overlap: float = 0.3
    coarse: int = 320
    subject: int = 48
    tile: int = 1280
    margin: int = 160


class Detector:
    """Finds faces with YuNet (Wu et al. 2023).

    Parameters
    ----------
    session
        YuNet, taking (1, H, W, 3) uint8 RGB with H and W multiples of 32.
    """

    def __init__(self, session: Session, config: DetectorConfig | None = None) -> None:
        self._session = session
        self.config = config or DetectorConfig()

    def find(self, image: Image, search: Search = Search.ALL) -> list[Face]:
        """List the faces of a picture, the largest first; empty when there are none."""
        config = self.config
        long_side = max(image.height, image.width)
        found = self._at(image.pixels, min(1.0, config.coarse / long_side))
        enough = search is Search.SUBJECT and any(
            face.box[2] * config.coarse >= config.subject * max(long_side, config.coarse)
            for face in found
        )
        if not enough and long_side > config.coarse:
            # Faces between what the coarse copy shows and what a tile holds need a middle scale.
            if long_side > 2 * config.tile:
                found += self._at(image.pixels, config.tile / long_side)
            found += self._tiled(image.pixels)
        return _largest_first(_suppress(found, config.overlap))

    def _at(self, pixels: NDArray[np.uint8], scale: float) -> list[Face]:
        if scale < 1:
            # Of a strip that is thinner than a pixel in the copy, one pixel is left.
            size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(
                np.uint8, copy=False
            )
        return [face.scaled(1 / scale) for face in self._run(pixels)]

    def _tiled(self, pixels: NDArray[np.uint8]) -> list[Face]:
        height, width = pixels.shape[:2]
        tile, margin = self.config.tile, self.config.margin
        found = []
        for top in _starts(height, tile, margin):
            for left in _starts(width, tile, margin):
                part = pixels[top : top + tile, left : left + tile]
                inner = (left > 0, top > 0, left + tile < width, top + tile < height)
                found += [
                    _moved(face, left, top)
                    for face in self._run(part)
                    if not _cut(face.box, part.shape[:2], inner)
                ]
        return found

    def _run(self, pixels: NDArray[np.uint8]) -> list[Face]:
        height, width = pixels.shape[:2]
        padded = (-(-height // _ALIGN) * _ALIGN, -(-width // _ALIGN) * _ALIGN)
        if padded == (height, width):
            batch = np.ascontiguousarray(pixels)[None]
        else:
            batch = np.zeros((1, *padded, 3), np.uint8)
            batch[0, :height, :width] = pixels
        return _faces(self._session.run(batch), padded, self.config.score)


def _starts(length: int, tile: int, margin: int) -> list[int]:
    """Where tiles begin so that they cover ``length`` and overlap by at least ``margin``."""
    if length <= tile:
        return [0]
    count = -(-(length - margin) // (tile - margin))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _cut(
    box: tuple[float, float, float, float],
    size: tuple[int, ...],
    inner: tuple[bool, bool, bool, bool],
) -> bool:
    """Tell whether a tile's inner border cuts the face, so that a neighbour sees more of it."""
    x, y, w, h = box
    over = (x < 1, y < 1, x + w > size[1] - 1, y + h > size[0] - 1)
    return any(o and i for o, i in zip(over, inner, strict=True))


def _moved(face: Face, left: int, top: int) -> Face:
    x, y, w, h = face.box
    shift = np.array([left, top], np.float32)
    return Face((x + left, y + top, w, h), face.landmarks + shift, face.score)


def _faces(outputs: list[NDArray[np.float32]], size: tuple[int, int], score: float) -> list[Face]:
    """Decode YuNet's anchor-free heads (Wu et al. 2023, sec. 3.3) for one picture.

    ``outputs`` holds, for strides 8, 16 and 32 each, the class and object scores (1, A, 1), the
    boxes (1, A, 4) as centre and log size in strides, and the landmarks (1, A, 10) in strides.
    """
    faces = []
    for level, stride in enumerate(_STRIDES):
        confidence = outputs[level][0, :, 0] * outputs[3 + level][0, :, 0]
        (kept,) = np.nonzero(confidence >= score * score)
        if not kept.size:
            continue
        cells = _cells(size[0] // stride, size[1] // stride)[kept]
        boxes = outputs[6 + level][0, kept]
        centre = (cells + boxes[:, :2]) * stride
        extent = np.exp(boxes[:, 2:]) * stride
        points = (outputs[9 + level][0, kept].reshape(-1, 5, 2) + cells[:, None]) * stride
        corner = centre - extent / 2
        for i, index in enumerate(kept):
            box = (*corner[i].tolist(), *extent[i].tolist())
            value = float(min(1.0, confidence[index]) ** 0.5)
            faces.append(Face(box, points[i], value))
    return faces


@functools.lru_cache(maxsize=64)
def _cells(rows: int, columns: int) -> NDArray[np.float32]:
    """(rows * columns, 2) column and row of each cell, row by row."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _suppress(faces: list[Face], overlap: float) -> list[Face]:
    """Keep, of faces that overlap, the one with the highest score (greedy suppression)."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(_shared(face.box, other.box) <= overlap for other in kept):
            kept.append(face)
    return kept


def _shared(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _largest_first(faces: list[Face]) -> list[Face]:
    return sorted(faces, key=lambda f: -f.box[2] * f.box[3])
