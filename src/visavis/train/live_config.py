"""What a run of ``visavis train liveness`` is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from visavis.errors import TrainingRefused
from visavis.train.attacks import Species


@dataclass(frozen=True, slots=True)
class LivenessConfig:
    """Everything that decides what is learnt, together with the photographs.

    Attributes
    ----------
    seed
        Of subjects held out, simulation, first weights and order.
    attacks
        Which attacks are made from live photographs; none learns from the real ones alone.
    close
        Share of them that are made to fill the view, in [0, 1], so that neither the edges of a
        sheet or screen nor the room behind it tell; some of the others do by chance.
    rounds
        How often each photograph is presented as each species, each time otherwise.
    real
        How often, in each round, presentations of a set with real attacks are looked at again:
        beside thousands that are simulated, a few real ones weigh little. 0 takes them once and as
        they are, as one measures.
    epochs
        How often each presentation is learnt from.
    batch
        Presentations a step.
    rate, decay
        Of AdamW; the rate rises and falls once (Smith 2018, arXiv:1803.09820).
    map_weight
        What the map of where a live face is counts beside the decision; 0 leaves it out.
    held_out
        Share of the subjects that take no part in learning: half of them choose the epoch, and the
        points are measured on the others.
    look
        Whether crops are lit, tinted, moved and covered anew each time (``live_augment``).
    fourier_weight
        What the map of the crop's spectrum counts, which a third head has to foretell; 0 leaves it
        out.
    half
        Learn in bfloat16: twice as fast on processors that have it, far slower on others.
    compiled
        Let torch compile the network, which takes a minute and then saves a third; needs a C++
        compiler.
    start
        ``best.pt`` of a run to go on from; empty starts with random weights.
    """

    seed: int = 0
    attacks: tuple[Species, ...] = (Species.PRINT, Species.SCREEN)
    close: float = 0.0
    rounds: int = 2
    real: int = 4
    epochs: int = 8
    batch: int = 128
    rate: float = 4e-3
    decay: float = 0.05
    map_weight: float = 0.0
    look: bool = False
    fourier_weight: float = 0.0
    held_out: float = 0.17
    half: bool = False
    compiled: bool = False
    start: str = ""

    def __post_init__(self) -> None:
        """Raise TrainingRefused for what cannot be run."""
        for name in ("rounds", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise TrainingRefused(f"{name} must be 1 or more")
        if not self.rate > 0:
            raise TrainingRefused("rate must be above 0")
        for name in ("real", "decay", "map_weight", "fourier_weight"):
            if not getattr(self, name) >= 0:
                raise TrainingRefused(f"{name} must be 0 or more")
        if not 0 <= self.close <= 1:
            raise TrainingRefused("the share of close attacks is 0 to 1")
        if not 0 < self.held_out < 1:
            raise TrainingRefused("the share of subjects held out is above 0 and below 1")
        if Species.LIVE in self.attacks:
            raise TrainingRefused("live is no attack")

    def as_json(self) -> dict[str, Any]:
        """Give the configuration as it is saved beside the weights."""
        return asdict(self) | {"attacks": [str(each) for each in self.attacks]}
