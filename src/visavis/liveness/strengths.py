"""How much of each action a motion is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from visavis.liveness.challenge import Action

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.liveness.limits import ActiveConfig
    from visavis.liveness.motion import Motion

ORDER = tuple(Action)
SURE = np.array([1.25, 1.25, 1.35, 1.25])
"""So much of each action, in the order of ``Action``, is a movement nobody makes by accident."""
NEUTRAL = np.array([0.6, 0.6, 0.9, 0.6])
"""Below all of these a face counts as at rest."""
_ACROSS_RAISES = 0.2
"""A turn seems to raise the nose by this share of its parallax: YuNet's landmarks, measured."""
_RAISES = (-0.1, 0.75)
_LIFTS = (-0.9, 1.2)
"""Parallax and lift count within these towards a look up: YuNet sees the first badly, sometimes the
wrong way, so that it is never enough by itself, and never speaks against the second."""


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
