"""A face turned, scaled and shifted so that its landmarks lie where the encoder expects them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from visavis.models.alignment import ARCFACE_112, Alignment
from visavis.values import Crop, Face, Image

TEMPLATE = np.array(ARCFACE_112.landmarks, np.float32)
"""Where eyes, nose and mouth corners lie in a crop, unless an encoder names another alignment."""

_LONGEST = 32766
"""Of a side, in pixels, that OpenCV warps."""


@cache
def _model(alignment: Alignment) -> tuple[np.ndarray, complex]:
    """Give the template's landmarks as complex numbers around their mean, and the mean."""
    template = np.array(alignment.landmarks, np.float32)
    points = template[:, 0].astype(np.float64) + 1j * template[:, 1]
    return points - points.mean(), complex(points.mean())


@cache
def _corners(size: int) -> np.ndarray:
    return np.array([[x, y, 1.0] for x in (0, size) for y in (0, size)])


def similarity(landmarks: np.ndarray, alignment: Alignment = ARCFACE_112) -> np.ndarray:
    """Find the turn, scale and shift that bring five landmarks nearest to the template.

    Least squares without reflection (Umeyama 1991), which in the plane is one division of complex
    numbers: z -> a z + b.

    Parameters
    ----------
    landmarks
        (5, 2) pixels.

    Returns
    -------
    (2, 3) float64 matrix from picture to crop. When all landmarks coincide, the scale is 1.
    """
    points = landmarks[:, 0].astype(np.float64) + 1j * landmarks[:, 1]
    middle = points.mean()
    spread = points - middle
    power = float((spread.conj() * spread).real.sum())
    model, mean = _model(alignment)
    a = (spread.conj() * model).sum() / power if power > 1e-9 else 1.0 + 0j
    b = mean - a * middle
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(image: Image, face: Face, alignment: Alignment = ARCFACE_112) -> Crop:
    """Cut a face out as the encoder wants it: RGB, 112 x 112 unless it names another alignment.

    A face much larger than the crop is averaged down first, so that no detail turns into noise.
    What lies outside the picture is black.
    """
    matrix = similarity(face.landmarks, alignment)
    pixels, size = image.pixels, alignment.size
    inside = _inside(matrix, image, size)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    shrink = max(1, int(0.5 / scale)) if scale > 0 else 1
    if shrink > 1 or max(pixels.shape) > _LONGEST:
        pixels, matrix = _shrunk(pixels, matrix, shrink, size)
    crop = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return Crop(np.asarray(crop, np.uint8), face, inside, alignment.name)


def _inside(matrix: np.ndarray, image: Image, size: int) -> float:
    """Share of the crop's area that the picture covers."""
    corners = cv2.invertAffineTransform(matrix)
    square = (_corners(size)[[0, 1, 3, 2]] @ corners.T).astype(np.float32)
    wide, high = image.width - 0.5, image.height - 0.5
    picture = np.array([[-0.5, -0.5], [wide, -0.5], [wide, high], [-0.5, high]], np.float32)
    shared, _ = cv2.intersectConvexConvex(square, picture)
    whole = cv2.contourArea(square)
    return min(1.0, shared / whole) if whole > 0 else 0.0


def _shrunk(
    pixels: np.ndarray, matrix: np.ndarray, by: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average ``by`` x ``by`` pixels around the face into one, and fit the matrix to it."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = _corners(size) @ inverse.T
    height, width = pixels.shape[:2]
    left, top = np.clip(np.floor(corners.min(0)).astype(int) - by, 0, [width, height])
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + by, 0, [width, height])
    # Whole blocks only: a block is one pixel of the smaller picture.
    wide, high = (right - left) // by, (bottom - top) // by
    if wide < 1 or high < 1:  # the face lies outside: nothing of it is seen
        return np.zeros((1, 1, 3), np.uint8), matrix
    part = pixels[top : top + high * by, left : left + wide * by]
    small = part
    if by > 1:
        small = cv2.resize(part, (int(wide), int(high)), interpolation=cv2.INTER_AREA)
    # The centre of small pixel u lies at big pixel by * u + (by - 1) / 2.
    back = np.array([[by, 0, left + (by - 1) / 2], [0, by, top + (by - 1) / 2], [0, 0, 1.0]])
    return small, matrix @ back


def surroundings(image: Image, face: Face, scale: float, size: int) -> np.ndarray:
    """Cut out the square around a face, upright as the picture, for what looks beyond the face.

    Parameters
    ----------
    scale
        How many times the longer side of the face's box the square is wide and high.
    size
        Height and width of the result in pixels.

    Returns
    -------
    (size, size, 3) uint8 RGB. What lies outside the picture repeats its border.
    """
    side, left, top = _square(face, scale)
    part, missing = _within(image.pixels, left, top, side)
    if any(missing):
        part = cv2.copyMakeBorder(part, *missing, cv2.BORDER_REPLICATE)
    by = side // (2 * size)
    if by > 1:  # averaging whole blocks is much faster than shares of pixels
        rest = side % by
        part = part[rest // 2 : side - (rest - rest // 2), rest // 2 : side - (rest - rest // 2)]
        whole = (side // by, side // by)
        part = np.asarray(cv2.resize(part, whole, interpolation=cv2.INTER_AREA), np.uint8)
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (size, size), interpolation=way), np.uint8)


def inside_surroundings(image: Image, face: Face, scale: float) -> float:
    """Give the share of that square's area that the picture covers, in [0, 1]."""
    side, left, top = _square(face, scale)
    wide = min(image.width, left + side) - max(0, left)
    high = min(image.height, top + side) - max(0, top)
    return max(0, wide) * max(0, high) / (side * side)


def _square(face: Face, scale: float) -> tuple[int, int, int]:
    """Give side, left and top of the square around a face's box, in whole pixels."""
    x, y, wide, high = face.box
    side = max(1, min(_LONGEST, round(scale * max(wide, high))))
    return side, round(x + wide / 2 - side / 2), round(y + high / 2 - side / 2)


def _within(
    pixels: np.ndarray, left: int, top: int, side: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Cut what the picture has of a square, at least a pixel.

    Also counts what is missing: rows above and below, columns to the left and right.
    """
    height, width = pixels.shape[:2]
    x0, x1 = max(0, min(left, width - 1)), min(width, max(left + side, 1))
    y0, y1 = max(0, min(top, height - 1)), min(height, max(top + side, 1))
    over = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    # A square wholly outside keeps one line of the border; the rest is that line repeated.
    up, down, before, after = (max(0, each) for each in over)
    return pixels[y0:y1, x0:x1], (up, down, before, after)
