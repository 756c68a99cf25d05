"""A nose is followed by its pixels: a network that sees a head in everything changes nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scripted import EYES, SIDE, Actor, Pose, Solid, turned

from visavis.liveness.limits import ActiveConfig
from visavis.liveness.relief import Relief, _tilted

FACE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.0, 0.06], [-0.43, 0.5], [0.43, 0.5]])
HEIGHTS = {
    Solid.HEAD: [-0.04, -0.04, 0.45, 0.02, 0.02],
    Solid.PLANE: [0.0] * 5,
    Solid.BENT: [-0.10, -0.10, 0.0, -0.08, -0.08],
}


def texture(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A surface that looks different everywhere, and where its landmarks are."""
    rng = np.random.default_rng(seed)
    fine, coarse = (cv2.GaussianBlur(rng.normal(0, 1, (300, 300)), (0, 0), s) for s in (3, 8))
    grey = 128 + 40 * (fine / fine.std() + coarse / coarse.std())
    pixels = np.clip(np.repeat(grey[..., None], 3, axis=2), 0, 255).astype(np.uint8)
    return pixels, (FACE * 60 + 150).astype(np.float32)


def landmarks(solid: Solid, yaw: float, believes: Solid | None = None) -> np.ndarray:
    """(5, 2) where a camera sees them; the nose where it would be if it were another solid's."""
    pivot = np.array([0, 0.4, -1.3 if solid is Solid.HEAD else 0])
    heights = np.array(HEIGHTS[solid])
    heights[2] = HEIGHTS[believes or solid][2]
    points = np.column_stack([FACE, heights]) - pivot
    x, y, z = (points @ turned(Pose(yaw=yaw)).T + pivot).T
    scale = EYES * 8 / (8 - z)
    seen = np.stack([x * scale + SIDE / 2, y * scale + SIDE * 0.52], axis=1)
    return seen.astype(np.float32)


def height(
    solid: Solid,
    believes: Solid | None = None,
    turn: float = 22,
    seed: int = 0,
    covered: tuple[int, ...] = (),
):
    rng = np.random.default_rng(seed)
    actor = Actor(*texture(seed), solid, nose=0.45, bend=1.2)
    found = Relief(actor.frame(Pose()), landmarks(solid, 0))
    for yaw in [turn] * 4 + [-turn] * 4:
        noise = rng.normal(0, 0.7, (5, 2)).astype(np.float32)
        points = landmarks(solid, yaw, believes) + noise
        frame = actor.frame(Pose(yaw=yaw))
        for i in covered:
            x, y = points[i].astype(int)
            frame[y - 16 : y + 17, x - 16 : x + 17] = rng.integers(0, 255, (33, 33, 3))
        found.add(frame, points, np.sign(yaw) * 0.2)
    return found.height


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_head_has_its_noses_height_and_a_picture_has_not(seed):
    assert 0.25 < height(Solid.HEAD, seed=seed) < 0.5
    assert height(Solid.PLANE, seed=seed, turn=40) == pytest.approx(0, abs=0.03)
    assert height(Solid.BENT, seed=seed, turn=40) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("eye", [0, 1])
def test_where_the_far_eye_cannot_be_found_again_the_other_points_do(eye):
    """As behind goggles; and what is not clearly a head's by three points tells nothing."""
    assert 0.25 < height(Solid.HEAD, covered=(eye,)) < 0.5
    for flat in (Solid.PLANE, Solid.BENT):
        assert height(flat, turn=40, covered=(eye,)) is None
    for too_much in [(0, 1), (0, 3), (2,)]:
        assert height(Solid.HEAD, covered=too_much) is None


def test_three_points_tell_a_heads_height_and_a_cylinders():
    shape = FACE.astype(np.float64)
    known = np.array([True, False, True, True])  # not the far eye of a face turned to the right
    for solid, least, most in ((Solid.HEAD, 0.25, 0.5), (Solid.PLANE, 0, 0.03)):
        points = landmarks(solid, 25).astype(np.float64)
        points[1] = np.nan
        across, tilt = _tilted(shape, points, known)
        assert least <= across / tilt < most
        assert tilt == pytest.approx(np.tan(np.radians(25)), abs=0.2)
    line = np.array([[0.0, 0], [1, 1], [2, 2], [3, 3], [4, 4]])
    assert _tilted(line, points, known) is None


@pytest.mark.parametrize("solid", [Solid.PLANE, Solid.BENT])
def test_what_a_network_believes_of_the_nose_does_not_count(solid):
    believed = height(solid, believes=Solid.HEAD, turn=40)
    assert believed == pytest.approx(height(solid, turn=40), abs=0.04)
    assert believed < ActiveConfig().flat < height(Solid.HEAD)


def test_nothing_is_said_of_a_face_that_hardly_turns_or_of_few_frames():
    assert height(Solid.HEAD, turn=5) is None
    actor = Actor(*texture(), Solid.HEAD)
    found = Relief(actor.frame(Pose()), landmarks(Solid.HEAD, 0))
    for _ in range(2):
        found.add(actor.frame(Pose(yaw=28)), landmarks(Solid.HEAD, 28), 0.2)
    assert found.height is None


def test_nor_where_the_nose_cannot_be_found_again():
    actor, other = Actor(*texture(0), Solid.PLANE), Actor(*texture(5), Solid.PLANE)
    found = Relief(actor.frame(Pose()), landmarks(Solid.PLANE, 0))
    for _ in range(6):
        found.add(other.frame(Pose(yaw=30)), landmarks(Solid.PLANE, 30), 0.2)
    assert found.height is None


@pytest.mark.parametrize("scale", [0.05, 8.0])
def test_faces_of_any_size_at_any_border_are_no_error(scale):
    pixels = np.random.default_rng(0).integers(0, 255, (200, 260, 3), np.uint8)
    points = (FACE * 50 * scale + (255, 5)).astype(np.float32)
    found = Relief(pixels, points)
    found.add(pixels, points + 3, 0.2)
    found.add(pixels, np.zeros((5, 2), np.float32), -0.2)
    assert found.height is None
