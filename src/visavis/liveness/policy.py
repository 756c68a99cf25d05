"""Named policies: which kinds of liveness must hold before recognition may count.

Recognition and liveness are two answers, reported apart. A policy is the only place that joins
them, by "and": it is satisfied when every part that it names found a live human. What a part could
not tell counts as not live.

======================  =============  ==========================  =====================
policy                  parts          live people turned away     attacks let through
======================  =============  ==========================  =====================
``off``                 none           none                        all of them
``passive``             one picture    BPCER of the network        APCER of the network
``active``              a challenge    BPCER of the challenge      APCER of the challenge
``passive-and-active``  both           at most the sum of the two  at most the smaller
======================  =============  ==========================  =====================

The last row holds however the two hang together; were they independent, BPCER would be
1 - (1 - b1)(1 - b2) and APCER a1 a2. They are not: an attack that looks real enough to move on
command also looks real, so plan with the bounds. To what recognition gets wrong a policy adds: a
genuine person is rejected at most FNMR + BPCER of the time; somebody else with their own live face
is accepted at most FMR of the time; an attack with the right face, which recognition lets through,
at most APCER of the time (the IAPAR of ISO/IEC 30107-3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from visavis.values import Ruling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from visavis.values import Embedding, Face, Image, Liveness


class Policy(StrEnum):
    """What is asked of a face before it may be recognised."""

    OFF = "off"
    """Nothing: a photograph of a photograph is as good."""
    PASSIVE = "passive"
    """One picture, judged by a network."""
    ACTIVE = "active"
    """A challenge, answered before the camera."""
    PASSIVE_AND_ACTIVE = "passive-and-active"
    """Both."""

    @property
    def passive(self) -> bool:
        """Whether a picture is to be judged."""
        return self in {Policy.PASSIVE, Policy.PASSIVE_AND_ACTIVE}

    @property
    def active(self) -> bool:
        """Whether a challenge is to be answered."""
        return self in {Policy.ACTIVE, Policy.PASSIVE_AND_ACTIVE}


class Passive(Protocol):
    """Judges pictures; `visavis.liveness.passive.PassiveLiveness` is one."""

    def judge(self, image: Image, face: Face) -> Liveness:
        """Judge a face in a picture; ``face`` is in the coordinates of ``image``."""

    def judge_many(self, shots: Sequence[tuple[Image, Face]]) -> Liveness:
        """Judge several pictures of one presentation together."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What came of a challenge, and whose face answered it.

    Attributes
    ----------
    liveness
        The verdict.
    embedding
        The encoding of the face that answered, by which the engine holds it against the
        photograph: a challenge that one person answers must not open the door to another's.
        Without one it opens none.
    """

    liveness: Liveness
    embedding: Embedding | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Errors of one part in [0, 1]: live people turned away, attacks let through."""

    bpcer: float
    apcer: float

    def __post_init__(self) -> None:
        if not (0 <= self.bpcer <= 1 and 0 <= self.apcer <= 1):
            raise ValueError(f"rates lie in [0, 1]: {self}")


@dataclass(frozen=True, slots=True)
class Span:
    """A rate of two parts together: what it is at least, if they are independent, and at most."""

    least: float
    independent: float
    most: float


def combined(policy: Policy, passive: Rates, active: Rates) -> tuple[Span, Span]:
    """Give the (BPCER, APCER) of a policy from those of its parts.

    The ends are Fréchet's inequalities for the union of two refusals and for the intersection
    of two acceptances; without knowing how the parts hang together nothing tighter is true.
    """
    asked = [r for r, wanted in ((passive, policy.passive), (active, policy.active)) if wanted]
    refused = Span(
        max((r.bpcer for r in asked), default=0.0),
        1 - _product(1 - r.bpcer for r in asked),
        min(1.0, sum(r.bpcer for r in asked)),
    )
    passed = Span(
        max(0.0, sum(r.apcer for r in asked) - (len(asked) - 1)),
        _product(r.apcer for r in asked),
        min((r.apcer for r in asked), default=1.0),
    )
    return refused, passed


def rule(policy: Policy, passive: Liveness | None, active: Liveness | None) -> Ruling | None:
    """Hold what was seen against a policy; None for ``off``, which says nothing.

    A part that was asked for and not given is not satisfied, with the reason; it is never an
    error, so that nobody learns by an exception what a fake looks like.
    """
    if policy is Policy.OFF:
        return None
    parts = [("passive", passive)] if policy.passive else []
    parts += [("active", active)] if policy.active else []
    given = [part for _, part in parts if part is not None]
    whole = len(given) == len(parts)
    refused = [part.bpcer for part in given if part.bpcer is not None]
    passed = [part.apcer for part in given if part.apcer is not None]
    return Ruling(
        policy=policy.value,
        satisfied=whole and all(part.live is True for part in given),
        passive=passive if policy.passive else None,
        active=active if policy.active else None,
        bpcer=min(1.0, sum(refused)) if len(refused) == len(parts) else None,
        # Of two parts the smaller bounds both, so one that is known is enough.
        apcer=min(passed) if passed else None,
        reasons=tuple(reason for name, part in parts for reason in _reasons(name, part)),
    )


def _reasons(name: str, part: Liveness | None) -> tuple[str, ...]:
    if part is None:
        what = "an answered challenge" if name == "active" else "a picture to judge"
        return (f"{name} liveness: the policy asks for {what}, and none was given",)
    word = {True: "live", False: "not live", None: "cannot be told"}[part.live]
    why = f" ({'; '.join(part.reasons)})" if part.reasons else ""
    return (f"{name} liveness: {word}{why}",)


def _product(values: Iterable[float]) -> float:
    product = 1.0
    for value in values:
        product *= value
    return product
