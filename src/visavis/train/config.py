"""What a training run is made of: validated when it is built, saved beside its weights."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, get_args

from visavis.errors import TrainingRefused
from visavis.train.augment import AugmentConfig
from visavis.train.health import HealthConfig
from visavis.train.objectives import Mining, ObjectiveConfig, Term

if TYPE_CHECKING:
    from pathlib import Path

Precision = Literal["32-true", "bf16-mixed"]
Accelerator = Literal["auto", "cpu", "gpu"]


class Schedule(StrEnum):
    """How the learning rate goes on after its warm-up."""

    COSINE = "cosine"
    """Down to a hundredth of it along half a cosine."""
    STEP = "step"
    """A tenth of it from half of the run on, a hundredth from three quarters on."""
    CONSTANT = "constant"


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    SGD = "sgd"
    """With Nesterov momentum 0.9."""
    ADAMW = "adamw"


@dataclass(frozen=True, slots=True)
class Learning:
    """How the weights are moved.

    Attributes
    ----------
    rate
        The learning rate after warm-up.
    warmup
        Steps in which it rises from 0 in a straight line.
    decay
        Weight decay; not of biases, slopes and normalisations.
    clip
        Longest gradient over all weights (L2); 0 clips nothing.
    ema
        Share of the past in the moving average of the weights that is checked and exported; 0
        takes the weights as they are.
    accumulate
        Batches whose gradients are averaged for one step.
    """

    optimizer: Optimizer = Optimizer.ADAMW
    rate: float = 1e-3
    schedule: Schedule = Schedule.COSINE
    warmup: int = 100
    decay: float = 1e-4
    clip: float = 5.0
    ema: float = 0.99
    accumulate: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _must(self.rate > 0, f"a learning rate of {self.rate} moves nothing: give one above 0")
        _must(self.warmup >= 0, "warm-up cannot take fewer than 0 steps")
        _must(self.decay >= 0 and self.clip >= 0, "decay and clip cannot be negative")
        _must(0 <= self.ema < 1, "the share of the past in the moving average is in [0, 1)")
        _must(self.accumulate >= 1, "a step takes one batch or more")

    def rate_at(self, step: int, steps: int) -> float:
        """Give the learning rate of a step of a run of so many steps."""
        if step < self.warmup:
            return self.rate * (step + 1) / (self.warmup + 1)
        done = (step - self.warmup) / max(1, steps - self.warmup)
        match self.schedule:
            case Schedule.COSINE:
                return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
            case Schedule.STEP:
                return self.rate * (1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
            case Schedule.CONSTANT:
                return self.rate


@dataclass(frozen=True, slots=True)
class HeldOut:
    """People the network never learns from, and what they are for.

    Attributes
    ----------
    validation
        Share of the people by whom the best weights are chosen and the run is stopped early.
    calibration
        Share of the people on whom the operating points are measured, and the report.
    every
        Steps between two checks on the validation people.
    patience
        Checks without a better one after which the run stops; 0 never stops early.
    photographs
        At most so many of the validation people's photographs are looked at.
    widths
        Faces are also looked at made so many pixels wide, for encoders that are to see small ones.
    """

    validation: float = 0.1
    calibration: float = 0.1
    every: int = 250
    patience: int = 0
    photographs: int = 2000
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        shares = (self.validation, self.calibration)
        _must(all(0 < share < 1 for share in shares), "shares of held-out people are in (0, 1)")
        _must(sum(shares) < 0.9, "at least a tenth of the people must be left to learn from")
        _must(self.every >= 1 and self.patience >= 0, "checks need a step or more between them")


@dataclass(frozen=True, slots=True)
class Hardware:
    """On what the run computes.

    Attributes
    ----------
    devices
        How many; 0 takes all there are of GPUs, one process of the CPU.
    threads
        Of the CPU, for the network; 0 leaves it to torch. Bit-exact resumption needs the same.
    workers
        Threads that read and decode photographs ahead of the network.
    compiled
        Have torch compile the network: half a minute or more at the start, up to twice as fast on
        a CPU. It needs a C++ compiler.
    """

    accelerator: Accelerator = "auto"
    devices: int = 0
    precision: Precision = "32-true"
    threads: int = 0
    workers: int = 1
    compiled: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _must(self.accelerator in get_args(Accelerator), f"no accelerator {self.accelerator!r}")
        _must(self.precision in get_args(Precision), f"no precision {self.precision!r}")
        _must(self.devices >= 0 and self.threads >= 0 and self.workers >= 1, "too few devices")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One run.

    Attributes
    ----------
    start
        An architecture (see ``encoders.build``), or the name of an encoder of the model store to
        go on from.
    dimension
        Of the encodings; None takes the architecture's own.
    first, first_steps
        Other terms to begin with, for so many steps: a classification that sorts the people
        roughly before triplets do it finely. A pretrained start needs none.
    people, images
        P x K: each batch holds so many people, and so many images of each.
    steps
        Of the optimiser.
    seed
        Everything that is drawn follows from it and from the step's number.
    keep_every
        Steps between two checkpoints.
    recover
        Mend a collapsing run instead of stopping it.
    exclude
        Names of people who take no part at all, as those another data set is reported on.
    """

    start: str = "mobilefacenet"
    dimension: int | None = None
    objective: ObjectiveConfig = field(
        default_factory=lambda: ObjectiveConfig(((Term.TRIPLET, 1.0),), mining=Mining.SEMI_HARD)
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    first: tuple[tuple[Term, float], ...] = ()
    first_steps: int = 0
    people: int = 32
    images: int = 4
    steps: int = 5000
    seed: int = 0
    keep_every: int = 250
    recover: bool = True
    exclude: tuple[str, ...] = ()
    learning: Learning = field(default_factory=Learning)
    held_out: HeldOut = field(default_factory=HeldOut)
    health: HealthConfig = field(default_factory=HealthConfig)
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _must(self.people >= 2, "a batch needs two people or more, or there are no negatives")
        _must(self.images >= 2, "a batch needs two images or more of each person, for positives")
        _must(self.steps >= 1 and self.keep_every >= 1, "a run takes a step or more")

        _must(
            0 <= self.first_steps < self.steps and bool(self.first) == bool(self.first_steps),
            "what to begin with takes some steps, and leaves some of the run's",
        )

    @property
    def whole(self) -> ObjectiveConfig:
        """The objective with every term that has its time, whatever its weight then."""
        terms = dict(self.first) | dict(self.objective.terms)
        return replace(self.objective, terms=tuple(terms.items()))

    def weights_at(self, step: int) -> dict[Term, float]:
        """Give what each term counts at a step; 0 before its time and after."""
        now = dict(self.first if step < self.first_steps else self.objective.terms)
        return {term: now.get(term, 0.0) for term, _ in self.whole.terms}

    def as_json(self) -> dict[str, Any]:
        """Give a JSON object that ``of_json`` reads back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def of_json(stored: dict[str, Any]) -> TrainConfig:
    """Build a config from its JSON; raises TrainingRefused naming what is wrong."""
    try:
        config: TrainConfig = _build(TrainConfig, stored)
    except (TypeError, ValueError, KeyError, AttributeError) as wrong:
        raise TrainingRefused(f"the run's configuration cannot be read: {wrong}") from wrong
    return config


def write_config(config: TrainConfig, path: Path) -> None:
    """Write it beside the weights."""
    path.write_text(json.dumps(config.as_json(), indent=1) + "\n", "utf-8")


_PARTS: dict[str, type] = {
    "learning": Learning,
    "held_out": HeldOut,
    "health": HealthConfig,
    "hardware": Hardware,
    "augment": AugmentConfig,
    "objective": ObjectiveConfig,
}
_ENUMS: dict[str, type[StrEnum]] = {
    "mining": Mining,
    "optimizer": Optimizer,
    "schedule": Schedule,
}


def _build(kind: type, stored: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever ``kind`` is
    known = {each.name for each in fields(kind)}
    if unknown := set(stored) - known:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    made: dict[str, Any] = {}
    for name, value in stored.items():
        if name in _PARTS and isinstance(value, dict):
            made[name] = _build(_PARTS[name], value)
        elif name in {"terms", "first"}:
            made[name] = tuple((Term(term), float(weight)) for term, weight in value)
        elif name in _ENUMS:
            made[name] = _ENUMS[name](value)
        else:
            made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)


def _must(holds: bool, else_: str) -> None:
    if not holds:
        raise TrainingRefused(else_)
