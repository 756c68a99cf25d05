"""From a pass over the codes to a short list of rows, one of which is certainly the nearest.

For a row x = s c + e and a unit probe q, the cosine <x, q> differs from s <c, q> by no more than
norm(e); see `codes`. So every row has an upper and a lower bound. A row whose upper bound does not
reach the k-th best person's lower bound cannot be among the k nearest, whatever its true cosine.
Many probes are rounded to int8 themselves, and what that costs is added to the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.models.products import lent_products

from .blocks import ROWS
from .codes import UNIT
from .kernel import COMPILED_FROM, Kernel, kernel_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.models.products import IntegerProducts

    from .blocks import View

_STRETCH = 1 << 14
"""Rows multiplied with many probes at a time; a block holds a whole number of them."""

_WIDTHS = (32, 64)
_ALONE = 4
"""So many probes are faster one by one than as a matrix."""

_SAMPLE = 2048
"""Rows looked at first, to learn below which bound most of the others need no second look."""

_CROWD = 1 << 22
"""Pairs of row and probe kept at most; a gallery of near copies is searched probe by probe."""


class Shortlist:
    """The rows that may be among the nearest people of one probe.

    Attributes
    ----------
    floor
        A cosine that at least ``wanted`` different people certainly reach, up to the same slack as
        in ``upper``; rises as rows come in.
    at
        (M,) int64, the number of the view times 65,536 plus the row.
    upper
        (M,) float64: the squared distance is at least 2 - 2 upper.
    persons
        (M,) uint64, first halves of the persons' ids: different ones are different people.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.floor = -np.inf
        self.at = np.empty(0, np.int64)
        self.upper, self._lower = np.empty(0), np.empty(0)
        self.persons = np.empty(0, np.uint64)

    def add(
        self,
        at: NDArray[np.int64],
        bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
        persons: NDArray[np.uint64],
    ) -> None:
        """Take rows with their upper and lower bounds, and let go of those that are out."""
        if not len(at):
            return
        at = np.concatenate([self.at, at])
        upper = np.concatenate([self.upper, bounds[0]])
        lower = np.concatenate([self._lower, bounds[1]])
        persons = np.concatenate([self.persons, persons])
        self.floor = max(self.floor, _reached(lower, persons, self.wanted))
        stay = upper >= self.floor
        self.at, self.upper, self._lower = at[stay], upper[stay], lower[stay]
        self.persons = persons[stay]


def shortlists(views: Sequence[View], probes: NDArray[np.float64], wanted: int) -> list[Shortlist]:
    """Look at every row once for each of (N, D) unit probes, or once for up to 64 together."""
    rows = sum(view.count for view in views)
    kernel = kernel_for(rows)
    lists: list[Shortlist] = []
    step = _WIDTHS[-1] if rows >= COMPILED_FROM else 1
    for start in range(0, len(probes), step):
        some = probes[start : start + step]
        found = _together(views, some, wanted, kernel) if len(some) > _ALONE else None
        lists += found or [_alone(views, probe, wanted, kernel) for probe in some]
    return lists


def _alone(
    views: Sequence[View], probe: NDArray[np.float64], wanted: int, kernel: Kernel
) -> Shortlist:
    short = Shortlist(wanted)
    turned = (probe * UNIT).astype(np.float32)
    step = _SAMPLE
    for number, view in enumerate(views):
        slack = _rounding(len(probe)) + view.spread.drift / 2
        start = 0
        while start < view.count:
            part = slice(start, min(view.count, start + step))
            rows, values = kernel.above(
                view.block.codes[part],
                view.block.scales[part],
                turned,
                view.spread.rest * UNIT,
                float(_below(short.floor - slack)),
            )
            if len(rows):
                rows += start
                bounds = _bounds(view, rows, values, slack)
                short.add(rows + number * ROWS, bounds, view.block.persons.high[rows])
            start, step = part.stop, min(2 * step, ROWS)
    return short


def _together(
    views: Sequence[View], probes: NDArray[np.float64], wanted: int, kernel: Kernel
) -> list[Shortlist] | None:
    """Multiply stretches of codes with up to 64 rounded probes; None where it does not work out."""
    width = next(w for w in _WIDTHS if w >= len(probes))
    with lent_products(_STRETCH, probes.shape[1], width) as products:
        return None if products is None else _Many(views, probes, wanted).scan(products, kernel)


