"""The whole story, on real photographs: compared, enrolled, verified, identified, removed."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import PIL.Image
import pytest
from onnx import TensorProto, helper

import visavis
from visavis.decide import distance
from visavis.detect import Detector
from visavis.encode import SessionEncoder
from visavis.engine import Engine, EngineConfig
from visavis.errors import (
    DuplicatePerson,
    EncoderMismatch,
    GalleryRequired,
    ImageNotFound,
    InputRefused,
    ModelRefused,
    ModelUnknown,
    NoFaceFound,
    NotCalibrated,
    OperatingPointRefused,
    PersonMismatch,
    PersonUnknown,
    PoorQuality,
    SeveralFaces,
)
from visavis.gallery import Gallery
from visavis.image import open_image
from visavis.models import Cores, Kind, Manifest, ModelStore, Precision, RuntimeName
from visavis.values import Advice, Pick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Opener = Callable[..., Engine]

PAIRS = [
    ("obama.jpg", "obama2.jpg", True),
    ("obama.jpg", "obama3.jpg", True),
    ("obama2.jpg", "obama3.jpg", True),
    ("obama.jpg", "obama_partial_face.jpg", True),
    ("obama2.jpg", "obama_partial_face2.jpg", True),
    ("obama.jpg", "biden.jpg", False),
    ("biden.jpg", "obama3.jpg", False),
    ("biden.jpg", "astronaut.png", False),
    ("astronaut.png", "obama_partial_face.jpg", False),
]


@pytest.fixture(scope="module")
def networks(store: ModelStore) -> tuple[Detector, SessionEncoder]:
    yunet, sface = store.manifest("yunet"), store.manifest("sface")
    on, fp32, one = RuntimeName.OPENVINO, Precision.FP32, Cores(1)
    detector = Detector(store.session(yunet, fp32, on, one))
    session = store.session(sface, fp32, on, one)
    return detector, SessionEncoder(session, store.encoder_id(sface, fp32), "sface (fp32)")


@pytest.fixture(scope="module")
def points(networks: tuple[Detector, SessionEncoder]) -> dict[str, Any]:
    """A line drawn for these tests: tau is 1.6, and 0.08 less for each factor of ten."""
    return {
        "schema": 1,
        "encoder": networks[1].id,
        "tuned_on": "a line drawn for these tests",
        "points": [
            {
                "fmr": 10.0**-k,
                "tau": 1.6 - 0.08 * k,
                "lower": 0.8 * 10.0**-k,
                "upper": 1.3 * 10.0**-k,
            }
            for k in range(1, 7)
        ],
        "tail_slope": 12.5,
        "pairs": 10**7,
    }


@pytest.fixture
def opened(
    networks: tuple[Detector, SessionEncoder], points: dict[str, Any], tmp_path: Path
) -> Iterator[Opener]:
    engines = []

    def open_engine(name: str | None = "people.db", **config: object) -> Engine:
        gallery = None
        if name is not None:
            gallery = Gallery.open(tmp_path / name)
            gallery.bind(networks[1].id, networks[1].name)
        engines.append(Engine(*networks, points, gallery, EngineConfig(**config)))
        return engines[-1]

    yield open_engine
    for each in engines:
        each.close()


@pytest.fixture
def people(opened: Opener, photographs: dict[str, Path]) -> Engine:
    """Two men, one photograph each."""
    engine = opened()
    engine.enroll("Obama", [photographs["obama.jpg"]])
    engine.enroll("Biden", [photographs["biden.jpg"]])
    return engine


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", **({"quality": 95} | options))
    return file.getvalue()


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=how)


def pixels_of(path: Path) -> np.ndarray:
    return open_image(path).pixels


# Comparing


@pytest.mark.parametrize(("a", "b", "same"), PAIRS)
def test_same_and_different_people(opened, photographs, a, b, same):
    decision = opened(None).compare(photographs[a], photographs[b])
    assert decision.accepted is same
    assert (decision.distance <= decision.tau) is same
    assert decision.fmr == 1e-4
    assert decision.tau == pytest.approx(1.28)
    assert decision.fmr_upper == pytest.approx(1.3e-4)
    assert len(decision.faces) == 2
    word = "within" if same else "beyond"
    assert word in decision.reasons[0]


def test_comparing_is_symmetric_and_exact(opened, photographs):
    engine = opened(None)
    one = engine.compare(photographs["obama.jpg"], photographs["obama2.jpg"])
    two = engine.compare(photographs["obama2.jpg"], photographs["obama.jpg"])
    assert one.distance == two.distance
    a, b = (engine.embedding(photographs[n]) for n in ("obama.jpg", "obama2.jpg"))
    assert distance(a, b) == one.distance
    assert one.encoder == a.encoder == engine.encoder.id
    itself = engine.compare(photographs["obama.jpg"], photographs["obama.jpg"])
    assert itself.distance == 0
    assert itself.accepted


def test_the_rate_decides(opened, photographs):
    """Where d lies between two thresholds, the answer changes with the rate that is asked for."""
    engine = opened(None)
    pair = photographs["obama2.jpg"], photographs["biden.jpg"]
    strict, loose = engine.compare(*pair, fmr=1e-6), engine.compare(*pair, fmr=1e-1)
    assert strict.tau < loose.tau
    assert strict.distance == loose.distance
    assert not strict.accepted
    assert loose.accepted is (loose.distance <= 1.52)
    beyond = engine.compare(*pair, fmr=1e-9)
    assert beyond.tau == pytest.approx(0.88)
    assert any("extrapolated" in reason for reason in beyond.reasons)


@pytest.mark.parametrize("fmr", [0.0, 1.0, -1e-3, float("nan")])
def test_a_senseless_rate_is_refused_not_replaced(opened, people, photographs, fmr):
    path = photographs["obama.jpg"]
    with pytest.raises(OperatingPointRefused):
        people.compare(path, path, fmr=fmr)
    with pytest.raises(OperatingPointRefused):
        people.verify(path, "Obama", fmr=fmr)
    with pytest.raises(OperatingPointRefused):
        people.identify(path, fpir=fmr)
    with pytest.raises(OperatingPointRefused):
        opened(None, fmr=fmr).compare(path, path)


def test_paths_bytes_and_arrays_are_the_same(opened, photographs):
    engine = opened(None)
    for name in ("obama.jpg", "astronaut.png"):
        path = photographs[name]
        sources = [path, str(path), path.read_bytes(), pixels_of(path)]
        vectors = [engine.embedding(source).vector for source in sources]
        assert all(np.array_equal(vectors[0], v) for v in vectors[1:]), name


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_camera_held_another_way(opened, photographs, orientation):
    """Stored turned, with a tag that says so: exactly the same vector."""
    upright = pixels_of(photographs["astronaut.png"])
    turn = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    file = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(turn)).save(file, "PNG", exif=tags)
    engine = opened(None)
    plain = engine.embedding(upright).vector
    assert np.array_equal(engine.embedding(file.getvalue()).vector, plain)


def test_a_large_photograph_is_read_reduced_and_told_in_its_own_pixels(opened, photographs):
    engine = opened(None)
    pixels = pixels_of(photographs["obama.jpg"])
    large = jpeg(scaled(pixels, 4))
    assert engine.read(large).image(engine.config.limits, 960).reduction == 4
    small = engine.sight.subject(engine.read(pixels)).sighting
    seen = engine.sight.subject(engine.read(large)).sighting
    assert seen.face.box == pytest.approx([4 * v for v in small.face.box], abs=40)
    assert np.abs(seen.face.landmarks - 4 * small.face.landmarks).max() < 30
    assert seen.quality.eyes == pytest.approx(4 * small.quality.eyes, rel=0.05)
    assert distance(engine.embedding(large), engine.embedding(pixels)) < 0.1
    (whole,) = engine.faces(large)
    assert whole.face.box == pytest.approx(seen.face.box, abs=120)


def test_a_small_face_in_a_large_photograph_keeps_its_detail(opened, photographs):
    """Reduced it would be 45 pixels wide; the photograph is read again in full."""
    engine = opened(None)
    field = np.full((3000, 4000, 3), 120, np.uint8)
    head = scaled(pixels_of(photographs["obama.jpg"])[:600], 0.75)
    field[1200 : 1200 + len(head), 1600 : 1600 + head.shape[1]] = head
    seen = engine.sight.subject(engine.read(jpeg(field, quality=98)))
    x, y, w, h = (0.75 * v for v in (372, 83, 240, 328))
    assert seen.sighting.face.box == pytest.approx((1600 + x, 1200 + y, w, h), abs=25)
    assert seen.sighting.quality.sharpness > 0.1


def test_no_face(opened, people, photographs):
    empty = np.full((300, 400, 3), 128, np.uint8)
    for call in (
        lambda: people.compare(empty, photographs["obama.jpg"]),
        lambda: people.compare(photographs["obama.jpg"], empty),
        lambda: people.verify(empty, "Obama"),
        lambda: people.enroll("Nobody", [empty]),
        lambda: people.embedding(empty),
    ):
        with pytest.raises(NoFaceFound, match="no face found"):
            call()
    assert people.faces(empty) == []
    assert people.identify(empty).faces == ()
    assert people.gallery.size == 2


def group(photographs: dict[str, Path], second: float = 1.0) -> np.ndarray:
    """Two men side by side, the second's picture scaled."""
    one = pixels_of(photographs["obama.jpg"])[:500, 250:750]
    other = scaled(pixels_of(photographs["biden.jpg"])[100:640, 300:840], second * 500 / 540)
    field = np.full((500, 1000, 3), 100, np.uint8)
    field[:, :500] = one
    field[: len(other), 500 : 500 + other.shape[1]] = other[:500]
    return field


