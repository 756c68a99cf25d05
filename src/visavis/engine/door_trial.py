"""A challenge at the door: from whom it is asked of to what came of it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from visavis.decide import squared
from visavis.engine.door_values import Outcome
from visavis.liveness.answer import Phrase
from visavis.liveness.challenge import issue
from visavis.liveness.policy import rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from visavis.engine.core import Engine
    from visavis.engine.door_evidence import Shot, Watch
    from visavis.engine.door_values import DoorConfig
    from visavis.liveness.answer import Guidance, Verdict
    from visavis.liveness.attempts import Attempt
    from visavis.liveness.policy import Policy
    from visavis.values import Image, Liveness, Person, Ruling


class Trial:
    """Somebody who was recognised, and now has to show that they are there.

    The try counts from its beginning. Once something was asked for, leaving is a failure: whoever
    holds a recording would otherwise leave whenever the challenge is another one, until it fits.

    Parameters
    ----------
    attempt
        The try, not yet begun.

    Raises
    ------
    TooManyAttempts
        When the person has to wait.
    """

    def __init__(
        self,
        engine: Engine,
        watch: Watch,
        asked: tuple[Policy, DoorConfig],
        person: Person,
        attempt: AbstractContextManager[Attempt | None],
    ) -> None:
        self.person = person
        self._engine, self._watch = engine, watch
        self._policy, config = asked
        self._patience = config.left_challenge
        self._asked = False
        self._missing: float | None = None
        self._try = ExitStack()
        self._attempt = self._try.enter_context(attempt)
        challenge = issue(config=config.challenge)
        self._session = engine.session(challenge, config.active)
        self.left = False
        """True when whoever it was went away before anything was asked for."""

    def update(self, image: Image, timestamp: float) -> Guidance:
        """Take in a frame; see ``ActiveSession.update``."""
        guidance = self._session.update(image, timestamp)
        self._asked = self._asked or guidance.action is not None
        if guidance.phrase is not Phrase.SHOW_FACE:
            self._missing = None
        elif self._missing is None:
            self._missing = timestamp
        away = self._missing is not None and timestamp - self._missing > self._patience
        self.left = away and not self._asked
        return guidance

    def outcome(self, shots: Sequence[Shot]) -> Outcome:
        """Judge the finished challenge together with the frames before it, and end the try."""
        verdict = self._session.verdict()
        ruling = rule(self._policy, self._passive(shots, verdict), self._active(shots, verdict))
        if ruling is None or not ruling.satisfied:
            return self._failed(ruling)
        now = self._watch.who(shots[-1].embedding)
        if now is None or now.id != self.person.id:
            self._end(None)
            return Outcome.REMOVED
        self._end(outcome=True)
        return Outcome.OPEN

    def abandon(self) -> Outcome | None:
        """End it without an answer; None when it counts for nothing."""
        self._end(outcome=False if self._asked else None)
        return Outcome.ABANDONED if self._asked else None

    def cancel(self) -> None:
        """End it for a reason that is not the person's: it counts for nothing."""
        self._end(None)

    def _failed(self, ruling: Ruling | None) -> Outcome:
        parts = (ruling.passive, ruling.active) if ruling else ()
        fake = any(part is not None and part.live is False for part in parts)
        self._end(outcome=False if fake or self._asked else None)
        return Outcome.NOT_LIVE if fake else Outcome.UNTOLD

    def _passive(self, shots: Sequence[Shot], verdict: Verdict) -> Liveness | None:
        if not self._policy.passive:
            return None
        shown = [(shot.seen.image, shot.seen.crop.face) for shot in shots]
        portrait = [verdict.portrait] if verdict.portrait else []
        return self._engine.alive.passive.judge_many([*shown, *portrait])

    def _active(self, shots: Sequence[Shot], verdict: Verdict) -> Liveness:
        answered = self._engine.answered(verdict)
        live, who = answered.liveness, answered.embedding
        if not live.live:
            return live
        same = who is not None and all(
            squared(who.vector, shot.embedding.vector) <= self._watch.same for shot in shots
        )
        why = "the challenge was answered by another face than the one that came"
        return live if same else replace(live, live=False, reasons=(why,))

    def _end(self, outcome: bool | None) -> None:
        if self._attempt is not None and outcome is not None:
            self._attempt.outcome = outcome
        self._try.close()
