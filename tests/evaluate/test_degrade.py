"""Photographs spoilt on purpose: the same way each time, and harder at each level."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from visavis.errors import ImageUnreadable, ProtocolRefused
from visavis.evaluate.degrade import LEVELS, Degradation, Step, chosen, steps
from visavis.image import decode


@pytest.fixture(scope="module")
def portrait(photographs, tmp_path_factory):
    """A real portrait of 300 x 300, as bytes and as pixels."""
    path = tmp_path_factory.mktemp("degrade") / "portrait.png"
    PIL.Image.open(photographs["astronaut.png"]).resize((300, 300)).save(path)
    data = path.read_bytes()
    return data, decode(data).pixels


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("kind", [kind for kind in Degradation if kind != Degradation.ROTATION])
def test_every_level_is_harder_than_the_one_before(portrait, kind):
    data, pixels = portrait
    spoilt = [Step(kind, level).change()(data) for level in LEVELS[kind]]
    assert {s.shape for s in spoilt} == {pixels.shape}
    assert {s.dtype for s in spoilt} == {np.dtype(np.uint8)}
    likeness = [psnr(pixels, s) for s in spoilt]
    assert likeness == sorted(likeness, reverse=True)
    assert len(set(likeness)) == len(likeness)
    assert likeness[-1] < 30


@pytest.mark.parametrize("kind", list(Degradation))
def test_a_second_run_spoils_it_the_same_way(portrait, kind):
    data, _ = portrait
    step = Step(kind, LEVELS[kind][1])
    np.testing.assert_array_equal(step.change()(data), step.change()(data))


def test_another_photograph_gets_other_noise(portrait):
    data, pixels = portrait
    step = Step(Degradation.NOISE, 20).change()
    # Bytes after the end of a PNG change nothing but its digest.
    assert (step(data) != step(data + b"\0")).mean() > 0.5
    np.testing.assert_array_equal(decode(data + b"\0").pixels, pixels)


@pytest.mark.parametrize("level", [5, 10, 20])
def test_noise_has_the_deviation_it_says(level):
    grey = png(np.full((200, 200, 3), 128, np.uint8))
    spoilt = Step(Degradation.NOISE, level).change()(grey).astype(float)
    assert spoilt.std() == pytest.approx(level, rel=0.03)
    assert spoilt.mean() == pytest.approx(128, abs=0.3)


def test_darkness_leaves_the_share_of_light_it_says():
    grey = png(np.full((200, 200, 3), 200, np.uint8))
    assert Step(Degradation.DARKNESS, 25).change()(grey).mean() == pytest.approx(50, abs=0.1)


def test_a_bar_covers_the_share_of_the_height_it_says():
    spoilt = Step(Degradation.OCCLUSION, 40).change()(png(np.zeros((100, 50, 3), np.uint8)))
    column = spoilt[:, 25, 0]
    assert (column[:60] == 0).all()
    assert (column[60:] == 128).all()
    assert (spoilt[:, 0] == 0).all()


def test_a_photograph_smaller_than_the_level_keeps_its_pixels():
    small = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    spoilt = Step(Degradation.RESOLUTION, 35).change()(png(small))
    np.testing.assert_array_equal(spoilt, small)


@pytest.mark.parametrize("degrees", LEVELS[Degradation.ROTATION])
def test_a_picture_is_turned_by_the_angle_it_says(degrees):
    pixels = np.zeros((201, 201, 3), np.uint8)
    pixels[18:23, 98:103] = 255  # straight above the middle
    spoilt = Step(Degradation.ROTATION, degrees).change()(png(pixels))
    rows, columns = np.nonzero(spoilt[..., 0])
    assert np.hypot(rows.mean() - 100, columns.mean() - 100) == pytest.approx(80, abs=0.5)
    turned = np.degrees(np.arctan2(columns.mean() - 100, 100 - rows.mean()))
    assert abs(turned) == pytest.approx(degrees, abs=0.5)


def test_the_smallest_photograph_survives_every_kind():
    least = png(np.full((16, 16, 3), 9, np.uint8))
    for step in chosen(["all"]):
        assert step.change()(least).shape == (16, 16, 3), step


def test_what_is_no_image_is_refused_as_anywhere():
    with pytest.raises(ImageUnreadable):
        Step(Degradation.BLUR, 4).change()(b"no image")


def test_kinds_are_read_as_the_user_names_them():
    assert chosen(["jpeg"]) == [Step(Degradation.JPEG, q) for q in (90, 60, 30, 20, 10, 5)]
    assert chosen(["blur", "jpeg", "jpeg"]) == steps([Degradation.JPEG, Degradation.BLUR])
    assert {step.kind for step in chosen(["all"])} == set(Degradation)
    assert chosen([]) == []
    assert str(chosen(["jpeg"])[0]) == "jpeg 90"


def test_a_kind_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(ProtocolRefused, match=r"no degradation 'fog'; known are: jpeg, .*all"):
        chosen(["jpeg", "fog"])


def png(pixels):
    stored = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()
