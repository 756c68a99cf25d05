"""Faces are found where they are, once each, and nowhere else."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.detect import Detector, DetectorConfig, Search, _cut, _shared, _starts, _suppress
from visavis.image import open_image
from visavis.models import Cores, Precision, RuntimeName
from visavis.values import Face, Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from visavis.models import ModelStore

    Box = tuple[float, float, float, float]

KNOWN: dict[str, Box] = {
    "astronaut.png": (179, 62, 90, 113),
    "biden.jpg": (428, 177, 277, 383),
    "obama.jpg": (372, 83, 240, 328),
    "obama2.jpg": (195, 225, 275, 389),
    "obama3.jpg": (638, 246, 272, 367),
    "obama_partial_face.jpg": (-4, 87, 193, 338),
    "obama_partial_face2.jpg": (369, 84, 195, 328),
}
"""Where the one face of each photograph is, looked at and written down."""

EYES = {
    "astronaut.png": ((203, 101), (247, 103)),
    "biden.jpg": ((530, 322), (652, 347)),
    "obama.jpg": ((446, 213), (547, 212)),
}
"""Their pupils, read off a grid laid over the photographs."""


def make(store: ModelStore, config: DetectorConfig | None = None) -> Detector:
    manifest = store.manifest("yunet")
    session = store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, Cores(1))
    return Detector(session, config)


@pytest.fixture(scope="module")
def detector(store: ModelStore) -> Detector:
    return make(store)


@pytest.fixture(scope="module")
def pictures(photographs: dict[str, Path]) -> dict[str, Image]:
    return {name: open_image(path) for name, path in photographs.items()}


@pytest.fixture(scope="module")
def opencv(store: ModelStore) -> Callable[[np.ndarray], list[Face]]:
    """OpenCV's own detector on the very same weights file."""
    weights = str(store.weights(store.manifest("yunet")))

    def find(pixels: np.ndarray) -> list[Face]:
        yunet = cv2.FaceDetectorYN.create(weights, "", pixels.shape[1::-1], 0.7, 0.3, 5000)
        rows = yunet.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        rows = [] if rows is None else rows
        return [Face((*r[:4].tolist(),), r[4:14].reshape(5, 2), float(r[14])) for r in rows]

    return find


def resized(pixels: np.ndarray, long_side: int) -> np.ndarray:
    scale = long_side / max(pixels.shape)
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


# One face


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("search", Search)
def test_a_portrait_has_one_face_where_it_is(detector, pictures, name, search):
    (face,) = detector.find(pictures[name], search)
    near = 10 if search is Search.ALL else 40  # the subject is found in a copy of 320 pixels
    assert face.box == pytest.approx(KNOWN[name], abs=near)
    assert 0.85 < face.score <= 1
    assert face.landmarks.shape == (5, 2)


@pytest.mark.parametrize("name", EYES)
def test_the_eyes_are_where_they_are(detector, pictures, name):
    (face,) = detector.find(pictures[name])
    assert np.abs(face.landmarks[:2] - EYES[name]).max() < 0.06 * KNOWN[name][2]


@pytest.mark.parametrize("name", KNOWN)
def test_landmarks_are_in_order(detector, pictures, name):
    """Eyes above the nose above the mouth, the image's left before its right."""
    (face,) = detector.find(pictures[name])
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_as_opencvs_detector(detector, opencv, pictures, name):
    """At one scale both compute the same: a wrong plane, stride or padding would show."""
    small = resized(pictures[name].pixels, 320)
    ours, theirs = detector.find(Image(small)), opencv(small)
    assert len(ours) == len(theirs) == 1
    assert _shared(ours[0].box, theirs[0].box) > 0.98
    assert np.abs(ours[0].landmarks - theirs[0].landmarks).max() < 0.5
    assert ours[0].score == pytest.approx(theirs[0].score, abs=0.01)


