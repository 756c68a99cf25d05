"""What photographs suffer while an encoder learns: the same as in an evaluation, and repeatable."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from faces import album

from visavis.errors import TrainingRefused
from visavis.train.augment import (
    CHANCES,
    FACE,
    PRESETS,
    Augment,
    AugmentConfig,
    Preset,
    resampling,
    shrink,
)

torch.set_num_threads(1)  # so small a work only suffers from more
CROPS = torch.from_numpy(album(4, 4, side=64)[0])


def only(name: str, **numbers) -> Augment:
    return Augment(AugmentConfig(**dict.fromkeys(CHANCES, 0.0) | {name: 1.0} | numbers))


def as_pictures(pixels: torch.Tensor) -> np.ndarray:
    return pixels.permute(0, 2, 3, 1).numpy()


def seeded(augment: Augment, seed: int = 0, crops: torch.Tensor = CROPS) -> torch.Tensor:
    torch.manual_seed(seed)
    return augment(crops)


_SMALL = (8.0, 30.0)


# Shape, range, chance


@pytest.mark.parametrize("preset", Preset)
def test_crops_become_what_a_network_takes(preset):
    pixels = seeded(Augment(PRESETS[preset]))
    assert (pixels.shape, pixels.dtype) == ((16, 3, 64, 64), torch.float32)
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 255


def test_nothing_changes_nothing():
    pixels = as_pictures(seeded(Augment(PRESETS[Preset.NONE])))
    np.testing.assert_allclose(pixels, CROPS.numpy(), atol=1e-3)


def test_a_network_that_is_judged_sees_the_crops_as_they_are():
    pixels = as_pictures(seeded(Augment(AugmentConfig()).eval()))
    np.testing.assert_array_equal(pixels, CROPS.numpy())


@pytest.mark.parametrize("preset", list(Preset)[1:])
def test_the_seed_alone_says_what_happens(preset):
    first, again = (seeded(Augment(PRESETS[preset]), 7) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, seeded(Augment(PRESETS[preset]), 8))


@pytest.mark.parametrize("name", CHANCES)
def test_each_changes_as_many_as_its_probability_says(name):
    """Of 16 crops at one half, 8 and at most 4.5 standard deviations of 2 more or fewer."""
    changed = lambda pixels: np.abs(as_pictures(pixels) - CROPS.numpy()).mean((1, 2, 3)) > 0.05  # noqa: E731
    counts = [
        changed(seeded(only(name, **{name: 0.5}, face=_SMALL), seed)).sum() for seed in range(4)
    ]
    assert abs(sum(counts) - 32) < 18
    assert changed(seeded(only(name, face=_SMALL))).all()


def test_the_crops_are_left_alone():
    before = CROPS.clone()
    seeded(Augment(AugmentConfig()))
    assert torch.equal(CROPS, before)


# Each against another implementation


def test_a_mirror_image_is_one():
    pixels = as_pictures(seeded(only("flip")))
    np.testing.assert_allclose(pixels, CROPS.numpy()[:, :, ::-1], atol=1e-3)


@pytest.mark.parametrize("width", [6, 10, 14, 20, 30, 47])
def test_low_resolution_is_opencvs_area_averaging(width):
    """Which the evaluation's numbers come from; OpenCV rounds in between, we do not."""
    cells = round(width / FACE)
    ours = as_pictures(shrink(CROPS.permute(0, 3, 1, 2).float(), torch.full((16,), float(width))))
    for crop, pixels in zip(CROPS.numpy(), ours, strict=True):
        small = cv2.resize(crop, (cells, cells), interpolation=cv2.INTER_AREA)
        theirs = cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR)
        assert np.abs(pixels - theirs).max() < 2.0


@pytest.mark.parametrize("cells", [8, 16, 32])
def test_low_resolution_is_what_evaluate_does_to_photographs(cells):
    ours = as_pictures(shrink(CROPS.permute(0, 3, 1, 2).float(), torch.full((16,), cells * FACE)))
    for crop, pixels in zip(CROPS.numpy(), ours, strict=True):
        box, linear = PIL.Image.Resampling.BOX, PIL.Image.Resampling.BILINEAR
        small = PIL.Image.fromarray(crop).resize((cells, cells), box)
        assert np.abs(pixels - np.asarray(small.resize((64, 64), linear))).max() <= 2.0


def test_a_face_as_wide_as_the_crop_shows_it_stays_sharp():
    crops = CROPS.permute(0, 3, 1, 2).float()
    wide = torch.tensor([64 * FACE, 1000.0] * 8)
    torch.testing.assert_close(shrink(crops, wide), crops)


