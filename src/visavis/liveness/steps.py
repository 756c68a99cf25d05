"""A challenge followed step by step through the motions of a face; pixels are not needed."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

from visavis.liveness.answer import ASKED, Ended, Failure, Performed, Phrase
from visavis.liveness.challenge import DICE, Action, again
from visavis.liveness.strengths import NEUTRAL, ORDER, SURE, strengths

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    from visavis.liveness.challenge import Challenge, Step
    from visavis.liveness.limits import ActiveConfig
    from visavis.liveness.motion import Motion

_TURNS = frozenset({Action.TURN_LEFT, Action.TURN_RIGHT})
_RAISED = ORDER.index(Action.LOOK_UP)
_UPRIGHT = 0.6
"""Below this tilt a face has turned back: noise makes 0.2 to 0.4. A detector that hardly knows a
face turned far at times places a frontal one's nose in it, as though it were back, but the eyes and
the mouth stay as narrow as they were."""
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
    AGAIN = auto()
    """Coming back, from wherever it may be, before the same is asked again."""


class Steps:
    """Where somebody stands in a challenge; `Ended` is raised when they have failed.

    What was not seen well enough to tell is asked for again, a few times in a session: the same
    action after a long wait, which gives nothing to a recording, since there another one follows.
    A movement nobody asked for, another one, or a turn that does not come, ends it at once.

    Parameters
    ----------
    dice
        Draws the waits of what is asked again.
    """

    def __init__(
        self, challenge: Challenge, config: ActiveConfig, start: float, dice: random.Random = DICE
    ) -> None:
        self._steps = list(challenge.steps)
        self._config = config
        self._dice = dice
        self._agains = 0
        self._stage = _Stage.PAUSE
        self._since = start
        self._asked = self._reached = self._recalled = start
        self._now = start
        self._level = self._most = self._tilt = 0.0
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
        return self._stage in {_Stage.HELD, _Stage.BACK, _Stage.AGAIN}

    @property
    def turned(self) -> bool:
        """True while the face is turned to a side, as it was asked to."""
        return self._step.action in _TURNS and self.held and self._level >= 1

    @property
    def turned_last(self) -> bool:
        """True when a turn was done and left and no other is to come."""
        done = len(self.performed)
        to_come = any(step.action in _TURNS for step in self._steps[done:])
        return done > 0 and self.performed[-1].action in _TURNS and not to_come

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
        if self._stage in {_Stage.BACK, _Stage.AGAIN}:
            return Phrase.GO_BACK if action is Action.COME_CLOSER else Phrase.BACK
        slow = self._now - self._since > _HESITATES
        return Phrase.FURTHER if slow and self._level > _BEGUN else ASKED[action]

    def follow(self, motion: Motion, now: float) -> None:
        """Take in the next motion; raises Ended."""
        self._now = now
        if self._before is None:
            self._resting.append((motion.up, motion.centre[1]))
        before = self._before or self._resting[0]
        strong = strengths(motion, before, self._config)
        self._recent.append((now, np.append(strong, motion.tilt)))
        while len(self._recent) > 3 and now - self._recent[0][0] > self._config.window:
            self._recent.popleft()
        if len(self._recent) < 3:
            return
        # Without the least and the most: the detector errs in single frames.
        seen = np.sort([seen for _, seen in self._recent], axis=0)[1:-1].mean(0)
        levels, self._tilt = seen[:-1], float(seen[-1])
        if self._stage is _Stage.PAUSE:
            self._pausing(levels, now)
        elif self._stage is _Stage.ASKED:
            self._acting(levels, now)
        elif self._stage is _Stage.HELD:
            self._holding(levels, now)
        elif self._stage is _Stage.BACK:
            self._returning(levels, now)
        else:
            self._collecting(levels, now)
        if now - self._since > self._config.slowest + self._wait:
            self._unseen(now)

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

    def unclear(self, now: float) -> None:
        """Ask for the last action again, of which too little was seen; raises Ended."""
        self._may_ask_again(Ended(Failure.UNCLEAR))
        self.performed.pop()
        self._ask_again(now)

    def _unsure(self, end: Ended, now: float) -> None:
        """Ask again instead of failing; raises what is given once that was done too often."""
        self._may_ask_again(end)
        self._ask_again(now)

    def _may_ask_again(self, end: Ended) -> None:
        self._agains += 1
        if not self._config.prompted or self._agains > self._config.again:
            raise end

    def _ask_again(self, now: float) -> None:
        self._steps[len(self.performed)] = again(self._step, self._dice)
        self._level = 0.0
        self._recent.clear()
        self._enter(_Stage.AGAIN, now)

    def _unseen(self, now: float) -> None:
        """End it, or ask again where a face alone cannot tell that nothing was done.

        Turns are seen well, and keep pictures out: who does not turn when asked to has failed.
        """
        end = Ended(Failure.TOO_SLOW, self._step.action)
        if self._stage is not _Stage.ASKED or self._step.action is not Action.LOOK_UP:
            raise end
        self._unsure(end, now)

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
        if prompted and (levels > SURE).any():
            raise Ended(Failure.TOO_EARLY, ORDER[int((levels / SURE).argmax())])
        if now - self._since >= self._wait and (levels < NEUTRAL).all():
            self._asked = now
            up, height = np.median(self._resting, axis=0)
            self._before = float(up), float(height)
            self._recent.clear()
            self._enter(_Stage.ASKED, now)

    def _acting(self, levels: NDArray[np.float64], now: float) -> None:
        self._level = self._much(levels)
        sideways = abs(levels[ORDER.index(Action.TURN_LEFT)])
        aside = self._step.action is Action.LOOK_UP and sideways >= 0.7
        if self._level >= 1 and not aside:
            if self._config.prompted and now - self._asked < self._config.quickest:
                raise Ended(Failure.TOO_EARLY, self._step.action)
            self._reached, self._most = now, self._level
            self._enter(_Stage.HELD, now)
            return
        others = np.delete(levels / SURE, ORDER.index(self._step.action))
        if (aside or self._level < 0.5) and (others > 1).any():
            seen = [a for a in ORDER if a is not self._step.action][int(others.argmax())]
            raise Ended(Failure.WRONG_ACTION, f"{seen} instead of {self._step.action}")
        self._begins(now, begun=self._level > _BEGUN)

    def _holding(self, levels: NDArray[np.float64], now: float) -> None:
        """Wait until it is time to come back, which only this session knows."""
        self._level = self._much(levels)
        self._most = max(self._most, self._level)
        if self._config.prompted and self._level < _BEGUN and self._tilt < _UPRIGHT:
            if self._excused:
                self._ask_again(now)
            else:
                self._unsure(Ended(Failure.TOO_EARLY, f"back from {self._step.action}"), now)
            return
        if now - self._since >= self._wait:
            self._recalled = now
            self._enter(_Stage.BACK, now)

    def _returning(self, levels: NDArray[np.float64], now: float) -> None:
        """End an action when the face is back; after a look up, as low as before it, nearly."""
        self._level = self._much(levels)
        most = NEUTRAL.copy()
        if self._step.action is Action.LOOK_UP:
            most[_RAISED] = 0.6
        if (levels >= most).any() or self._tilt >= _UPRIGHT:
            self._begins(now, begun=self._level < _RELAXED * self._most)
            return
        quick = now - self._recalled < self._config.quickest
        if self._config.prompted and quick and not self._excused:
            self._unsure(Ended(Failure.TOO_EARLY, f"back from {self._step.action}"), now)
            return
        times = self._asked, self._reached, self._recalled, now
        self.performed.append(Performed(self._step.action, *times))
        self._level = 0.0
        self._pause(now)

    def _collecting(self, levels: NDArray[np.float64], now: float) -> None:
        """Wait for a face that looks into the camera, at least for as long as it takes to say."""
        back = (levels < NEUTRAL).all() and self._tilt < _UPRIGHT
        if back and now - self._since >= self._config.quickest:
            self._pause(now)

    def _much(self, levels: NDArray[np.float64]) -> float:
        """How much of the action asked for there is."""
        return float(levels[ORDER.index(self._step.action)])

    def _begins(self, now: float, *, begun: bool) -> None:
        """Raise Ended when somebody was told something and long after has not begun it."""
        late = now - self._since > self._config.begin
        if self._config.prompted and late and not begun:
            self._unseen(now)
