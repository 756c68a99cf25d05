"""A door: a camera's frames in, guidance and decisions out; one decision a visit.

Whoever steps up is told what to do until their face is fit, is recognised over several frames that
all have to agree, is judged live over the same frames and by a challenge where the policy says so,
and gets one answer, which stands until they have left or some time has passed.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from visavis.engine.alive import told
from visavis.engine.door_evidence import Evidence, Watch
from visavis.engine.door_trial import Trial
from visavis.engine.door_values import (
    DoorConfig,
    DoorDecision,
    DoorState,
    DoorView,
    Outcome,
    Said,
)
from visavis.errors import InputRefused, TooManyAttempts
from visavis.image import decode, image_of
from visavis.liveness.answer import Phrase
from visavis.liveness.policy import Policy, rule
from visavis.values import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from visavis.engine.core import Engine
    from visavis.liveness.answer import Guidance
    from visavis.liveness.attempts import Attempt
    from visavis.values import Face, Person

    Attempting = Callable[[Person], AbstractContextManager[Attempt | None]]

__all__ = ["Door", "DoorConfig", "DoorDecision", "DoorState", "DoorView", "Outcome"]

DEFAULT_DOOR = DoorConfig()


class Door:
    """One camera at one door; not for several threads at once.

    Parameters
    ----------
    engine
        With a gallery.
    policy
        What is asked of liveness; None takes the engine's.
    record
        Called with each decision before it takes effect. When it raises, nothing is opened: a door
        does not open unrecorded.
    attempt
        Begins a try on somebody, as ``Alive.attempt`` does; None takes the engine's.

    Raises
    ------
    GalleryRequired, NotCalibrated
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy | None = None,
        config: DoorConfig = DEFAULT_DOOR,
        record: Callable[[DoorDecision], None] | None = None,
        attempt: Attempting | None = None,
    ) -> None:
        self.policy = engine.alive.policy(policy)
        self._attempt = attempt or partial(engine.alive.attempt, self.policy)
        self.config = config
        self._engine = engine
        self._record = record
        self._watch = Watch(engine, self.policy, config)
        self._evidence = Evidence(self._watch, config)
        self._trial: Trial | None = None
        self._decision: DoorDecision | None = None
        self._decided_at = self._seen = self._last = -math.inf
        self._left = True
        self._quiet, self._counted = 0, -math.inf
        _ = engine.gallery

    def update(self, frame: bytes | Image | NDArray[np.uint8], timestamp: float) -> DoorView:
        """Take in the next frame.

        Parameters
        ----------
        frame
            A file's bytes, an Image, or (H, W, 3) RGB uint8; not mirrored.
        timestamp
            Seconds of the camera's clock.

        Raises
        ------
        InputRefused
            When the timestamp goes back or is no number.
        ImageRefused, ModelError, GalleryError
        """
        if not math.isfinite(timestamp) or timestamp <= self._last:
            raise InputRefused("the timestamps of a door's frames rise, in seconds")
        image = self._image(frame)
        self._last = timestamp
        if self._trial is not None:
            return self._challenged(self._trial, image, timestamp)
        face, several = self._watch.look(image)
        self._note(timestamp, there=several or face is not None)
        if self._quiet and face is not None:
            return self._kept_quiet(timestamp)
        if self._decision is not None:
            shown = self._held(self._decision, timestamp)
            if shown is not None:
                return shown
        if several:
            self._evidence.drop()
            return DoorView(DoorState.LOOKING, Phrase.ONE_PERSON)
        if face is None:
            return _NOBODY if self._left else _HIDDEN
        return self._look(image, face, timestamp)

    def close(self) -> None:
        """End it; a challenge that was going on is then a failure."""
        trial, self._trial = self._trial, None
        outcome = trial.abandon() if trial else None
        if trial and outcome:
            self._decide(outcome, trial.person, self._last)

    def _image(self, frame: bytes | Image | NDArray[np.uint8]) -> Image:
        if isinstance(frame, bytes):
            return decode(frame, self.config.limits, name="frame", long_side=self.config.side)
        return frame if isinstance(frame, Image) else image_of(frame, self.config.limits)

    def _note(self, timestamp: float, *, there: bool) -> None:
        """Notice that somebody left: a visit ends with that."""
        if timestamp - self._seen > self.config.gone:
            self._left = True
            if self._decision is None:
                self._evidence = Evidence(self._watch, self.config)
        if there:
            self._seen = timestamp
            self._left = self._left and self._decision is not None

    def _held(self, decision: DoorDecision, timestamp: float) -> DoorView | None:
        """Show a decision for its time, then wait until somebody may try anew."""
        since = timestamp - self._decided_at
        if since < self.config.hold:
            return _shown(decision)
        if not self._left and since < self.config.cooldown:
            return DoorView(DoorState.WAITING, Said.NEXT if decision.opens else Said.AGAIN)
        self._decision = None
        self._left = timestamp > self._seen
        self._evidence = Evidence(self._watch, self.config)
        return None

    def _look(self, image: Image, face: Face, timestamp: float) -> DoorView:
        seen = self._watch.observe(image, face)
        unfit = self._watch.unfit(seen)
        if unfit:
            return DoorView(DoorState.LOOKING, unfit)
        self._evidence.add(seen, timestamp)
        person = self._evidence.person
        if person is not None:
            return self._recognised(person, timestamp)
        if self._evidence.exhausted:
            return self._decide(Outcome.NOT_RECOGNIZED, None, timestamp)
        return DoorView(DoorState.LOOKING, Said.HOLD_STILL)

    def _recognised(self, person: Person, timestamp: float) -> DoorView:
        """Hold somebody who was recognised against the policy."""
        if self.policy is Policy.OFF:
            return self._decide(Outcome.OPEN, person, timestamp)
        passive = None
        if self.policy.passive:
            shots = [(s.seen.image, s.seen.crop.face) for s in self._evidence.shots]
            passive = self._engine.alive.passive.judge_many(shots)
        try:
            if self.policy.active and (passive is None or passive.live):
                self._trial = self._tried(person)
                return DoorView(DoorState.CHALLENGE, Phrase.HOLD_STILL)
            with self._attempt(person) as attempt:
                ruling = rule(self.policy, passive, None)
                told(attempt, ruling, matched=True)
        except TooManyAttempts:
            return self._turned_away(Outcome.LOCKED_OUT, person, timestamp)
        if ruling is not None and ruling.satisfied:
            return self._decide(Outcome.OPEN, person, timestamp)
        fake = passive is not None and passive.live is False
        return self._turned_away(Outcome.NOT_LIVE if fake else Outcome.UNTOLD, person, timestamp)

    def _turned_away(self, outcome: Outcome, person: Person, timestamp: float) -> DoorView:
        """Decide now, and say it no sooner than a stranger would be told.

        Otherwise whoever holds up a picture learns by the clock whether its person is enrolled.
        """
        quiet = max(0, self.config.most - self._evidence.seen)
        told_now = self._decide(outcome, person, timestamp)
        self._quiet, self._counted = quiet, timestamp
        if not quiet:
            return told_now
        return DoorView(DoorState.LOOKING, Said.HOLD_STILL, decided=told_now.decided)

    def _kept_quiet(self, timestamp: float) -> DoorView:
        if timestamp - self._counted >= self.config.apart:
            self._quiet, self._counted = self._quiet - 1, timestamp
        if self._quiet or self._decision is None:
            return DoorView(DoorState.LOOKING, Said.HOLD_STILL)
        self._decided_at = timestamp
        return _shown(self._decision)

    def _tried(self, person: Person) -> Trial:
        return Trial(
            self._engine, self._watch, (self.policy, self.config), person, self._attempt(person)
        )

    def _challenged(self, trial: Trial, image: Image, timestamp: float) -> DoorView:
        try:
            guidance = trial.update(image, timestamp)
            if not guidance.finished and not trial.left:
                return _guided(guidance)
            self._trial = None
            if trial.left:
                trial.cancel()
                self._note(timestamp, there=False)
                return _NOBODY
            outcome = trial.outcome(self._evidence.shots)
        except BaseException:
            self._trial = None
            trial.cancel()
            raise
        self._seen = timestamp
        return self._decide(outcome, trial.person, timestamp)

    def _decide(self, outcome: Outcome, subject: Person | None, timestamp: float) -> DoorView:
        """Give the visit its one answer."""
        decision = DoorDecision(
            id=uuid.uuid4().hex,
            outcome=outcome,
            person=subject if outcome is Outcome.OPEN else None,
            subject=subject.id if subject else None,
            frames=self._evidence.seen,
            decided_at=datetime.now(UTC),
        )
        self._evidence = Evidence(self._watch, self.config)
        self._decided_at, self._left, self._quiet = timestamp, False, 0
        self._decision = replace(decision, outcome=Outcome.UNRECORDED, person=None)
        if self._record is not None:
            self._record(decision)
        self._decision = decision
        return replace(_shown(decision), decided=decision)


_NOBODY = DoorView(DoorState.WAITING, Said.COME)
_HIDDEN = DoorView(DoorState.LOOKING, Phrase.SHOW_FACE)


def _shown(decision: DoorDecision) -> DoorView:
    state, phrase = DoorState.CLOSED, Said.CLOSED
    if decision.opens:
        state, phrase = DoorState.OPEN, Said.OPEN
    name = decision.person.name if decision.person else None
    return DoorView(state, phrase, name=name, decision=decision.id)


def _guided(guidance: Guidance) -> DoorView:
    return DoorView(
        DoorState.CHALLENGE,
        guidance.phrase,
        guidance.action,
        guidance.done,
        guidance.of,
        guidance.remaining,
    )
