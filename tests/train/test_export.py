"""What was trained leaves as ONNX, and serves the vectors it was trained to give."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

import visavis
from visavis.encode import open_encoder
from visavis.errors import MissingExtra, ModelRefused
from visavis.models import Cores, Kind, Manifest, ModelStore, Precision, RuntimeName
from visavis.models.manifest import Channels, Preprocessing
from visavis.train import agreement
from visavis.train.encoders import build, rebuild
from visavis.train.export import export_onnx

SIDE = 64


def trained(name: str, side: int = SIDE) -> nn.Module:
    """A fresh encoder whose batch norms have seen something, so that forgetting them is noticed."""
    torch.manual_seed(0)
    module = build(name, side).train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(4, 3, side, side) * 2 + 1)
    return module


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    return trained("tiny")


@pytest.fixture(scope="module")
def exported(tiny: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    export_onnx(tiny, SIDE, path)
    return path


def vectors(path: Path, images: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images.numpy()})[0]


def still(module: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return copy.deepcopy(module).eval()(images).numpy()


@pytest.mark.parametrize("faces", [1, 5])
def test_any_number_of_faces_gives_what_the_module_gives(tiny, exported, faces):
    images = torch.randn(faces, 3, SIDE, SIDE)
    assert vectors(exported, images) == pytest.approx(still(tiny, images), abs=1e-5)


def test_the_module_stays_as_it_was(tmp_path):
    """Its mode, memory layout and precision; a copy is written."""
    module = trained("tiny").to(memory_format=torch.channels_last)
    module.vector.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    export_onnx(module, SIDE, tmp_path / "tiny.onnx")
    assert module.training
    assert module.features.training
    assert not module.vector.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    weight = module.features[2][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_the_same_weights_give_the_same_file(tiny, exported, tmp_path):
    """So an encoder's id, which is a hash of it, does not change when it is exported again."""
    export_onnx(tiny.to(memory_format=torch.channels_last), SIDE, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


def test_the_file_is_one_and_tells_nothing_of_this_machine(exported):
    home = str(Path(visavis.__file__).parent).encode()
    assert [each.name for each in exported.parent.iterdir()] == ["tiny.onnx"]
    assert home not in exported.read_bytes()
    assert b"stack_trace" not in exported.read_bytes()
    model = onnx.load(exported, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [
        d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim
    ] == [
        "batch",
        3,
        SIDE,
        SIDE,
    ]


def manifest_of(path: Path, name: str, side: int) -> Manifest:
    return Manifest(
        name,
        Kind.ENCODER,
        path.name,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        path.stat().st_size,
        "Apache-2.0",
        "this test",
        "noise",
        preprocessing=Preprocessing(
            Channels.BGR, (127.5, 120.0, 110.0), (128.0, 128.0, 64.0), f"arcface-{side}"
        ),
    )


@pytest.mark.parametrize(
    ("name", "side"),
    [("mobilefacenet-half", 96), pytest.param("iresnet18", 64, marks=pytest.mark.slow)],
)
def test_the_way_round(name, side, tmp_path):
    """Trained, exported, added, opened: the same vectors from raw pixels."""
    module, path = trained(name, side), tmp_path / f"{name}.onnx"
    export_onnx(module, side, path)
    store = ModelStore(tmp_path / "cache", tmp_path / "data")
    manifest = store.add(manifest_of(path, name, side), path, {})
    crops = np.random.default_rng(2).integers(0, 256, (2, side, side, 3)).astype(np.uint8)
    shape = manifest.preprocessing
    planes = (crops[..., ::-1] - np.array(shape.mean)) / np.array(shape.scale)
    images = torch.from_numpy(planes.transpose(0, 3, 1, 2).astype(np.float32))
    wanted = functional.normalize(torch.from_numpy(still(module, images))).numpy()
    for on in RuntimeName:
        encoder = open_encoder(store, manifest, Precision.FP32, on, Cores(threads=1))
        assert np.abs(encoder.encode(crops) - wanted).max() < 1e-4


def test_what_was_exported_can_be_trained_again(tiny, exported):
    images = torch.randn(3, 3, SIDE, SIDE)
    again = rebuild(exported, SIDE)
    assert still(again, images) == pytest.approx(still(tiny, images), abs=1e-5)


def test_sface_after_a_step_of_training_is_exported_as_it_is_now(store, tmp_path):
    module = rebuild(store.weights(store.manifest("sface"))).train()
    images = torch.rand(2, 3, 112, 112) * 255
    before = still(module, images)
    vectors_now = module(images)
    functional.cosine_similarity(vectors_now[0], vectors_now[1], dim=0).backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(1e-2 * parameter.grad)
    after = still(module, images)
    assert np.abs(after - before).max() > 1e-3
    export_onnx(module, 112, tmp_path / "tuned.onnx")
    assert vectors(tmp_path / "tuned.onnx", images) == pytest.approx(after, rel=1e-4, abs=1e-4)


def test_a_file_that_would_give_other_vectors_is_not_written(tiny, exported, tmp_path, monkeypatch):
    """And the one that was there before is kept."""
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"before")
    monkeypatch.setattr(agreement, "TOLERANCE", 0.0)
    with pytest.raises(ModelRefused, match=r"encoder.onnx: the module and the runtime disagree"):
        export_onnx(tiny, SIDE, path)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["encoder.onnx"]


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    """A run that went astray leaves no encoder behind."""
    module = trained("tiny")
    with torch.no_grad():
        module.vector.weight[0, 0] = torch.nan
    with pytest.raises(ModelRefused, match="disagree by nan"):
        export_onnx(module, SIDE, tmp_path / "astray.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnxscript_the_message_says_how_to_get_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'visavis\[train\]'"):
        export_onnx(tiny, SIDE, tmp_path / "tiny.onnx")
