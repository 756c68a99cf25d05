"""What an encoder is trained to do: losses on unit vectors, and which triplets they see.

Losses and miners are pytorch-metric-learning's; the distance is this package's, squared Euclidean
on unit vectors, so that alpha is FaceNet's margin. Terms that are not triplets (pairs, people as
classes, nearness to a starting encoder) are added with weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
from pytorch_metric_learning.distances import LpDistance  # type: ignore[import-untyped]
from pytorch_metric_learning.losses import (  # type: ignore[import-untyped]
    ArcFaceLoss,
    ContrastiveLoss,
    NormalizedSoftmaxLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import (  # type: ignore[import-untyped]
    BatchHardMiner,
    TripletMarginMiner,
)
from pytorch_metric_learning.reducers import (  # type: ignore[import-untyped]
    DoNothingReducer,
    MeanReducer,
)
from pytorch_metric_learning.utils.loss_and_miner_utils import (  # type: ignore[import-untyped]
    get_all_triplets_indices,
    get_random_triplet_indices,
)
from torch import Tensor, nn

from visavis.errors import TrainingRefused

if TYPE_CHECKING:
    Triplets = tuple[Tensor, Tensor, Tensor]


class Mining(StrEnum):
    """Which triplets of a batch the triplet loss sees."""

    RANDOM = "random"
    """As many as semi-hard mining finds in the same batch, drawn blindly."""
    SEMI_HARD = "semi-hard"
    """d(a, p) < d(a, n) < d(a, p) + alpha (FaceNet, sec. 3.2, arXiv:1503.03832)."""
    HARD = "hard"
    """Each photograph with its farthest mate and its nearest stranger (arXiv:1703.07737)."""
    ALL = "all"
    """Every triplet of the batch."""


class Term(StrEnum):
    """One part of an objective."""

    CONTRASTIVE = "contrastive"
    TRIPLET = "triplet"
    SOFTMAX = "softmax"
    ARCFACE = "arcface"
    KEEP = "keep"
    """The squared distance to what a starting encoder gave: learning without forgetting."""


BY_CLASS = frozenset({Term.SOFTMAX, Term.ARCFACE})
"""Terms that hold a vector for each person of the training set."""


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """An objective in numbers.

    Attributes
    ----------
    terms
        Each once, with its weight.
    alpha
        The margin of the triplet loss, in squared distance; 0 invites collapse and is allowed only
        to show it.
    mining
        What a run starts with.
    contrastive_margin
        Strangers nearer than this squared distance are pushed apart.
    arcface_margin
        In radians (28.6 degrees, arXiv:1801.07698).
    arcface_scale
        The logits' scale; 64 for millions of photographs, about 30 for thousands.
    softmax_temperature
        What the cosines are divided by (arXiv:1811.12649).
    """

    terms: tuple[tuple[Term, float], ...] = ((Term.TRIPLET, 1.0),)
    alpha: float = 0.2
    mining: Mining = Mining.SEMI_HARD
    contrastive_margin: float = 1.0
    arcface_margin: float = 0.5
    arcface_scale: float = 64.0
    softmax_temperature: float = 0.05

    def __post_init__(self) -> None:
        """Raise TrainingRefused for what cannot be trained on."""
        kinds = [term for term, _ in self.terms]
        if not kinds or len(set(kinds)) < len(kinds):
            raise TrainingRefused("an objective has one or more terms, each of them once")
        if set(kinds) == {Term.KEEP}:
            raise TrainingRefused("'keep' alone teaches nothing: add triplet, arcface or another")
        for name, value, top in (
            *((f"the weight of {term}", weight, math.inf) for term, weight in self.terms),
            ("the contrastive margin", self.contrastive_margin, 4.0),
            ("arcface's margin", self.arcface_margin, math.pi / 2),
            ("arcface's scale", self.arcface_scale, math.inf),
            ("the softmax temperature", self.softmax_temperature, math.inf),
        ):
            if not (0 < value <= top and math.isfinite(value)):
                raise TrainingRefused(f"{name} is {value:g}; it is above 0" + _at_most(top))
        if not 0 <= self.alpha <= 4:
            raise TrainingRefused(f"alpha is {self.alpha:g}; it lies between 0 and 4")


def _at_most(top: float) -> str:
    return f" and at most {top:.3g}" if math.isfinite(top) else " and finite"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch came to.

    Attributes
    ----------
    loss
        The weighted sum; the only one with a gradient.
    parts
        Each term before it is weighted, by name.
    active
        Share, among those looked at, of the triplets that give a gradient: of all possible in the
        batch for semi-hard and all, of those drawn for random, of one for each photograph for
        hard. Without triplets, of the pairs of strangers that are pushed apart; None where there
        are neither.
    """

    loss: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    active: Tensor | None = None


