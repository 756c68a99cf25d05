"""Liveness beside recognition: who judges it, what a policy makes of it, and who has to wait."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

from visavis.detect import Search
from visavis.encode import embed
from visavis.errors import NoFaceFound, SeveralFaces, TooManyAttempts
from visavis.liveness.attempts import Attempts
from visavis.liveness.passive import PassiveLiveness
from visavis.liveness.policy import Answered, Policy, rule
from visavis.models import ModelStore
from visavis.values import Liveness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from visavis.encode import Encoder
    from visavis.engine.config import EngineConfig
    from visavis.engine.sight import Observed, Photograph, Sight
    from visavis.liveness.answer import Verdict
    from visavis.liveness.attempts import Attempt
    from visavis.liveness.policy import Passive
    from visavis.values import Decision, Embedding, Face, Image, Person, Ruling

T = TypeVar("T")

CHALLENGE = "challenge"
"""What judged, where a person was asked to move."""
MOST_FRAMES = 16
"""Of a video so many are judged, spread over all of it."""


class Counting(Protocol):
    """Counts tries on a subject; ``liveness.attempts.Attempts`` is one."""

    def attempt(self, subject: str) -> AbstractContextManager[Attempt]:
        """Begin a try; raises TooManyAttempts."""


class Alive:
    """What an engine knows of liveness; the network is opened when it is first asked for.

    Attributes
    ----------
    attempts
        Who failed how often, by the id of the person claimed. In memory: processes that share
        their doors set another.
    """

    def __init__(self, config: EngineConfig, sight: Sight) -> None:
        self.attempts: Counting = Attempts()
        self._config = config
        self._sight = sight
        self._passive: Passive | None = None
        self._lock = Lock()

    @property
    def passive(self) -> Passive:
        """The network that judges pictures; raises ModelError when it cannot be opened."""
        with self._lock:
            if self._passive is None:
                config = self._config
                self._passive = PassiveLiveness.open(
                    config.store or ModelStore.default(),
                    config.liveness,
                    config.live_at,
                    config.runtime,
                    config.cores,
                )
            return self._passive

    def policy(self, asked: Policy | None) -> Policy:
        """Give the policy of a call, else the engine's."""
        return self._config.live if asked is None else Policy(asked)

    def of_photograph(self, photograph: Photograph) -> Liveness:
        """Judge the one face that a photograph is of."""
        seen = self._shown(photograph)
        return seen if isinstance(seen, Liveness) else self.passive.judge(*seen)

    def of_frames(self, frames: Iterable[Photograph]) -> Liveness:
        """Judge pictures of one presentation together.

        Unless at least half of them show one face, nothing can be told: who shows a face for a
        moment only has not been looked at.
        """
        shown: list[tuple[Image, Face]] = []
        reasons: list[str] = []
        for frame in spread(frames, MOST_FRAMES):
            seen = self._shown(frame)
            if isinstance(seen, Liveness):
                reasons += seen.reasons
            else:
                shown.append(seen)
        if len(reasons) > len(shown):
            some = f"only {len(shown)} of {len(shown) + len(reasons)} pictures show one face"
            return self._unknown(some, *dict.fromkeys(reasons))
        if not shown:
            return self._unknown("no picture was given")
        return self.passive.judge_many(shown)

    def answered(self, verdict: Verdict, encoder: Encoder) -> Answered:
        """Give what a policy takes: the verdict on a challenge, and whose face answered it."""
        liveness = Liveness(
            verdict.live,
            bpcer=verdict.bpcer,
            apcer=verdict.apcer,
            model=CHALLENGE,
            reasons=verdict.reasons,
        )
        if verdict.portrait is None:
            return Answered(liveness, None)
        seen = self._sight.observed(*verdict.portrait)
        return Answered(liveness, embed(encoder, [seen.crop])[0])

    def ruling(
        self,
        policy: Policy,
        seen: Observed,
        answered: Answered | None,
        same: Callable[[Embedding], bool],
    ) -> Ruling | None:
        """Hold a face against a policy; None for ``off``.

        ``same`` says whether the face that answered the challenge is this one: a challenge that
        somebody else answered says nothing of it.
        """
        if policy is Policy.OFF:
            return None
        passive = self.passive.judge(seen.image, seen.crop.face) if policy.passive else None
        active = None
        if policy.active and answered is not None:
            active = answered.liveness
            if active.live and not (answered.embedding and same(answered.embedding)):
                why = "the challenge was answered by another face than the one in the photograph"
                active = replace(active, live=False, reasons=(why,))
        return rule(policy, passive, active)

    @contextmanager
    def attempt(self, policy: Policy, person: Person) -> Iterator[Attempt | None]:
        """Count a try on somebody; None without a policy, for then nothing is counted.

        Raises
        ------
        TooManyAttempts
        """
        if policy is Policy.OFF:
            yield None
            return
        try:
            with self.attempts.attempt(person.id) as attempt:
                yield attempt
        except TooManyAttempts as wait:
            raise TooManyAttempts(f"{person.name}: {wait}", wait.seconds) from None

    def _shown(self, photograph: Photograph) -> tuple[Image, Face] | Liveness:
        """Give the face that a picture is of, in that picture, or why there is none."""
        try:
            seen = self._sight.subject(photograph)
        except (NoFaceFound, SeveralFaces) as none:
            return self._unknown(str(none))
        return seen.image, seen.crop.face

    def _unknown(self, *reasons: str) -> Liveness:
        return Liveness(None, model=self._config.liveness, reasons=reasons)


class Eyes:
    """What active liveness needs of an engine; see ``liveness.looking.Observer``."""

    def __init__(self, sight: Sight, encoder: Encoder) -> None:
        self._sight, self._encoder = sight, encoder

    def faces(self, image: Image) -> list[Face]:
        """Find the faces of a frame, the largest first."""
        return self._sight.detector.find(image, Search.SUBJECT)

    def encode(self, image: Image, face: Face) -> NDArray[np.float32]:
        """Give a face's encoding: unit vector (D,)."""
        return embed(self._encoder, [self._sight.observed(image, face).crop])[0].vector


def told(attempt: Attempt | None, ruling: Ruling | None, matched: bool) -> None:
    """Say what became of a try. What could not be told is none: it opens nothing either."""
    if attempt is None or ruling is None:
        return
    parts = [part for part in (ruling.passive, ruling.active) if part is not None]
    if matched and ruling.satisfied:
        attempt.succeeded()
    elif not matched or any(part.live is False for part in parts):
        attempt.failed()


def under(decision: Decision, ruling: Ruling) -> Decision:
    """Let a policy speak: it can turn an acceptance down, and never a refusal up."""
    reasons = (*decision.reasons, *ruling.reasons)
    if decision.accepted and not ruling.satisfied:
        reasons = (f"not accepted: the policy {ruling.policy} is not satisfied", *reasons)
    accepted = decision.accepted and ruling.satisfied
    return replace(decision, accepted=accepted, liveness=ruling, reasons=reasons)


def spread(items: Iterable[T], most: int) -> list[T]:
    """Take at most ``most`` of a stream, evenly, without knowing beforehand how long it is."""
    kept: list[T] = []
    stride = 1
    for number, item in enumerate(items):
        if number % stride == 0:
            if len(kept) == most:
                kept, stride = kept[::2], 2 * stride
                if number % stride:
                    continue
            kept.append(item)
    return kept
