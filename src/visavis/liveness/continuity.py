"""One person before one camera without a cut: what must hold from each frame to the next."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from visavis.decide import squared
from visavis.liveness.answer import Ended, Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.liveness.limits import ActiveConfig, Sameness
    from visavis.liveness.motion import Motion

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


class Cuts:
    """A face moves no faster than a head can, and does not leap to another place or pose.

    The detector errs in single frames, so a leap is forgiven when the next frames go on from
    before it.
    """

    def __init__(self) -> None:
        self._good: tuple[Motion, float] | None = None
        self._suspects = 0
        self._glitches: deque[float] = deque(maxlen=_GLITCHES[0] + 1)

    def follows(self, motion: Motion, timestamp: float) -> bool:
        """Tell whether a frame goes on from the last good one; raises Ended at a cut."""
        if self._good is not None and not _near(*self._good, motion, timestamp):
            self._suspects += 1
            self._glitches.append(timestamp)
            many = len(self._glitches) > _GLITCHES[0]
            often = many and timestamp - self._glitches[0] < _GLITCHES[1]
            if self._suspects >= _SUSPECT or often:
                raise Ended(Failure.CUT)
            return False
        self._suspects = 0
        self._good = motion, timestamp
        return True


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