def parse_objective(text: str) -> tuple[tuple[Term, float], ...]:
    """Read ``triplet``, ``arcface+0.5*triplet``, ``triplet+keep`` into terms and weights.

    Raises
    ------
    TrainingRefused
        For an unknown term or a weight that is no positive number.
    """
    terms = []
    for part in text.split("+"):
        weight, star, name = part.rpartition("*")
        try:
            terms.append((Term(name.strip().lower()), float(weight) if star else 1.0))
        except ValueError as wrong:
            raise TrainingRefused(
                f"{text!r} is no objective: {part.strip()!r} is not a term. Terms are "
                f"{', '.join(Term)}, with + between and a weight before *, such as "
                "arcface+0.5*triplet"
            ) from wrong
    ObjectiveConfig(tuple(terms))
    return tuple(terms)


class Objective(nn.Module):
    """A weighted sum of terms; ``mining`` and ``weights`` may be changed while a run goes on.

    Parameters
    ----------
    dimension
        Of the encoder's vectors.
    people
        Of the training set; softmax and ArcFace hold a vector for each as a parameter.
    """

    def __init__(self, config: ObjectiveConfig, dimension: int, people: int) -> None:
        super().__init__()
        self.config = config
        self.mining = config.mining
        self.weights = dict(config.terms)
        self._losses = nn.ModuleDict(
            {str(t): _loss(t, config, (dimension, people)) for t, _ in config.terms if t in _MADE}
        )
        self._miners = nn.ModuleDict(
            {
                Mining.SEMI_HARD: TripletMarginMiner(
                    config.alpha, "semihard", distance=squared_distance()
                ),
                Mining.ALL: TripletMarginMiner(config.alpha, "all", distance=squared_distance()),
                Mining.HARD: BatchHardMiner(distance=squared_distance()),
            }
        )

    def forward(self, vectors: Tensor, labels: Tensor, kept: Tensor | None = None) -> Outcome:
        """Judge a batch.

        Parameters
        ----------
        vectors
            (B, D) of any length; they are made unit vectors here, in float32 whatever the network
            computes in.
        labels
            (B,) int64, 0 to people - 1.
        kept
            (B, D) unit rows that the starting encoder gave for the same photographs; for ``keep``.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors.float()
            loss = vectors.sum() * 0  # keeps the graph whole where nothing was found to learn
            parts: dict[str, Tensor] = {}
            active: Tensor | None = None
            for term, weight in self.weights.items():
                if not weight:  # its time is not come, or over; its weights stay as they are
                    loss = loss + sum(w.sum() * 0 for w in self._weights_of(term))
                    continue
                value, share = self._term(term, vectors, labels, kept)
                loss = loss + weight * value
                parts[str(term)] = value.detach()
                active = share if share is not None and term != Term.CONTRASTIVE else active
                active = share if active is None else active
        return Outcome(loss, parts, active)

    def _weights_of(self, term: Term) -> list[Tensor]:
        return list(self._losses[term].parameters()) if term in self._losses else []

    def _term(
        self, term: Term, vectors: Tensor, labels: Tensor, kept: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if term == Term.KEEP:
            if kept is None:
                raise ValueError("'keep' needs the starting encoder's vectors")
            return keep_loss(vectors, kept), None
        if term == Term.TRIPLET:
            return self._triplet(vectors, labels)
        found = self._losses[term](vectors, labels)
        return self._contrastive(found) if term == Term.CONTRASTIVE else (found, None)

    def _triplet(self, vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Average over all triplets that were chosen, not only over those that are wrong.

        So a network that gives one point for every face shows a loss of alpha, and one that
        learns shows less (pytorch-metric-learning's own average leaves out the zeros, which
        would hide both).
        """
        chosen, looked_at = self.triplets(vectors.detach(), labels)
        if not len(chosen[0]):
            return vectors.sum() * 0, vectors.new_zeros(())
        hinge = self._losses[Term.TRIPLET](vectors, labels, chosen)["loss"]["losses"]
        return hinge.mean(), (hinge.detach() > 0).sum() / looked_at

    def triplets(self, vectors: Tensor, labels: Tensor) -> tuple[Triplets, int]:
        """Choose anchors, positives and negatives by ``mining``; and tell of how many.

        Where no negative is semi-hard, semi-hard mining takes all triplets that violate the
        margin: else a collapsed network, whose negatives are as near as its positives, would
        find nothing and report a loss of 0.
        """
        if self.mining == Mining.ALL:
            every: Triplets = get_all_triplets_indices(labels)
            return every, len(every[0])
        if self.mining == Mining.HARD:
            hard: Triplets = self._miners[Mining.HARD](vectors, labels)
            return hard, len(hard[0])
        chosen: Triplets = self._miners[Mining.SEMI_HARD](vectors, labels)
        if self.mining == Mining.RANDOM:
            drawn = random_triplets(labels, len(chosen[0]))
            return drawn, len(drawn[0])
        if not len(chosen[0]):
            chosen = self._miners[Mining.ALL](vectors, labels)
        return chosen, possible_triplets(labels)

    @staticmethod
    def _contrastive(found: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Mean over mates plus mean over strangers, each over all pairs of the batch."""
        near, far = (torch.as_tensor(found[k]["losses"]) for k in ("pos_loss", "neg_loss"))
        total = sum((each.mean() for each in (near, far) if each.numel()), torch.zeros(()))
        return total, (far.detach() > 0).float().mean() if far.numel() else None


def squared_distance() -> LpDistance:
    """Give the library's distance that is this package's: squared, unit vectors, 0 to 4."""
    return LpDistance(p=2, power=2, normalize_embeddings=True)


def keep_loss(vectors: Tensor, kept: Tensor) -> Tensor:
    """Mean squared distance, 0 to 4, of (B, D) vectors made unit to unit rows (B, D)."""
    return (nn.functional.normalize(vectors) - kept.to(vectors)).square().sum(dim=1).mean()


def possible_triplets(labels: Tensor) -> int:
    """Count the triplets in a batch of these (B,) labels."""
    counts = torch.unique(labels, return_counts=True)[1]
    return int((counts * (counts - 1) * (len(labels) - counts)).sum())


def random_triplets(labels: Tensor, wanted: int) -> Triplets:
    """Draw triplets blindly from torch's global random numbers, as many for each anchor.

    ``wanted`` in all, rounded up to the same number for each of the B anchors, and at least as
    many as there are pairs of mates (FaceNet uses every one of them).
    """
    counts = torch.unique(labels, return_counts=True)[1]
    mates = int((counts * (counts - 1)).sum())
    each = math.ceil(max(wanted, mates) / max(1, len(labels)))
    drawn = get_random_triplet_indices(labels.cpu(), t_per_anchor=max(1, each))
    anchor, positive, negative = (index.to(labels.device) for index in drawn)
    return anchor, positive, negative


def _loss(term: Term, config: ObjectiveConfig, size: tuple[int, int]) -> nn.Module:
    dimension, people = size
    loss: nn.Module
    if term == Term.TRIPLET:
        loss = TripletMarginLoss(
            config.alpha, distance=squared_distance(), reducer=DoNothingReducer()
        )
    elif term == Term.CONTRASTIVE:
        margin, raw = config.contrastive_margin, DoNothingReducer()
        loss = ContrastiveLoss(neg_margin=margin, distance=squared_distance(), reducer=raw)
    elif term == Term.SOFTMAX:
        temperature = config.softmax_temperature
        loss = NormalizedSoftmaxLoss(people, dimension, temperature, reducer=MeanReducer())
    else:
        degrees, scale = math.degrees(config.arcface_margin), config.arcface_scale
        loss = ArcFaceLoss(people, dimension, degrees, scale, reducer=MeanReducer())
    return loss


_MADE = frozenset(Term) - {Term.KEEP}