class _Many:
    """A scan for several probes at once."""

    def __init__(self, views: Sequence[View], probes: NDArray[np.float64], wanted: int) -> None:
        self._views = views
        self._lists = [Shortlist(wanted) for _ in probes]
        largest = np.abs(probes).max(axis=1)
        self._scale = largest / 127
        self._codes = np.rint(probes / self._scale[:, None]).astype(np.int8)
        rest = probes - self._codes * self._scale[:, None]
        self._rest = np.sqrt(np.einsum("nd,nd->n", rest, rest))
        self._floor = np.full(len(probes), -np.inf)
        self._sample(probes, wanted)

    def scan(self, products: IntegerProducts, kernel: Kernel) -> list[Shortlist] | None:
        """Go over all rows; None when far too many rows are alike."""
        seen, look_at, waiting = 0, _STRETCH, 0
        crowd: list[tuple[NDArray[Any], ...]] = []
        codes: NDArray[np.int8] | None = self._codes
        for number, view in enumerate(self._views):
            slack = self._slack(view)
            bar = self._bar(view, slack, products.width)
            for start in range(0, view.count, _STRETCH):
                part = slice(start, min(view.count, start + _STRETCH))
                found = products(view.block.codes[start : start + _STRETCH], codes)
                codes = None
                rows, of, values = kernel.above_many(found, view.block.scales[part], *bar)
                if len(rows):
                    rows += start
                    bounds = _bounds(view, rows, values * (self._scale[of] * UNIT), slack[of])
                    at = rows + number * ROWS
                    crowd.append((of, at, *bounds, view.block.persons.high[rows]))
                    waiting += len(rows)
                seen += part.stop - start
                if waiting > _CROWD:
                    return None
                if seen >= look_at:
                    waiting = self._sort_out(crowd)
                    bar = self._bar(view, slack, products.width)
                    look_at = 4 * seen
        self._sort_out(crowd)
        return self._lists

    def _bar(
        self, view: View, slack: NDArray[np.float64], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give what is added to each probe's products, and what scale times that has to reach."""
        extra, floor = np.zeros(width, np.float32), np.full(width, np.inf, np.float32)
        extra[: len(slack)] = view.spread.rest / self._scale
        floor[: len(slack)] = _below(_below(self._floor - slack) / (self._scale * UNIT))
        return extra, floor

    def _slack(self, view: View) -> NDArray[np.float64]:
        """Give what is to be added to each probe's bound besides the rests of the rows."""
        spread = view.spread
        reach = np.sqrt(1 + spread.drift) + spread.rest * spread.coarsest  # longest s c
        slack: NDArray[np.float64] = (
            _rounding(self._codes.shape[1]) + spread.drift / 2 + 1.001 * reach * self._rest
        )
        return slack

    def _sample(self, probes: NDArray[np.float64], wanted: int) -> None:
        """Learn floors from some rows. They are seen again later, so only the floors are kept."""
        view = self._views[0]
        count = min(view.count, _SAMPLE)
        values = view.block.codes[:count].astype(np.float32) @ probes.astype(np.float32).T
        scales = view.block.scales[:count].astype(np.float64)[:, None] * UNIT
        lower = scales * (values - view.spread.rest) - 2 * self._slack(view)
        lower[scales[:, 0] == 0] = -np.inf
        persons = view.block.persons.high[:count]
        self._floor = np.array([_reached(column, persons, wanted) for column in lower.T])

    def _sort_out(self, crowd: list[tuple[NDArray[Any], ...]]) -> int:
        """Hand what was found to each probe's list, and raise the floors; count what is kept."""
        if not crowd:
            return 0
        of, at, upper, lower, persons = (np.concatenate(each) for each in zip(*crowd, strict=True))
        crowd.clear()
        order = np.argsort(of, kind="stable")
        ends = np.searchsorted(of[order], np.arange(len(self._lists) + 1))
        for n, short in enumerate(self._lists):
            mine = order[ends[n] : ends[n + 1]]
            short.floor = max(short.floor, self._floor[n])
            short.add(at[mine], (upper[mine], lower[mine]), persons[mine])
            self._floor[n] = short.floor
        return sum(len(short.at) for short in self._lists)


def _bounds(
    view: View,
    rows: NDArray[np.int64],
    values: NDArray[np.float32] | NDArray[np.float64],
    slack: float | NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Upper and lower bound of cosines whose value with the row's rest added is known."""
    upper = values.astype(np.float64) + slack
    rest = view.block.scales[rows] * (UNIT * view.spread.rest)
    return upper, upper - 2 * (rest + slack)


def _reached(lower: NDArray[np.float64], persons: NDArray[np.uint64], wanted: int) -> float:
    """Give a bound that at least ``wanted`` different people reach; -inf when there are fewer."""
    if wanted == 1:
        return float(lower.max(initial=-np.inf))
    take = 2 * wanted
    while wanted <= len(lower):
        take = min(take, len(lower))
        best = np.argpartition(lower, len(lower) - take)[len(lower) - take :]
        if len(np.unique(persons[best])) >= wanted:
            return float(lower[best].min())
        if take == len(lower):
            break
        take *= 4
    return -np.inf


def _rounding(length: int) -> float:
    """Bound how far float32 sums of so many products of unit rows are off, with what follows."""
    return 1.2 * (length + 16) * 2.0**-24


def _below(number: float | NDArray[np.float64]) -> NDArray[np.float32]:
    """Round down to float32."""
    least: NDArray[np.float32] = np.nextafter(np.asarray(number, np.float32), np.float32(-np.inf))
    return least
