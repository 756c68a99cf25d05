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
_HESITATES = 1.5
"""Seconds after which somebody who began, but not far enough, is told so."""


class _Stage(Enum):
    PAUSE = auto()
    ASKED = auto()
    BACK = auto()


def strengths(motion: Motion, lift: float, config: ActiveConfig) -> NDArray[np.float64]:
    """(4,): how much of each action a motion is, in the order of ``Action``; 1 is enough.

    A turn whose parallax is small against the foreshortening is a tilted picture's, and does not
    reach 1.

    Parameters
    ----------
    lift
        How far the face went up in the picture, in distances between the eyes.
    """
    turn = motion.across / config.turn * (-1 if config.mirrored else 1)
    if motion.parallax < config.relief * motion.tilt:
        turn = min(0.9, max(-0.9, turn))
    up = (motion.up - _ACROSS_RAISES * abs(motion.across)) / config.raised
    raised = min(0.9, max(-0.1, up)) + min(1.2, max(-0.9, lift / config.lifted))
    closer = math.log(max(motion.closer, 1e-3)) / math.log(config.closer)
    return np.array([turn, -turn, raised, closer])


class Steps:
    """Where somebody stands in a challenge; `Ended` is raised when they have failed."""

    def __init__(self, challenge: Challenge, config: ActiveConfig, start: float) -> None:
        self._steps = challenge.steps
        self._config = config
        self._stage = _Stage.PAUSE
        self._since = start
        self._asked = self._reached = start
        self._now = start
        self._level = 0.0
        self._before = 0.0
        self._place: float | None = None
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
    def action(self) -> Action | None:
        """What is asked for now."""
        asked = self._stage is _Stage.ASKED and not self.finished
        return self._step.action if asked else None

    @property
    def remaining(self) -> float:
        """Seconds left for this stage."""
        return max(0.0, self._config.slowest - (self._now - self._since))

    @property
    def phrase(self) -> Phrase:
        """What to say to the person."""
        if self.finished:
            return Phrase.DONE
        action = self._step.action
        if self._stage is _Stage.PAUSE:
            return Phrase.LOOK_AT_CAMERA
        if self._stage is _Stage.BACK:
            return Phrase.GO_BACK if action is Action.COME_CLOSER else Phrase.BACK
        slow = self._now - self._since > _HESITATES
        return Phrase.FURTHER if slow and self._level > 0.4 else ASKED[action]

    def follow(self, motion: Motion, now: float) -> None:
        """Take in the next motion; raises Ended."""
        self._now = now
        if self._place is None:
            self._place = motion.centre[1]
        lift = (self._place - motion.centre[1]) / motion.size
        self._recent.append((now, strengths(motion, lift, self._config)))
        while len(self._recent) > 3 and now - self._recent[0][0] > self._config.window:
            self._recent.popleft()
        if len(self._recent) < 3:
            return
        levels = self._median()
        if self._stage is _Stage.PAUSE:
            self._pausing(levels, now)
        elif self._stage is _Stage.ASKED:
            self._acting(levels, now)
        else:
            self._returning(levels, now)
        if now - self._since > self._config.slowest:
            raise Ended(Failure.TOO_SLOW, self._step.action)

    @property
    def _step(self) -> Step:
        return self._steps[min(len(self.performed), len(self._steps) - 1)]

    def _median(self) -> NDArray[np.float64]:
        middle: NDArray[np.float64] = np.median([levels for _, levels in self._recent], axis=0)
        return middle

    def _enter(self, stage: _Stage, now: float) -> None:
        self._stage, self._since = stage, now

    def _pausing(self, levels: NDArray[np.float64], now: float) -> None:
        prompted = self._config.prompted
        if prompted and (levels > _SURE).any():
            raise Ended(Failure.TOO_EARLY, _ORDER[int((levels / _SURE).argmax())])
        over = not prompted or now - self._since >= self._step.pause
        if over and (levels < _NEUTRAL).all():
            self._asked = now
            self._before = float(np.clip(levels[_RAISED], -0.5, 0.5))
            self._enter(_Stage.ASKED, now)

    def _acting(self, levels: NDArray[np.float64], now: float) -> None:
        wanted = _ORDER.index(self._step.action)
        self._level = float(levels[wanted])
        sideways = abs(levels[_ORDER.index(Action.TURN_LEFT)])
        if self._step.action is Action.LOOK_UP:
            self._level = self._level - self._before if sideways < 0.7 else 0.0
        if self._level >= 1:
            if self._config.prompted and now - self._asked < self._config.quickest:
                raise Ended(Failure.TOO_EARLY, self._step.action)
            self._reached = now
            self._enter(_Stage.BACK, now)
            return
        others = np.delete(levels / _SURE, wanted)
        if self._level < 0.5 and (others > 1).any():
            seen = [a for a in _ORDER if a is not self._step.action][int(others.argmax())]
            raise Ended(Failure.WRONG_ACTION, f"{seen} instead of {self._step.action}")

    def _returning(self, levels: NDArray[np.float64], now: float) -> None:
        """End an action when the face is back; after a look up, nearly as low as before it."""
        most = _NEUTRAL.copy()
        if self._step.action is Action.LOOK_UP:
            most[_RAISED] = self._before + 0.6
        if (levels >= most).any():
            return
        self.performed.append(Performed(self._step.action, self._asked, self._reached, now))
        self._level = 0.0
        # Nobody comes back to the very place they left; a look up counts from where they are now.
        self._place = None
        self._enter(_Stage.PAUSE, now)
