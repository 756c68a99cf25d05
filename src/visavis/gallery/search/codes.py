"""Unit vectors as int8 codes with a scale each.

A row x is s * c + e: a code c of whole numbers from -127 to 127, a scale s, and what is left, e.
The length of e is known, so that a cosine computed from the code has a bound on its error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = 2.0**-22
"""Scales are whole multiples of this, from 1 to 65535, and so exact in float32."""

_AT_ONCE = 1 << 17
"""Numbers quantised at a time (512 KiB), so that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What holds for every row of a block.

    Attributes
    ----------
    rest
        Largest length of a row's rest, in units of its scale: ``norm(e) <= rest * s``.
    drift
        Largest ``abs(norm(x) ** 2 - 1)``.
    coarsest
        Largest scale.
    """

    rest: float = 0.0
    drift: float = 0.0
    coarsest: float = 0.0

    def over(self, other: Spread) -> Spread:
        """Give what holds for the rows of both."""
        return Spread(
            max(self.rest, other.rest),
            max(self.drift, other.drift),
            max(self.coarsest, other.coarsest),
        )


def quantise(
    vectors: NDArray[np.float32], codes: NDArray[np.int8], scales: NDArray[np.uint16]
) -> Spread:
    """Write the codes and scales of vectors, and tell how good they are.

    Parameters
    ----------
    vectors
        (N, D) float32 rows of about unit length.
    codes, scales
        (N, D) and (N,), to be written. A scale s is stored as ``s / UNIT``.

    Returns
    -------
    Spread
        Bounds that hold in exact arithmetic: they allow for the rounding of this function.
    """
    length = vectors.shape[1]
    step = max(1, _AT_ONCE // length)
    worst = drift = 0.0
    for start in range(0, len(vectors), step):
        some = vectors[start : start + step]
        peak = np.maximum(some.max(axis=1), -some.min(axis=1))
        whole = np.clip(np.ceil(peak * np.float32(1 / (127 * UNIT))), 1, 65535)
        scales[start : start + step] = whole
        exact = some * (np.float32(1 / UNIT) / whole)[:, None]
        rounded = np.rint(exact)
        codes[start : start + step] = rounded
        exact -= rounded
        worst = max(worst, float(np.einsum("nd,nd->n", exact, exact).max()))
        drift = max(drift, float(np.abs(np.einsum("nd,nd->n", some, some) - 1).max()))
    if not len(vectors):
        return Spread()
    # float32: a sum of D squares is off by D roundings at most, a quotient up to 127 by three.
    grain = 2.0**-24
    rest = np.sqrt(worst * (1 + 2 * length * grain)) + np.sqrt(length) * 127 * 4 * grain
    drift += (2 * length + 4) * grain
    return Spread(float(rest), drift, float(scales.max()) * UNIT)
