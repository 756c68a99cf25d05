"""Which pairs of photographs a pair head learns from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import ProtocolRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class PairChoice:
    """How many pairs of which kind.

    Attributes
    ----------
    per_person
        Mated pairs of one person, so that nobody with hundreds of photographs is all that counts.
    strangers
        Non-mated pairs for each mated one, drawn at random.
    nearest
        And so many that are the nearest there are: of each photograph, the people it is most
        easily taken for.
    most
        Mated pairs altogether.
    """

    per_person: int = 20
    strangers: float = 5.0
    nearest: float = 1.0
    most: int = 10_000

    def __post_init__(self) -> None:
        counts = (self.per_person, self.strangers, self.most)
        if min(counts) <= 0 or self.nearest < 0:
            raise ValueError(f"a choice of pairs needs mated and non-mated ones: {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of rows: (N,) ``a`` and ``b``, and whether they are mated."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.a)

    def of(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Give some of the pairs."""
        return Pairs(self.a[chosen], self.b[chosen], self.same[chosen])


def draw_pairs(
    vectors: NDArray[np.float32], owner: NDArray[np.int64], choice: PairChoice, seed: int = 0
) -> Pairs:
    """Draw pairs of the rows of some people.

    Parameters
    ----------
    vectors
        (N, D) unit rows.
    owner
        (N,) whose each is; rows of one person stand together.

    Raises
    ------
    ProtocolRefused
        When there is no mated pair, or only one person.
    """
    chance = np.random.default_rng(seed)
    mated = _mated(owner, choice, chance)
    if not len(mated) or owner[0] == owner[-1]:
        raise ProtocolRefused(
            "a head learns from pairs of one person and of two: pack people with two photographs "
            "or more"
        )
    drawn = _strangers(owner, round(choice.strangers * len(mated)), chance)
    near = _nearest(vectors, owner, round(choice.nearest * len(mated)))
    a, b = np.concatenate([mated, drawn, near]).T
    return Pairs(a, b, np.arange(len(a)) < len(mated))


def _mated(
    owner: NDArray[np.int64], choice: PairChoice, chance: np.random.Generator
) -> NDArray[np.int64]:
    starts = np.flatnonzero(np.r_[True, np.diff(owner) != 0, True])
    found = [np.zeros((0, 2), np.int64)]
    for start, end in itertools.pairwise(starts.tolist()):
        pairs = np.column_stack(np.triu_indices(end - start, 1)) + start
        found.append(_some(pairs, choice.per_person, chance))
    return _some(np.concatenate(found), choice.most, chance)


def _some(pairs: NDArray[np.int64], most: int, chance: np.random.Generator) -> NDArray[np.int64]:
    if len(pairs) <= most:
        return pairs
    return pairs[np.sort(chance.choice(len(pairs), most, replace=False))]


def _strangers(
    owner: NDArray[np.int64], count: int, chance: np.random.Generator
) -> NDArray[np.int64]:
    drawn = np.zeros((0, 2), np.int64)
    while len(drawn) < count:
        more = chance.integers(0, len(owner), (2 * count, 2))
        drawn = np.concatenate([drawn, more[owner[more[:, 0]] != owner[more[:, 1]]]])
    return drawn[:count]


def _nearest(
    vectors: NDArray[np.float32], owner: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Give for every row its nearest rows of others; of them all the nearest ``count``."""
    each = min(-(-count // len(owner)), len(owner) - int(np.bincount(owner).max()))
    found, at = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for start in range(0, len(owner) if each > 0 else 0, _BLOCK):
        alike = vectors[start : start + _BLOCK] @ vectors.T
        alike[owner[start : start + _BLOCK, None] == owner[None]] = -np.inf
        near = np.argpartition(-alike, each - 1, axis=1)[:, :each]
        rows = np.repeat(np.arange(start, start + len(alike)), each)
        # Two rows that are each other's nearest are one pair.
        found.append(np.sort(np.column_stack([rows, near.ravel()]), axis=1))
        at.append(np.take_along_axis(alike, near, axis=1).ravel())
    pairs, first = np.unique(np.concatenate(found), axis=0, return_index=True)
    return pairs[np.argsort(-np.concatenate(at)[first], kind="stable")[:count]]
