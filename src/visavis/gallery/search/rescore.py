"""Exact distances of the short list: what decides who is nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .blocks import ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .blocks import View
    from .scan import Shortlist

_MOST = 4096
"""Rows rescored in one round at most."""


class Rescoring:
    """The rows of one probe's short list, taken in rounds from the most promising on.

    Attributes
    ----------
    gone
        How many rows were asked for and exist no more.
    """

    def __init__(self, probe: NDArray[np.float64], short: Shortlist, first: int) -> None:
        order = np.argsort(-short.upper)
        self._at, self._upper = short.at[order], short.upper[order]
        self._persons = short.persons[order]
        self._probe, self._wanted = probe, short.wanted
        self._next, self._round = 0, min(first, _MOST)
        self._known: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint64]]] = []
        self._farthest = np.inf
        self.gone = 0

    def due(self) -> NDArray[np.int64]:
        """Give the rows to be looked at next, as in ``Shortlist.at``; none when it is settled."""
        ahead = self._upper[self._next : self._next + self._round]
        # Written so that rounding in float64 falls on the side of looking.
        still = int(np.count_nonzero(2 - 2 * ahead <= self._farthest + 1e-12))
        return self._at[self._next : self._next + still]

    def take(self, there: NDArray[np.bool_], rows: NDArray[np.float32]) -> None:
        """Learn the vectors of the rows that were due, (M, D); those not there are gone."""
        stretch = slice(self._next, self._next + len(there))
        difference = rows[there].astype(np.float64) - self._probe
        distances = np.minimum(np.einsum("nd,nd->n", difference, difference), 4.0)
        self._known.append((self._at[stretch][there], distances, self._persons[stretch][there]))
        self.gone += int(np.count_nonzero(~there))
        self._next, self._round = stretch.stop, _MOST
        self._farthest = self._last_wanted()

    def nearest(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give the rows, and their distances, that are not behind the last person wanted."""
        if not self._known:
            return np.empty(0, np.int64), np.empty(0)
        at = np.concatenate([each[0] for each in self._known])
        distances = np.concatenate([each[1] for each in self._known])
        stay = distances <= self._farthest
        return at[stay], distances[stay]

    def _last_wanted(self) -> float:
        """Distance of the last of the people wanted, as far as is known."""
        distances = np.concatenate([each[1] for each in self._known])
        persons = np.concatenate([each[2] for each in self._known])
        if self._wanted == 1:
            return float(distances.min(initial=np.inf))
        order = np.argsort(distances)
        _, first = np.unique(persons[order], return_index=True)
        if len(first) < self._wanted:
            return np.inf
        return float(distances[order[np.sort(first)[self._wanted - 1]]])


def located(
    views: Sequence[View], at: NDArray[np.int64]
) -> list[tuple[View, NDArray[np.int64], NDArray[np.int64]]]:
    """Group rows by their view: (view, positions in ``at``, row numbers)."""
    numbers = at // ROWS
    return [
        (views[n], where, at[where] - n * ROWS)
        for n in np.unique(numbers).tolist()
        for where in [np.flatnonzero(numbers == n)]
    ]
