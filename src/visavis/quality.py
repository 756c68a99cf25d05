"""How good a template a face would make: numbers, and what to do about them in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from visavis.values import Advice, Quality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.values import Crop, Image

_HEAD = np.array(
    [
        [-18.9, -19.4, 0.0],
        [18.9, -19.4, 0.0],
        [0.0, 1.6, 17.0],
        [-16.2, 18.3, 3.0],
        [16.2, 18.3, 3.0],
    ]
)
"""A head that looks straight ahead: eyes, nose and mouth corners, x right, y down, z towards us.

x and y are the median of YuNet's landmarks on 1,500 photographs of LFW, aligned and made
symmetrical; z is how far the tip of the nose (30 mm) and the mouth stand before the eyes, which
are 63 mm apart in adults.
"""
_INVERSE = np.linalg.pinv(_HEAD - _HEAD.mean(0))


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """What enrolment asks of a face; outside, the advice says what to do.

    The defaults are set where TAR begins to fall when one side of LFW's pairs is spoilt
    (``visavis evaluate verification --degrade all``, the table in ``docs/accuracy.md``), and let
    through 93 of 100 photographs of LFW as they are.

    Attributes
    ----------
    eyes
        Least distance between the eyes in pixels of the original picture.
    yaw, pitch, roll
        Largest turn to either side, in degrees. YuNet's landmarks follow a head that leans only
        in part: 12 degrees measured are about 30 true ones, where TAR has lost 12 points.
    sharpness, contrast
        Least values in the units of ``Quality``.
    brightness
        Least and largest mean luminance.
    score
        Least confidence of the detector.
    inside
        Least share of the face within the picture.
    """

    eyes: float = 20.0
    yaw: float = 40.0
    pitch: float = 25.0
    roll: float = 12.0
    sharpness: float = 0.025
    contrast: float = 0.04
    brightness: tuple[float, float] = (0.12, 0.92)
    score: float = 0.75
    inside: float = 0.85


DEFAULT_QUALITY = QualityLimits()


def assess(image: Image, crop: Crop, limits: QualityLimits = DEFAULT_QUALITY) -> Quality:
    """Measure a face; costs about a tenth of a millisecond.

    Parameters
    ----------
    image
        The picture that the crop's face was found in.
    crop
        The aligned face; sharpness, brightness and contrast are measured on it, so that they do
        not depend on the size of the picture.
    """
    face = crop.face
    yaw, pitch, roll = pose(face.landmarks)
    grey = cv2.cvtColor(crop.pixels[16:104, 16:96], cv2.COLOR_RGB2GRAY)
    mean, deviation = (float(v[0, 0]) for v in cv2.meanStdDev(grey))
    detail = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0])
    measured = Quality(
        eyes=float(np.hypot(*(face.landmarks[1] - face.landmarks[0]))) * image.reduction,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        sharpness=min(1.0, detail / (4.0 * deviation)) if deviation > 1 else 0.0,
        brightness=mean / 255,
        contrast=deviation / 255,
        score=face.score,
        inside=crop.inside,
    )
    return _advised(measured, limits)


def pose(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Estimate (yaw, pitch, roll) in degrees from five landmarks.

    An affine camera is fitted to a model head by least squares; its rows, normalised, are those
    of the rotation (weak perspective: Horaud et al. 1997). Good to some ten degrees, which is
    enough to say "turn to the camera".
    """
    points = landmarks.astype(np.float64)
    right, down = (_INVERSE @ (points - points.mean(0))).T
    scale = (np.linalg.norm(right) + np.linalg.norm(down)) / 2
    if scale < 1e-9:
        return 0.0, 0.0, 0.0
    right, down = right / scale, down / scale
    roll = math.atan2(down[0], right[0])
    # Where the nose points in the picture, seen as if the head were upright.
    across = math.cos(roll) * right[2] + math.sin(roll) * down[2]
    along = math.cos(roll) * down[2] - math.sin(roll) * right[2]
    pitch = math.asin(min(1.0, max(-1.0, -along)))
    yaw = math.asin(min(1.0, max(-1.0, across / max(math.cos(pitch), 1e-6))))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _advised(q: Quality, limits: QualityLimits) -> Quality:
    dark, bright = limits.brightness
    checks = (
        (q.eyes < limits.eyes, Advice.COME_CLOSER),
        (abs(q.yaw) > limits.yaw, Advice.TURN_TO_CAMERA),
        (abs(q.pitch) > limits.pitch, Advice.LOOK_AHEAD),
        (abs(q.roll) > limits.roll, Advice.HOLD_HEAD_STRAIGHT),
        (q.brightness < dark, Advice.MORE_LIGHT),
        (q.brightness > bright, Advice.LESS_LIGHT),
        (q.contrast < limits.contrast, Advice.MORE_CONTRAST),
        (q.sharpness < limits.sharpness, Advice.HOLD_STILL),
        (q.inside < limits.inside, Advice.MOVE_INTO_PICTURE),
        (q.score < limits.score, Advice.SHOW_WHOLE_FACE),
    )
    advice = tuple(word for wrong, word in checks if wrong)
    return replace(q, advice=advice)
