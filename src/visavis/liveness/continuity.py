"""One person before one camera without a cut: what must hold from each frame to the next."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

from visavis.decide import squared
from visavis.liveness.answer import Ended, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from visavis.liveness.limits import ActiveConfig, Sameness
    from visavis.liveness.motion import Motion

    Box = tuple[float, float, float, float]

_SHIFT = (0.4, 5.0)
_GROWTH = (0.22, 1.2)
_SWING = (0.2, 1.6)
"""Most that the place (in distances between the eyes), the logarithm of the size, and the nose's
parallax may change between two frames: the detector's noise, and so much a second. A head that
turns in haste does 250 degrees a second, which are 1.6 or so of parallax."""
_GLITCHES = (4, 3.0)
"""So many frames that do not fit are forgiven within so many seconds: detectors err now and then,
and frames that were put together from others err all the time."""
_SUSPECT = 3
_STANDS = 0.9
"""Least correlation of the face's place in two frames between which nothing moved. Scripted heads
that hold still have 0.95 and more, two people laid over the same head and pose at most 0.6."""
_COARSE = 24
"""Side of the picture that is correlated: coarse enough for noise and a hand that shakes."""
_KEPT = 8


class Timing:
    """Timestamps must rise, without gaps once the session began, and come to an end."""

    def __init__(self, config: ActiveConfig) -> None:
        self._config = config
        self.first: float | None = None
        self.last = 0.0
        self.frames = 0

    @property
    def seconds(self) -> float:
        """From the first timestamp to the last."""
        return self.last - self.first if self.first is not None else 0.0

    def check(self, timestamp: float, *, began: bool) -> None:
        """Take in a frame's timestamp; raises Ended."""
        self.frames += 1
        if not math.isfinite(timestamp) or (self.first is not None and timestamp <= self.last):
            raise Ended(Failure.TIME_WENT_BACK)
        if began and timestamp - self.last > self._config.gap:
            raise Ended(Failure.FRAMES_MISSING)
        if self.first is None:
            self.first = timestamp
        self.last = timestamp
        if self.seconds > self._config.total or self.frames > self._config.frames:
            raise Ended(Failure.TOO_LONG)


class Repeats:
    """A camera's noise never gives the same frame again; a file that is looped does.

    A frame that equals the one before it is another matter: cameras and codecs repeat frames when
    they are late, for a moment.
    """

    def __init__(self, config: ActiveConfig) -> None:
        self._config = config
        self._seen: set[bytes] = set()
        self._last = b""
        self._since = 0.0
        self._again = 0

    def check(self, pixels: NDArray[np.uint8], timestamp: float) -> None:
        """Take in a frame; raises Ended."""
        digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=12).digest()
        if digest == self._last:
            if timestamp - self._since > self._config.still:
                raise Ended(Failure.FROZEN)
            return
        self._again += digest in self._seen
        if self._again > self._config.repeats:
            raise Ended(Failure.REPEATED)
        self._seen.add(digest)
        self._last, self._since = digest, timestamp


class Scene:
    """What the face's place showed in the frame before: at a cut the picture changes, too."""

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.uint8], Box] | None = None

    def stands(self, pixels: NDArray[np.uint8]) -> bool:
        """Tell whether a frame (H, W, 3) shows at the face's place what the one before showed."""
        if self._before is None:
            return False
        before, box = self._before
        return _alike(_coarse(before, box), _coarse(pixels, box)) >= _STANDS

    def note(self, pixels: NDArray[np.uint8], box: Box) -> None:
        """Remember a frame and where its face is."""
        self._before = pixels, box


