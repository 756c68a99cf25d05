"""One pass over codes: the loops that read every row, compiled where that is possible.

The loops are plain; what makes them as fast as memory is a compiler that vectorises them (Numba).
Without Numba, NumPy does the same, four times slower. Both leave the interpreter's lock free.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPILED_FROM = 1 << 15
"""Rows from which compiling (half a second, once a process) pays."""

_AT_ONCE = 4096


class Kernel(Protocol):
    """Finds the rows of a stretch of codes that may be near a probe."""

    def above(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.uint16],
        probe: NDArray[np.float32],
        extra: float,
        floor: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find rows with ``scale * (code @ probe + extra) >= floor`` that are not dead.

        Returns
        -------
        tuple
            Row numbers, rising, and those values.
        """

    def above_many(
        self,
        products: NDArray[np.float32],
        scales: NDArray[np.uint16],
        extra: NDArray[np.float32],
        floor: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Find (row, probe) with ``scale * (product + extra) >= floor``, rows not dead.

        Parameters
        ----------
        products
            (N, W) float32 of N rows and W probes; it may be overwritten.
        scales
            (at most N,) of the rows that count.
        extra, floor
            (W,) float32.

        Returns
        -------
        tuple
            Row numbers, probe numbers, values.
        """


class Plain:
    """The kernel in NumPy alone."""

    def above(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.uint16],
        probe: NDArray[np.float32],
        extra: float,
        floor: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Kernel.above`."""
        values = np.empty(len(scales), np.float32)
        for start in range(0, len(scales), _AT_ONCE):
            some = codes[start : start + _AT_ONCE].astype(np.float32)
            values[start : start + _AT_ONCE] = some @ probe
        values += np.float32(extra)
        # Scales are read after the codes, see `ExactSearcher`.
        values *= scales
        rows = np.flatnonzero((values >= np.float32(floor)) & (scales != 0))
        return rows, values[rows]

    def above_many(
        self,
        products: NDArray[np.float32],
        scales: NDArray[np.uint16],
        extra: NDArray[np.float32],
        floor: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """See `Kernel.above_many`."""
        values = products[: len(scales)]
        values += extra
        values *= scales.astype(np.float32)[:, None]
        rows, probes = np.nonzero(values >= floor)
        alive = scales[rows] != 0
        rows, probes = rows[alive], probes[alive]
        return rows, probes, values[rows, probes]


class Compiled:
    """The kernel compiled for this processor."""

    def __init__(self, numba: Any) -> None:  # noqa: ANN401 (the module)
        self._above, self._above_many = _compile(numba)

    def above(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.uint16],
        probe: NDArray[np.float32],
        extra: float,
        floor: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Kernel.above`."""
        rows, values = np.empty(len(scales), np.int64), np.empty(len(scales), np.float32)
        found = self._above(
            codes, scales, probe, np.float32(extra), np.float32(floor), rows, values
        )
        return rows[:found], values[:found]

    def above_many(
        self,
        products: NDArray[np.float32],
        scales: NDArray[np.uint16],
        extra: NDArray[np.float32],
        floor: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """See `Kernel.above_many`."""
        room = len(scales) * len(extra)  # pages that are not written cost nothing
        at, values = np.empty(room, np.int64), np.empty(room, np.float32)
        found = self._above_many(products, scales, extra, floor, at, values)
        rows, probes = np.divmod(at[:found], len(extra))
        return rows, probes, values[:found]


def kernel_for(rows: int) -> Kernel:
    """Choose the kernel for a search through so many rows."""
    return (_compiled() if rows >= COMPILED_FROM else None) or Plain()


@cache
def _compiled() -> Kernel | None:
    try:
        numba = importlib.import_module("numba")
    except ImportError:  # it may also be there and refuse this NumPy
        return None
    return Compiled(numba)


def _compile(numba: Any) -> tuple[Any, Any]:  # noqa: ANN401
    # Sums may be reordered, which the bound on rounding allows for.
    how = {"nogil": True, "fastmath": {"reassoc", "nsz", "contract"}}
    one = numba.njit("i8(i1[:,::1], u2[::1], f4[::1], f4, f4, i8[::1], f4[::1])", **how)
    many = numba.njit("i8(f4[:,::1], u2[::1], f4[::1], f4[::1], i8[::1], f4[::1])", **how)
    return one(_above), many(_above_many)


def _above(  # noqa: PLR0913, PLR0917 (compiled: no objects)
    codes: NDArray[np.int8],
    scales: NDArray[np.uint16],
    probe: NDArray[np.float32],
    extra: np.float32,
    floor: np.float32,
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
) -> int:
    found = 0
    for row in range(len(scales)):
        product = np.float32(0)
        for k in range(len(probe)):
            product += np.float32(codes[row, k]) * probe[k]
        value = (product + extra) * np.float32(scales[row])
        if value >= floor and scales[row]:
            rows[found], values[found] = row, value
            found += 1
    return found


def _above_many(  # noqa: PLR0913, PLR0917
    products: NDArray[np.float32],
    scales: NDArray[np.uint16],
    extra: NDArray[np.float32],
    floor: NDArray[np.float32],
    at: NDArray[np.int64],
    values: NDArray[np.float32],
) -> int:
    found = 0
    width = len(extra)
    for row in range(len(scales)):
        scale = np.float32(scales[row])
        some = False
        for p in range(width):  # no way out of it, so that it is vectorised
            some |= (products[row, p] + extra[p]) * scale >= floor[p]
        if some and scales[row]:
            for p in range(width):
                value = (products[row, p] + extra[p]) * scale
                if value >= floor[p]:
                    at[found], values[found] = row * width + p, value
                    found += 1
    return found
