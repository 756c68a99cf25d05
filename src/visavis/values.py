"""The values that flow through visavis, each frozen.

Data flows one way: Image, then Face, then Crop, then Embedding, and from there either a Decision
or, stored in a gallery, a Template. Pixels are RGB, uint8, upright. Coordinates are pixels of the
Image they were found in, x to the right and y down, the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

EncoderId = NewType("EncoderId", str)
"""Hash over weights, preprocessing and precision; vectors compare only under the same id."""

CROP_SIZE = 112
"""Height and width in pixels of an aligned face, as encoders of this kind take it."""

PersonId = NewType("PersonId", str)
TemplateId = NewType("TemplateId", str)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A decoded picture.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8, RGB, upright.
    reduction
        How many pixels of the file one pixel here stands for along each side: 1 unless a JPEG
        was decoded at reduced scale.
    source
        Where it came from, for messages; never used to read again.
    """

    pixels: NDArray[np.uint8]
    reduction: float = 1.0
    source: str = "image"

    @property
    def height(self) -> int:
        """Rows of ``pixels``."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of ``pixels``."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face as the detector saw it.

    Attributes
    ----------
    box
        (x, y, width, height) in pixels; may reach over the image's border.
    landmarks
        (5, 2) float32, x and y of the eye on the image's left, the eye on its right, the tip of
        the nose, the corners of the mouth on the image's left and right.
    score
        The detector's confidence in [0, 1].
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float

    def scaled(self, factor: float) -> Face:
        """Give the same face in an image whose sides are ``factor`` times as long."""
        x, y, w, h = self.box
        return Face(
            (x * factor, y * factor, w * factor, h * factor), self.landmarks * factor, self.score
        )


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A face turned and scaled to the encoder's template.

    Attributes
    ----------
    pixels
        (112, 112, 3) uint8, RGB; of other sizes for other alignments than ArcFace's.
    face
        Where it was cut from.
    inside
        Share of the crop that lies within the picture, in [0, 1]; the rest is black.
    alignment
        Name of the template that it was cut to.
    further
        The same face cut to the other templates that the encoder wants.
    """

    pixels: NDArray[np.uint8]
    face: Face
    inside: float = 1.0
    alignment: str = "arcface-112"
    further: tuple[Crop, ...] = ()


class Pick(StrEnum):
    """Whom a photograph with several faces is of."""

    CLEAR_SUBJECT = "clear-subject"
    """The largest face when it is clearly larger than the next; else it is not guessed."""
    LARGEST = "largest"
    MOST_CENTRAL = "most-central"


class DecideBy(StrEnum):
    """What says how alike two faces are."""

    DISTANCE = "distance"
    """The squared Euclidean distance of the encodings."""
    HEAD = "head"
    """A pair head's learnt distance; see ``visavis.head``."""


class Advice(StrEnum):
    """What the subject or the photographer can do for a better picture."""

    TURN_TO_CAMERA = "turn to the camera"
    HOLD_HEAD_STRAIGHT = "hold the head straight"
    LOOK_AHEAD = "look straight ahead, neither up nor down"
    COME_CLOSER = "come closer or use a larger photograph"
    HOLD_STILL = "hold still and focus: the picture is blurred"
    MORE_LIGHT = "more light on the face"
    LESS_LIGHT = "less light on the face"
    MORE_CONTRAST = "light the face evenly: it has almost no contrast"
    MOVE_INTO_PICTURE = "move the whole face into the picture"
    SHOW_WHOLE_FACE = "show the whole face: part of it seems to be hidden"


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a template the face would make: numbers, and what to do about them.

    Attributes
    ----------
    eyes
        Distance between the eyes in pixels of the original picture.
    yaw, pitch, roll
        Degrees, 0 when the face looks straight into the camera. Yaw is positive when the face
        turns to the image's right, pitch when it looks up, roll when it leans to the image's
        right (clockwise).
    sharpness
        Energy of the finest detail of the aligned crop relative to its contrast, in [0, 1].
    brightness
        Mean luminance of the crop, in [0, 1].
    contrast
        Standard deviation of the crop's luminance, in [0, 0.5].
    score
        The detector's confidence in [0, 1].
    inside
        Share of the aligned face within the picture, in [0, 1].
    advice
        Empty when the face is fit for enrolment.
    """

    eyes: float
    yaw: float
    pitch: float
    roll: float
    sharpness: float
    brightness: float
    contrast: float
    score: float
    inside: float
    advice: tuple[Advice, ...] = ()

    @property
    def fit_for_enrolment(self) -> bool:
        """True when nothing is to be improved before a template is made of it."""
        return not self.advice


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A face's encoding: unit vector (D,), float32, and the encoder that made it."""

    vector: NDArray[np.float32]
    encoder: EncoderId