def _coarse(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.float64]:
    """(_COARSE, _COARSE) or so: mean grey of the squares of a box, what is outside cut off."""
    x, y, w, h = (int(each) for each in box)
    by = max(1, min(w, h) // _COARSE)
    part = pixels[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)]
    tall, wide = part.shape[0] // by, part.shape[1] // by
    squares = part[: tall * by, : wide * by].reshape(tall, by, wide, by, 3)
    grey: NDArray[np.float64] = squares.mean((1, 3, 4))
    return grey


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation; 0 where there is nothing to correlate."""
    a, b = (each - each.mean() if each.size else each for each in (a, b))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 0 else 0.0


class Follows(Enum):
    """How a frame hangs together with those before it."""

    YES = auto()
    UNTOLD = auto()
    """It does not, once: the detector errs in single frames."""
    ANEW = auto()
    """The detector sees another pose in a picture that stood: it had lost the face."""


class Cuts:
    """A face moves no faster than a head can, and does not leap to another place or pose.

    The detector errs in single frames, so a leap is forgiven when the next frames go on from
    before it, and a frame may go on from the last good one or from the one before, since an error
    that is no leap counted as good. Where the picture stood while the landmarks leapt there was no
    cut but an error that lasts, as with a face turned so far that the detector hardly knows it.
    """

    def __init__(self) -> None:
        self._good: deque[tuple[Motion, float]] = deque(maxlen=2)
        self._suspects = self._errors = 0
        self._glitches: deque[float] = deque(maxlen=_GLITCHES[0] + 1)

    def follows(self, motion: Motion, timestamp: float, stands: Callable[[], bool]) -> Follows:
        """Tell how a frame goes on from the last good ones; raises Ended at a cut."""
        if not self._good or any(_near(*good, motion, timestamp) for good in self._good):
            self._suspects = self._errors = 0
            self._good.append((motion, timestamp))
            return Follows.YES
        # Once the picture changed too, that it stands says nothing: so it does after a cut.
        if not self._suspects and stands():
            self._errors += 1
            if self._errors < _SUSPECT:
                return Follows.UNTOLD
            self._errors = 0
            self._good.clear()
            self._good.append((motion, timestamp))
            return Follows.ANEW
        self._suspects += 1
        self._glitches.append(timestamp)
        many = len(self._glitches) > _GLITCHES[0]
        often = many and timestamp - self._glitches[0] < _GLITCHES[1]
        if self._suspects >= _SUSPECT or often:
            raise Ended(Failure.CUT)
        return Follows.UNTOLD


def _near(before: Motion, then: float, after: Motion, now: float) -> bool:
    # Cameras and detectors stall, but what is missing for longer is no excuse to leap.
    seconds = min(now - then, 0.15)
    shift = math.dist(before.centre, after.centre) / max(before.size, after.size, 1e-9)
    growth = abs(math.log(max(after.closer, 1e-6) / max(before.closer, 1e-6)))
    swing = math.hypot(after.across - before.across, after.up - before.up)
    moved = ((shift, _SHIFT), (growth, _GROWTH), (swing, _SWING))
    return all(much <= noise + speed * seconds for much, (noise, speed) in moved)


class OnePerson:
    """Every face is one person's: at rest by the first face, else by the nearest seen so far.

    While an action is held, single encodings say little, for a face may be turned as far as the
    encoder knows none; the median of all that were taken then decides when the face is back.
    """

    def __init__(self, sameness: Sameness) -> None:
        self._sameness = sameness
        self._first: NDArray[np.float32] | None = None
        self._kept: list[NDArray[np.float32]] = []
        self._strange = 0
        self._held: list[float] = []
        self.distance: float | None = None
        self.encoded = 0

    def check(
        self, vector: NDArray[np.float32], *, at_rest: bool = False, held: bool = False
    ) -> None:
        """Take in a face's encoding (D,), unit length; raises Ended."""
        self.encoded += 1
        if self._first is None:
            self._first = vector
            return
        first = squared(self._first, vector)
        if at_rest:
            self.distance = max(first, self.distance or 0.0)
        nearest = first if at_rest else min([first, *(squared(v, vector) for v in self._kept)])
        tau = self._sameness.rest if at_rest else self._sameness.turned
        if held:
            self._held.append(nearest)
            return
        if at_rest and self._held:
            middle = statistics.median(self._held)
            self._held.clear()
            if middle > self._sameness.turned:
                raise _other(middle, self._sameness.turned)
        self._strange = self._strange + 1 if nearest > tau else 0
        # A moving face may be blurred or half hidden once; at rest it decides at once.
        if self._strange > (0 if at_rest else 1):
            raise _other(nearest, tau)
        if not self._strange:
            self._kept = [*self._kept[1 - _KEPT :], vector]


def _other(distance: float, tau: float) -> Ended:
    return Ended(Failure.OTHER_PERSON, f"d {distance:.2f}, at most {tau:.2f}")
