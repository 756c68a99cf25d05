"""The numbers follow what is done to a face, and the advice follows the numbers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from visavis.align import TEMPLATE, align
from visavis.detect import Detector, Search
from visavis.image import open_image
from visavis.models import Cores, Precision, RuntimeName
from visavis.quality import _HEAD, DEFAULT_QUALITY, QualityLimits, assess, pose
from visavis.values import Advice, Face, Image, Quality

if TYPE_CHECKING:
    from pathlib import Path

    from visavis.models import ModelStore

ENROLLABLE = ["obama.jpg", "biden.jpg", "obama2.jpg", "obama3.jpg", "astronaut.png"]


@pytest.fixture(scope="module")
def detector(store: ModelStore) -> Detector:
    manifest = store.manifest("yunet")
    return Detector(store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, Cores(1)))


@pytest.fixture(scope="module")
def portrait(photographs: dict[str, Path]) -> np.ndarray:
    return open_image(photographs["obama.jpg"]).pixels


def measured(
    detector: Detector, pixels: np.ndarray, limits: QualityLimits = DEFAULT_QUALITY
) -> Quality:
    image = Image(np.ascontiguousarray(pixels))
    face = detector.find(image, Search.ALL)[0]
    return assess(image, align(image, face), limits)


def head(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Landmarks of the model head turned left or right, then up or down, then leaned."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (_HEAD @ (about_z @ about_y @ about_x).T)[:, :2]


def seen_as(landmarks: np.ndarray, pixels: np.ndarray | None = None) -> Quality:
    """Assess a face whose landmarks are given."""
    landmarks = landmarks.astype(np.float32)
    low, high = landmarks.min(0), landmarks.max(0)
    face = Face((*low.tolist(), *(high - low).tolist()), landmarks, 0.95)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    return assess(Image(pixels), align(Image(pixels), face))


# Pose


@given(
    st.floats(-70, 70),
    st.floats(-60, 60),
    st.floats(-170, 170),
    st.floats(0.3, 20),
    st.floats(-2000, 2000),
)
def test_pose_gives_the_turn_of_the_head_back(yaw, pitch, roll, scale, shift):
    assume(scale * 40 > abs(shift) * 1e-3)  # float32 landmarks keep seven digits
    landmarks = (head(yaw, pitch, roll) * scale + shift).astype(np.float32)
    assert pose(landmarks) == pytest.approx((yaw, pitch, roll), abs=1)


@pytest.mark.parametrize(
    ("turn", "sign"),
    [
        ((30, 0, 0), "the nose points to the image's right"),
        ((0, 30, 0), "the nose points up"),
        ((0, 0, 30), "the left eye is higher"),
    ],
)
def test_the_signs_of_pose(turn, sign):
    straight, turned = head(0, 0, 0), head(*turn)
    nose = (turned[2] - turned[:2].mean(0)) - (straight[2] - straight[:2].mean(0))
    told = {
        "the nose points to the image's right": nose[0] > 3,
        "the nose points up": nose[1] < -3,
        "the left eye is higher": turned[0, 1] < turned[1, 1] - 3,
    }
    assert told[sign]
    assert pose(turned) == pytest.approx(turn, abs=1e-6)


def test_the_template_looks_straight_ahead():
    yaw, pitch, roll = pose(TEMPLATE)
    assert abs(yaw) < 3
    assert abs(pitch) < 12
    assert abs(roll) < 1


def test_mirroring_a_portrait_mirrors_its_pose(detector, photographs):
    """The landmarks are good to some degrees; he looks to the image's right by more than that."""
    pixels = open_image(photographs["biden.jpg"]).pixels
    one, other = measured(detector, pixels), measured(detector, pixels[:, ::-1])
    assert one.yaw > 8
    assert other.yaw < -8
    assert one.yaw == pytest.approx(-other.yaw, abs=10)
    assert one.roll == pytest.approx(-other.roll, abs=8)


