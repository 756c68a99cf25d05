"""ONNX encoders as torch modules: the same encodings, and now they can learn."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from visavis.align import align
from visavis.detect import Detector
from visavis.encode import open_encoder
from visavis.errors import ModelRefused
from visavis.image import open_image
from visavis.models import Cores, Precision, RuntimeName
from visavis.train import agreement
from visavis.train.encoders import Rebuilt, rebuild
from visavis.train.encoders.operators import FrozenBatchNorm

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.models import ModelStore


@pytest.fixture(scope="module")
def sface(store: ModelStore) -> Rebuilt:
    return rebuild(store.weights(store.manifest("sface")))


@pytest.fixture(scope="module")
def faces(store: ModelStore, photographs: dict[str, Path]) -> NDArray[np.uint8]:
    """The demo's portraits, aligned, and two images of noise."""
    session = store.session(
        store.manifest("yunet"), Precision.FP32, RuntimeName.OPENVINO, Cores(threads=1)
    )
    detector = Detector(session)
    images = [open_image(path) for path in photographs.values()]
    crops = [align(image, detector.find(image)[0]).pixels for image in images]
    noise = np.random.default_rng(3).integers(0, 256, (2, 112, 112, 3)).astype(np.uint8)
    return np.concatenate([np.stack(crops), noise])


def unit(module: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return functional.normalize(module(planes)).numpy()


def test_sface_gives_the_encodings_that_serve(sface, faces, store):
    """Its manifest wants RGB as it is, so nothing comes before the module."""
    manifest = store.manifest("sface")
    judge = open_encoder(store, manifest, Precision.FP32, RuntimeName.ONNXRUNTIME, Cores(threads=1))
    assert len(faces) > 5
    assert np.abs(unit(sface, faces) - judge.encode(faces)).max() < 1e-5


def test_one_face_or_five_make_no_difference(sface, faces):
    alone = np.concatenate([unit(sface, face[None]) for face in faces[:5]])
    assert np.abs(unit(sface, faces[:5]) - alone).max() < 1e-5


def test_dlibs_network_is_rebuilt_from_dlibs_own_file(store):
    manifest = store.manifest("dlib")
    module = rebuild(store.weights(manifest), 150, manifest.format)
    noise = np.random.default_rng(3).integers(0, 256, (2, 150, 150, 3)).astype(np.uint8)
    planes = (noise - np.array(manifest.preprocessing.mean)) / manifest.preprocessing.scale
    there, mirrored = (
        module(torch.from_numpy(p.transpose(0, 3, 1, 2).astype(np.float32)))
        for p in (planes, planes[:, :, ::-1])
    )
    judge = open_encoder(store, manifest, Precision.FP32, RuntimeName.ONNXRUNTIME, Cores(threads=1))
    summed = functional.normalize(there + mirrored).detach().numpy()
    assert np.abs(summed - judge.encode(noise)).max() < 1e-5


def test_parameters_have_the_files_names_and_all_of_them_learn(sface):
    names = dict(sface.named_parameters())
    assert names["layers.conv_1_conv2d.weight"].shape == (32, 3, 3, 3)
    assert names["layers.conv_1_relu.weight"].shape == (32,)
    module = copy.deepcopy(sface).train()
    vectors = module(torch.rand(2, 3, 112, 112) * 255)
    (vectors * torch.randn_like(vectors)).sum().backward()
    still = [k for k, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    fixed = {name.split(".")[1] for name, _ in module.named_buffers()}
    assert fixed == {"minusscalar0", "mulscalar0", "bn1", "fc1"}


def test_a_step_moves_the_encodings_and_not_the_statistics(sface, faces):
    module = copy.deepcopy(sface).train()
    before = {key: value.clone() for key, value in module.named_buffers()}
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    first, second = module(torch.from_numpy(faces[:2]).permute(0, 3, 1, 2).float())
    (1 - functional.cosine_similarity(first, second, dim=0)).backward()
    optimizer.step()
    moved = np.square(unit(module, faces) - unit(sface, faces)).sum(axis=1)
    assert (moved > 1e-6).all()
    assert all(torch.equal(value, before[key]) for key, value in module.named_buffers())


def test_a_copy_has_weights_of_its_own_and_takes_a_saved_state(sface, faces):
    wanted = unit(sface, faces[:2])
    state = {key: value.clone() for key, value in sface.state_dict().items()}
    copied = copy.deepcopy(sface)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(0.9)
    assert np.abs(unit(copied, faces[:2]) - wanted).max() > 1e-3
    assert np.array_equal(unit(sface, faces[:2]), wanted)
    copied.load_state_dict(state)
    assert np.array_equal(unit(copied, faces[:2]), wanted)


def test_channels_last_gives_the_same(sface, faces):
    turned = copy.deepcopy(sface).to(memory_format=torch.channels_last)
    assert np.abs(unit(turned, faces[:2]) - unit(sface, faces[:2])).max() < 1e-5


def graph(tmp_path: Path, *nodes: onnx.NodeProto, **constants: NDArray[np.generic]) -> Path:
    """(N, 3, 12, 12) named x, through nodes, the last of which gives y; flattened."""
    model = helper.make_model(
        helper.make_graph(
            [*nodes, helper.make_node("Flatten", ["y"], ["vector"], name="end")],
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 12, 12))],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ("N", None))],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 8
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)
    return path


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def node(kind: str, *constants: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *constants], ["y"], name="it", **attributes)