def test_both_runtimes_see_the_same(store, detector, pictures):
    manifest = store.manifest("yunet")
    session = store.session(manifest, Precision.FP32, RuntimeName.ONNXRUNTIME, Cores(1))
    other = Detector(session)
    for name in ("astronaut.png", "obama_partial_face.jpg"):
        (a,), (b,) = detector.find(pictures[name]), other.find(pictures[name])
        assert a.box == pytest.approx(b.box, abs=0.05)
        assert np.abs(a.landmarks - b.landmarks).max() < 0.05


def test_two_searches_agree_on_the_face(detector, pictures):
    for name in KNOWN:
        (quick,) = detector.find(pictures[name], Search.SUBJECT)
        (whole,) = detector.find(pictures[name], Search.ALL)
        assert _shared(quick.box, whole.box) > 0.8, name
        apart = np.abs(quick.landmarks - whole.landmarks).max()
        assert apart < 0.12 * whole.box[2], name


def test_a_subject_far_away_is_found_all_the_same(detector, pictures):
    """The coarse copy shows this face 12 pixels wide; the whole picture shows it."""
    field = np.full((2000, 3000, 3), 90, np.uint8)
    face = resized(pictures["astronaut.png"].pixels[40:200, 150:300], 150)
    field[900 : 900 + face.shape[0], 1500 : 1500 + face.shape[1]] = face
    (found,) = detector.find(Image(field), Search.SUBJECT)
    assert _shared(found.box, (1527, 921, 84, 106)) > 0.6


def test_the_least_score_is_kept(store, pictures):
    assert len(make(store, DetectorConfig(score=0.9)).find(pictures["obama.jpg"])) == 1
    assert make(store, DetectorConfig(score=0.99)).find(pictures["obama.jpg"]) == []


# No face