def test_several_faces_are_refused_where_choosing_would_be_guessing(people, photographs):
    both = group(photographs)
    assert len(people.faces(both)) == 2
    for call in (
        lambda: people.compare(both, photographs["obama.jpg"]),
        lambda: people.verify(both, "Obama"),
        lambda: people.enroll("Both", [both]),
    ):
        with pytest.raises(SeveralFaces, match="2 faces"):
            call()


def test_a_clear_subject_is_taken(people, photographs):
    portrait = group(photographs, second=0.4)
    assert len(people.faces(portrait)) == 2
    assert people.verify(portrait, "Obama").accepted
    assert not people.verify(portrait, "Biden").accepted


def test_whom_to_pick_may_be_said(opened, photographs):
    both = group(photographs, second=0.8)
    central = np.hstack([np.full((500, 900, 3), 100, np.uint8), both])  # the left man is central
    picked = {pick: opened(None, pick=pick) for pick in (Pick.LARGEST, Pick.MOST_CENTRAL)}
    obama, biden = photographs["obama.jpg"], photographs["biden.jpg"]
    assert picked[Pick.LARGEST].compare(both, obama).accepted
    assert picked[Pick.MOST_CENTRAL].compare(central, obama).accepted
    mirrored = np.hstack([both, np.full((500, 900, 3), 100, np.uint8)])  # now the right one is
    assert picked[Pick.MOST_CENTRAL].compare(mirrored, biden).accepted


