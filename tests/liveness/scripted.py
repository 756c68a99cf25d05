"""People before a camera, made from one photograph: a head in three dimensions, or a picture of it.

The photograph is laid over a relief of a head (an ellipsoid with a nose) that turns about the neck
before a pinhole camera; or it stays a plane, or is bent to a cylinder, as a print can be. Lengths
are in distances between the eyes (63 mm in adults). The relief is not the head that
``visavis.quality`` knows, and each person's nose has its own height.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from visavis.align import align
from visavis.detect import Search
from visavis.encode import embed
from visavis.liveness.active import ActiveSession, verify_frames
from visavis.liveness.answer import Phrase
from visavis.liveness.limits import DEFAULT_ACTIVE, ActiveConfig, Sameness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visavis.liveness.answer import Guidance, Verdict
    from visavis.liveness.challenge import Challenge

SIDE = 256
"""Of a frame, in pixels."""
EYES = 42.0
"""Pixels between the eyes at rest."""
_FAR = 8.0
"""From the camera to the face: half a metre."""
_GRID = 4
"""The relief's picture is found for every so many pixels, and between them by interpolation."""
_REACH = 2.4
"""How far the relief's table goes from the middle of the face."""
_TABLE = 96


class Solid(StrEnum):
    HEAD = "head"
    PLANE = "plane"
    BENT = "bent"


