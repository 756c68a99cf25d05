"""What the stories start from: vectors that a reader checks by head, and a bound gallery."""

import hashlib
import math

import numpy as np

from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.secrets.protection import Keys
from visavis.values import EncoderId

IN_THE_CLEAR = Keys.none()
"""For stories that look at the bytes themselves."""
ENCODER = EncoderId("sface-fp32-0123456789abcdef")


def at_angle(degrees, length=4):
    """Unit vector in the plane of the first two axes; d = 2 - 2 cos of the angle between two."""
    vector = np.zeros(length, dtype=np.float32)
    vector[0], vector[1] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return vector


def some_vector(seed, length=128):
    """Unit vector that is the same for the same seed, a number or a text."""
    vector = np.random.default_rng(list(str(seed).encode())).normal(size=length)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def template(seed, length=128, photograph=None):
    digest = hashlib.sha256(str(seed).encode()).hexdigest()
    return NewTemplate(some_vector(seed, length), digest, photograph)


def opened(path, **how):
    gallery = Gallery.open(path, **how)
    gallery.bind(ENCODER, "sface")
    return gallery
