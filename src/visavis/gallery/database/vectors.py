"""Between arrays and what a database column holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import TemplateRefused

from .faults import damaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STORED = np.dtype("<f4")
_LENGTH_TOLERANCE = 1e-3
ROUNDING = 2.0**-22
"""How far the length of a row of float32 may be from 1 and still be called 1."""


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Check a template's vector and take the last rounding out of its length.

    Parameters
    ----------
    vector
        (D,) float32 of length 1 within 1e-3.

    Returns
    -------
    NDArray
        (D,) float32 of length 1 within float32's precision, so that 2 - 2 cos and the squared
        distance agree.

    Raises
    ------
    TemplateRefused
        Another shape or type, not finite, or not of unit length.
    """
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.ndim != 1:
        kind = f"{getattr(vector, 'dtype', type(vector).__name__)} {np.shape(vector)}"
        raise TemplateRefused(f"a template is one row (D,) of float32, not {kind}")
    exact = vector.astype(np.float64)
    length = float(np.sqrt(exact @ exact))
    # Written so that NaN and infinity fall on the refusing side.
    if not abs(length - 1.0) <= _LENGTH_TOLERANCE:
        raise TemplateRefused(
            f"a template is a unit vector, and this one has length {length:g}; divide it by its "
            "length, or see why the encoder gave numbers that are not finite"
        )
    if abs(length - 1.0) <= ROUNDING:
        return vector  # bit for bit, so that the same photograph is at distance 0
    return (exact / length).astype(np.float32)


def unit_rows(probes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Check probes (N, D), and give them in float64 at length 1; raises TemplateRefused."""
    if probes.ndim != 2:
        raise TemplateRefused(f"probes are rows (N, D), not {probes.shape}")
    exact = probes.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    if not np.all(np.abs(lengths - 1.0) <= 1e-3):
        raise TemplateRefused("a probe is not a finite unit vector; see what the encoder gave")
    lengths[np.abs(lengths - 1.0) <= ROUNDING] = 1.0  # the same vector is at distance 0
    unit: NDArray[np.float64] = exact / lengths[:, None]
    return unit


def packed(vector: NDArray[np.float32]) -> bytes:
    """(D,) float32 to 4 D bytes, little-endian."""
    return vector.astype(_STORED, copy=False).tobytes()


def unpacked(rows: Sequence[bytes], where: str) -> NDArray[np.float32]:
    """Turn N stored vectors into one (N, D) float32 matrix.

    Raises
    ------
    GalleryUnusable
        When they differ in length or are no unit vectors: the file was damaged.
    """
    if not rows:
        return np.empty((0, 0), dtype=np.float32)
    sizes = set(map(len, rows))
    size = len(rows[0])
    if len(sizes) != 1 or not size or size % _STORED.itemsize:
        raise damaged(where, "a template has another length than the rest")
    # Joined at once: a call for each of a million rows would be felt. Of a bytearray, for what is
    # made of bytes cannot be written to.
    matrix = np.frombuffer(bytearray().join(rows), _STORED).reshape(len(rows), -1)
    lengths = np.einsum("nd,nd->n", matrix, matrix)
    if not np.all(np.abs(lengths - 1.0) < 1e-2):
        raise damaged(where, "a template is not a unit vector")
    return matrix.astype(np.float32, copy=False)
