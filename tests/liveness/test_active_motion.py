"""A plane has no parallax however it is held; a head that turns has the nose's height times tan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.liveness.motion import Rest

FACE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.0, 0.06], [-0.43, 0.5], [0.43, 0.5]])
"""Eyes, nose and mouth in distances between the eyes."""
HEIGHT = 0.45
SOLID = np.column_stack([FACE, [0, 0, HEIGHT, 0, 0]])
PLANE = np.column_stack([FACE, np.zeros(5)])

CENTRE = np.array([320, 240])

degrees = st.floats(-50, 50)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Positive yaw to the image's right, pitch up, roll clockwise; y down, z to the camera."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    about_x = [[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]]
    about_z = [[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_y) @ np.array(about_x)


def seen(points: np.ndarray, turn: np.ndarray, distance: float, size: float = 60) -> np.ndarray:
    """A pinhole camera at so many distances between the eyes; the eyes are ``size`` apart."""
    x, y, z = (points @ turn.T).T
    share = size * distance / (distance - z)
    return (np.stack([x * share, y * share], axis=1) + CENTRE).astype(np.float32)


def at_rest(points: np.ndarray = SOLID, distance: float = 8) -> Rest:
    return Rest([seen(points, np.eye(3), distance)])


@given(degrees, degrees, st.floats(-180, 180), st.floats(3, 50), st.floats(20, 300))
def test_a_plane_has_no_parallax_however_it_is_held(yaw, pitch, roll, distance, size):
    motion = at_rest(PLANE).motion(seen(PLANE, rotation(yaw, pitch, roll), distance, size))
    assert motion.parallax < 2e-3


@pytest.mark.parametrize("turn", [-30, -15, 0, 15, 30])
def test_a_head_shows_the_height_of_its_nose_times_the_tangent(turn):
    far = 1e4
    across = at_rest(distance=far).motion(seen(SOLID, rotation(turn, 0, 0), far))
    assert across.across == pytest.approx(HEIGHT * math.tan(math.radians(turn)), abs=1e-3)
    assert across.up == pytest.approx(0, abs=1e-3)
    up = at_rest(distance=far).motion(seen(SOLID, rotation(0, turn, 0), far))
    assert up.up == pytest.approx(HEIGHT * math.tan(math.radians(turn)), abs=1e-3)
    assert up.across == pytest.approx(0, abs=1e-3)


@given(st.floats(15, 40), st.sampled_from([-1, 1]), st.floats(-30, 30), st.floats(20, 300))
def test_a_leaning_head_of_any_size_turns_to_its_own_side(turn, side, roll, size):
    motion = at_rest().motion(seen(SOLID, rotation(side * turn, 0, roll), 8, size))
    assert motion.across * side > 0.1
    assert abs(motion.up) < 0.05


@pytest.mark.parametrize("turn", [10, 25, 45])
def test_foreshortening_gives_the_tilt_and_not_the_size(turn):
    motion = at_rest().motion(seen(SOLID, rotation(turn, 0, 0), 1e4, 90))
    assert motion.tilt == pytest.approx(math.tan(math.radians(turn)), rel=1e-2)
    assert motion.closer == pytest.approx(1.5, rel=1e-3)
    assert motion.size == pytest.approx(90, rel=1e-3)


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.column_stack([np.arange(5), np.arange(5)])]
)
def test_landmarks_that_are_no_face_have_no_motion(points):
    assert at_rest().motion(points.astype(np.float32)) is None


def test_rest_averages_noise_of_several_frames_wherever_they_were():
    rng = np.random.default_rng(0)

    def errors(frames: int) -> list[float]:
        found = []
        for _ in range(60):
            noisy = [
                seen(SOLID, rotation(0, 0, rng.uniform(-5, 5)), 8, rng.uniform(50, 90))
                + rng.normal(0, 1, (5, 2)).astype(np.float32)
                for _ in range(frames)
            ]
            found.append(Rest(noisy).motion(seen(SOLID, np.eye(3), 8)).parallax)
        return found

    # Sixteen frames: a quarter of the error.
    assert np.mean(errors(16)) < 0.4 * np.mean(errors(1))