def test_poor_pictures_weaken_the_answer(opened, photographs):
    dark = (pixels_of(photographs["obama2.jpg"]) * 0.15).astype(np.uint8)
    decision = opened(None).compare(photographs["obama.jpg"], dark)
    assert any(f"photograph 2 is weak evidence: {Advice.MORE_LIGHT}" in r for r in decision.reasons)


# Enrolling and verifying


def test_a_true_and_a_false_claim(people, photographs):
    for name in ("obama2.jpg", "obama3.jpg", "obama_partial_face.jpg"):
        assert people.verify(photographs[name], "Obama").accepted
        assert not people.verify(photographs[name], "Biden").accepted
    assert not people.verify(photographs["astronaut.png"], "Obama").accepted


def test_one_may_claim_by_id(people, photographs):
    key = people.gallery.person("Obama").id
    assert people.verify(photographs["obama2.jpg"], key).accepted


def test_a_claim_to_be_nobody(people, photographs):
    with pytest.raises(PersonUnknown):
        people.verify(photographs["obama.jpg"], "Lincoln")


def test_verifying_against_several_templates_is_stricter_for_each(people, photographs):
    before = people.verify(photographs["obama3.jpg"], "Obama")
    people.enroll("Obama", [photographs["obama2.jpg"]])
    after = people.verify(photographs["obama3.jpg"], "Obama")
    assert after.fmr == before.fmr == 1e-4
    assert after.tau < before.tau
    assert after.distance <= before.distance


