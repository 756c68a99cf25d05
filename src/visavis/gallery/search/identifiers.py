"""Ids as numbers: a million Python strings take more memory than the codes of a million faces."""

from __future__ import annotations

from bisect import bisect_left
from copy import copy
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from .memory import zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_FOREIGN = 0xFFFFFFFF
"""Upper half of the first number of an id that is not 32 hexadecimal digits."""

_MIX = 0x9E3779B97F4A7C15
_64 = (1 << 64) - 1


class Identifiers:
    """Turns ids into pairs of 64-bit numbers and back.

    The registry's ids are 32 hexadecimal digits and need no table. Others are numbered here. The
    second number is mixed into the first, so that different ids differ in the first, as good as
    always, whatever they are made of.
    """

    def __init__(self) -> None:
        self._foreign: list[str] = []
        self._number: dict[str, int] = {}

    def pack(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        """Turn N ids into (N, 2) numbers; equal ids get equal numbers."""
        joined = "".join(ids)
        if len(joined) == 32 * len(ids) and set(map(len, ids)) <= {32}:
            try:
                raw = bytes.fromhex(joined)
            except ValueError:
                raw = b""
            if raw.hex() == joined:  # no capitals, no blanks
                pairs = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
                if not np.any(pairs[:, 0] >> np.uint64(32) == _FOREIGN):
                    return _mixed(pairs)
        return _mixed(np.array([self._pair(each) for each in ids], np.uint64).reshape(-1, 2))

    def name(self, high: int, low: int) -> str:
        """Give the id back."""
        high ^= low * _MIX & _64
        if high >> 32 == _FOREIGN:
            return self._foreign[low]
        return f"{high:016x}{low:016x}"

    def _pair(self, key: str) -> tuple[int, int]:
        if len(key) == 32 and not set(key) - set("0123456789abcdef"):
            high, low = int(key[:16], 16), int(key[16:], 16)
            if high >> 32 != _FOREIGN:
                return high, low
        number = self._number.setdefault(key, len(self._foreign))
        if number == len(self._foreign):
            self._foreign.append(key)
        return _FOREIGN << 32 | number, number


def _mixed(pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    pairs[:, 0] ^= pairs[:, 1] * np.uint64(_MIX)
    return pairs


class Keys:
    """The packed ids of a block's rows, and where each id is: 18 bytes a row, or 10 of halves.

    Halves keep the first number alone, which tells ids apart and cannot be turned into an id
    again. Of n ids two share it with a chance of n^2 / 2^65: 3e-6 at ten million.
    """

    __slots__ = ("_order", "_ordered", "high", "low")

    def __init__(self, capacity: int, *, whole: bool = True) -> None:
        self.high = zeros(capacity, np.uint64)
        self.low = zeros(capacity, np.uint64) if whole else None
        # Rows by rising `high`; those after `_ordered` are not in it yet and are looked through.
        self._order = zeros(capacity, np.uint16)
        self._ordered = 0

    def halved(self) -> Keys:
        """Give the halves of the same keys; whoever reads these meanwhile keeps them whole."""
        halves = copy(self)
        halves.low = None
        return halves

    def put(self, first: int, pairs: NDArray[np.uint64]) -> None:
        """Write the keys of the rows from ``first`` on, which must follow those written before."""
        end = first + len(pairs)
        self.high[first:end] = pairs[:, 0]
        if self.low is not None:
            self.low[first:end] = pairs[:, 1]
        if end - self._ordered > 2048:
            self._settle(end)

    def pairs(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Give the keys of rows, (N, 2); the second number of halves is 0."""
        pairs = np.zeros((len(rows), 2), np.uint64)
        pairs[:, 0] = self.high[rows]
        if self.low is not None:
            pairs[:, 1] = self.low[rows]
        return pairs

    def rows(self, pair: tuple[int, int], count: int) -> Iterator[int]:
        """Find every row, among the first ``count``, that holds the key."""
        high, low = pair
        order = self._order[: self._ordered]
        at = bisect_left(order, high, key=self.high.__getitem__)
        run = takewhile(lambda row: self.high[row] == high, order[at:])
        tail = np.flatnonzero(self.high[self._ordered : count] == high) + self._ordered
        for row in (*run, *tail):
            if row < count and (self.low is None or self.low[row] == low):
                yield int(row)

    def rows_of_many(self, pairs: NDArray[np.uint64], count: int) -> Iterator[tuple[int, int]]:
        """Find (position in ``pairs``, row) for every row that holds one of many keys."""
        if self._ordered < count:
            self._settle(count)
        order = self._order[: self._ordered]
        rising = self.high[order]
        first = np.searchsorted(rising, pairs[:, 0], "left")
        last = np.searchsorted(rising, pairs[:, 0], "right")
        for at in np.flatnonzero(last > first).tolist():
            for row in order[first[at] : last[at]]:
                if row < count and (self.low is None or self.low[row] == pairs[at, 1]):
                    yield at, int(row)

    def _settle(self, count: int) -> None:
        new = np.argsort(self.high[self._ordered : count]) + self._ordered
        old = self._order[: self._ordered]
        at = np.searchsorted(self.high[old], self.high[new])
        self._order[:count] = np.insert(old, at, new)
        self._ordered = count
