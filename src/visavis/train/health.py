"""What says that a run goes wrong, and what to do about it.

A triplet loss can be had cheaply: every face the same point, and the loss sticks at alpha (FaceNet,
sec. 3.2, on the hardest negatives). The loss alone does not tell that from a hard problem; the
distances within a batch do, whatever the objective and its margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from visavis.errors import TrainingRefused
from visavis.train.objectives import Mining
from visavis.train.vitals import Vitals, vitals

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Action",
    "Ailment",
    "Diagnosis",
    "HealthConfig",
    "Monitor",
    "Recovery",
    "Vitals",
    "vitals",
]


class Ailment(StrEnum):
    """What can be wrong with a run."""

    COLLAPSING = "collapsing"
    """All vectors move to one point or one line."""
    STUCK = "stuck-at-margin"
    """Mates are no nearer than strangers, so that the loss stays at the margin."""
    DIVERGING = "diverging"
    """What was learnt is lost again."""
    NOT_FINITE = "not-finite"
    """The loss, its gradient or the vectors are infinite or not a number."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, since when, and what helps."""

    kind: Ailment
    step: int
    cause: str
    cure: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.cause}; {self.cure}"


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """What is taken for ill, and how often it is treated.

    Attributes
    ----------
    smoothing
        Share of the past in the averages that are judged.
    patience
        Looks in a row that must be bad before anything is said.
    slow
        Looks in a row in which nothing is learnt before that is said.
    grace
        First looks in which a network that began near one point has not yet to spread.
    collapsed
        Mean squared distance of strangers below which all faces are one.
    flat
        Effective dimension below which all vectors lie on a line.
    nothing
        Gap (see ``Vitals.gap``) below which nothing is learnt.
    lost
        Share of the best gap so far below which it counts as lost.
    recoveries
        How often a run is mended before it is stopped.
    rate_factor
        What the learning rate is multiplied by each time.
    warmup
        Steps of the first new warm-up; it doubles with each.
    """

    smoothing: float = 0.8
    patience: int = 8
    slow: int = 60
    grace: int = 30
    collapsed: float = 0.05
    flat: float = 1.2
    nothing: float = 0.03
    lost: float = 0.4
    recoveries: int = 3
    rate_factor: float = 0.3
    warmup: int = 100

    def __post_init__(self) -> None:
        """Raise TrainingRefused for what cannot be."""
        if not (0 <= self.smoothing < 1 and self.patience >= 1 and self.slow >= 1):
            raise TrainingRefused("smoothing is in [0, 1), and patience is one look or more")
        if not (0 < self.rate_factor <= 1 and self.recoveries >= 0 and self.warmup >= 0):
            raise TrainingRefused("a recovery multiplies the rate by a number in (0, 1]")


