"""Photographs embedded once: what is remembered, for whom, and what an interruption costs."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from visavis.decide import squared
from visavis.engine import Engine
from visavis.errors import ProtocolRefused
from visavis.evaluate.degrade import Degradation, Step
from visavis.evaluate.encodings import Encodings
from visavis.models import Precision
from visavis.values import Pick

NAMES = ["obama.jpg", "biden.jpg", "astronaut.png"]


@pytest.fixture
def images(tmp_path, photographs):
    """Three portraits, small enough to be quick."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in NAMES:
        picture = PIL.Image.open(photographs[name]).convert("RGB")
        picture.thumbnail((400, 400))
        picture.save(folder / name)
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def databases(cache):
    return sorted((cache / "encodings").iterdir())


def test_each_photograph_gives_what_the_engine_gives(engine, images):
    found = Encodings(engine, None).of(images, NAMES)
    assert list(found) == NAMES
    for name in NAMES:
        d = squared(found["obama.jpg"].vector, found[name].vector)
        assert d == pytest.approx(
            engine.compare(images / "obama.jpg", images / name).distance, abs=1e-5
        )
        assert np.linalg.norm(found[name].vector) == pytest.approx(1, abs=1e-6)
        assert found[name].failure == ""
        assert 0.5 < found[name].quality <= 1


def test_a_photograph_named_twice_is_embedded_once(engine, images):
    encodings, told = Encodings(engine, None), []
    assert len(encodings.of(images, ["obama.jpg"] * 3 + NAMES, told.append)) == 3
    assert (encodings.embedded, told) == (3, [1, 1, 1])


def test_a_second_run_embeds_nothing_and_gives_the_same(engine, images, cache):
    first = Encodings(engine, cache).of(images, NAMES)
    again = Encodings(engine, cache)
    second = again.of(images, NAMES)
    assert again.embedded == 0
    for name in NAMES:
        np.testing.assert_array_equal(first[name].vector, second[name].vector)
        assert first[name].quality == second[name].quality
        assert first[name].digest == second[name].digest


def test_a_renamed_photograph_is_known_and_a_changed_one_is_not(engine, images, cache):
    before = Encodings(engine, cache).of(images, NAMES)
    (images / "obama.jpg").rename(images / "other.jpg")
    shutil.copy(images / "biden.jpg", images / "obama.jpg")
    picture = PIL.Image.open(images / "astronaut.png")
    picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(images / "astronaut.png")

    encodings = Encodings(engine, cache)
    after = encodings.of(images, ["other.jpg", *NAMES])
    assert encodings.embedded == 1
    np.testing.assert_array_equal(after["other.jpg"].vector, before["obama.jpg"].vector)
    np.testing.assert_array_equal(after["obama.jpg"].vector, before["biden.jpg"].vector)
    assert np.abs(after["astronaut.png"].vector - before["astronaut.png"].vector).max() > 1e-3


@pytest.mark.parametrize(
    "other", [{"pick": Pick.LARGEST}, {"precision": Precision.FP32}, {"clear_subject": 2.0}]
)
def test_engines_that_may_see_or_encode_otherwise_do_not_share(engine, images, cache, other):
    Encodings(engine, cache).of(images, NAMES[:1])
    encodings = Encodings(Engine.open(config=replace(engine.config, **other)), cache)
    encodings.of(images, NAMES[:1])
    assert encodings.embedded == 1
    assert len(databases(cache)) == 2


def test_what_cannot_be_read_says_why_and_stops_nobody(engine, images, cache):
    (images / "noise.png").write_bytes(b"no picture")
    PIL.Image.new("RGB", (200, 200), "grey").save(images / "grey.png")
    wide = np.concatenate([np.asarray(PIL.Image.open(images / "astronaut.png"))] * 2, axis=1)
    PIL.Image.fromarray(wide).save(images / "twice.png")
    names = ["noise.png", "grey.png", "none.png", "twice.png", "astronaut.png"]
    encodings = Encodings(engine, cache)
    found = encodings.of(images, names)
    codes = [found[name].failure.partition(":")[0] for name in names]
    assert codes == ["image_unreadable", "no_face_found", "image_not_found", "several_faces", ""]
    assert [found[name].vector is None for name in names] == [True, True, True, True, False]
    assert found["grey.png"].quality == 0

    again = Encodings(engine, cache)
    second = again.of(images, names)
    assert again.embedded == 0
    assert {n: e.failure for n, e in second.items()} == {n: e.failure for n, e in found.items()}


