"""Active liveness: a challenge over frames, which a picture cannot answer.

A head that turns shows the nose's parallax, which no photograph has however it is moved
(``motion``); the order and the pauses are drawn anew for each session, so that a recording answers
another challenge (``challenge``, ``steps``); and it is one person before one camera without a cut
(``continuity``). Turns are what keep photographs out; a photograph that is brought closer or pushed
up does the other two actions as well as a head. A print bent to a cylinder has some relief, and the
landmarks' network sees a head's in it; the nose's pixels do not follow (``relief``). What it cannot
tell: clips of the person put together, or a face computed, while the challenge runs, and a print
that is bent to a radius of 60 mm or less, or lies on something shaped as a face. The passive
network looks for those.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from visavis.image import image_of
from visavis.liveness.answer import REASONS, Ended, Failure, Guidance, Phrase, Verdict
from visavis.liveness.challenge import DICE
from visavis.liveness.continuity import Cuts, Follows, OnePerson, Repeats, Scene, Timing
from visavis.liveness.limits import DEFAULT_ACTIVE, ActiveConfig, errors
from visavis.liveness.looking import Observer, found_again, landmarks
from visavis.liveness.motion import Rest
from visavis.liveness.relief import Relief
from visavis.liveness.steps import Steps
from visavis.quality import pose
from visavis.values import Image

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from visavis.liveness.challenge import Challenge
    from visavis.liveness.limits import Sameness
    from visavis.liveness.motion import Motion
    from visavis.values import Face

    Frame = Image | NDArray[np.uint8]

_STEADY = 0.25
"""Most that a face at rest moves between two frames, in distances between the eyes."""


class ActiveSession:
    """One person's answer to one challenge, frame by frame; not for several threads at once.

    Parameters
    ----------
    observer
        Finds and encodes faces.
    sameness
        Up to which d two faces are one person's.
    clock
        Gives seconds since 1970, for the challenge's expiry; the frames' timestamps are another
        clock, the camera's.

    Attributes
    ----------
    dice
        Draws the waits of what is asked again.
    """

    dice: random.Random = DICE

    def __init__(
        self,
        challenge: Challenge,
        observer: Observer,
        sameness: Sameness,
        config: ActiveConfig = DEFAULT_ACTIVE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.challenge = challenge
        self._observer = observer
        self._tau = sameness.rest
        self._config = config
        self._clock = clock
        self._timing = Timing(config)
        self._repeats = Repeats(config)
        self._cuts, self._scene = Cuts(), Scene()
        self._person = OnePerson(sameness)
        self._size: tuple[int, int] | None = None
        self._resting: list[tuple[float, NDArray[np.float32]]] = []
        self._rest: Rest | None = None
        self._relief: Relief | None = None
        self._steps: Steps | None = None
        self._portrait: tuple[Image, Face] | None = None
        self._last: Face | None = None
        self._seen = self._encoded_at = 0.0
        self._trouble: Failure | None = None
        self._phrase = Phrase.SHOW_FACE
        self._end: Ended | None = None

    @property
    def finished(self) -> bool:
        """True when there is a verdict that further frames do not change."""
        return self._end is not None or (self._steps is not None and self._steps.finished)

    def update(self, frame: Frame, timestamp: float) -> Guidance:
        """Take in the next frame and say what to do.

        Parameters
        ----------
        frame
            An Image, or (H, W, 3) RGB uint8, not mirrored unless the configuration says so.
        timestamp
            Seconds, of any clock that does not go back.

        Raises
        ------
        ImageRefused
            When the array is no picture.
        """
        if not self.finished:
            image = frame if isinstance(frame, Image) else image_of(frame)
            try:
                self._take(image, float(timestamp))
            except Ended as end:
                self._end = end
        return self._guidance()

    def verdict(self) -> Verdict:
        """Give the answer so far; before the session is finished, that it is not."""
        passed = self._end is None and self._steps is not None and self._steps.finished
        end = self._end or Ended(Failure.UNFINISHED)
        if self._end is None and self._steps is None and self._trouble:
            end = Ended(self._trouble)
        failure = None if passed else end.failure
        words = (REASONS[end.failure] + (f" ({end.detail})" if end.detail else ""),)
        rates = errors(self._config, self.challenge)
        return Verdict(
            passed=passed,
            failure=failure,
            reasons=() if passed else words,
            performed=tuple(self._steps.performed) if self._steps else (),
            distance=self._person.distance,
            tau=self._tau,
            frames=self._timing.frames,
            encoded=self._person.encoded,
            seconds=self._timing.seconds,
            portrait=self._portrait,
            relief=self._relief.height if self._relief else None,
            bpcer=rates.bpcer if rates else None,
            apcer=rates.apcer if rates else None,
        )

    def _guidance(self) -> Guidance:
        steps, of = self._steps, len(self.challenge.steps)
        done = len(steps.performed) if steps else 0
        if self._end is not None:
            return Guidance(Phrase.FAILED, None, done, of, 0.0, finished=True)
        if steps is None:
            return Guidance(self._phrase, None, 0, of, self._config.total - self._timing.seconds)
        if steps.finished:
            return Guidance(Phrase.DONE, None, done, of, 0.0, finished=True)
        unseen = self._timing.last - self._seen > self._config.unseen
        phrase = self._phrase if self._trouble and unseen else steps.phrase
        return Guidance(phrase, steps.action, done, of, steps.remaining)

    def _take(self, image: Image, timestamp: float) -> None:
        if self._clock() > self.challenge.expires:
            raise Ended(Failure.EXPIRED)
        try:
            self._timing.check(timestamp, began=self._steps is not None)
        except Ended as end:
            # A picture that never showed a face is told so, and not that it was long.
            never = end.failure is Failure.TOO_LONG and self._steps is None
            raise Ended(self._trouble) if never and self._trouble else end from None
        size = image.height, image.width
        if self._size not in {None, size}:
            raise Ended(Failure.SIZE_CHANGED)
        self._size = size
        face = self._only_face(image, timestamp)
        if face is None:
            return
        self._repeats.check(image.pixels, timestamp)
        if self._rest is None:
            points = landmarks(self._observer, image, face)
            self._settle(image, face, points, timestamp)
        else:
            points = landmarks(self._observer, image, face, self._timing.frames)
            self._follow(image, face, points, timestamp)

    def _only_face(self, image: Image, timestamp: float) -> Face | None:
        """Give the one face there is; None, with what to say, when there is not one."""
        faces = self._observer.faces(image)
        if not faces and self._last is not None and self._steps is not None:
            again = found_again(self._observer, image, self._last)
            faces = [again] if again else []
        rivals = [f for f in faces[1:] if f.box[2] > self._config.rival * faces[0].box[2]]
        if faces and not rivals:
            if self._steps is not None and timestamp - self._seen > self._config.unseen:
                self._regained(self._steps, timestamp)
            self._trouble, self._seen, self._last = None, timestamp, faces[0]
            return faces[0]
        self._trouble = Failure.SEVERAL_FACES if rivals else Failure.NO_FACE
        self._phrase = Phrase.ONE_PERSON if rivals else Phrase.SHOW_FACE
        self._resting.clear()
        if self._steps is None or timestamp - self._seen > self._config.unseen:
            self._last = None
        if self._steps is not None and timestamp - self._seen > self._config.lost:
            raise Ended(self._trouble)
        return None

    def _settle(
        self, image: Image, face: Face, points: NDArray[np.float32], timestamp: float
    ) -> None:
        """Wait for a face that looks into the camera and holds still, and begin with it."""
        said = self._unready(image, face, points)
        self._phrase = said or Phrase.HOLD_STILL
        if said:
            self._resting.clear()
            return
        if self._resting and _moved(self._resting[-1][1], points) > _STEADY:
            self._resting.clear()
        self._resting.append((timestamp, points))
        config = self._config
        long_enough = timestamp - self._resting[0][0] >= config.rest
        if not long_enough or len(self._resting) < config.rest_frames:
            return
        self._rest = Rest([each for _, each in self._resting])
        self._resting.clear()
        self._portrait = image, face
        self._relief = Relief(image.pixels, points)
        self._encode(image, face, timestamp, at_rest=True)
        self._steps = Steps(self.challenge, config, timestamp, self.dice)

    def _unready(self, image: Image, face: Face, points: NDArray[np.float32]) -> Phrase | None:
        yaw, pitch, _ = pose(points)
        x, y, w, h = face.box
        over = max(-x, -y, x + w - image.width, y + h - image.height)
        if over > 0.1 * w:
            return Phrase.MOVE_INTO_PICTURE
        if np.hypot(*(points[1] - points[0])) < self._config.eyes:
            return Phrase.TOO_SMALL
        aside = abs(yaw) > self._config.facing[0] or abs(pitch) > self._config.facing[1]
        return Phrase.LOOK_AT_CAMERA if aside else None

    def _follow(
        self, image: Image, face: Face, points: NDArray[np.float32], timestamp: float
    ) -> None:
        if self._rest is None or self._steps is None:
            return
        motion = self._rest.motion(points)
        if motion is None or not self._goes_on(image, face, motion, timestamp):
            return
        before = len(self._steps.performed)
        self._steps.follow(motion, timestamp)
        if self._steps.turned and self._relief is not None:
            self._relief.add(image.pixels, points, motion.across)
        left = len(self._steps.performed) > before
        if left or timestamp - self._encoded_at >= self._config.encode_every:
            self._encode(image, face, timestamp, at_rest=self._steps.at_rest, held=self._steps.held)
        if left and self._steps.turned_last and self._relief is not None:
            self._stands_out(self._steps, self._relief.height, timestamp)

    def _goes_on(self, image: Image, face: Face, motion: Motion, timestamp: float) -> bool:
        """Tell whether a frame goes on from the last good one; raises Ended at a cut."""
        follows = self._cuts.follows(motion, timestamp, lambda: self._scene.stands(image.pixels))
        self._scene.note(image.pixels, face.box)
        if follows is Follows.ANEW and self._steps is not None:
            self._regained(self._steps, timestamp)
        return follows is not Follows.UNTOLD

    def _regained(self, steps: Steps, timestamp: float) -> None:
        steps.regained(timestamp)
        self._encoded_at = -math.inf  # whoever comes back is looked at

    def _stands_out(self, steps: Steps, height: float | None, timestamp: float) -> None:
        """Judge the nose after the last turn, while a turn can still be asked again."""
        if height is None:
            steps.unclear(timestamp)
        elif height < self._config.flat:
            raise Ended(Failure.FLAT, f"{height:.2f}, at least {self._config.flat:.2f}")

    def _encode(self, image: Image, face: Face, timestamp: float, **stage: bool) -> None:
        self._encoded_at = timestamp
        self._person.check(self._observer.encode(image, face), **stage)


def _moved(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Largest way of a landmark, in distances between the eyes."""
    eyes = max(float(np.hypot(*(before[1] - before[0]))), 1e-9)
    return float(np.hypot(*(after - before).T).max()) / eyes


def verify_frames(
    session: ActiveSession,
    frames: Iterable[tuple[float, Frame]],
    tell: Callable[[Guidance], object] | None = None,
) -> Verdict:
    """Run a session over frames until there is a verdict, and read no further.

    Parameters
    ----------
    frames
        (timestamp in seconds, frame), from a camera or a file; it may be endless.
    tell
        Given the guidance after each frame, to show it to the person.

    Raises
    ------
    ImageRefused
        And whatever the iterator raises.
    """
    for timestamp, frame in frames:
        guidance = session.update(frame, timestamp)
        if tell is not None:
            tell(guidance)
        if guidance.finished:
            break
    return session.verdict()
