"""Encodings to groups of one person each, without names: the third task of the FaceNet paper.

Faces that lie within tau of each other are candidates; tau follows from an error rate and the
number of faces. Candidates are joined bottom-up, most evidence first, as long as the evidence that
two groups are one person is at least that of two faces at tau. The evidence is a likelihood ratio
of groups, so that a face which is a little far from each of ten others may belong to them, and a
chain of faces that are each near the next does not become one person. A face that nobody is joined
to stays alone.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Key = TypeVar("Key")

ALIKE = 1 / 3
"""Cosine of two faces of one person to expect, beyond what all faces share. Chosen on half of
LFW's people (docs/clustering.md); F1 there changes by less than 0.002 from 0.23 to 0.38."""

NEIGHBOURS = 32
"""Candidates that each face has at most; more do not change what comes of LFW."""

_BLOCK = 1 << 23
"""Numbers in one block of cosines: 32 MiB, and as much again while it is searched."""
_BULK = 1e-3
"""False match rates down to this one tell of the bulk of different people, not of its tail."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How strongly sums of unit vectors say that two groups of faces are one person.

    A face is what all faces share, plus what is the person's own, plus what is the picture's own,
    the last two normally distributed in all directions alike. Then the likelihood ratio of "one
    person" to "two" for two groups is a formula of their sizes and the lengths of their sums
    (the two-covariance model of speaker recognition, Brümmer and de Villiers 2010, made round).

    Attributes
    ----------
    tau
        Squared distance of two faces that just suffices, in [0, 4].
    common
        Mean cosine of different people's faces.
    alike
        Cosine of one person's faces that is expected once ``common`` is taken away, in (0, 1).
    """

    tau: float
    common: float = 0.0
    alike: float = ALIKE

    @property
    def enough(self) -> float:
        """Evidence of two faces at tau: joining asks for at least that."""
        one = np.ones(1)
        return float(self.of_joined(one, one, one, one, one - self.tau / 2)[0])

    def of_joined(
        self,
        size_a: NDArray[np.float64],
        size_b: NDArray[np.float64],
        square_a: NDArray[np.float64],
        square_b: NDArray[np.float64],
        product: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Give the log-likelihood ratio of pairs of groups, a dimension; higher is more alike.

        Parameters
        ----------
        size_a, size_b
            Faces in each group.
        square_a, square_b
            Squared length of the sum of each group's unit vectors.
        product
            Scalar product of the two sums.
        """
        joined = self._of(size_a + size_b, square_a + square_b + 2 * product)
        return joined - self._of(size_a, square_a) - self._of(size_b, square_b)

    def _of(self, size: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = self.alike / (1 - self.alike)  # variance between people to that within one
        own = (square - self.common * size**2) / (1 - self.common)
        gain = ratio * (1 + ratio) / (1 + size * ratio)
        result: NDArray[np.float64] = 0.5 * (gain * own - np.log1p(size * ratio))
        return result


def common_cosine(rates: Sequence[float], taus: Sequence[float]) -> float:
    """Estimate the mean cosine of different people's faces from an operating curve.

    Cosines of different people are nearly normal; a line through their quantiles meets 0 standard
    deviations at the mean. For an encoder whose vectors all lean one way it is far from 0.

    Parameters
    ----------
    rates, taus
        False match rates, falling, and the squared distances where they were measured.
    """
    from statistics import NormalDist  # noqa: PLC0415 - it loads much that nothing else needs

    bulk = max(2, sum(rate >= _BULK for rate in rates))
    deviations = [NormalDist().inv_cdf(1 - rate) for rate in rates[:bulk]]
    cosines = 1 - np.array(taus[:bulk]) / 2
    slope, mean = np.polyfit(deviations, cosines, 1)
    return float(np.clip(mean, -0.5, 0.95)) if slope > 0 else 0.0


def neighbours(
    vectors: NDArray[np.float32], tau: float, most: int = NEIGHBOURS
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair faces within tau of each other; of many, each face keeps its nearest ``most``.

    Memory grows with the number of pairs given, not with that of all pairs.

    Parameters
    ----------
    vectors
        (N, D) unit rows.

    Returns
    -------
    (E,) and (E,): rows of the pairs, the smaller first; a pair is there when either keeps it.
    """
    count = len(vectors)
    found = [np.empty(0, np.int64)]
    for start in range(0, count, max(1, _BLOCK // max(count, 1))):
        block = vectors[start : start + max(1, _BLOCK // count)]
        cosines = block @ vectors.T
        np.fill_diagonal(cosines[:, start:], -2.0)  # nobody is their own neighbour
        near = cosines >= np.float32(1 - tau / 2)
        for row in np.flatnonzero(near.sum(1) > most):
            inside = np.flatnonzero(near[row])
            far = np.argpartition(cosines[row, inside], len(inside) - most)[: len(inside) - most]
            near[row, inside[far]] = False
        a, b = np.nonzero(near)
        found.append(np.minimum(a + start, b) * count + np.maximum(a + start, b))
    pairs = np.unique(np.concatenate(found))
    return pairs // max(count, 1), pairs % max(count, 1)


def group(
    vectors: NDArray[np.float32], evidence: Evidence, most: int = NEIGHBOURS
) -> NDArray[np.intp]:
    """Group faces by person.

    The result does not depend on the order of the faces, but for the numbers of the groups.

    Parameters
    ----------
    vectors
        (N, D) float32 unit rows.

    Returns
    -------
    (N,) the number of each face's group, counted from 0 by each group's first face.
    """
    if not len(vectors):
        return np.empty(0, np.intp)
    # Rounding depends on the order of sums, so the order is always the same one.
    order = np.lexsort(vectors[:, :4].T)
    merging = _Merging(vectors[order], evidence)
    merging.run(*neighbours(vectors[order], evidence.tau, most))
    found = np.empty(len(vectors), np.intp)
    found[order] = merging.groups()
    _, first, group_of = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group_of]


class _Merging:
    """Joins the two groups with the most evidence, again and again; N faces, then their joins."""

    def __init__(self, vectors: NDArray[np.float32], evidence: Evidence) -> None:
        count = len(vectors)
        self._count = self._used = count
        self._evidence = evidence
        self._enough = evidence.enough - 1e-9
        # A join takes the place of its first part, so that no room for 2 N groups is needed.
        self._sums = vectors.astype(np.float64)
        self._squares = np.einsum("nd,nd->n", self._sums, self._sums)
        self._sizes = np.ones(count)
        self._place = list(range(count))  # of a group; -1 once it was joined to another
        self._near: list[set[int]] = [set() for _ in range(count)]
        self._parts: list[tuple[int, int]] = []

    def run(self, a: NDArray[np.intp], b: NDArray[np.intp]) -> None:
        """Join candidates until nobody's evidence is enough.

        Each group waits with its best partner alone, as of when it looked. The best pair of all is
        among them: its younger group saw it, and has since lost nobody better but to a join that
        is younger still.
        """
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            self._near[one].add(other)
            self._near[other].add(one)
        waiting = [best for one in range(self._count) if (best := self._best(one))]
        heapq.heapify(waiting)
        while waiting:
            _, one, other = heapq.heappop(waiting)
            if self._place[one] < 0:
                continue
            if self._place[other] >= 0:
                one = self._join(one, other)
            if best := self._best(one):
                heapq.heappush(waiting, best)

    def _join(self, a: int, b: int) -> int:
        joined, into, out = self._used, self._place[a], self._place[b]
        self._used += 1
        self._sums[into] += self._sums[out]
        self._sizes[into] += self._sizes[out]
        self._squares[into] = self._sums[into] @ self._sums[into]
        self._place[a] = self._place[b] = -1
        self._place.append(into)
        self._parts.append((a, b))
        near = (self._near[a] | self._near[b]) - {a, b}
        self._near[a], self._near[b] = set(), set()
        for other in near:
            self._near[other] -= {a, b}
            self._near[other].add(joined)
        self._near.append(near)
        return joined

    def _best(self, one: int) -> tuple[float, int, int] | None:
        """Give (minus the evidence, the group, its partner), where there is enough."""
        others = sorted(self._near[one])
        if not others:
            return None
        there, here = np.array([self._place[other] for other in others]), self._place[one]
        found = self._evidence.of_joined(
            self._sizes[there],
            np.full(len(there), self._sizes[here]),
            self._squares[there],
            np.full(len(there), self._squares[here]),
            self._sums[there] @ self._sums[here],
        )
        best = int(found.argmax())
        if found[best] < self._enough:
            return None
        return -float(found[best]), one, others[best]

    def groups(self) -> NDArray[np.intp]:
        """Give a number for each face, the same within a group."""
        whole = np.arange(self._used)
        for joined in range(self._used - 1, self._count - 1, -1):
            a, b = self._parts[joined - self._count]
            whole[a] = whole[b] = whole[joined]
        return whole[: self._count]


def carried_on(before: Mapping[Key, int], now: Sequence[Sequence[Key]], fresh: int) -> list[int]:
    """Give groups the ids that they had before, by the faces they share.

    A group keeps the id of the group with which it shares the most faces; where two would keep
    the same, the one that shares more does. The rest get new ids, in order.

    Parameters
    ----------
    before
        Each known face's id.
    now
        The faces of each group.
    fresh
        The lowest id that was never given.
    """
    shared: dict[tuple[int, int], int] = {}
    for number, faces in enumerate(now):
        for face in faces:
            if face in before:
                shared[before[face], number] = shared.get((before[face], number), 0) + 1
    ids: dict[int, int] = {}
    taken: set[int] = set()
    for (known, number), _ in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        if known not in taken and number not in ids:
            ids[number] = known
            taken.add(known)
    for number in range(len(now)):
        if number not in ids:
            ids[number] = fresh
            fresh += 1
    return [ids[number] for number in range(len(now))]