def test_a_photograph_that_was_missing_is_embedded_when_it_comes(engine, images, cache):
    assert Encodings(engine, cache).of(images, ["late.jpg"])["late.jpg"].failure
    shutil.copy(images / "obama.jpg", images / "late.jpg")
    assert Encodings(engine, cache).of(images, ["late.jpg"])["late.jpg"].vector is not None


def test_without_a_cache_nothing_is_kept(engine, images, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    encodings = Encodings(engine, None)
    for _ in range(2):
        encodings.of(images, NAMES[:1])
    assert encodings.embedded == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_spoilt_photographs_are_neither_remembered_nor_taken_from_memory(engine, images, cache):
    clean = Encodings(engine, cache).of(images, NAMES[:1])["obama.jpg"]
    change = Step(Degradation.JPEG, 5).change()
    encodings = Encodings(engine, cache)
    spoilt = encodings.of(images, NAMES[:2], change=change)
    assert encodings.embedded == 2
    assert np.abs(spoilt["obama.jpg"].vector - clean.vector).max() > 1e-2
    later = Encodings(engine, cache)
    np.testing.assert_array_equal(later.of(images, NAMES)["obama.jpg"].vector, clean.vector)
    assert later.embedded == 2


def test_the_memory_is_its_owners_alone(engine, images, cache):
    Encodings(engine, cache).of(images, NAMES[:1])
    (path,) = databases(cache)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_interrupted_run_keeps_what_was_done(engine, images, cache):
    done = []

    def told(number):
        done.append(number)
        if len(done) == 2:
            raise KeyboardInterrupt

    first = Encodings(engine, cache)
    with pytest.raises(KeyboardInterrupt):
        first.of(images, NAMES, told)
    second = Encodings(engine, cache)
    assert all(e.vector is not None for e in second.of(images, NAMES).values())
    assert second.embedded <= 1


def test_side_by_side_gives_the_same_as_one_after_another(store, engine, images):
    some = [*NAMES, *(f"{i}.jpg" for i in range(5))]
    for i in range(5):
        (images / f"{i}.jpg").write_bytes((images / "obama.jpg").read_bytes() + bytes(i))
    one, many = Encodings(engine, None), Encodings(engine, None, workers=3)
    alone, together = one.of(images, some), many.of(images, some)
    assert many.embedded == one.embedded == 8
    assert list(alone) == list(together)
    for name in some:
        np.testing.assert_allclose(alone[name].vector, together[name].vector, atol=1e-6)


def test_a_damaged_memory_is_named_and_may_be_deleted(engine, images, cache):
    Encodings(engine, cache).of(images, NAMES[:1])
    (path,) = databases(cache)
    path.write_bytes(b"no database at all, and quite long enough to be looked at" * 20)
    with pytest.raises(ProtocolRefused, match="delete it") as refused:
        Encodings(engine, cache).of(images, NAMES[:1])
    assert str(path) in str(refused.value)
    path.unlink()
    assert Encodings(engine, cache).of(images, NAMES[:1])["obama.jpg"].vector is not None


def test_an_encoding_of_half_its_bytes_is_not_believed(engine, images, cache):
    Encodings(engine, cache).of(images, NAMES[:1])
    (path,) = databases(cache)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE encoding SET vector = substr(vector, 1, 200)")
    db.close()
    with pytest.raises(ProtocolRefused, match="delete it"):
        Encodings(engine, cache).of(images, NAMES[:1])
