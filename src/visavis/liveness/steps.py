"""A challenge followed step by step through the motions of a face; pixels are not needed."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

from visavis.liveness.answer import ASKED, Ended, Failure, Performed, Phrase
from visavis.liveness.challenge import Action

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.liveness.challenge import Challenge, Step
    from visavis.liveness.limits import ActiveConfig
    from visavis.liveness.motion import Motion

_ORDER = tuple(Action)
_RAISED = _ORDER.index(Action.LOOK_UP)
_SURE = np.array([1.25, 1.25, 1.35, 1.25])
"""So much of each action, in the order of ``Action``, is a movement nobody makes by accident."""
_NEUTRAL = np.array([0.6, 0.6, 0.9, 0.6])
"""Below all of these a face counts as at rest."""
_ACROSS_RAISES = 0.2
"""A turn seems to raise the nose by this share of its parallax: YuNet's landmarks, measured."""
_RAISES = (-0.1, 0.75)
_LIFTS = (-0.9, 1.2)
"""Parallax and lift count within these towards a look up: YuNet sees the first badly, sometimes the
wrong way, so that it is never enough by itself, and never speaks against the second."""
_REST_FRAMES = 15
"""From so many frames before an action, at most, follows where the face was."""
_HESITATES = 1.5
"""Seconds after which somebody who began, but not far enough, is told so."""
_BEGUN = 0.4
"""So much of an action shows that it has begun, and less than this that it was left."""
_RELAXED = 0.8
"""Below this share of the most that was reached, somebody has begun to come back."""
_LOSSES = 3
"""So often in a session a face that was lost is given its time anew."""


class _Stage(Enum):
    PAUSE = auto()
    ASKED = auto()
    HELD = auto()
    BACK = auto()


def strengths(
    motion: Motion, before: tuple[float, float], config: ActiveConfig
) -> NDArray[np.float64]:
    """(4,): how much of each action a motion is, in the order of ``Action``; 1 is enough.

    A turn whose parallax is small against the foreshortening is a tilted picture's, and does not
    reach 1.

    Parameters
    ----------
    before
        Parallax upwards, and height in the picture in pixels, before the action was asked for:
        nobody comes back to the very place they left.
    """
    turn = motion.across / config.turn * (-1 if config.mirrored else 1)
    if motion.parallax < config.relief * motion.tilt:
        turn = min(0.9, max(-0.9, turn))
    up = (motion.up - before[0] - _ACROSS_RAISES * abs(motion.across)) / config.raised
    lift = (before[1] - motion.centre[1]) / motion.size / config.lifted
    raised = float(np.clip(up, *_RAISES) + np.clip(lift, *_LIFTS))
    closer = math.log(max(motion.closer, 1e-3)) / math.log(config.closer)
    return np.array([turn, -turn, raised, closer])