@dataclass(frozen=True)
class Pose:
    """Degrees; ``near`` is how many times as close; x and y in distances between the eyes."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    near: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def towards(self, other: Pose, share: float) -> Pose:
        a, b = np.array(list(vars(self).values())), np.array(list(vars(other).values()))
        return Pose(*(a + share * (b - a)).tolist())


def relief(solid: Solid, nose: float, bend: float) -> np.ndarray:
    """(_TABLE, _TABLE) float32: height over the plane of the eyes, for x and y in +-_REACH."""
    y, x = np.mgrid[-1 : 1 : _TABLE * 1j, -1 : 1 : _TABLE * 1j] * _REACH
    if solid is Solid.PLANE:
        return np.zeros((_TABLE, _TABLE), np.float32)
    if solid is Solid.BENT:
        return (-bend * (1 - np.cos(np.clip(x / bend, -1.5, 1.5)))).astype(np.float32)
    inside = np.clip(1 - (x / 1.35) ** 2 - ((y - 0.1) / 1.9) ** 2, 0.05, 1)
    tip = 0.06
    above, below = np.exp(-(((y - tip) / 0.38) ** 2) / 2), np.exp(-(((y - tip) / 0.24) ** 4))
    ridge = np.exp(-((x / 0.17) ** 2) / 2) * np.where(y < tip, above, below)
    return (1.3 * (np.sqrt(inside) - 1) + 0.12 + (nose - 0.12) * ridge).astype(np.float32)


class Actor:
    """Somebody, or a picture of somebody.

    Parameters
    ----------
    pixels, landmarks
        A photograph that shows the face from the front, and YuNet's landmarks in it.
    nose
        Height of its tip over the plane of eyes and mouth: 0.36 to 0.55 are 23 to 35 mm.
    bend
        Radius of the cylinder that a print is bent to.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        landmarks: np.ndarray,
        solid: Solid = Solid.HEAD,
        nose: float = 0.45,
        bend: float = 1.2,
    ) -> None:
        shrink = min(1.0, 1.5 * EYES / np.hypot(*(landmarks[1] - landmarks[0])))
        self.texture = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        points = (landmarks * shrink).astype(np.float64)
        self.eyes = float(np.hypot(*(points[1] - points[0])))
        self.middle = points[[0, 1, 3, 4]].mean(0)
        self.solid = solid
        self._relief = relief(solid, nose, bend)
        place = cv2.resize(self.texture, (24, 24), interpolation=cv2.INTER_AREA)
        place = cv2.GaussianBlur(place, (0, 0), 3)
        self._room = cv2.resize(place, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        y, x = np.mgrid[: self.texture.shape[0], : self.texture.shape[1]]
        x, y = (x - self.middle[0]) / self.eyes, (y - self.middle[1]) / self.eyes
        far = np.hypot(x / 1.3, (y + 0.05) / 1.75)
        self._mask = np.clip((1.12 - far) / 0.15, 0, 1).astype(np.float32)

    def frame(self, pose: Pose) -> np.ndarray:
        """(SIDE, SIDE, 3) uint8 of what an ideal camera sees."""
        where = self._seen_through(pose)
        at_x = (where[..., 0] * self.eyes + self.middle[0]).astype(np.float32)
        at_y = (where[..., 1] * self.eyes + self.middle[1]).astype(np.float32)
        border = cv2.BORDER_CONSTANT if self.solid is Solid.HEAD else cv2.BORDER_REPLICATE
        seen = cv2.remap(self.texture, at_x, at_y, cv2.INTER_LINEAR, borderMode=border)
        if self.solid is not Solid.HEAD:
            return seen
        mask = cv2.remap(self._mask, at_x, at_y, cv2.INTER_LINEAR)[..., None]
        return (seen * mask + self._room * (1 - mask)).astype(np.uint8)

    def _seen_through(self, pose: Pose) -> np.ndarray:
        """(SIDE, SIDE, 2): the point of the face that each pixel shows."""
        axis = np.linspace(0, SIDE, SIDE // _GRID + 1) - 0.5
        pixels = np.stack(np.meshgrid(axis, axis), axis=-1)
        rotation = turned(pose)
        pivot = np.array([0, 0.4, -1.3 if self.solid is Solid.HEAD else 0])
        flat = rotation[:2, :2]
        step = np.linalg.inv(flat) / (EYES * pose.near)
        at = (pixels - (SIDE / 2, SIDE * 0.52)) @ step.T
        for _ in range(10):
            height = cv2.remap(
                self._relief,
                *(
                    ((at[..., i] / _REACH + 1) / 2 * (_TABLE - 1)).astype(np.float32)
                    for i in (0, 1)
                ),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            points = np.concatenate([at, height[..., None]], axis=-1) - pivot
            x, y, z = np.moveaxis(points @ rotation.T + pivot, -1, 0)
            scale = EYES * _FAR / (_FAR / pose.near - z)
            shown = np.stack([(x + pose.x) * scale, (y + pose.y) * scale], axis=-1)
            missed = pixels - shown - (SIDE / 2, SIDE * 0.52)
            at += 0.9 * (missed @ step.T)
        whole = cv2.resize(at, None, fx=_GRID, fy=_GRID, interpolation=cv2.INTER_LINEAR)
        return whole[_GRID // 2 : _GRID // 2 + SIDE, _GRID // 2 : _GRID // 2 + SIDE]


def turned(pose: Pose) -> np.ndarray:
    """Rotation of a head: z towards the camera, y down; positive yaw to the image's right."""
    y, p, r = np.radians([pose.yaw, pose.pitch, pose.roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


class Camera:
    """Exposure that flickers and noise that is never the same twice."""

    def __init__(self, rng: np.random.Generator, noise: float = 2.5, flicker: float = 0.015):
        self._rng, self._flicker = rng, flicker
        self._noise = rng.normal(0, noise, (SIDE + 64, SIDE + 64, 3)).astype(np.float32)

    def shoot(self, scene: np.ndarray) -> np.ndarray:
        top, left = self._rng.integers(0, 64, 2)
        gain = 1 + self._rng.normal(0, self._flicker)
        noise = self._noise[top : top + SIDE, left : left + SIDE]
        return np.clip(scene * np.float32(gain) + noise, 0, 255).astype(np.uint8)


class Style(StrEnum):
    TURNS = "turns"
    """Does what it is told."""
    SLIDES = "slides"
    """Moves, leans and approaches where it should turn: a photograph moved in its plane."""
    STILL = "still"


LIMIT = Pose(yaw=38, pitch=34, roll=35, near=1.7, x=1.2, y=1.2)
PICTURE_LIMIT = Pose(yaw=58, pitch=50, roll=35, near=1.9, x=1.2, y=1.2)


def targets(style: Style, rng: np.random.Generator, wide: float) -> dict[Phrase, Pose]:
    """What somebody does when told so; a person's left is the image's right, yaw positive."""
    closer = Pose(near=rng.uniform(1.34, 1.45))
    if style is Style.STILL:
        return {}
    if style is Style.SLIDES:
        return {
            Phrase.TURN_LEFT: Pose(x=0.6, roll=rng.uniform(5, 20)),
            Phrase.TURN_RIGHT: Pose(x=-0.6, roll=-rng.uniform(5, 20)),
            Phrase.LOOK_UP: Pose(y=-0.5, near=rng.uniform(0.9, 1.1)),
            Phrase.COME_CLOSER: closer,
        }
    return {
        Phrase.TURN_LEFT: Pose(yaw=wide * rng.uniform(24, 32), pitch=rng.uniform(-4, 4)),
        Phrase.TURN_RIGHT: Pose(yaw=-wide * rng.uniform(24, 32), pitch=rng.uniform(-4, 4)),
        Phrase.LOOK_UP: Pose(pitch=wide * rng.uniform(20, 28), yaw=rng.uniform(-4, 4)),
        Phrase.COME_CLOSER: closer,
    }


@dataclass
class Performer:
    """Hears guidance and moves as people do: after a while, smoothly, a little further if told.

    Parameters
    ----------
    wide
        How many times as far it turns; a picture is turned further to be seen to turn.
    other
        Who takes the place of the actor some time after the first action, for good.
    for_turns
        The other is there for the turns only: somebody's own head beside another's picture.
    seconds
        Ends by itself then.
    """

    actor: Actor
    rng: np.random.Generator
    style: Style = Style.TURNS
    wide: float = 1.0
    rate: float = 15.0
    other: Actor | None = None
    for_turns: bool = False
    seconds: float = 75.0
    now: float = 0.0
    _swap_at: float = math.inf
    _turning: bool = False
    _heard: Phrase | None = None
    _plan: list[tuple[float, Pose]] = field(default_factory=list)
    _from: Pose = Pose()
    _to: Pose = Pose()
    _begun: float = 0.0
    _takes: float = 1.0

    def __post_init__(self) -> None:
        self._camera = Camera(self.rng)
        self._targets = targets(self.style, self.rng, self.wide)
        self._limit = LIMIT if self.actor.solid is Solid.HEAD else PICTURE_LIMIT
        self._shake = self.rng.uniform(0.2, 1.2, 5), self.rng.uniform(0, 6.3, 5)

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        while self.now < self.seconds:
            swapped = self._turning if self.for_turns else self.now >= self._swap_at
            actor = self.other if self.other and swapped else self.actor
            yield self.now, self._camera.shoot(actor.frame(self.pose()))
            self.now += self.rng.uniform(0.85, 1.15) / self.rate

    def hear(self, guidance: Guidance) -> None:
        phrase = guidance.phrase
        if guidance.done and self._swap_at == math.inf:
            self._swap_at = self.now + self.rng.uniform(0, 3)
        if phrase is Phrase.FURTHER and not self._plan and self.now > self._begun + self._takes:
            self._plan.append((self.now + self.rng.uniform(0.2, 0.5), self._further()))
        if phrase is self._heard:
            return
        self._heard = phrase
        if phrase in self._targets or phrase is Phrase.LOOK_AT_CAMERA:
            self._turning = phrase in {Phrase.TURN_LEFT, Phrase.TURN_RIGHT}
        if phrase in self._targets:
            reaction = self.rng.uniform(0.35, 1.6)
            self._plan = [(self.now + reaction, self._targets[phrase])]
        elif phrase in {Phrase.BACK, Phrase.GO_BACK, Phrase.SHOW_FACE}:
            if phrase is Phrase.SHOW_FACE:  # turned too far: not so far the next time
                self._targets = {p: Pose().towards(t, 0.85) for p, t in self._targets.items()}
            self._plan = [(self.now + self.rng.uniform(0.3, 1.2), Pose())]

    def pose(self) -> Pose:
        if self._plan and self.now >= self._plan[0][0]:
            start, goal = self._plan.pop(0)
            self._from, self._to, self._begun = self._moved(), goal, start
            self._takes = self.rng.uniform(0.5, 1.0)
        still = np.sin(self._shake[0] * 6.28 * self.now + self._shake[1])
        pose = self._moved()
        return replace(
            pose,
            yaw=pose.yaw + 1.0 * still[0],
            pitch=pose.pitch + 0.7 * still[1],
            roll=pose.roll + 0.7 * still[2],
            x=pose.x + 0.03 * still[3],
            y=pose.y + 0.03 * still[4],
        )

    def _moved(self) -> Pose:
        share = min(1.0, max(0.0, (self.now - self._begun) / self._takes))
        return self._from.towards(self._to, share**3 * (10 - 15 * share + 6 * share**2))

    def _further(self) -> Pose:
        most = np.array(list(vars(self._limit).values()))
        goal = np.array(list(vars(self._to).values()))
        goal = np.where(most > 1.65, 1.2 * goal, goal)
        goal[3] = 1 + 1.2 * (self._to.near - 1)
        return Pose(*np.clip(goal, -most, most).tolist())


class Eyes:
    """What an engine gives active liveness: its detector and its encoder."""

    def __init__(self, engine) -> None:
        self._engine = engine
        self.sameness = Sameness(engine.curve.at(1e-4).tau, engine.curve.at(1e-2).tau)

    def faces(self, image):
        return self._engine.sight.detector.find(image, Search.SUBJECT)

    def encode(self, image, face):
        return embed(self._engine.encoder, [align(image, face)])[0].vector


Recording = list[tuple[float, np.ndarray]]


def answer(
    challenge: Challenge, eyes: Eyes, performer: Performer, config: ActiveConfig = DEFAULT_ACTIVE
) -> tuple[Verdict, Recording]:
    """Let somebody answer a challenge, and keep what the camera saw."""
    recorded: Recording = []

    def filmed():
        for each in performer.frames():
            recorded.append(each)
            yield each

    session = at_issue(challenge, eyes, config)
    return verify_frames(session, filmed(), performer.hear), recorded


def played(
    challenge: Challenge, eyes: Eyes, recording: Recording, config: ActiveConfig = DEFAULT_ACTIVE
) -> Verdict:
    """Give a recording for the answer to a challenge."""
    return verify_frames(at_issue(challenge, eyes, config), iter(recording))


def at_issue(challenge: Challenge, eyes: Eyes, config: ActiveConfig) -> ActiveSession:
    """Begin a session whose clock stands still, so that a slow machine expires nothing.

    The same challenge asks the same again, so that a sequence can be made a second time.
    """
    session = ActiveSession(challenge, eyes, eyes.sameness, config, lambda: challenge.issued)
    session.dice = random.Random(str(challenge.steps))
    return session