@dataclass(frozen=True, slots=True)
class Consent:
    """What somebody agreed to, for the record; every part may be left out.

    Attributes
    ----------
    reference
        Where the consent itself is to be found, such as the number of a form.
    purpose
        What the person may be recognised for.
    expires
        From this moment on the person is not recognised any more; None for no end. With a time
        zone.
    """

    reference: str = ""
    purpose: str = ""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody enrolled: an id that never changes and a name that may."""

    id: PersonId
    name: str
    created: datetime
    templates: int
    consent: Consent = Consent()

    def expired(self, now: datetime) -> bool:
        """Tell whether the person may not be recognised any more."""
        return self.consent.expires is not None and self.consent.expires <= now


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One person's stored reference: unit vector (D,), float32.

    Attributes
    ----------
    digest
        SHA-256 of the photograph's bytes (or of its pixels where there were no bytes), so that
        enrolling the same photograph again changes nothing. Empty when unknown.
    """

    id: TemplateId
    person: PersonId
    vector: NDArray[np.float32]
    encoder: EncoderId
    digest: str
    created: datetime


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold together with where it came from; there is no bare threshold.

    Attributes
    ----------
    tau
        Accept when d <= tau; in [0, 4].
    encoder
        The encoder it was measured with.
    fmr
        The target false match rate.
    fmr_upper
        Upper end of the 95 % interval of the rate measured at tau.
    tuned_on
        Data set and split, never the one that results are reported on.
    extrapolated
        True when the rate is lower than the data could show, and tau follows from the tail's fit.
    """

    tau: float
    encoder: EncoderId
    fmr: float
    fmr_upper: float
    tuned_on: str
    extrapolated: bool = False


@dataclass(frozen=True, slots=True)
class Liveness:
    """The answer to "is a live human before the camera?".

    Attributes
    ----------
    live
        None when it cannot be told: no face, several, or one that is cut by the border; the
        reasons say which. What cannot be told is never taken for live.
    score
        In [0, 1], higher is more likely live (bona fide); None when there is none.
    threshold
        Live when ``score >= threshold``.
    bpcer, apcer
        What the threshold stands for, as measured: the shares of live people that are turned
        away, and of the most dangerous kind of attack that pass (ISO/IEC 30107-3). None where
        nobody measured it.
    model
        What judged, by name.
    reasons
        In words.
    """

    live: bool | None
    score: float | None = None
    threshold: float | None = None
    bpcer: float | None = None
    apcer: float | None = None
    model: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy says of the liveness that was seen; recognition has no part in it.

    Attributes
    ----------
    policy
        Its name: ``passive``, ``active`` or ``passive-and-active``.
    satisfied
        Every part that the policy asks for found a live human.
    passive, active
        What each part answered; None where it was not asked for, or not given.
    bpcer, apcer
        Upper bounds on the policy's own rates, from those of its parts: live people turned away,
        attacks let through. None where a part's rate is not known.
    reasons
        In words.
    """

    policy: str
    satisfied: bool
    passive: Liveness | None = None
    active: Liveness | None = None
    bpcer: float | None = None
    apcer: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A face together with its quality, as compare, verify and identify report it."""

    face: Face
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What is to be seen in a picture: its size in pixels, upright, and its faces."""

    width: int
    height: int
    faces: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The answer to "is it the same person?".

    Attributes
    ----------
    accepted
        True when ``distance <= tau``, and the policy on liveness, if one was asked for, is
        satisfied.
    distance
        In [0, 4], lower is more alike: squared Euclidean, or the head's (see ``decided_by``).
    tau, fmr
        The threshold and the false match rate it stands for.
    fmr_upper
        Upper end of the 95 % interval of that rate.
    encoder
        Whose encodings were compared.
    reasons
        In words: why, and what about the pictures weakens the answer.
    faces
        The faces compared, one for each photograph.
    decided_by
        Whose distance and tau these are.
    probability
        What a head says in [0, 1]: that it is the same person, if both were as likely before.
        None when the plain distance decided.
    liveness
        What the policy on liveness says; None when none was asked for.
    """

    accepted: bool
    distance: float
    tau: float
    fmr: float
    fmr_upper: float
    encoder: EncoderId
    reasons: tuple[str, ...] = ()
    faces: tuple[Sighting, ...] = ()
    decided_by: DecideBy = DecideBy.DISTANCE
    probability: float | None = None
    liveness: Ruling | None = None

    @property
    def matched(self) -> bool:
        """What recognition alone says, whatever liveness does."""
        return self.distance <= self.tau


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled person and the distance of their nearest template."""

    person: Person
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """One face of a photograph: who it is, or nobody enrolled.

    ``person`` is None when no template is within tau: the nearest person is then not named as
    an answer; ``candidates`` holds the nearest people only when they were asked for.

    With a policy on liveness, ``person`` is None too when the policy is not satisfied;
    ``matched`` is whom recognition alone names, for the record and never to open a door by.
    """

    person: Person | None
    distance: float | None
    sighting: Sighting
    candidates: tuple[Candidate, ...] = ()
    liveness: Ruling | None = None
    matched: Person | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """The answer to "who is in this picture?", for each face, largest first.

    Attributes
    ----------
    tau, fpir
        The threshold and the false positive identification rate it stands for at this size of
        gallery.
    gallery_size
        Number of people enrolled.
    extrapolated
        True when tau lies where no data could show the rate; see OperatingPoint.
    """

    faces: tuple[Identified, ...]
    tau: float
    fpir: float
    gallery_size: int
    encoder: EncoderId
    extrapolated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """What an enrolment did.

    ``added`` are new templates; ``known`` photographs were enrolled before, so nothing changed.
    """

    person: Person
    added: tuple[TemplateId, ...]
    known: int
    sightings: tuple[Sighting, ...] = field(default=())