def empty_pictures() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(5)
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8)[:, None], (1, 480))
    board = (np.indices((600, 800)).sum(0) // 40 % 2 * 255).astype(np.uint8)
    blobs = cv2.GaussianBlur(noise.integers(0, 256, (480, 640)).astype(np.uint8), (0, 0), 8)
    blobs = cv2.normalize(blobs, None, 0, 255, cv2.NORM_MINMAX)
    return {
        "noise": noise.integers(0, 256, (480, 640, 3)).astype(np.uint8),
        "large noise": noise.integers(0, 256, (1500, 1400, 3)).astype(np.uint8),
        "black": np.zeros((480, 640, 3), np.uint8),
        "white": np.full((480, 640, 3), 255, np.uint8),
        "ramp": np.dstack([ramp] * 3),
        "chessboard": np.dstack([board] * 3),
        "blobs": np.dstack([blobs] * 3),
        "smallest": np.full((16, 16, 3), 120, np.uint8),
    }


@pytest.mark.parametrize("what", empty_pictures())
@pytest.mark.parametrize("search", Search)
def test_no_face_where_there_is_none(detector, what, search):
    assert detector.find(Image(empty_pictures()[what]), search) == []


@pytest.mark.parametrize("size", [(16, 16), (16, 12_000), (40_000, 16), (1281, 17), (33, 2561)])
@pytest.mark.parametrize("search", Search)
def test_pictures_of_any_shape_are_searched(detector, size, search):
    assert detector.find(Image(np.full((*size, 3), 77, np.uint8)), search) == []


# Many faces


def collage(pictures: dict[str, Image], widths: list[int]) -> tuple[np.ndarray, list[Box]]:
    """Portraits' heads on grey, their faces as many pixels wide, and where the faces are."""
    canvas = np.full((3000, 4000, 3), 110, np.uint8)
    names = ["astronaut.png", "biden.jpg", "obama.jpg", "obama2.jpg", "obama3.jpg"]
    boxes: list[Box] = []
    for number, width in enumerate(widths):
        name = names[number % len(names)]
        pixels = pictures[name].pixels
        x, y, w, h = KNOWN[name]
        left, top = max(0, int(x - 0.45 * w)), max(0, int(y - 0.25 * h))
        right, bottom = int(x + 1.45 * w), int(y + 1.3 * h)
        scale = width / w
        head = cv2.resize(
            pixels[top:bottom, left:right],
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
        )
        row, column = divmod(number, 5)
        x0 = 800 * column + (797 - head.shape[1]) // 2
        y0 = 750 * row + (743 - head.shape[0]) // 2
        canvas[y0 : y0 + head.shape[0], x0 : x0 + head.shape[1]] = head
        boxes.append((x0 + (x - left) * scale, y0 + (y - top) * scale, width, h * scale))
    return canvas, boxes


WIDTHS = [300, 24, 60, 90, 340, 30, 120, 200, 45, 150, 26, 75, 250, 35, 100, 40, 180, 28, 320, 55]


@pytest.fixture(scope="module")
def crowd(pictures: dict[str, Image]) -> tuple[np.ndarray, list[Box]]:
    return collage(pictures, WIDTHS)


def test_twenty_faces_of_all_sizes_are_found_once_each(detector, crowd):
    canvas, boxes = crowd
    found = detector.find(Image(canvas), Search.ALL)
    matches = [[f for f in found if _shared(f.box, box) > 0.5] for box in boxes]
    assert [len(m) for m in matches] == [1] * len(boxes)
    assert len(found) == len(boxes)
    areas = [f.box[2] * f.box[3] for f in found]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.slow
def test_all_that_opencv_finds_at_full_size_is_found(detector, opencv, crowd):
    canvas, _ = crowd
    found = detector.find(Image(canvas), Search.ALL)
    theirs = opencv(canvas)
    assert len(theirs) >= 15
    for face in theirs:
        assert max(_shared(face.box, f.box) for f in found) > 0.5, face.box


def test_a_small_photograph_may_be_a_group(detector, pictures):
    group = np.hstack([resized(pictures[n].pixels, 320)[:200] for n in ("obama.jpg", "biden.jpg")])
    assert len(detector.find(Image(group), Search.ALL)) == 2
    assert len(detector.find(Image(group), Search.SUBJECT)) == 2


def with_a_head(
    pictures: dict[str, Image], size: tuple[int, int], middle: float, width: float
) -> tuple[Image, Box]:
    """A grey picture with one face, so wide and with its middle there, and the face's box."""
    field = np.full((*size, 3), 100, np.uint8)
    x, y, w, h = KNOWN["obama.jpg"]
    scale = width / w
    cut = int(x - 0.4 * w)
    head = pictures["obama.jpg"].pixels[: int(y + 1.3 * h), cut : int(x + 1.4 * w)]
    head = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left = round(middle - (x + w / 2 - cut) * scale)
    field[20 : 20 + head.shape[0], left : left + head.shape[1]] = head
    return Image(field), (left + (x - cut) * scale, 20 + y * scale, width, h * scale)


@pytest.mark.parametrize("width", [40, 60, 140, 300])
@pytest.mark.parametrize("border", [720, 1280])
def test_a_face_on_a_tiles_border_is_found_once(detector, pictures, width, border):
    """The second tile of a picture 2,000 wide begins at 720, the first ends at 1,280."""
    for share in (-0.45, -0.35, -0.2, 0, 0.2, 0.35, 0.45):
        image, box = with_a_head(pictures, (700, 2000), border + share * width, width)
        (found,) = detector.find(image, Search.ALL)
        assert _shared(found.box, box) > 0.7, share


def test_a_face_that_no_tile_holds_whole_is_found_at_a_middle_scale(detector, pictures):
    """Tiles of a picture 8,000 wide overlap by 160 pixels; the coarse copy shows 9 of these."""
    image, box = with_a_head(pictures, (600, 8000), 2320, 220)
    (found,) = detector.find(image, Search.ALL)
    assert _shared(found.box, box) > 0.8


# Where in the picture, and how it is padded


@pytest.mark.parametrize("cut", [(0, 0), (1, 0), (7, 13), (31, 31), (17, 3)])
def test_padding_to_whole_strides_does_not_matter(detector, pictures, cut):
    small = resized(pictures["obama.jpg"].pixels, 320)
    (whole,) = detector.find(Image(small))
    (part,) = detector.find(Image(small[: small.shape[0] - cut[0], : small.shape[1] - cut[1]]))
    assert part.box == pytest.approx(whole.box, abs=2)
    assert np.abs(part.landmarks - whole.landmarks).max() < 2


@pytest.mark.parametrize("shift", [(32, 0), (0, 64), (96, 32), (5, 11), (16, 27)])
def test_a_shifted_face_is_shifted(detector, pictures, shift):
    head = resized(pictures["obama.jpg"].pixels, 250)[:160]
    canvas = np.zeros((320, 320, 3), np.uint8)
    moved = canvas.copy()
    canvas[: head.shape[0], : head.shape[1]] = head
    moved[shift[1] : shift[1] + head.shape[0], shift[0] : shift[0] + head.shape[1]] = head
    (a,), (b,) = detector.find(Image(canvas)), detector.find(Image(moved))
    near = 2 if all(s % 32 == 0 for s in shift) else 5
    assert np.subtract(b.box, a.box) == pytest.approx([*shift, 0, 0], abs=near)
    assert np.abs(b.landmarks - a.landmarks - shift).max() < near


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_picture_twice_as_large_has_a_face_twice_as_large(detector, pictures, factor):
    """Coordinates are those of the picture, at whichever scale it was searched."""
    small = resized(pictures["obama.jpg"].pixels, 320)
    large = np.kron(small, np.ones((factor, factor, 1), np.uint8))
    (a,) = detector.find(Image(small))
    (b,) = detector.find(Image(large), Search.SUBJECT)
    assert b.box == pytest.approx([v * factor for v in a.box], abs=0.2 * factor)
    assert np.abs(b.landmarks - a.landmarks * factor).max() < 0.2 * factor


# The parts


@settings(max_examples=300)
@given(
    length=st.integers(1, 30_000),
    tile=st.integers(64, 2000),
    share=st.floats(0, 0.5, exclude_max=True),
)
def test_tiles_cover_and_overlap(length, tile, share):
    margin = int(tile * share)
    starts = _starts(length, tile, margin)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] + tile >= length
    assert starts[-1] == max(0, length - tile)
    for a, b in itertools.pairwise(starts):
        assert b - a <= tile - margin
    # and no more of them than are needed
    if len(starts) > 1:
        assert (len(starts) - 1) * (tile - margin) + margin < length