def test_what_an_enrolment_says(opened, photographs):
    engine = opened()
    enrolled = engine.enroll("Ada முகம்", [photographs["astronaut.png"]])
    assert enrolled.person.name == "Ada முகம்"
    assert (len(enrolled.added), enrolled.known, enrolled.person.templates) == (1, 0, 1)
    assert enrolled.sightings[0].quality.fit_for_enrolment
    again = engine.enroll("Ada முகம்", [photographs["astronaut.png"]])
    assert (again.added, again.known, again.person.id) == ((), 1, enrolled.person.id)
    assert engine.gallery.template_count == 1


def test_the_same_name_adds_templates(people, photographs):
    more = people.enroll("Obama", [photographs["obama2.jpg"], photographs["obama3.jpg"]])
    assert more.person.templates == 3
    assert people.gallery.size == 2


def test_a_face_under_another_name_is_a_duplicate(people, photographs):
    with pytest.raises(DuplicatePerson, match="looks like Obama"):
        people.enroll("Barack", [photographs["obama2.jpg"]])
    with pytest.raises(PersonUnknown):
        people.gallery.person("Barack")
    forced = people.enroll("Barack", [photographs["obama2.jpg"]], force=True)
    assert forced.person.templates == 1
    assert people.gallery.size == 3


def test_another_face_under_the_same_name_is_a_mismatch(people, photographs):
    with pytest.raises(PersonMismatch, match="other photographs of Obama"):
        people.enroll("Obama", [photographs["astronaut.png"]])
    assert people.gallery.template_count == 2
    people.enroll("Obama", [photographs["astronaut.png"]], force=True)
    assert people.gallery.person("Obama").templates == 2


def test_photographs_of_two_people_are_not_one_person(opened, photographs):
    engine = opened()
    with pytest.raises(PersonMismatch, match="other photographs of Crew"):
        engine.enroll("Crew", [photographs["astronaut.png"], photographs["biden.jpg"]])
    assert engine.gallery.size == 0


def test_an_enrolment_is_whole_or_nothing(people, photographs):
    empty = np.full((300, 400, 3), 128, np.uint8)
    for photos in (
        [photographs["astronaut.png"], empty],
        [photographs["astronaut.png"], "gone.jpg"],
    ):
        with pytest.raises((NoFaceFound, ImageNotFound)):
            people.enroll("Eileen", photos)
    assert people.gallery.size == 2


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda p: scaled(p, 0.12), Advice.COME_CLOSER),
        (lambda p: (p * 0.12).astype(np.uint8), Advice.MORE_LIGHT),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 16), Advice.HOLD_STILL),
    ],
)
def test_a_poor_photograph_is_refused_with_advice(people, photographs, spoil, advice):
    poor = spoil(pixels_of(photographs["biden.jpg"]))
    with pytest.raises(PoorQuality, match=f"image would make a bad template: .*{advice}"):
        people.enroll("Joe", [poor])
    people.enroll("Joe", [poor], force=True)
    assert people.gallery.person("Joe").templates == 1


def test_photographs_are_kept_only_when_asked(people, photographs):
    kept = people.enroll("Eileen", [photographs["astronaut.png"]], keep_photographs=True)
    data = photographs["astronaut.png"].read_bytes()
    assert people.gallery.photograph(kept.added[0]) == data
    (template,) = people.gallery.templates(people.gallery.person("Obama").id)
    assert people.gallery.photograph(template.id) is None
    assert people.gallery.info().photographs == 1
    for file in people.gallery.path.parent.glob("people.db*"):
        assert photographs["obama.jpg"].read_bytes()[5000:5100] not in file.read_bytes()


@pytest.mark.parametrize("photos", ["obama.jpg", b"bytes"])
def test_one_photograph_must_be_given_as_a_list(people, photos):
    with pytest.raises(TypeError, match="list"):
        people.enroll("X", photos)
    with pytest.raises(InputRefused, match="at least one"):
        people.enroll("X", [])


# Identifying


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("obama.jpg", "Obama"),
        ("obama2.jpg", "Obama"),
        ("obama3.jpg", "Obama"),
        ("obama_partial_face.jpg", "Obama"),
        ("obama_partial_face2.jpg", "Obama"),
        ("biden.jpg", "Biden"),
        ("astronaut.png", None),
    ],
)
def test_who_it_is(people, photographs, name, who):
    answer = people.identify(photographs[name])
    (face,) = answer.faces
    assert (face.person.name if face.person else None) == who
    assert (face.distance <= answer.tau) is (who is not None)
    assert face.candidates == ()
    assert (answer.gallery_size, answer.fpir) == (2, 1e-3)
    assert answer.encoder == people.encoder.id