def leaning(pixels: np.ndarray, clockwise: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((492, 250), -clockwise, 1)  # OpenCV turns the other way
    return cv2.warpAffine(pixels, matrix, pixels.shape[1::-1])


def test_a_portrait_that_leans_a_little_is_seen_to(detector, portrait):
    rolls = [measured(detector, leaning(portrait, turn)).roll for turn in (-15, 0, 15)]
    assert rolls == sorted(rolls)
    assert rolls[2] - rolls[0] > 10


@pytest.mark.xfail(
    reason="YuNet's landmarks (OpenCV's detector gives the very same) follow a leaning head only "
    "in part: 30 degrees are seen as 6, and the crop leans by the rest",
    strict=True,
)
def test_a_portrait_that_leans_much_is_seen_to(detector, portrait):
    roll = measured(detector, portrait).roll
    for turn in (-30, 30):
        seen = measured(detector, leaning(portrait, turn)).roll - roll
        assert seen == pytest.approx(turn, abs=10)


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), 7.0), np.eye(5)[:, :2]])
def test_degenerate_landmarks_have_a_pose(landmarks):
    assert all(np.isfinite(pose(landmarks.astype(np.float32))))


@pytest.mark.parametrize(
    ("turn", "advice"),
    [
        ((50, 0, 0), Advice.TURN_TO_CAMERA),
        ((-50, 0, 0), Advice.TURN_TO_CAMERA),
        ((0, 35, 0), Advice.LOOK_AHEAD),
        ((0, -35, 0), Advice.LOOK_AHEAD),
        ((0, 0, 60), Advice.HOLD_HEAD_STRAIGHT),
        ((0, 0, -60), Advice.HOLD_HEAD_STRAIGHT),
    ],
)
def test_a_turned_head_is_advised(turn, advice):
    assert seen_as(head(*turn) * 3 + 200).advice == (advice,)


def test_a_straight_head_needs_no_advice():
    assert seen_as(head(0, 0, 0) * 3 + 200).fit_for_enrolment


# Light, focus, size


@pytest.mark.parametrize("name", ENROLLABLE)
def test_portraits_are_fit_for_enrolment(detector, photographs, name):
    quality = measured(detector, open_image(photographs[name]).pixels)
    assert quality.advice == ()
    assert quality.fit_for_enrolment
    assert quality.inside == pytest.approx(1)
    assert quality.inside <= 1
    assert max(abs(quality.yaw), abs(quality.pitch), abs(quality.roll)) < 25


def test_blur_lowers_sharpness_step_by_step(detector, portrait):
    blurred = [portrait, *(cv2.GaussianBlur(portrait, (0, 0), s) for s in (2, 4, 8, 16))]
    values = [measured(detector, pixels).sharpness for pixels in blurred]
    assert values == sorted(values, reverse=True)
    assert values[0] > 3 * values[-1]
    assert measured(detector, blurred[-1]).advice == (Advice.HOLD_STILL,)


def test_sharpness_does_not_depend_on_light_or_size(detector, portrait):
    plain = measured(detector, portrait).sharpness
    dim = measured(detector, (portrait * 0.6).astype(np.uint8)).sharpness
    half = cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert dim == pytest.approx(plain, rel=0.15)
    assert measured(detector, half).sharpness == pytest.approx(plain, rel=0.4)


def test_darkness_is_seen(detector, portrait):
    values = [measured(detector, (portrait * f).astype(np.uint8)) for f in (1, 0.6, 0.3, 0.15)]
    brightness = [q.brightness for q in values]
    assert brightness == pytest.approx([brightness[0] * f for f in (1, 0.6, 0.3, 0.15)], abs=0.02)
    assert Advice.MORE_LIGHT not in values[0].advice
    assert Advice.MORE_LIGHT in values[-1].advice


def test_glare_and_fog_are_seen(detector, portrait):
    glare = np.clip(portrait * 0.12 + 228, 0, 255).astype(np.uint8)
    quality = seen_as(detector.find(Image(portrait))[0].landmarks, glare)
    assert {Advice.LESS_LIGHT, Advice.MORE_CONTRAST} <= set(quality.advice)


