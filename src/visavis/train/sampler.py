"""Which images make up a batch: P people times K images, and which people learn or judge.

A batch is a pure function of the seed and its number, so a run that was interrupted goes on along
the very same path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import ProtocolRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDER, _IMAGES, _SPLIT = 0, 1, 2
"""Kinds of chance, so that none repeats another's stream."""


@dataclass(frozen=True, slots=True)
class PeopleSampler:
    """Draws P people and K images of each (P x K batches: FaceNet, sec. 3.2).

    An epoch visits everybody once before anybody twice. Its last batch is filled up with the
    epoch's first people where their number is no multiple. Somebody with fewer than K images gives
    each of them as often as any other, give or take one; somebody with one image is never drawn,
    since one image makes no pair.

    Attributes
    ----------
    offsets
        (people + 1,) int64: rows ``offsets[p]:offsets[p + 1]`` are person p's.
    people
        Indices of those to draw from, each with two images or more; see `paired`.
    p, k
        People in a batch of one process, and images of each, two or more.
    """

    offsets: NDArray[np.int64]
    people: NDArray[np.int64]
    p: int
    k: int
    seed: int
    _order: list[tuple[int, NDArray[np.int64]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.p < 2 or self.k < 2:
            raise ValueError("a batch needs two people and two images of each, or more")
        people = np.asarray(self.people, np.int64)
        if (self.offsets[people + 1] - self.offsets[people] < 2).any():
            raise ValueError("people with one image make no pair: draw from paired(offsets)")
        self._check(1)

    def steps_per_epoch(self, world: int = 1) -> int:
        """Give the number of batches after which everybody was visited."""
        return -(-len(self.people) // (self.p * world))

    def batch(self, step: int, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Give the rows of a batch, person by person.

        Parameters
        ----------
        step
            Number of the batch, from 0.
        rank, world
            Which of how many processes: the ranks of a step draw different people.

        Returns
        -------
        (p * k,) int64; images of one person stand together.

        Raises
        ------
        ProtocolRefused
            When there are fewer than ``p * world`` people.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        self._check(world)
        epoch, at = divmod(step, self.steps_per_epoch(world))
        places = (at * world + rank) * self.p + np.arange(self.p)
        drawn = self._permutation(epoch)[places % len(self.people)]
        chance = np.random.default_rng((self.seed, _IMAGES, step, rank, world))
        rows = np.empty((self.p, self.k), np.int64)
        for place, person in enumerate(self.people[drawn]):
            start, count = int(self.offsets[person]), int(self.offsets[person + 1])
            rows[place] = start + _chosen(chance, count - start, self.k)
        return rows.reshape(-1)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        """Give the order of an epoch; the current one is kept."""
        for known, order in self._order:
            if known == epoch:
                return order
        order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(len(self.people))
        self._order[:] = [(epoch, order)]
        return order

    def _check(self, world: int) -> None:
        if len(self.people) < self.p * world:
            raise ProtocolRefused(
                f"a batch takes {self.p * world} people with two images or more, and there are "
                f"{len(self.people)}: take fewer people a batch, or pack more"
            )


def _chosen(chance: np.random.Generator, count: int, k: int) -> NDArray[np.int64]:
    """Choose k of ``count`` images: each once, or all alike often when there are too few."""
    if count >= k:
        return chance.choice(count, k, replace=False)
    whole, rest = divmod(k, count)
    some = [np.tile(np.arange(count), whole), chance.choice(count, rest, replace=False)]
    return np.concatenate(some)


def paired(
    offsets: NDArray[np.int64], people: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Give those with two images or more, among ``people`` or among all."""
    counts = np.diff(offsets)
    among = np.arange(len(counts), dtype=np.int64) if people is None else people
    return among[counts[among] >= 2]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Three groups of people, none in two; sorted int64 indices."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    calibration: NDArray[np.int64]


def split_people(pack_offsets: NDArray[np.int64], shares: tuple[float, float], seed: int) -> Split:
    """Divide the people into those who train, those who choose, and those who calibrate.

    People with one image and people with more are divided alike, so that each group holds its
    share of both, and two people with more at least.

    Parameters
    ----------
    shares
        Of the people for validation and for calibration, each in [0, 1), together below 1.

    Raises
    ------
    ProtocolRefused
        When a group that is wanted, or what is left to train on, would hold fewer than two people
        with two images or more: no distance between two people could be measured.
    """
    if min(shares) < 0 or sum(shares) >= 1:
        raise ValueError(f"shares must not be negative and leave something to train on: {shares}")
    counts = np.diff(pack_offsets)
    chance = np.random.default_rng((seed, _SPLIT))
    groups: list[list[NDArray[np.int64]]] = [[], [], []]
    for several in (True, False):
        people = chance.permutation(np.flatnonzero((counts >= 2) == several))
        least = 2 if several else 0  # who judges needs two people to tell apart
        sizes = [max(round(share * len(people)), least if share else 0) for share in shares]
        parts = np.split(people, np.cumsum(sizes))
        for group, part, share in zip(groups, parts, (*shares, 1.0), strict=True):
            if several and share > 0 and len(part) < 2:
                raise ProtocolRefused(
                    f"{len(people)} people with two images or more are too few to give shares of "
                    f"{shares[0]:g} and {shares[1]:g} away: pack more people, or change the shares"
                )
            group.append(part)
    validation, calibration, train = (np.sort(np.concatenate(group)) for group in groups)
    return Split(train, validation, calibration)