W, SLOPES = numbers(4, 3, 3, 3), numbers(3, 1, 1)
POSITIVE = np.float32([1.5, 0.5, 2.0])
SHAPED = {
    "conv": (node("Conv", "w", pads=[1] * 4), {"w": W}),
    "strided": (node("Conv", "w", "b", strides=[2, 2]), {"w": W, "b": numbers(4)}),
    "dilated": (node("Conv", "w", dilations=[2, 2]), {"w": W}),
    "depthwise": (node("Conv", "w", group=3), {"w": numbers(6, 1, 3, 3)}),
    "tall": (node("Conv", "w", pads=[1, 0, 1, 0]), {"w": numbers(4, 3, 3, 1)}),
    "padded unevenly": (node("Conv", "w", pads=[0, 1, 2, 3]), {"w": W}),
    "norm": (
        node("BatchNormalization", "g", "b", "m", "v", epsilon=0.1),
        {"g": POSITIVE, "b": numbers(3), "m": numbers(3), "v": POSITIVE},
    ),
    "prelu": (node("PRelu", "s"), {"s": SLOPES}),
    "prelu for all": (node("PRelu", "s"), {"s": np.float32([0.3])}),
    "relu": (node("Relu"), {}),
    "leaky": (node("LeakyRelu", alpha=0.2), {}),
    "sigmoid": (node("Sigmoid"), {}),
    "clip": (node("Clip", "a", "b"), {"a": np.float32(-0.5), "b": np.float32(0.7)}),
    "clip above": (node("Clip", "", "b"), {"b": np.float32(0.7)}),
    "less": (node("Sub", "m"), {"m": POSITIVE.reshape(3, 1, 1)}),
    "from": (helper.make_node("Sub", ["m", "x"], ["y"]), {"m": POSITIVE.reshape(3, 1, 1)}),
    "times": (node("Mul", "m"), {"m": np.float32(0.0078)}),
    "by": (node("Div", "m"), {"m": POSITIVE.reshape(1, 3, 1, 1)}),
    "squared": (helper.make_node("Mul", ["x", "x"], ["y"]), {}),
    "twice": (helper.make_node("Concat", ["x", "x"], ["y"], axis=1), {}),
    "mean": (node("GlobalAveragePool"), {}),
    "mean of axes": (node("ReduceMean", "a", keepdims=0), {"a": np.int64([-1, 2])}),
    "average": (node("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]), {}),
    "average of all": (
        node("AveragePool", kernel_shape=[2, 2], pads=[1] * 4, count_include_pad=1),
        {},
    ),
    "largest": (node("MaxPool", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]), {}),
    "zeros": (node("Pad", "e"), {"e": np.int64([0, 1, 0, 2, 0, 3, 4, 0])}),
    "identity": (node("Identity"), {}),
}


@pytest.mark.parametrize("what", SHAPED)
def test_each_operator_computes_what_onnx_runtime_computes(what, tmp_path):
    operator, constants = SHAPED[what]
    path = graph(tmp_path, operator, **constants)
    images = numbers(5, 3, 12, 12)
    judge = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        given = rebuild(path, 12)(torch.from_numpy(images)).numpy()
    assert given == pytest.approx(judge.run(None, {"x": images})[0], abs=1e-5)


@pytest.mark.parametrize("shape", [[0, -1], [-1, 432], [1, -1]])
def test_reshape_flattens_whatever_the_batch(shape, tmp_path):
    path = graph(tmp_path, node("Reshape", "shape"), shape=np.int64(shape))
    assert rebuild(path, 12)(torch.zeros(5, 3, 12, 12)).shape == (5, 432)


@pytest.mark.parametrize("transposed", [0, 1])
def test_linear_layers_in_all_their_spellings(transposed, tmp_path):
    flat = helper.make_node("Flatten", ["x"], ["flat"])
    gemm = helper.make_node(
        "Gemm", ["flat", "w", "b"], ["g"], transB=transposed, alpha=0.5, beta=2.0
    )
    matmul = helper.make_node("MatMul", ["g", "m"], ["y"])
    shape = (7, 432) if transposed else (432, 7)
    constants = {"w": numbers(*shape), "b": numbers(7), "m": numbers(7, 5)}
    path = graph(tmp_path, flat, gemm, matmul, **constants)
    images = numbers(5, 3, 12, 12)
    judge = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = rebuild(path, 12)(torch.from_numpy(images)).detach().numpy()
    assert given == pytest.approx(judge.run(None, {"x": images})[0], rel=1e-4, abs=1e-4)


def test_residuals_and_a_batch_norm_after_a_convolution(tmp_path):
    """The one is multiplied into the other; only the norm that stands alone keeps statistics."""
    layers = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", "p", "p", "p", "p"], ["n"]),
        helper.make_node("Add", ["n", "x"], ["s"]),
        helper.make_node("BatchNormalization", ["s", "p", "p", "p", "p"], ["y"]),
    ]
    path = graph(tmp_path, *layers, w=numbers(3, 3, 3, 3), p=POSITIVE)
    module = rebuild(path, 12)
    assert sum(isinstance(each, FrozenBatchNorm) for each in module.modules()) == 1
    images = numbers(5, 3, 12, 12)
    judge = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = module.train()(torch.from_numpy(images)).detach().numpy()
    assert given == pytest.approx(judge.run(None, {"x": images})[0], abs=1e-4)