def test_everybody_in_a_group_is_named(people, photographs):
    answer = people.identify(group(photographs, second=0.9))
    from_the_left = sorted(answer.faces, key=lambda face: face.sighting.face.box[0])
    assert [face.person.name for face in from_the_left] == ["Obama", "Biden"]
    widths = [face.sighting.face.box[2] for face in answer.faces]
    assert widths == sorted(widths, reverse=True)


def test_candidates_are_listed_only_when_asked_for(people, photographs):
    (stranger,) = people.identify(photographs["astronaut.png"], candidates=5).faces
    assert stranger.person is None
    assert [c.person.name for c in stranger.candidates] == ["Biden", "Obama"]
    d = [c.distance for c in stranger.candidates]
    assert d == sorted(d)
    assert stranger.distance == d[0]
    exact = people.compare(photographs["astronaut.png"], photographs["biden.jpg"]).distance
    # compare looks at the coarse copy, identify at all scales: not quite the same crop.
    assert d[0] == pytest.approx(exact, abs=0.2)


def test_nobody_is_enrolled(opened, photographs):
    answer = opened().identify(photographs["obama.jpg"], candidates=3)
    (face,) = answer.faces
    assert (face.person, face.distance, face.candidates) == (None, None, ())
    assert answer.gallery_size == 0


def test_a_larger_gallery_has_a_stricter_threshold(people, photographs):
    before = people.identify(photographs["obama3.jpg"]).tau
    people.enroll("Eileen", [photographs["astronaut.png"]])
    after = people.identify(photographs["obama3.jpg"]).tau
    assert after < before
    looser = people.identify(photographs["obama3.jpg"], fpir=1e-1)
    assert looser.tau > after


def test_who_was_removed_is_not_known_any_more(people, photographs):
    assert people.identify(photographs["obama2.jpg"]).faces[0].person.name == "Obama"
    people.gallery.remove("Obama")
    (face,) = people.identify(photographs["obama2.jpg"], candidates=5).faces
    assert face.person is None
    assert [c.person.name for c in face.candidates] == ["Biden"]
    with pytest.raises(PersonUnknown):
        people.verify(photographs["obama2.jpg"], "Obama")
    people.enroll("Barack", [photographs["obama2.jpg"]])
    assert people.identify(photographs["obama.jpg"]).faces[0].person.name == "Barack"


def test_a_new_name_is_answered(people, photographs):
    people.gallery.rename("Obama", "Barack")
    assert people.identify(photographs["obama2.jpg"]).faces[0].person.name == "Barack"
    with pytest.raises(DuplicatePerson, match="looks like Barack"):
        people.enroll("Obama", [photographs["obama3.jpg"]])


def test_two_engines_on_one_file_see_each_others_changes(people, opened, photographs):
    other = opened()
    path = photographs["obama2.jpg"]
    assert other.identify(path).faces[0].person.name == "Obama"
    other.enroll("Eileen", [photographs["astronaut.png"]])
    assert people.identify(photographs["astronaut.png"]).faces[0].person.name == "Eileen"
    people.gallery.remove("Obama")
    assert other.identify(path).faces[0].person is None
    with pytest.raises(DuplicatePerson):
        people.enroll("E. Collins", [photographs["astronaut.png"]])


def test_one_engine_serves_many_threads(people, photographs):
    names = ["obama2.jpg", "biden.jpg", "astronaut.png", "obama_partial_face.jpg"] * 6

    def who(name: str) -> str | None:
        person = people.identify(photographs[name]).faces[0].person
        return person.name if person else None

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(who, names))
    assert told == ["Obama", "Biden", None, "Obama"] * 6


# What an engine is opened with


def test_without_a_gallery_one_can_only_compare(opened, photographs):
    engine = opened(None)
    path = photographs["obama.jpg"]
    for call in (
        lambda: engine.gallery,
        lambda: engine.enroll("Obama", [path]),
        lambda: engine.verify(path, "Obama"),
        lambda: engine.identify(path),
    ):
        with pytest.raises(GalleryRequired, match=r"Engine\.open"):
            call()
    assert len(engine.faces(path)) == 1


