"""Faces drawn from numbers: who somebody is, and what a photograph makes of it, kept apart.

A person is a point in 18 dimensions (shape of the face, eyes, brows, nose, mouth, hair, tones); a
view is where the head is, the light, the expression, the background, noise. Pixels differ more
between two views of one person than a network's eyes do, so unseen people cannot be told apart by
pixels, and can by what a small network learns in seconds. No files, no downloads; NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TRAITS, CIRCUMSTANCES = 18, 20
CHUNK = 128
"""Faces drawn at once; more would not fit the processor's cache."""


@dataclass(frozen=True)
class Draught:
    """How hard a set is: how much persons differ, and how much views do (1 is usual)."""

    persons: float = 1.0
    views: float = 1.0


USUAL = Draught()


def draw(identity: int, view: int, side: int = 32) -> NDArray[np.uint8]:
    """One photograph, (side, side, 3) RGB, the same for the same numbers."""
    return draw_many(np.array([identity]), np.array([view]), side)[0]


def draw_many(
    identities: NDArray[np.int64],
    views: NDArray[np.int64],
    side: int = 32,
    draught: Draught = USUAL,
) -> NDArray[np.uint8]:
    """(N, side, side, 3); each the same whatever it is drawn with."""
    made = np.empty((len(identities), side, side, 3), np.uint8)
    known: dict[int, Floats] = {}
    for start in range(0, len(identities), CHUNK):
        who = [int(each) for each in identities[start : start + CHUNK]]
        seen = [int(each) for each in views[start : start + CHUNK]]
        for each in who:
            if each not in known:
                known[each] = _numbers((1, each), TRAITS)
        persons = np.stack([known[each] for each in who]) * draught.persons
        chance = [_numbers((2, a, b), CIRCUMSTANCES) for a, b in zip(who, seen, strict=True)]
        noise = [_noise((3, a, b), side) for a, b in zip(who, seen, strict=True)]
        made[start : start + CHUNK] = _render(
            persons, np.stack(chance) * draught.views, np.stack(noise), side
        )
    return made


def album(
    people: int, images: int, side: int = 32, first: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Photographs of people ``first`` and on, one after another, and whose they are."""
    who = np.repeat(np.arange(first, first + people), images)
    views = np.tile(np.arange(images), people)
    return draw_many(who, views, side), who - first


def _numbers(seed: tuple[int, ...], count: int) -> Floats:
    """Evenly from -1 to 1."""
    return np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)


def _noise(seed: tuple[int, ...], side: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((side, side, 1), np.float32)


def _render(persons: Floats, views: Floats, noise: Floats, side: int) -> NDArray[np.uint8]:
    p = [column[:, None, None] for column in persons.T]
    v = [column[:, None, None] for column in views.T]
    line = ((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1
    x, y = _seen_from(v, *np.meshgrid(line, line))
    soft = np.float32(side / 2.5)  # edges are about two pixels wide

    def inside(distance: Floats) -> Floats:
        """1 where a distance (in sides) is negative, 0 where positive, soft between."""
        return np.clip(0.5 - distance * soft, 0, 1)

    def ellipse(cx: Floats, cy: Floats, rx: Floats, ry: Floats) -> Floats:
        across, along = (x - cx) / rx, (y - cy) / ry
        return inside((np.sqrt(across * across + along * along) - 1) * np.minimum(rx, ry))

    wide, high = 0.62 + 0.07 * p[0], 0.80 + 0.05 * p[1]
    skin = _colour(0.68 + 0.07 * p[2], 0.52 + 0.06 * p[2] + 0.02 * p[3], 0.43 + 0.06 * p[2])
    hair = _colour(0.28 + 0.12 * p[4], 0.20 + 0.10 * p[4] + 0.03 * p[5], 0.14 + 0.07 * p[4])
    back = _colour(0.5 + 0.35 * v[0], 0.5 + 0.35 * v[1], 0.5 + 0.35 * v[2])
    picture = back * (1 + 0.3 * (v[3] * x + v[4] * y))[..., None]

    def paint(mask: Floats, colour: Floats) -> None:
        nonlocal picture
        picture += mask[..., None] * (colour - picture)

    jaw = wide * (1 - (0.16 + 0.1 * p[6]) * np.clip(y, 0, 1))
    paint(ellipse(0 * wide, -0.12 + 0 * wide, wide * 1.13, high * 1.05), hair)
    paint(ellipse(0 * wide, 0 * wide, jaw, high), skin)
    paint(ellipse(0 * wide, -0.95 + 0.0 * wide, wide * 1.1, 0.46 + 0.12 * p[7]), hair)

    apart, level = 0.27 + 0.055 * p[8], -0.12 + 0.05 * p[9]
    size = 0.095 + 0.025 * p[10]
    opened = (0.062 + 0.02 * p[11]) * (1 + 0.25 * v[5])
    thick, slant = 0.035 + 0.018 * p[12], 0.22 * p[13]
    for mirror in (-1, 1):
        paint(ellipse(mirror * apart, level, size, opened), _colour(0.9, 0.9, 0.9))
        look = mirror * apart + 0.03 * v[6]
        paint(ellipse(look, level, opened * 0.8, opened), _colour(0.2, 0.17, 0.15))
        tilt = level - 0.17 - 0.03 * v[7] + slant * mirror * (x - mirror * apart)
        paint(ellipse(mirror * apart, tilt, size * 1.35, thick), hair)
    nose, tip = 0.085 + 0.03 * p[14], 0.20 + 0.06 * p[15]
    paint(ellipse(0 * nose, tip, nose, 0.5 * nose), skin * 0.75)
    paint(0.4 * ellipse(0 * nose + 0.02, tip * 0.4, nose * 0.35, tip * 0.7), skin * 0.8)
    mouth, lips = 0.22 + 0.06 * p[16], 0.045 + 0.02 * p[17]
    smile = 0.46 + 0.03 * p[15] - 0.9 * v[8] * x * x
    paint(ellipse(0 * mouth, smile, mouth * (1 + 0.12 * v[8]), lips), skin * _colour(0.8, 0.5, 0.5))
    paint(ellipse(0 * mouth, smile, mouth * 0.8, lips * 0.4 * (1.3 + v[9])), skin * 0.3)

    light = 1 + 0.35 * v[10] + 0.45 * v[11] * x + 0.3 * v[12] * y
    cast = _colour(1 + 0.15 * v[13], 1 + 0.08 * v[14], 1 + 0.15 * v[15])
    picture = picture * light[..., None] * cast + 0.03 * noise
    return np.clip(picture * 255, 0, 255).astype(np.uint8)


def _seen_from(v: list[Floats], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where on the face each pixel looks: turned, nearer or farther, shifted, seen aslant."""
    turn, near = 0.16 * v[16], 1 + 0.07 * v[17]
    x, y = x - 0.09 * v[18], y - 0.09 * v[19]
    x, y = (
        (x * np.cos(turn) - y * np.sin(turn)) / near,
        (x * np.sin(turn) + y * np.cos(turn)) / near,
    )
    return x, y


def _colour(red: Floats | float, green: Floats | float, blue: Floats | float) -> Floats:
    return np.stack(
        np.broadcast_arrays(*(np.asarray(c, np.float32) for c in (red, green, blue))), -1
    )
