"""A face lands on the template, whichever way it was turned, scaled and moved."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.align import TEMPLATE, align, similarity
from visavis.image import open_image
from visavis.values import Face, Image

degrees = st.floats(-180, 180)
scales = st.floats(0.05, 30)
shifts = st.floats(-3000, 3000)


def placed(turn: float, scale: float, x: float, y: float) -> np.ndarray:
    """The template's landmarks turned (clockwise in a picture), scaled and moved."""
    angle = math.radians(turn)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return scale * TEMPLATE.astype(np.float64) @ rotation.T + [x, y]


def through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def face(landmarks: np.ndarray) -> Face:
    low, high = landmarks.min(0), landmarks.max(0)
    return Face((*low.tolist(), *(high - low).tolist()), landmarks.astype(np.float32), 0.9)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Umeyama 1991, eq. 40 to 43, by singular values and without reflection."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (d * sign).sum() / a.var(0).sum()
    shift = target.mean(0) - scale * rotation @ source.mean(0)
    return np.column_stack([scale * rotation, shift])


@given(degrees, scales, shifts, shifts)
def test_similarity_undoes_turn_scale_and_shift(turn, scale, x, y):
    landmarks = placed(turn, scale, x, y)
    assert np.abs(through(similarity(landmarks), landmarks) - TEMPLATE).max() <= 1e-3


@given(degrees, scales, shifts, shifts)
def test_similarity_names_the_turn_and_scale(turn, scale, x, y):
    matrix = similarity(placed(turn, scale, x, y))
    assert math.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(1 / scale, rel=1e-6)
    assert math.cos(math.atan2(matrix[1, 0], matrix[0, 0]) + math.radians(turn)) > 1 - 1e-9


def test_a_turn_by_head():
    """Upside down and twice as large: back by half, and turned by 180 degrees."""
    matrix = similarity(placed(180, 2, 0, 0))
    assert matrix == pytest.approx(np.array([[-0.5, 0, 0], [0, -0.5, 0]]), abs=1e-6)


@given(st.integers(0, 10**6))
def test_least_squares_agree_with_umeyamas_method(seed):
    chance = np.random.default_rng(seed)
    turn, scale = chance.uniform(-180, 180), chance.uniform(0.2, 5)
    landmarks = placed(turn, scale, *chance.uniform(-500, 500, 2))
    landmarks += chance.normal(0, 4 * scale, landmarks.shape)
    assert similarity(landmarks) == pytest.approx(umeyama(landmarks, TEMPLATE), abs=1e-5)


def test_no_other_similarity_is_nearer():
    chance = np.random.default_rng(3)
    landmarks = placed(20, 1.5, 40, 30) + chance.normal(0, 5, (5, 2))
    best = similarity(landmarks)
    least = np.square(through(best, landmarks) - TEMPLATE).sum()
    for _ in range(200):
        a, b, x, y = chance.normal(0, 0.01, 4)
        other = best + np.array([[a, -b, 50 * x], [b, a, 50 * y]])
        assert np.square(through(other, landmarks) - TEMPLATE).sum() >= least


def test_a_mirrored_face_is_not_mirrored_back():
    mirrored = TEMPLATE * [-1, 1]
    assert np.linalg.det(similarity(mirrored)[:, :2]) > 0


# The crop