def test_every_width_in_a_batch_is_its_own():
    crops = CROPS[:3].permute(0, 3, 1, 2).float()
    widths = torch.tensor([8.0, 20.0, 40.0])
    together = shrink(crops, widths)
    for k in range(3):
        torch.testing.assert_close(together[k], shrink(crops[k : k + 1], widths[k : k + 1])[0])


def test_shrinking_keeps_the_light():
    torch.testing.assert_close(resampling(64)[1:].sum(2), torch.ones(64, 64))


def test_low_resolution_covers_its_widths_and_leaves_some_clean():
    """Detail that is left, against that of known widths: some below 12 pixels, some above 18."""
    crops = CROPS[:1].repeat(64, 1, 1, 1)
    alone = AugmentConfig(**dict.fromkeys(CHANCES, 0.0) | {"shrink": 0.7}, face=(8.0, 40.0))
    detail = _detail(seeded(Augment(alone), 3, crops))
    known = [
        float(_detail(shrink(crops[:1].permute(0, 3, 1, 2).float(), torch.tensor([w])))[0])
        for w in (12.0, 18.0, 40.0)
    ]
    whole = float(_detail(crops[:1].permute(0, 3, 1, 2).float())[0])
    tiny, some = (detail <= known[0]).sum(), ((detail > known[1]) & (detail <= known[2])).sum()
    clean = (detail > 0.999 * whole).sum()
    assert (tiny > 4, some > 4, 8 < clean < 34) == (True, True, True)


def _detail(pixels: torch.Tensor) -> np.ndarray:
    return pixels.diff(dim=3).abs().mean((1, 2, 3)).numpy()


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_compression_is_jpegs(quality):
    """As far from the crop as Pillow's JPEG is, and near to that."""
    ours = as_pictures(seeded(only("compress", quality=(quality, quality))))
    for crop, pixels in zip(CROPS.numpy(), ours, strict=True):
        stored = io.BytesIO()
        PIL.Image.fromarray(crop).save(stored, "JPEG", quality=quality)
        theirs = np.asarray(PIL.Image.open(stored)).astype(np.float32)
        lost = np.abs(theirs - crop).mean()
        assert np.abs(pixels - theirs).mean() < 0.5 * lost + 1
        assert np.abs(pixels - crop).mean() == pytest.approx(lost, rel=0.4)


def test_blur_is_gaussian():
    augment = only("blur", sigma=(0.03, 0.03))
    ours = as_pictures(seeded(augment))
    for crop, pixels in zip(CROPS.numpy(), ours, strict=True):
        theirs = cv2.GaussianBlur(crop, (0, 0), 0.03 * 64, borderType=cv2.BORDER_REFLECT_101)
        assert np.abs(pixels - theirs).mean() < 1.0


def test_grey_has_no_colour():
    pixels = seeded(only("grey"))
    torch.testing.assert_close(pixels[:, 0], pixels[:, 2])


def test_what_hides_a_face_covers_as_much_as_it_should():
    augment = only("occlude", covered=(0.1, 0.2))
    grey = (seeded(augment) - 127.5).abs().amax(1) < 1e-3
    shares = grey.float().mean((1, 2))
    assert ((shares > 0.08) & (shares < 0.22)).all()


def test_a_face_moves_by_no_more_than_it_should():
    """A white square in the middle keeps its centre of gravity within shift and turn."""
    crop = torch.zeros(32, 64, 64, 3, dtype=torch.uint8)
    crop[:, 24:40, 24:40] = 255
    pixels = seeded(only("move", degrees=10.0, shift=0.05, zoom=(1.0, 1.0)), 0, crop)[:, 0]
    line = torch.arange(64.0)
    mass = pixels.sum((1, 2))
    across = (pixels.sum(1) * line).sum(1) / mass - 31.5
    assert 1.0 < float(across.abs().max()) <= 0.05 * 64 + 0.1
    torch.testing.assert_close(mass / mass.mean(), torch.ones(32), atol=0.03, rtol=0)


# Configurations


@pytest.mark.parametrize(
    "numbers",
    [{"flip": 1.5}, {"blur": -0.1}, {"face": (40.0, 8.0)}, {"quality": (0.0, 90.0)},
     {"zoom": (0.0, 1.0)}, {"shift": 0.7}, {"degrees": -1.0}, {"sigma": (0.0, 0.01)}],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(numbers):
    with pytest.raises(TrainingRefused):
        AugmentConfig(**numbers)