class Monitor:
    """Watches the looks of one run; one odd batch says nothing."""

    def __init__(self, config: HealthConfig | None = None) -> None:
        self.config = config or HealthConfig()
        self._state = dict(_START)

    def update(self, seen: Vitals) -> Diagnosis | None:
        """Take a look to the averages; tells what is wrong once it has lasted, once."""
        state, limits = self._state, self.config
        if not seen.finite:
            return self._lasting(Ailment.NOT_FINITE, seen, limits.patience // 2)
        state[Ailment.NOT_FINITE] = 0
        for name, value in _judged(seen).items():
            state[name] = _blend(state[name], value, limits.smoothing if state["looks"] else 0.0)
        state["looks"] += 1
        state["best"] = max(state["best"], state["gap"])
        state["widest"] = max(state["widest"], state["nonmated"])
        for ailment, lasts in (
            (Ailment.COLLAPSING, limits.patience),
            (Ailment.DIVERGING, limits.patience),
            (Ailment.STUCK, limits.slow),
        ):
            if ailment != Ailment.COLLAPSING and math.isnan(seen.mated):
                continue
            if not self._ill(ailment):
                state[ailment] = 0
            elif found := self._lasting(ailment, seen, lasts):
                return found
        return None

    def state_dict(self) -> dict[str, float]:
        """Give plain numbers, with which another monitor goes on alike."""
        return {str(name): float(value) for name, value in self._state.items()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on as the monitor that gave them; raises ValueError for another's."""
        if set(state) != set(_START):
            raise ValueError("these are not a monitor's numbers")
        self._state = {name: float(state[name]) for name in _START}

    def _ill(self, ailment: Ailment) -> bool:
        state, limits = self._state, self.config
        match ailment:
            case Ailment.COLLAPSING:
                point, line = state["nonmated"] < limits.collapsed, state["dimension"] < limits.flat
                # A new network may begin nearly at one point, and is well while it spreads.
                fallen = state["nonmated"] < _FALLEN * state["widest"]
                if not (point or line) or not (fallen or state["looks"] > limits.grace):
                    return False
                size = state["nonmated"] * state["dimension"]
                if state[ailment] and size > state["size"] * _RISING:
                    state[ailment] = 0
                state["size"] = size if not state[ailment] else state["size"]
                return True
            case Ailment.DIVERGING:
                return state["best"] > 3 * limits.nothing and (
                    state["gap"] < limits.lost * state["best"]
                )
            case _:
                return state["gap"] < limits.nothing

    def _lasting(self, ailment: Ailment, seen: Vitals, lasts: int) -> Diagnosis | None:
        self._state[ailment] += 1
        if self._state[ailment] < lasts:
            return None
        self._state[ailment] = 0
        cause, cure = _TOLD[ailment]
        return Diagnosis(ailment, seen.step, cause.format(**self._state), cure)


_RISING = 1.05
"""By so much the vectors must spread, or the looks that saw them near one point go on counting."""
_FALLEN = 0.3
"""Share of the widest that strangers were apart, below which a run has fallen towards one point."""

_START: dict[str, float] = {
    **dict.fromkeys(("looks", "nonmated", "dimension", "gap", "best", "widest", "size"), 0.0),
    **dict.fromkeys(map(str, Ailment), 0.0),
}


def _judged(seen: Vitals) -> dict[str, float]:
    """Give what is averaged; without mates in a batch nothing is known of the gap."""
    gap = {} if math.isnan(seen.mated) else {"gap": seen.gap}
    nonmated = seen.distance if math.isnan(seen.nonmated) else seen.nonmated
    return {"nonmated": nonmated, "dimension": seen.dimension, **gap}


def _blend(past: float, value: float, share: float) -> float:
    return share * past + (1 - share) * value


_TOLD = {
    Ailment.COLLAPSING: (
        "every face is nearly the same point or line (strangers at a squared distance of "
        "{nonmated:.3g}, {dimension:.3g} dimensions used)",
        "mine semi-hard negatives, lower the learning rate, warm up longer, or give the triplet "
        "loss a margin",
    ),
    Ailment.STUCK: (
        "one person's photographs are no nearer to each other than to strangers' ({gap:.1%}), so "
        "that the loss stays at the margin",
        "look whether the folders are one per person, mine semi-hard negatives, or begin with "
        "another objective such as arcface",
    ),
    Ailment.DIVERGING: (
        "mates were nearer than strangers by {best:.0%} and are so by {gap:.0%} only",
        "lower the learning rate or clip gradients more",
    ),
    Ailment.NOT_FINITE: (
        "the loss or its gradient is infinite or not a number",
        "lower the learning rate, clip gradients, or compute in 32 bits",
    ),
}


@dataclass(frozen=True, slots=True)
class Action:
    """What a loop does about a diagnosis.

    Attributes
    ----------
    mining
        To be used from now on; None leaves it.
    rate_factor
        For the learning rate as it is now.
    warmup_steps
        In which the rate rises again from 0.
    restore
        Go back to the last good checkpoint first.
    """

    mining: Mining | None
    rate_factor: float
    warmup_steps: int
    restore: bool = True

    def __str__(self) -> str:
        mined = f"{self.mining} negatives, " if self.mining else ""
        return (
            f"{mined}the learning rate times {self.rate_factor:g}, "
            f"warmed up in {self.warmup_steps} steps"
        )


class Recovery:
    """Treats a run so many times, each time more gently, and then gives it up."""

    def __init__(self, config: HealthConfig | None = None) -> None:
        self.config = config or HealthConfig()
        self.taken = 0

    def next(self, diagnosis: Diagnosis) -> Action | None:
        """Give what to do; None is to stop, with the last good checkpoint."""
        if self.taken >= self.config.recoveries:
            return None
        self.taken += 1
        ranks = diagnosis.kind in {Ailment.COLLAPSING, Ailment.STUCK}
        return Action(
            mining=Mining.SEMI_HARD if ranks else None,
            rate_factor=self.config.rate_factor,
            warmup_steps=self.config.warmup * 2 ** (self.taken - 1),
        )

    def state_dict(self) -> dict[str, int]:
        """Give a plain number, with which another goes on alike."""
        return {"taken": self.taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on as the one that gave it."""
        self.taken = int(state["taken"])
