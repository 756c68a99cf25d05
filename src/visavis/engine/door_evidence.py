"""What the frames of one visit show: a face, fit or not, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from visavis.decide import squared
from visavis.detect import Search
from visavis.encode import embed
from visavis.engine.door_values import TOLD, Said
from visavis.liveness.answer import Phrase
from visavis.values import Advice

if TYPE_CHECKING:
    from visavis.engine.core import Engine
    from visavis.engine.door_values import DoorConfig
    from visavis.engine.sight import Observed
    from visavis.liveness.policy import Policy
    from visavis.values import Embedding, Face, Image, Person, Quality

_ORDER = (
    Advice.MOVE_INTO_PICTURE,
    Advice.COME_CLOSER,
    Advice.LESS_LIGHT,
    Advice.MORE_LIGHT,
    Advice.MORE_CONTRAST,
    Advice.TURN_TO_CAMERA,
    Advice.LOOK_AHEAD,
    Advice.HOLD_HEAD_STRAIGHT,
    Advice.SHOW_WHOLE_FACE,
    Advice.HOLD_STILL,
)
"""What is said first of several; one thing at a time."""


class Look(NamedTuple):
    """The faces of one frame: the one that counts, or none; several when rivals are as large."""

    face: Face | None
    several: bool


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A good frame: when it was, its face, and whose that is at the rate asked for."""

    at: float
    seen: Observed
    embedding: Embedding
    person: Person | None


class Watch:
    """Looks at frames with an engine's networks."""

    def __init__(self, engine: Engine, policy: Policy, config: DoorConfig) -> None:
        self._engine, self._policy, self._config = engine, policy, config
        fpir = engine.config.fpir if config.fpir is None else config.fpir
        # Of `most` frames any `frames` in a row may decide. Each such run holds one of the frames
        # whose number is a multiple of `frames`, so a stranger needs one of these to be wrong.
        self._fpir = fpir / (config.most // config.frames)
        self._curve = engine.curve
        self.same = self._curve.verification(engine.config.fmr).tau

    def look(self, image: Image) -> Look:
        """Find whom a frame shows."""
        faces = self._engine.sight.detector.find(image, Search.SUBJECT)
        if not faces:
            return Look(None, several=False)
        largest = faces[0]
        rivals = [f for f in faces[1:] if f.box[2] > self._config.rival * largest.box[2]]
        return Look(None, several=True) if rivals else Look(largest, several=False)

    def observe(self, image: Image, face: Face) -> Observed:
        """Align and assess a face."""
        return self._engine.sight.observed(image, face)

    def unfit(self, seen: Observed) -> str | None:
        """Say what hinders recognition, in words for the person; None when nothing does."""
        quality = seen.sighting.quality
        for advice in _ORDER:
            if advice in quality.advice:
                return TOLD[advice]
        said = self._further(quality)
        if said is None and self._policy.passive:
            judged = self._engine.alive.passive.judge(seen.image, seen.crop.face)
            said = Said.UNCLEAR if judged.live is None else None
        return said

    def _further(self, quality: Quality) -> str | None:
        """Ask for more than enrolment does."""
        yaw, pitch = self._config.facing
        if quality.eyes < self._config.eyes:
            return Phrase.TOO_SMALL
        aside = abs(quality.yaw) > yaw or abs(quality.pitch) > pitch
        return Phrase.LOOK_AT_CAMERA if aside else None

    def shot(self, seen: Observed, timestamp: float) -> Shot:
        """Encode a good face and ask whose it is."""
        embedding = embed(self._engine.encoder, [seen.crop])[0]
        return Shot(timestamp, seen, embedding, self.who(embedding))

    def who(self, embedding: Embedding) -> Person | None:
        """Say who is enrolled with this face and may be recognised now; None for nobody."""
        lookup = self._engine.lookup
        searcher = lookup.fresh()
        tau = self._curve.identification(self._fpir, len(searcher)).tau
        (hits,), people = lookup.nearest(searcher, embedding.vector[None], 1)
        near = hits[0] if hits else None
        if near is None or near.distance > tau:
            return None
        return people.get(near.person)


class Evidence:
    """The good frames of one visit."""

    def __init__(self, watch: Watch, config: DoorConfig) -> None:
        self._watch, self._config = watch, config
        self._changes = 0
        self.shots: list[Shot] = []
        self.seen = 0

    @property
    def person(self) -> Person | None:
        """Whom the last frames agree on; None while they do not, or are too few."""
        last = self.shots[-self._config.frames :]
        first = last[0].person if len(last) == self._config.frames else None
        if first is None or any(s.person is None or s.person.id != first.id for s in last):
            return None
        return last[-1].person

    @property
    def exhausted(self) -> bool:
        """True when nobody will be recognised any more in this visit."""
        return self.seen >= self._config.most or self._changes > self._config.changes

    def drop(self) -> None:
        """Begin anew, in the same visit."""
        self.shots.clear()

    def add(self, seen: Observed, timestamp: float) -> None:
        """Take in a good face, unless it comes too soon to be news."""
        config = self._config
        if self.shots and timestamp - self.shots[-1].at < config.apart:
            return
        if self.shots and timestamp - self.shots[-1].at > config.gap:
            self.drop()
        shot = self._watch.shot(seen, timestamp)
        if self.shots and not self._same(shot):
            self._changes += 1
            self.drop()
        self.shots.append(shot)
        self.seen += 1

    def _same(self, shot: Shot) -> bool:
        first = self.shots[0].embedding.vector
        return squared(first, shot.embedding.vector) <= self._watch.same
