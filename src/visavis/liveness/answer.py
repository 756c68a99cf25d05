"""What is said to somebody before the camera, and of them: guidance, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from visavis.liveness.challenge import Action

if TYPE_CHECKING:
    from visavis.values import Face, Image


class Phrase(StrEnum):
    """What to do now, to be shown or spoken."""

    SHOW_FACE = "show your face to the camera"
    ONE_PERSON = "only one person may be in the picture"
    MOVE_INTO_PICTURE = "move your whole face into the picture"
    TOO_SMALL = "come closer: your face is too small in the picture"
    LOOK_AT_CAMERA = "look straight into the camera"
    HOLD_STILL = "look straight into the camera and hold still"
    TURN_LEFT = "turn your head to your left"
    TURN_RIGHT = "turn your head to your right"
    LOOK_UP = "raise your head and look up"
    COME_CLOSER = "come closer to the camera"
    FURTHER = "a little further"
    STAY = "stay like that"
    BACK = "now look straight into the camera again"
    GO_BACK = "now go back to where you were"
    DONE = "thank you, that was all"
    FAILED = "that did not work: please start again"


ASKED = {
    Action.TURN_LEFT: Phrase.TURN_LEFT,
    Action.TURN_RIGHT: Phrase.TURN_RIGHT,
    Action.LOOK_UP: Phrase.LOOK_UP,
    Action.COME_CLOSER: Phrase.COME_CLOSER,
}


@dataclass(frozen=True, slots=True)
class Guidance:
    """Where the session stands after a frame.

    Attributes
    ----------
    action
        What is asked for now; None while nothing is.
    done, of
        How many actions were done, and how many there are.
    remaining
        Seconds left for what is asked now; while nothing is, it tells nothing of when something
        will be.
    finished
        True when there is a verdict; further frames change nothing.
    """

    phrase: Phrase
    action: Action | None
    done: int
    of: int
    remaining: float
    finished: bool = False


class Failure(StrEnum):
    """Why a session did not pass; the names stand in JSON and do not change."""

    NO_FACE = "no-face"
    SEVERAL_FACES = "several-faces"
    SIZE_CHANGED = "size-changed"
    TIME_WENT_BACK = "time-went-back"
    FRAMES_MISSING = "frames-missing"
    TOO_LONG = "too-long"
    EXPIRED = "expired"
    UNFINISHED = "unfinished"
    TOO_SLOW = "too-slow"
    TOO_EARLY = "too-early"
    WRONG_ACTION = "wrong-action"
    OTHER_PERSON = "other-person"
    CUT = "cut"
    FROZEN = "frozen"
    REPEATED = "repeated"
    FLAT = "flat"
    UNCLEAR = "unclear"


REASONS = {
    Failure.NO_FACE: "no face could be seen",
    Failure.SEVERAL_FACES: "several people were in the picture",
    Failure.SIZE_CHANGED: "the frames changed size",
    Failure.TIME_WENT_BACK: "the frames' timestamps did not rise",
    Failure.FRAMES_MISSING: "there were too few frames a second, or some are missing",
    Failure.TOO_LONG: "the session took too long or had too many frames",
    Failure.EXPIRED: "the challenge expired",
    Failure.UNFINISHED: "the frames ended before the challenge was answered",
    Failure.TOO_SLOW: "what was asked for was not seen in time",
    Failure.TOO_EARLY: "a movement came before it was asked for",
    Failure.WRONG_ACTION: "another movement was made than the one asked for",
    Failure.OTHER_PERSON: "the face did not stay one person's",
    Failure.CUT: "the face jumped, as at a cut",
    Failure.FROZEN: "the picture stood still as no camera's does",
    Failure.REPEATED: "frames came again exactly, as no camera's do",
    Failure.FLAT: "the nose does not stand out as a head's does",
    Failure.UNCLEAR: "the nose could not be followed in the turns: more even light may help",
}

_UNTOLD = frozenset(
    {
        Failure.NO_FACE,
        Failure.SEVERAL_FACES,
        Failure.SIZE_CHANGED,
        Failure.TIME_WENT_BACK,
        Failure.FRAMES_MISSING,
        Failure.TOO_LONG,
        Failure.EXPIRED,
        Failure.UNFINISHED,
        Failure.UNCLEAR,
    }
)


class Ended(Exception):
    """Ends a session from within; never leaves ``liveness``."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(failure)
        self.failure = failure
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Performed:
    """An action that was seen, and when (timestamps, s).

    Attributes
    ----------
    asked, reached
        When it was asked for, and done.
    recalled, left
        When the person was told to come back, and was back.
    """

    action: Action
    asked: float
    reached: float
    recalled: float
    left: float


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The answer to a challenge.

    Attributes
    ----------
    passed
        True when everything asked for was done by one person before a camera.
    failure, reasons
        Why not, as a name and in words; None and empty when passed.
    performed
        The actions seen, in order.
    distance
        Largest d of a face that looked into the camera to the first one, in [0, 4]; None when
        fewer than two were encoded.
    tau
        Beyond it a face counts as another person's.
    frames, encoded
        How many were given, and how many faces were encoded.
    seconds
        From the first timestamp to the last.
    portrait
        The frame and the face at rest that all others were held against: who this was can be
        asked of it, and it is the person who answered. None when there was none.
    relief
        How far the nose stood out in the turns, by its parallax for each unit of tilt
        (``visavis.liveness.relief``); None when it could not be followed.
    bpcer, apcer
        Errors of such a challenge, as measured (``visavis.liveness.limits.MEASURED``); None where
        nobody measured them, as with limits of one's own.
    """

    passed: bool
    failure: Failure | None
    reasons: tuple[str, ...]
    performed: tuple[Performed, ...]
    distance: float | None
    tau: float
    frames: int
    encoded: int
    seconds: float
    portrait: tuple[Image, Face] | None = None
    relief: float | None = None
    bpcer: float | None = None
    apcer: float | None = None

    @property
    def live(self) -> bool | None:
        """True when passed; None when it cannot be told; False when it looked like an attack."""
        if self.passed:
            return True
        return None if self.failure in _UNTOLD else False
