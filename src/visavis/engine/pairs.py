"""All pairs of people within tau of each other, by blocks of cosines; NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_ROWS, _COLUMNS = 1024, 8192
"""Of a block of cosines: 32 MiB."""
_AT_ONCE = 1 << 14
"""Pairs compared in float64 at a time."""


class NearPairs:
    """The nearest pairs of different people, each by their nearest templates.

    A product in float32 says which pairs may be within tau, up to a bound on its rounding; those
    are compared in float64, so the answer is that of comparing everything with everything.

    Parameters
    ----------
    owners
        (N,) int64 from 0: whose each row is.
    vectors
        (N, D) float32 unit rows.
    tau
        Squared distance, [0, 4].
    most
        Pairs kept, about: of more, the nearest.

    Attributes
    ----------
    cut
        True when there were more.
    """

    def __init__(
        self, owners: NDArray[np.int64], vectors: NDArray[np.float32], tau: float, most: int
    ) -> None:
        self._owners, self._vectors = owners, vectors
        self._people = int(owners.max(initial=-1)) + 1
        self._tau, self._most = tau, most
        # Rows are of length 1 up to 2^-22; a sum of D products is off by less than D 2^-24.
        self._slack = (vectors.shape[1] + 16) * 2.0**-23
        self._keys = np.empty(0, np.int64)
        self._distances = np.empty(0)
        self.cut = False

    def run(self, told: Callable[[int, int], None]) -> None:
        """Compare everybody with everybody; ``told`` gets pairs of rows done, and of all."""
        count = len(self._vectors)
        for top in range(0, count, _ROWS):
            rows = self._vectors[top : top + _ROWS]
            for left in range(top, count, _COLUMNS):
                self._block(rows, top, left)
            done = min(count, top + _ROWS)
            told(done * (2 * count - done) // 2, max(1, count * count // 2))

    def found(self) -> list[tuple[int, int, float]]:
        """Give the pairs (owner, other owner, distance), the nearest first."""
        self._keep(self._most)
        high, low = np.divmod(self._keys, max(1, self._people))
        return list(zip(high.tolist(), low.tolist(), self._distances.tolist(), strict=True))

    def _block(self, rows: NDArray[np.float32], top: int, left: int) -> None:
        cosines = rows @ self._vectors[left : left + _COLUMNS].T
        a, b = np.nonzero(cosines >= np.float32(1 - self._tau / 2 - self._slack))
        a, b = a + top, b + left
        other = (a < b) & (self._owners[a] != self._owners[b])
        a, b = a[other], b[other]
        for start in range(0, len(a), _AT_ONCE):
            self._take(a[start : start + _AT_ONCE], b[start : start + _AT_ONCE])

    def _take(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        difference = self._vectors[a].astype(np.float64) - self._vectors[b]
        distances = np.minimum(np.einsum("nd,nd->n", difference, difference), 4.0)
        near = distances <= self._tau
        one, other = self._owners[a[near]], self._owners[b[near]]
        keys = np.maximum(one, other) * self._people + np.minimum(one, other)
        self._keys = np.concatenate([self._keys, keys])
        self._distances = np.concatenate([self._distances, distances[near]])
        if len(self._keys) > 4 * self._most + _AT_ONCE:
            self._keep(2 * self._most)

    def _keep(self, most: int) -> None:
        """Keep one distance of each pair, and of too many pairs the nearest, in that order.

        Whatever comes later and is farther than ``most`` pairs is not among the nearest either.
        """
        order = np.lexsort((self._keys, self._distances))
        keys, distances = self._keys[order], self._distances[order]
        _, first = np.unique(keys, return_index=True)
        first.sort()
        if len(first) > most:
            first, self.cut = first[:most], True
            self._tau = float(distances[first[-1]])
        self._keys, self._distances = keys[first], distances[first]