class Steps:
    """Where somebody stands in a challenge; `Ended` is raised when they have failed."""

    def __init__(self, challenge: Challenge, config: ActiveConfig, start: float) -> None:
        self._steps = challenge.steps
        self._config = config
        self._stage = _Stage.PAUSE
        self._since = start
        self._asked = self._reached = self._recalled = start
        self._now = start
        self._level = self._most = 0.0
        self._losses = 0
        self._excused = False
        self._before: tuple[float, float] | None = None
        self._resting: deque[tuple[float, float]] = deque(maxlen=_REST_FRAMES)
        self._recent: deque[tuple[float, NDArray[np.float64]]] = deque()
        self.performed: list[Performed] = []

    @property
    def finished(self) -> bool:
        """True when the last action was done and left."""
        return len(self.performed) == len(self._steps)

    @property
    def at_rest(self) -> bool:
        """True when the face looks into the camera from where it began, between two actions."""
        return self._stage is _Stage.PAUSE

    @property
    def held(self) -> bool:
        """True from when an action is reached until the face is back."""
        return self._stage in {_Stage.HELD, _Stage.BACK}

    @property
    def turned(self) -> bool:
        """True while the face is turned to a side, as it was asked to."""
        turn = self._step.action in {Action.TURN_LEFT, Action.TURN_RIGHT}
        return turn and self.held and self._level >= 1

    @property
    def action(self) -> Action | None:
        """What is asked for now."""
        asked = self._stage is _Stage.ASKED and not self.finished
        return self._step.action if asked else None

    @property
    def remaining(self) -> float:
        """Seconds left for what was asked; while nothing is, not how long that will be."""
        waits = self._stage in {_Stage.PAUSE, _Stage.HELD}
        return max(0.0, self._config.slowest - (0 if waits else self._now - self._since))

    @property
    def phrase(self) -> Phrase:
        """What to say to the person."""
        if self.finished:
            return Phrase.DONE
        action = self._step.action
        if self._stage is _Stage.PAUSE:
            return Phrase.LOOK_AT_CAMERA
        if self._stage is _Stage.HELD:
            return Phrase.STAY
        if self._stage is _Stage.BACK:
            return Phrase.GO_BACK if action is Action.COME_CLOSER else Phrase.BACK
        slow = self._now - self._since > _HESITATES
        return Phrase.FURTHER if slow and self._level > _BEGUN else ASKED[action]

    def follow(self, motion: Motion, now: float) -> None:
        """Take in the next motion; raises Ended."""
        self._now = now
        if self._stage is _Stage.PAUSE:
            self._resting.append((motion.up, motion.centre[1]))
        before = self._before or self._resting[0]
        self._recent.append((now, strengths(motion, before, self._config)))
        while len(self._recent) > 3 and now - self._recent[0][0] > self._config.window:
            self._recent.popleft()
        if len(self._recent) < 3:
            return
        # Without the least and the most: the detector errs in single frames.
        levels = np.sort([levels for _, levels in self._recent], axis=0)[1:-1].mean(0)
        if self._stage is _Stage.PAUSE:
            self._pausing(levels, now)
        elif self._stage is _Stage.ASKED:
            self._acting(levels, now)
        elif self._stage is _Stage.HELD:
            self._holding(levels, now)
        else:
            self._returning(levels, now)
        if now - self._since > self._config.slowest + self._wait:
            raise Ended(Failure.TOO_SLOW, self._step.action)

    def regained(self, now: float) -> None:
        """Note that the face is seen again after it was lost, as when a head turns too far.

        Who was told to show their face came back for that, so this is not too early, and their time
        counts anew; but not without end.
        """
        self._recent.clear()
        self._losses += 1
        if self._losses > _LOSSES:
            return
        self._excused = True
        if self._stage is not _Stage.HELD:
            self._since = now

    @property
    def _step(self) -> Step:
        return self._steps[min(len(self.performed), len(self._steps) - 1)]

    @property
    def _wait(self) -> float:
        """Seconds of this stage in which nothing is expected of the person."""
        waits = {_Stage.PAUSE: self._step.pause, _Stage.HELD: self._step.hold}
        return waits.get(self._stage, 0.0) if self._config.prompted else 0.0

    def _enter(self, stage: _Stage, now: float) -> None:
        self._stage, self._since, self._excused = stage, now, False

    def _pause(self, now: float) -> None:
        self._before = None
        self._resting.clear()
        self._recent.clear()
        self._enter(_Stage.PAUSE, now)

    def _pausing(self, levels: NDArray[np.float64], now: float) -> None:
        prompted = self._config.prompted
        if prompted and (levels > _SURE).any():
            raise Ended(Failure.TOO_EARLY, _ORDER[int((levels / _SURE).argmax())])
        if now - self._since >= self._wait and (levels < _NEUTRAL).all():
            self._asked = now
            up, height = np.median(self._resting, axis=0)
            self._before = float(up), float(height)
            self._recent.clear()
            self._enter(_Stage.ASKED, now)

    def _acting(self, levels: NDArray[np.float64], now: float) -> None:
        self._level = self._much(levels)
        sideways = abs(levels[_ORDER.index(Action.TURN_LEFT)])
        if self._step.action is Action.LOOK_UP and sideways >= 0.7:
            self._level = 0.0
        if self._level >= 1:
            if self._config.prompted and now - self._asked < self._config.quickest:
                raise Ended(Failure.TOO_EARLY, self._step.action)
            self._reached, self._most = now, self._level
            self._enter(_Stage.HELD, now)
            return
        self._begins(now, begun=self._level > _BEGUN)
        others = np.delete(levels / _SURE, _ORDER.index(self._step.action))
        if self._level < 0.5 and (others > 1).any():
            seen = [a for a in _ORDER if a is not self._step.action][int(others.argmax())]
            raise Ended(Failure.WRONG_ACTION, f"{seen} instead of {self._step.action}")

    def _holding(self, levels: NDArray[np.float64], now: float) -> None:
        """Wait until it is time to come back, which only this session knows."""
        self._level = self._much(levels)
        self._most = max(self._most, self._level)
        if self._config.prompted and self._level < _BEGUN:
            if not self._excused:
                raise Ended(Failure.TOO_EARLY, f"back from {self._step.action}")
            self._pause(now)  # to be asked again
            return
        if now - self._since >= self._wait:
            self._recalled = now
            self._enter(_Stage.BACK, now)

    def _returning(self, levels: NDArray[np.float64], now: float) -> None:
        """End an action when the face is back; after a look up, as low as before it, nearly."""
        self._level = self._much(levels)
        most = _NEUTRAL.copy()
        if self._step.action is Action.LOOK_UP:
            most[_RAISED] = 0.6
        if (levels >= most).any():
            self._begins(now, begun=self._level < _RELAXED * self._most)
            return
        quick = now - self._recalled < self._config.quickest
        if self._config.prompted and quick and not self._excused:
            raise Ended(Failure.TOO_EARLY, f"back from {self._step.action}")
        times = self._asked, self._reached, self._recalled, now
        self.performed.append(Performed(self._step.action, *times))
        self._level = 0.0
        self._pause(now)

    def _much(self, levels: NDArray[np.float64]) -> float:
        """How much of the action asked for there is."""
        return float(levels[_ORDER.index(self._step.action)])

    def _begins(self, now: float, *, begun: bool) -> None:
        """Raise Ended when somebody was told something and long after has not begun it."""
        late = now - self._since > self._config.begin
        if self._config.prompted and late and not begun:
            raise Ended(Failure.TOO_SLOW, self._step.action)