REFUSED = {
    "Tanh (node 'it') cannot be trained here; known operators are: Add": (node("Tanh"), {}),
    "MaxPool (node 'it') cannot be trained here: ceil_mode is 1": (
        node("MaxPool", kernel_shape=[2, 2], ceil_mode=1),
        {},
    ),
    "Conv (node 'it') cannot be trained here: auto_pad is SAME_UPPER": (
        node("Conv", "w", auto_pad="SAME_UPPER"),
        {"w": W},
    ),
    "Conv (node 'it') cannot be trained here: input 2 must be constant": (
        helper.make_node("Conv", ["x", "x"], ["y"], name="it"),
        {},
    ),
    "PRelu (node 'it') cannot be trained here: slopes of shape (12,)": (
        node("PRelu", "s"),
        {"s": numbers(12)},
    ),
    "Reshape (node 'it') cannot be trained here: to [5, -1]": (
        node("Reshape", "s"),
        {"s": np.int64([5, -1])},
    ),
    "Pad (node 'it') cannot be trained here: mode is reflect": (
        node("Pad", "e", mode="reflect"),
        {"e": np.int64([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "MatMul (node 'it') cannot be trained here: it must multiply by a constant matrix": (
        helper.make_node("MatMul", ["x", "x"], ["y"], name="it"),
        {},
    ),
    "ReduceMean (node 'it') cannot be trained here: over axes [1]": (
        node("ReduceMean", "a"),
        {"a": np.int64([1])},
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_known_is_refused_by_name(message, tmp_path):
    operator, constants = REFUSED[message]
    with pytest.raises(ModelRefused) as refused:
        rebuild(graph(tmp_path, operator, **constants), 12)
    assert message in str(refused.value)


def test_a_module_that_gives_other_vectors_is_refused(tmp_path, monkeypatch):
    """The check sees a slope that is off by a hundredth."""
    right = nn.PReLU.forward
    monkeypatch.setattr(nn.PReLU, "forward", lambda self, x: right(self, x) + 0.01 * x)
    with pytest.raises(ModelRefused, match=r"disagree by 0.0.* in a unit vector"):
        rebuild(graph(tmp_path, node("PRelu", "s"), s=SLOPES), 12)


def test_the_side_must_be_the_files(store):
    with pytest.raises(ModelRefused, match="must take 64 x 64 pixels"):
        rebuild(store.weights(store.manifest("sface")), 64)


def test_the_tolerance_is_small_beside_what_decisions_turn_on():
    assert agreement.TOLERANCE <= 1e-4
