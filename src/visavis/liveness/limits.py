"""The numbers of active liveness in one place."""

from __future__ import annotations

from dataclasses import dataclass


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
    quickest, slowest
        Seconds from asking to the action, and at most from it to looking ahead again.
    eyes
        Least distance between the eyes in pixels, to begin.
    facing
        Largest yaw and pitch in degrees, to begin.
    rest, rest_frames
        Seconds and frames of holding still before the first action.
    window
        Seconds over which a movement is averaged (median); at least three frames.
    gap, lost
        Longest time in seconds without a frame, and without one face in it, once it began.
    total, frames
        Most seconds, and frames, of a session.
    rival
        A second face counts when it is this share of the first one's width.
    encode_every
        Seconds between encodings besides those at rest.
    still, repeats
        Seconds for which identical frames are forgiven (cameras repeat some in the dark), and
        how many times an older frame may come again.
    prompted
        True when the person follows this session's guidance. False for a recording: pauses are
        then not kept, and nothing is too early.
    mirrored
        True when the frames are mirrored, as previews of front cameras are.
    """

    turn: float = 0.12
    relief: float = 0.15
    raised: float = 0.06
    lifted: float = 0.5
    closer: float = 1.22
    quickest: float = 0.3
    slowest: float = 6.0
    eyes: float = 24.0
    facing: tuple[float, float] = (20.0, 25.0)
    rest: float = 0.5
    rest_frames: int = 5
    window: float = 0.3
    gap: float = 1.0
    lost: float = 2.0
    total: float = 75.0
    frames: int = 4500
    rival: float = 0.5
    encode_every: float = 0.5
    still: float = 0.5
    repeats: int = 2
    prompted: bool = True
    mirrored: bool = False


DEFAULT_ACTIVE = ActiveConfig()
