"""How far the network is, told on people it never learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from visavis.errors import InputRefused
from visavis.evaluate import metrics
from visavis.train.augment import shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from visavis.train.pack import Pack

FAR = 1e-2
"""The rate at which held-out people are told apart; a run is short of pairs for lower ones."""

BINS = 80
"""Of the distributions of d over [0, 4]."""

_BATCH = 128


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """How well one way of seeing them tells people apart.

    Attributes
    ----------
    width
        Of the faces in pixels; 0 leaves the photographs as they are.
    accuracy
        Share of pairs told right at the best tau, mated and non-mated weighing the same.
    eer, tar
        Equal error rate; share of mated pairs accepted at FAR 1e-2.
    mated, nonmated
        (BINS,) shares of the pairs by d.
    """

    width: int
    accuracy: float
    eer: float
    tar: float
    mated: NDArray[np.float64]
    nonmated: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One look at the held-out people.

    Attributes
    ----------
    score
        Mean of the sights' TAR and their accuracy, in [0, 1]; the best weights have the highest.
    """

    step: int
    sights: tuple[Sight, ...]

    @property
    def score(self) -> float:
        """See above: TAR alone jumps with a few pairs, accuracy alone forgives false matches."""
        return float(np.mean([(each.tar + each.accuracy) / 2 for each in self.sights]))

    def as_json(self) -> dict[str, Any]:
        """Spell it in plain values."""
        sights = [
            {
                **{name: getattr(each, name) for name in ("width", "accuracy", "eer", "tar")},
                "mated": each.mated.tolist(),
                "nonmated": each.nonmated.tolist(),
            }
            for each in self.sights
        ]
        return {"step": self.step, "score": self.score, "sights": sights}


class Watch:
    """Measures an encoder on the same photographs again and again.

    Parameters
    ----------
    people
        Whose photographs; those with two or more make mated pairs.
    photographs
        At most so many are looked at, the first of each person first.
    widths
        In pixels, of faces made as small before they are looked at, besides those as they are.
    """

    def __init__(
        self, pack: Pack, people: NDArray[np.int64], photographs: int, widths: Sequence[int] = ()
    ) -> None:
        self._pack = pack
        self._rows = chosen_rows(pack.offsets, people, photographs)
        self._owners = pack.owners(self._rows)
        self._widths = (0, *widths)

    def check(self, encoder: nn.Module, device: torch.device, step: int) -> Check:
        """Encode the photographs and compare all with all."""
        return Check(step, tuple(self._sight(encoder, device, width) for width in self._widths))

    def _sight(self, encoder: nn.Module, device: torch.device, width: int) -> Sight:
        vectors = encode_rows(encoder, self._pack, self._rows, device, width)
        mated, nonmated = all_pairs(vectors, self._owners)
        return sight_of(mated, nonmated, width)


def sight_of(mated: NDArray[np.float32], nonmated: NDArray[np.float32], width: int = 0) -> Sight:
    """Measure distances; infinite and undefined ones count as far apart."""
    mated, nonmated = (np.nan_to_num(d, nan=4.0, posinf=4.0) for d in (mated, nonmated))
    line = metrics.curve(mated, nonmated)
    accuracy = float(np.max(1 - (line.fmr + line.fnmr) / 2))
    shares = [
        np.histogram(d, BINS, (0, 4))[0].astype(np.float64) / len(d) for d in (mated, nonmated)
    ]
    tar = metrics.tar_at_far(mated, nonmated, FAR)
    return Sight(width, accuracy, metrics.equal_error(line).rate, tar, shares[0], shares[1])


def chosen_rows(
    offsets: NDArray[np.int64], people: NDArray[np.int64], photographs: int
) -> NDArray[np.int64]:
    """Choose photographs of people with two or more: two of everybody, then a third, ...

    Raises
    ------
    InputRefused
        When fewer than two people have two photographs, for there is nothing to compare then.
    """
    counts = offsets[people + 1] - offsets[people]
    people, counts = people[counts >= 2], counts[counts >= 2]
    if len(people) < 2:
        raise InputRefused(
            "the held-out people need two or more with two or more photographs: pack more people, "
            "or hold out a larger share"
        )
    people, counts = people[: photographs // 2], counts[: photographs // 2]
    each = 2
    while (counts > each).any() and np.minimum(counts, each + 1).sum() <= photographs:
        each += 1
    return np.concatenate(
        [offsets[p] + np.arange(min(n, each)) for p, n in zip(people, counts, strict=True)]
    )


def encode_rows(
    encoder: nn.Module, pack: Pack, rows: NDArray[np.int64], device: torch.device, width: float = 0
) -> NDArray[np.float32]:
    """Encode photographs of a pack to unit rows (N, D), the network at rest."""
    training = encoder.training
    encoder.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            crops = torch.from_numpy(pack.read(rows[start : start + _BATCH])).to(device)
            pixels = crops.permute(0, 3, 1, 2).float()
            if width:
                pixels = shrink(pixels, torch.full((len(pixels),), float(width)))
            found.append(_unit(encoder(pixels)).cpu().numpy())
    encoder.train(training)
    return np.concatenate(found)


def all_pairs(
    vectors: NDArray[np.float32], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give d of all mated and of all non-mated pairs of unit rows (N, D)."""
    d = np.clip(2 - 2 * (vectors @ vectors.T), 0, 4).astype(np.float32)
    upper = np.triu_indices(len(vectors), 1)
    same = owners[upper[0]] == owners[upper[1]]
    return d[upper][same], d[upper][~same]


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=1)