def dotted(landmarks: np.ndarray, height: int, width: int, sigma: float) -> Image:
    """Black, with a round spot on each landmark: red, green, blue, red, green."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    pixels = np.zeros((height, width, 3))
    for i, (px, py) in enumerate(landmarks):
        pixels[..., i % 3] += 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return Image(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def spots(crop: np.ndarray) -> np.ndarray:
    """Centre of mass of each spot, near where the template has it."""
    centres = []
    for i, (px, py) in enumerate(TEMPLATE):
        x0, y0 = round(float(px)) - 8, round(float(py)) - 8
        part = crop[y0 : y0 + 17, x0 : x0 + 17, i % 3].astype(np.float64)
        ys, xs = np.mgrid[y0 : y0 + 17, x0 : x0 + 17]
        centres.append([(xs * part).sum() / part.sum(), (ys * part).sum() / part.sum()])
    return np.array(centres)


@pytest.mark.parametrize(
    ("turn", "scale"),
    [(0, 1), (30, 1), (-75, 0.7), (180, 1.3), (10, 2), (-20, 3.9), (5, 4.1), (40, 6.5), (0, 9)],
)
def test_a_drawn_face_lands_on_the_template(turn, scale):
    """Also when it is averaged down first (scale of 4 and more): half a pixel would be seen."""
    around = placed(turn, scale, 0, 0)
    landmarks = around - around.min(0) + 60 * scale + [0.3, 0.7]
    height, width = np.ceil(landmarks.max(0) + 60 * scale).astype(int)[::-1]
    crop = align(dotted(landmarks, height, width, 2 * scale), face(landmarks))
    assert crop.pixels.shape == (112, 112, 3)
    assert crop.pixels.dtype == np.uint8
    assert np.abs(spots(crop.pixels) - TEMPLATE).max() < 0.06


@pytest.mark.parametrize("by", [2, 3, 5])
def test_a_large_face_is_averaged_like_a_reduced_picture(photographs, by):
    """The plain way: average the whole picture, then warp what is left."""
    portrait = open_image(photographs["biden.jpg"]).pixels
    sharp = cv2.resize(portrait, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    turned = placed(8, 2 * by + 0.5, 0, 0)
    landmarks = turned - turned.mean(0) + [1130, 760]
    crop = align(Image(sharp), face(landmarks)).pixels
    h, w = (n // by * by for n in sharp.shape[:2])
    small = sharp[:h, :w].reshape(h // by, by, w // by, by, 3).mean((1, 3)).round()
    matrix = similarity((landmarks - (by - 1) / 2) / by)
    plain = cv2.warpAffine(small.astype(np.uint8), matrix, (112, 112), flags=cv2.INTER_LINEAR)
    difference = np.abs(crop.astype(int) - plain.astype(int))
    assert difference.mean() < 1.5
    # A wrong half pixel, or no averaging at all, is several times that.
    off = similarity(landmarks / by)
    wrong = cv2.warpAffine(small.astype(np.uint8), off, (112, 112), flags=cv2.INTER_LINEAR)
    assert np.abs(crop.astype(int) - wrong.astype(int)).mean() > 1.3 * difference.mean()


def test_fine_detail_of_a_large_face_does_not_turn_into_noise():
    """A chessboard of single pixels is grey from afar; sampled it would be black and white."""
    board = np.indices((1600, 1600)).sum(0) % 2 * 255
    pixels = np.repeat(board.astype(np.uint8)[..., None], 3, axis=2)
    crop = align(Image(pixels), face(placed(3, 9, 300, 300))).pixels
    assert np.abs(crop[20:90, 20:90].astype(int) - 128).max() <= 16


def test_what_lies_outside_is_black():
    white = Image(np.full((200, 200, 3), 255, np.uint8))
    crop = align(white, face(placed(0, 1, 100, 0))).pixels  # the right half hangs over
    assert crop[:, :98].min() == 255
    assert crop[:, 101:].max() == 0


@pytest.mark.parametrize("scale", [0.3, 1, 3, 8, 60])
@pytest.mark.parametrize("x", [-20_000, -900, 500, 20_000])
def test_a_face_outside_the_picture_is_black(scale, x):
    white = Image(np.full((200, 300, 3), 255, np.uint8))
    far = x * scale if x < 0 else x
    assert align(white, face(placed(0, scale, far, 50))).pixels.max() == 0


@pytest.mark.parametrize("scale", [1, 5])
@pytest.mark.parametrize("size", [(600, 40_000), (40_000, 600)])
def test_panoramas(size, scale):
    """OpenCV's warp takes no side longer than 32,766 pixels."""
    pixels = np.zeros((*size, 3), np.uint8)
    far = np.array([39_000.0, 4.0] if size[1] > size[0] else [4.0, 39_000.0])
    landmarks = placed(0, scale, 0, 0) + far
    for x, y in landmarks.astype(int):
        if y < size[0] and x < size[1]:
            pixels[max(0, y - 9) : y + 10, max(0, x - 9) : x + 10] = 255
    crop = align(Image(pixels), face(landmarks)).pixels
    assert crop[52, 39].tolist() == [255] * 3


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((5, 2)),
        np.full((5, 2), 50.0),
        np.array([[10, 10], [20, 10], [30, 10], [40, 10], [50, 10]]),
        np.array([[50, 50]] * 4 + [[50.0001, 50]]),
        np.array([[50, 50]] * 4 + [[80, 50]]),
        TEMPLATE * 1e6,
        TEMPLATE * 1e-6,
        TEMPLATE[::-1],
        np.full((5, 2), 1e12),
    ],
)
def test_degenerate_landmarks_do_not_crash(landmarks):
    crop = align(Image(np.full((112, 112, 3), 200, np.uint8)), face(np.asarray(landmarks, float)))
    assert crop.pixels.shape == (112, 112, 3)


def test_coinciding_landmarks_are_only_moved():
    assert similarity(np.full((5, 2), 30.0))[:, :2].tolist() == [[1, 0], [0, 1]]


@settings(deadline=None, max_examples=50)
@given(degrees, st.floats(0.02, 40), st.floats(-800, 800), st.floats(-800, 800))
def test_any_face_gives_a_crop(turn, scale, x, y):
    grey = Image(np.full((240, 320, 3), 128, np.uint8))
    crop = align(grey, face(placed(turn, scale, x, y))).pixels
    assert crop.shape == (112, 112, 3)
    assert crop.max() <= 128


def test_the_crop_of_a_portrait_looks_at_us(photographs, engine):
    """Eyes, nose and mouth of the aligned portrait are found again where the template has them."""
    for name in ("obama.jpg", "biden.jpg", "astronaut.png"):
        image = open_image(photographs[name])
        (seen,) = engine.faces(photographs[name])
        crop = align(image, seen.face).pixels
        padded = cv2.copyMakeBorder(crop, 104, 104, 104, 104, cv2.BORDER_CONSTANT)
        (again,) = engine.faces(padded)
        assert np.abs(again.face.landmarks - 104 - TEMPLATE).mean() < 5, name
