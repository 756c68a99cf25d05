"""What a door is told and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from visavis.image import Limits
from visavis.liveness.answer import Phrase
from visavis.liveness.challenge import DEFAULT_CHALLENGE, ChallengeConfig
from visavis.liveness.limits import DEFAULT_ACTIVE, ActiveConfig
from visavis.values import Advice

if TYPE_CHECKING:
    from datetime import datetime

    from visavis.liveness.challenge import Action
    from visavis.values import Person, PersonId


class DoorState(StrEnum):
    """Where a door stands."""

    WAITING = "waiting"
    """Nobody is there, or whoever is was answered already."""
    LOOKING = "looking"
    CHALLENGE = "challenge"
    OPEN = "open"
    CLOSED = "closed"


class Outcome(StrEnum):
    """What became of a visit, for the record; the person at the door is told open or closed."""

    OPEN = "open"
    NOT_RECOGNIZED = "not-recognized"
    NOT_LIVE = "not-live"
    UNTOLD = "liveness-untold"
    """Whether they are live could not be told."""
    LOCKED_OUT = "too-many-attempts"
    ABANDONED = "abandoned"
    """The frames ended in the middle of a challenge."""
    REMOVED = "removed"
    """The person was removed, or their consent ended, while the challenge ran."""
    UNRECORDED = "unrecorded"
    """The decision could not be written down, so nothing was opened."""


class Said(StrEnum):
    """What a door says besides the phrases of liveness.

    All that is closed is closed with the same words: whoever holds a picture of somebody does not
    learn whether that person is enrolled, nor what gave the picture away.
    """

    COME = "step up to the camera"
    HOLD_STILL = "look straight into the camera and hold still"
    STRAIGHT = "hold your head straight"
    MORE_LIGHT = "more light on your face, please"
    LESS_LIGHT = "less light on your face, please"
    WHOLE_FACE = "show your whole face"
    UNCLEAR = "move to the middle of the picture, a little back, in even light"
    OPEN = "welcome"
    CLOSED = "not recognized: please try again, or ask somebody for help"
    NEXT = "thank you: the next person, please"
    AGAIN = "step back from the camera, then try again"


TOLD = {
    Advice.TURN_TO_CAMERA: Phrase.LOOK_AT_CAMERA,
    Advice.LOOK_AHEAD: Phrase.LOOK_AT_CAMERA,
    Advice.HOLD_HEAD_STRAIGHT: Said.STRAIGHT,
    Advice.COME_CLOSER: Phrase.TOO_SMALL,
    Advice.HOLD_STILL: Said.HOLD_STILL,
    Advice.MORE_LIGHT: Said.MORE_LIGHT,
    Advice.LESS_LIGHT: Said.LESS_LIGHT,
    Advice.MORE_CONTRAST: Said.MORE_LIGHT,
    Advice.MOVE_INTO_PICTURE: Phrase.MOVE_INTO_PICTURE,
    Advice.SHOW_WHOLE_FACE: Said.WHOLE_FACE,
}
"""An advice on photographs, in words for somebody before a camera."""


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """When a door has seen enough, and how long an answer stands; times in seconds.

    Attributes
    ----------
    fpir
        How often a visit of a stranger may open it, before liveness; None takes the engine's.
    frames
        So many good frames in a row must all name the same person.
    most
        After so many good frames that did not, nobody is recognised.
    apart, gap
        Least time between two of them, and most; after a longer one they are begun anew.
    changes
        So often the face may become another's in one visit, before it is closed.
    eyes
        Least distance between the eyes, in pixels.
    facing
        Largest yaw and pitch, in degrees.
    rival
        A second face counts when it is this share of the first one's width.
    gone
        Somebody who was not seen for so long has left.
    left_challenge
        The same for a challenge that has not begun to ask for anything.
    hold
        So long a decision is shown.
    cooldown
        Who stays before the camera is looked at anew so long after the decision.
    side
        JPEGs are decoded no larger than needed for this longer side.
    limits
        What is refused before it is decoded.
    """

    fpir: float | None = None
    frames: int = 3
    most: int = 6
    apart: float = 0.1
    gap: float = 1.0
    changes: int = 3
    eyes: float = 30.0
    facing: tuple[float, float] = (25.0, 25.0)
    rival: float = 0.5
    gone: float = 0.8
    left_challenge: float = 3.0
    hold: float = 4.0
    cooldown: float = 10.0
    side: int = 640
    limits: Limits = field(default_factory=lambda: Limits(2 * 1024 * 1024, 4_000_000, 64))
    challenge: ChallengeConfig = DEFAULT_CHALLENGE
    active: ActiveConfig = DEFAULT_ACTIVE

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= self.most:
            raise ValueError("frames must be 1 or more, and no more than most")
        if not 0 < self.hold <= self.cooldown:
            raise ValueError("hold must be positive, and no longer than cooldown")


@dataclass(frozen=True, slots=True)
class DoorDecision:
    """One visit's answer.

    Attributes
    ----------
    id
        128 random bits, in hexadecimal.
    person
        Who it was; None unless it is open.
    subject
        Id of whom recognition alone names, for the record and never to open a door by.
    frames
        How many good frames it took.
    """

    id: str
    outcome: Outcome
    person: Person | None
    subject: PersonId | None
    frames: int
    decided_at: datetime

    @property
    def opens(self) -> bool:
        """Whether the door is to be opened."""
        return self.outcome is Outcome.OPEN


@dataclass(frozen=True, slots=True)
class DoorView:
    """What to show after a frame.

    Attributes
    ----------
    phrase
        What to do, or what was decided, in words.
    action, done, of, remaining
        As ``liveness.answer.Guidance`` has them, while there is a challenge.
    name
        Of the person, while the door is open to them; nobody is ever named otherwise.
    decision
        Id of the decision that is shown.
    decided
        The decision itself, with the one frame that brought it.
    """

    state: DoorState
    phrase: str
    action: Action | None = None
    done: int = 0
    of: int = 0
    remaining: float = 0.0
    name: str | None = None
    decision: str | None = None
    decided: DoorDecision | None = None
