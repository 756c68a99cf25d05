"""The numbers of active liveness in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from visavis.liveness.challenge import DEFAULT_CHALLENGE
from visavis.liveness.policy import Rates

if TYPE_CHECKING:
    from visavis.liveness.challenge import Challenge


@dataclass(frozen=True, slots=True)
class Sameness:
    """Up to which d a face is still the same person's; from the encoder's operating points.

    Attributes
    ----------
    rest
        Of a face that looks into the camera, to the first one: at the false match rate of
        verification, 1e-4 unless said.
    turned
        Of a turned face, to the nearest of the faces before it: at a false match rate of 1e-2,
        since turning costs distance, and whom it is of is decided at rest.
    """

    rest: float
    turned: float


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """What counts as an action, and as a human at a camera.

    Parallax is in distances between the eyes; what it means is told in ``visavis.liveness.motion``.

    Attributes
    ----------
    turn
        Nose's parallax of a turn: 15 degrees of a real head, about.
    relief
        Least parallax a turn must show for each unit of tilt that foreshortening shows; a head
        has 0.3 to 0.45, a plane 0.1, where the detector takes it for a head.
    raised, lifted
        A look up counts parallax in units of the first and the way of the face up the picture
        (in distances between the eyes) in units of the second, and both together must reach 1.
        YuNet sees the parallax of a head that is raised far less well than that of one that
        turns, often not at all: like coming closer, this is asked for the sake of the order, and
        a photograph that is pushed up can do it.
    closer
        How many times as large the face becomes when it comes closer.
    flat
        A nose that stands out less than this (``visavis.liveness.relief``) is a picture's: midway
        between the flattest of a hundred scripted heads (0.17) and the highest of forty prints bent
        to a cylinder (0.13). The next two hundred and forty came to 0.16 and 0.14.
    quickest, begin, slowest
        Seconds from being told, to act or to come back: at least until it is done (0.25 to react,
        0.1 to move, 0.15 by the mean over ``window``), at most until something moves, and at most
        until it is done.
    eyes
        Least distance between the eyes in pixels, to begin.
    facing
        Largest yaw and pitch in degrees, to begin.
    rest, rest_frames
        Seconds and frames of holding still before the first action.
    window
        Seconds over which a movement is averaged; at least three frames.
    gap, lost, unseen
        Longest time in seconds without a frame, and without one face in it, once it began; after
        ``unseen`` without a face the person is told, and has time to come back.
    total, frames
        Most seconds, and frames, of a session.
    rival
        A second face counts when it is this share of the first one's width.
    again
        So often in a session a movement is asked for again that was not seen well enough to tell:
        a look up that was not seen in time, a face that came back before it was told to, a nose
        that could not be followed.
    encode_every
        Seconds between encodings besides those at rest.
    still, repeats
        Seconds for which identical frames are forgiven (cameras repeat some in the dark), and
        how many times an older frame may come again.
    prompted
        True when the person follows this session's guidance. False for a recording: pauses and
        holds are then not kept, and nothing is too early.
    mirrored
        True when the frames are mirrored, as previews of front cameras are.
    """

    turn: float = 0.12
    relief: float = 0.15
    raised: float = 0.06
    lifted: float = 0.5
    closer: float = 1.22
    flat: float = 0.15
    quickest: float = 0.5
    begin: float = 3.0
    slowest: float = 6.0
    eyes: float = 24.0
    facing: tuple[float, float] = (20.0, 25.0)
    rest: float = 0.5
    rest_frames: int = 5
    window: float = 0.3
    gap: float = 1.0
    lost: float = 3.0
    unseen: float = 0.4
    total: float = 75.0
    frames: int = 4500
    rival: float = 0.5
    again: int = 2
    encode_every: float = 0.5
    still: float = 0.5
    repeats: int = 2
    prompted: bool = True
    mirrored: bool = False


DEFAULT_ACTIVE = ActiveConfig()

MEASURED = Rates(bpcer=0.0357, apcer=0.0877)
"""Upper ends of 95 % intervals on sequences scripted from photographs, not on people before
cameras: two of 200 genuine ones failed; of each kind of attack but one, none of 40 passed, and of
recordings of the very same order four of 200. What passes beyond that, such as a print bent more
strongly, is told in ``docs/liveness.md``."""


def errors(config: ActiveConfig, challenge: Challenge) -> Rates | None:
    """Give what was measured for these limits and such a challenge; None where nothing was."""
    usual, steps = DEFAULT_CHALLENGE, challenge.steps
    waits = [wait for step in steps for wait in (step.pause, step.hold)]
    long = [wait for wait in waits if usual.long[0] <= wait <= usual.long[1]]
    short = [wait for wait in waits if usual.short[0] <= wait <= usual.short[1]]
    drawn = len(long) == usual.longs and len(long) + len(short) == len(waits)
    same = replace(config, mirrored=False) == DEFAULT_ACTIVE
    return MEASURED if same and drawn and len(steps) >= usual.steps else None