def test_brightness_and_contrast_by_head():
    flat = seen_as(TEMPLATE + 100, np.full((400, 400, 3), 51, np.uint8))
    assert (flat.brightness, flat.contrast, flat.sharpness) == (pytest.approx(0.2), 0, 0)
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[(np.arange(400) // 8) % 2 == 0] = 255
    striped = seen_as(TEMPLATE + 100, stripes)
    assert striped.brightness == pytest.approx(0.5, abs=0.05)
    assert striped.contrast == pytest.approx(0.5, abs=0.02)


def test_a_small_face_should_come_closer(detector, portrait):
    small = cv2.resize(portrait, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)
    quality = measured(detector, small)
    assert Advice.COME_CLOSER in quality.advice
    assert quality.eyes == pytest.approx(0.15 * measured(detector, portrait).eyes, rel=0.08)


def test_eyes_are_measured_in_the_original_picture(detector, portrait):
    image = Image(portrait, reduction=4.0)
    face = detector.find(image)[0]
    plain = assess(Image(portrait), align(image, face))
    assert assess(image, align(image, face)).eyes == pytest.approx(4 * plain.eyes)


def cut(pixels: np.ndarray, box: tuple[float, ...], side: str) -> np.ndarray:
    """A third of the face cut away at one side by the picture's border."""
    x, y, w, h = box
    return {
        "right": pixels[:, : int(x + 0.65 * w)],
        "below": pixels[: int(y + 0.65 * h)],
        "left": pixels[:, int(x + 0.35 * w) :],
        "above": pixels[int(y + 0.35 * h) :],
    }[side]


@pytest.mark.parametrize("side", ["right", "below", "left", "above"])
def test_a_face_at_the_border_should_move_into_the_picture(detector, photographs, side):
    pixels = open_image(photographs["astronaut.png"]).pixels
    quality = measured(detector, cut(pixels, detector.find(Image(pixels))[0].box, side))
    assert quality.inside < 0.85
    assert Advice.MOVE_INTO_PICTURE in quality.advice


@pytest.mark.parametrize(
    ("size", "shift", "inside"),
    [
        (200, (0, 0), 1),
        (112, (0, 0), 1),
        (200, (-56, 0), 0.5),
        (200, (-56, -56), 0.25),
        (56, (0, 0), 0.25),
        (200, (500, 0), 0),
    ],
)
def test_the_share_inside_by_head(size, shift, inside):
    image = Image(np.zeros((size, size, 3), np.uint8))
    face = Face((0, 0, 112, 112), TEMPLATE + np.array(shift, np.float32), 0.9)
    assert assess(image, align(image, face)).inside == pytest.approx(inside, abs=0.01)


def test_a_face_hardly_recognised_as_one_may_be_hidden():
    image = Image(np.zeros((112, 112, 3), np.uint8))
    quality = assess(image, align(image, Face((0, 0, 112, 112), TEMPLATE, 0.71)))
    assert Advice.SHOW_WHOLE_FACE in quality.advice


@pytest.mark.parametrize(
    ("limit", "value", "advice"),
    [
        ("eyes", 1e4, Advice.COME_CLOSER),
        ("yaw", -1, Advice.TURN_TO_CAMERA),
        ("pitch", -1, Advice.LOOK_AHEAD),
        ("roll", -1, Advice.HOLD_HEAD_STRAIGHT),
        ("sharpness", 2, Advice.HOLD_STILL),
        ("contrast", 2, Advice.MORE_CONTRAST),
        ("brightness", (0.9, 1), Advice.MORE_LIGHT),
        ("brightness", (0, 0.01), Advice.LESS_LIGHT),
        ("score", 2, Advice.SHOW_WHOLE_FACE),
        ("inside", 2, Advice.MOVE_INTO_PICTURE),
    ],
)
def test_every_limit_has_its_advice(detector, portrait, limit, value, advice):
    limits = dataclasses.replace(DEFAULT_QUALITY, **{limit: value})
    assert measured(detector, portrait, limits).advice == (advice,)
