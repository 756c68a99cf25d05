"""Presentation attacks made from live photographs by physics, to learn liveness from.

``simulate`` takes canvases (a face with wide surroundings) and gives what a camera sees when the
person stands there, when a print of the photograph is held up, and when a screen shows it. All
three pass through one camera. See ``docs/liveness.md``.
"""

from visavis.train.attacks.canvas import CANVAS, CANVAS_SIZE, CROP, CROP_SIZE
from visavis.train.attacks.simulate import Species, simulate, vary

__all__ = ["CANVAS", "CANVAS_SIZE", "CROP", "CROP_SIZE", "Species", "simulate", "vary"]
