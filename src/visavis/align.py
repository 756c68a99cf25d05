"""A face turned, scaled and shifted so that its landmarks lie where the encoder expects them."""

from __future__ import annotations

import cv2
import numpy as np

from visavis.values import CROP_SIZE, Crop, Face, Image

TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
"""Where eyes, nose and mouth corners lie in a crop (Deng et al. 2019, ArcFace, sec. 3)."""

_MODEL = TEMPLATE[:, 0].astype(np.float64) + 1j * TEMPLATE[:, 1]
_MEAN = _MODEL.mean()
_LONGEST = 32766
"""Of a side, in pixels, that OpenCV warps."""
_CORNERS = np.array([[x, y, 1.0] for x in (0, CROP_SIZE) for y in (0, CROP_SIZE)])


def similarity(landmarks: np.ndarray) -> np.ndarray:
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
    a = (spread.conj() * (_MODEL - _MEAN)).sum() / power if power > 1e-9 else 1.0 + 0j
    b = _MEAN - a * middle
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(image: Image, face: Face) -> Crop:
    """Cut a face out as the encoder wants it: 112 x 112, RGB.

    A face much larger than the crop is averaged down first, so that no detail turns into noise.
    What lies outside the picture is black.
    """
    matrix = similarity(face.landmarks)
    pixels = image.pixels
    inside = _inside(matrix, image)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    shrink = max(1, int(0.5 / scale)) if scale > 0 else 1
    if shrink > 1 or max(pixels.shape) > _LONGEST:
        pixels, matrix = _shrunk(pixels, matrix, shrink)
    crop = cv2.warpAffine(pixels, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    return Crop(np.asarray(crop, np.uint8), face, inside)


def _inside(matrix: np.ndarray, image: Image) -> float:
    """Share of the crop's area that the picture covers."""
    corners = cv2.invertAffineTransform(matrix)
    square = (_CORNERS[[0, 1, 3, 2]] @ corners.T).astype(np.float32)
    wide, high = image.width - 0.5, image.height - 0.5
    picture = np.array([[-0.5, -0.5], [wide, -0.5], [wide, high], [-0.5, high]], np.float32)
    shared, _ = cv2.intersectConvexConvex(square, picture)
    whole = cv2.contourArea(square)
    return min(1.0, shared / whole) if whole > 0 else 0.0


def _shrunk(pixels: np.ndarray, matrix: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
    """Average ``by`` x ``by`` pixels around the face into one, and fit the matrix to it."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = _CORNERS @ inverse.T
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