def test_default_tiles_by_head():
    assert _starts(1280, 1280, 160) == [0]
    assert _starts(1281, 1280, 160) == [0, 1]
    assert _starts(2400, 1280, 160) == [0, 1120]
    assert _starts(2401, 1280, 160) == [0, 560, 1121]


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 0, 10, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 10, 10), 0),
        ((0, 0, 10, 10), (2, 2, 5, 5), 0.25),
        ((0, 0, 10, 10), (-90, -90, 5, 5), 0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0),
    ],
)
def test_shared_area_by_head(a, b, shared):
    assert _shared(a, b) == pytest.approx(shared)
    assert _shared(b, a) == pytest.approx(shared)


@pytest.mark.parametrize(
    ("box", "inner", "cut"),
    [
        ((50, 50, 20, 20), (True, True, True, True), False),
        ((0, 50, 20, 20), (True, False, False, False), True),
        ((0, 50, 20, 20), (False, True, True, True), False),
        ((50, -3, 20, 20), (False, True, False, False), True),
        ((85, 50, 20, 20), (False, False, True, False), True),
        ((85, 50, 20, 20), (True, True, False, True), False),
        ((50, 185, 20, 20), (False, False, False, True), True),
        ((50, 185, 20, 20), (True, True, True, False), False),
    ],
)
def test_a_tiles_inner_border_cuts(box, inner, cut):
    """Of a tile 200 high and 100 wide; at the picture's own border nobody sees more of a face."""
    assert _cut(box, (200, 100), inner) is cut


def test_of_overlapping_faces_the_surest_is_kept():
    none = np.zeros((5, 2), np.float32)
    faces = [
        Face((0, 0, 10, 10), none, 0.8),
        Face((1, 0, 10, 10), none, 0.9),
        Face((2, 0, 10, 10), none, 0.7),
        Face((50, 0, 10, 10), none, 0.75),
    ]
    assert [f.score for f in _suppress(faces, 0.3)] == [0.9, 0.75]