def test_an_encoder_that_nobody_measured_does_not_decide(networks, photographs, points):
    path = photographs["obama.jpg"]
    for none in (None, points | {"encoder": "0" * 32}):
        engine = Engine(*networks, none)
        with pytest.raises(NotCalibrated):
            engine.compare(path, path)
        assert engine.embedding(path).vector.shape == (128,)


@pytest.fixture
def own(store: ModelStore, tmp_path: Path) -> ModelStore:
    """A store with an encoder of one's own, which nobody has measured: the mean colour."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 112, 112))
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, (1, 3))
    made = helper.make_graph(nodes, "mean", [image], [vector])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "mean.onnx"
    onnx.save(model, path)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    added = ModelStore(store.cache, tmp_path / "models")
    described = Manifest("mean", Kind.ENCODER, path.name, digest, len(data), "MIT", "this test")
    added.add(described, path, {})
    return added


def test_a_gallery_of_another_encoder_is_refused(own, people, photographs):
    config = EngineConfig(encoder="mean", store=own, cores=Cores(1))
    with pytest.raises(EncoderMismatch, match=r"sface \(fp32\).*mean \(fp32\)"):
        Engine.open(people.gallery.path, config)
    assert people.identify(photographs["obama2.jpg"]).faces[0].person.name == "Obama"


def test_an_own_encoder_works_but_for_deciding(own, photographs, tmp_path):
    config = EngineConfig(encoder="mean", store=own, cores=Cores(1))
    path = photographs["obama.jpg"]
    with Engine.open(tmp_path / "own.db", config) as engine:
        assert engine.embedding(path).vector.shape == (3,)
        assert engine.gallery.encoder == engine.encoder.id
        with pytest.raises(NotCalibrated, match="mean"):
            engine.enroll("Obama", [path])
        engine.enroll("Obama", [path], force=True)
        with pytest.raises(NotCalibrated, match="mean"):
            engine.identify(path)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"encoder": "arcface"}, ModelUnknown),
        ({"detector": "retina"}, ModelUnknown),
        ({"encoder": "yunet"}, ModelRefused),
        ({"detector": "sface"}, ModelRefused),
        ({"precision": Precision.INT8, "runtime": RuntimeName.ONNXRUNTIME}, ModelRefused),
    ],
)
def test_networks_that_cannot_serve(store, config, error):
    with pytest.raises(error):
        Engine.open(config=replace(EngineConfig(store=store), **config))


@pytest.mark.parametrize("on", RuntimeName)
def test_opened_on_either_runtime(store, opened, photographs, on):
    config = EngineConfig(store=store, runtime=on, precision=Precision.FP32, cores=Cores(1))
    with Engine.open(config=config) as engine:
        there = engine.embedding(photographs["obama.jpg"])
    here = opened(None).embedding(photographs["obama.jpg"])
    assert there.encoder == here.encoder
    assert distance(there, here) < 1e-6


def test_no_precision_means_the_best_there_is(store):
    with Engine.open(config=EngineConfig(store=store, cores=Cores(1))) as engine:
        best = store.precisions(store.manifest("sface"))[0]
        assert engine.config.precision is best
        assert engine.encoder.id == store.encoder_id(store.manifest("sface"), best)


# The front door


def test_compare_in_one_line(monkeypatch, tmp_path, photographs):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    visavis._engine.cache_clear()
    try:
        decision = visavis.compare(photographs["obama.jpg"], photographs["obama2.jpg"])
        assert decision.accepted
        assert decision.fmr == 1e-4
        assert not visavis.compare(photographs["obama.jpg"], photographs["biden.jpg"]).accepted
        assert isinstance(decision, visavis.Decision)
    finally:
        visavis._engine.cache_clear()


def test_importing_is_light_and_silent():
    code = """
import sys, visavis
heavy = {"numpy", "cv2", "openvino", "onnx", "onnxruntime", "PIL", "simplejpeg"}
heavy |= {"sqlalchemy", "click", "rich"}
print(sorted(heavy & set(sys.modules)))
"""
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (told.stdout, told.stderr) == ("[]\n", "")


def test_the_public_names_are_sorted_and_complete():
    assert visavis.__all__ == sorted(visavis.__all__)
    assert set(visavis.__all__) == {*visavis._HOMES, "__version__", "compare"}
    assert dir(visavis) == visavis.__all__
    for name in visavis.__all__:
        assert getattr(visavis, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'verify'"):
        visavis.verify  # noqa: B018
