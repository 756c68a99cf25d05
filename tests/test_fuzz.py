"""Damaged photographs by the thousand: each is read, or refused by an error of ours."""

from __future__ import annotations

import io
import random
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from visavis.decide import distance
from visavis.engine import Engine
from visavis.errors import ImageRefused, InputRefused
from visavis.image import Limits, decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SEED = 20260101
FILES = 13 * 500
WHOLE = 300
LIMITS = Limits(max_pixels=4_000_000)


@pytest.fixture(scope="module")
def seeds(photographs: dict[str, Path]) -> list[bytes]:
    """A portrait of 160 x 160 pixels in every kind of file that people send."""
    with PIL.Image.open(photographs["obama.jpg"]) as whole:
        face = whole.convert("RGB").crop((330, 60, 660, 390)).resize((160, 160))
    tags = PIL.Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "A camera"
    clear = face.copy()
    clear.putalpha(face.convert("L"))
    kinds: list[tuple[PIL.Image.Image, str, dict[str, object]]] = [
        (face, "JPEG", {"quality": 85, "exif": tags}),
        (face, "JPEG", {"quality": 70, "progressive": True}),
        (face.convert("L"), "JPEG", {"quality": 70}),
        (face.convert("CMYK"), "JPEG", {"quality": 70}),
        (face, "PNG", {"exif": tags}),
        (clear, "PNG", {}),
        (face.convert("P"), "PNG", {"transparency": 3}),
        (face, "WEBP", {"quality": 80, "exif": tags}),
        (clear, "WEBP", {"lossless": True}),
        (face, "GIF", {"save_all": True, "append_images": [face.rotate(90)]}),
        (face, "TIFF", {"exif": tags}),
        (face, "TIFF", {"compression": "tiff_lzw"}),
        (face, "BMP", {}),
    ]
    files = []
    for picture, kind, options in kinds:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files.append(file.getvalue())
    return files


def mutated(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Flip bits, cut, splice, repeat and blank parts of the seeds, several to a file."""
    chance = random.Random(seed)
    for number in range(count):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(chance.choice([1, 1, 2, 4, 16])):
            # Half of the damage is done to the headers, where the decisions are.
            reach = min(len(data), 700) if chance.random() < 0.5 else len(data)
            at = chance.randrange(reach or 1)
            length = chance.choice([1, 2, 4, 64, 1024])
            match chance.randrange(7):
                case 0 | 1:
                    for _ in range(chance.choice([1, 8])):
                        if data:
                            data[chance.randrange(reach) % len(data)] ^= 1 << chance.randrange(8)
                case 2:
                    data[at : at + length] = chance.choice([b"\0", b"\xff"]) * length
                case 3:
                    del data[at : at + length]
                case 4:
                    data[at:at] = data[at : at + length]
                case 5:
                    other = chance.choice(seeds)
                    start = chance.randrange(len(other))
                    data[at : at + length] = other[start : start + length]
                case 6:
                    data = data[: chance.randrange(len(data) + 1)] if length == 1 else data
        yield bytes(data)


def test_every_damaged_file_is_a_picture_or_a_refusal(seeds, capfd):
    outcomes = {"picture": 0}
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        for number, data in enumerate(mutated(seeds, FILES, SEED)):
            began = time.perf_counter()
            try:
                image = decode(data, LIMITS, long_side=random.Random(number).choice([None, 60]))
            except ImageRefused as refusal:
                outcomes[refusal.code] = outcomes.get(refusal.code, 0) + 1
            else:
                outcomes["picture"] += 1
                assert image.pixels.dtype == np.uint8
                assert image.pixels.shape == (image.height, image.width, 3)
                assert image.height * image.width <= LIMITS.max_pixels
            assert time.perf_counter() - began < 5, number
    assert not leaked
    assert capfd.readouterr().out == ""
    # Damage of all degrees was tried, or nothing was tested.
    assert outcomes["picture"] > FILES / 10
    assert outcomes["image_unreadable"] > FILES / 10
    assert set(outcomes) <= {"picture", "image_unreadable", "image_too_large", "image_too_small"}


def test_undamaged_seeds_are_read(seeds):
    for data in seeds:
        assert sorted(decode(data).pixels.shape) == [3, 160, 160]


def test_the_whole_engine_gives_a_vector_or_a_refusal(engine, seeds):
    vectors, codes = 0, set()
    for data in mutated(seeds, WHOLE, SEED + 1):
        try:
            embedding = engine.embedding(data)
        except InputRefused as refusal:
            codes.add(refusal.code)
        else:
            vectors += 1
            assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
    assert vectors > WHOLE / 10
    assert {"image_unreadable", "no_face_found"} <= codes


def test_a_comparison_is_a_decision_or_a_refusal(engine, seeds):
    points = [
        {"fmr": 10.0**-k, "tau": 1.6 - 0.08 * k, "lower": 10.0**-k, "upper": 10.0**-k}
        for k in range(1, 7)
    ]
    curve = {
        "schema": 1,
        "encoder": engine.encoder.id,
        "tuned_on": "a line drawn for this test",
        "points": points,
        "tail_slope": 12.5,
        "pairs": 10**7,
    }
    able = Engine(engine.sight.detector, engine.encoder, curve)
    decided, accepted = 0, 0
    whole = seeds[1]
    for data in mutated(seeds, WHOLE // 2, SEED + 2):
        try:
            decision = able.compare(data, whole)
        except InputRefused:
            continue
        decided += 1
        accepted += decision.accepted
        assert 0 <= decision.distance <= 4
        again = distance(able.embedding(data), able.embedding(whole))
        assert decision.distance == pytest.approx(again, abs=1e-6)
    assert decided > WHOLE / 20
    assert accepted > decided / 2
