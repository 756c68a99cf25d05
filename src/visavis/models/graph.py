"""Networks made fit to run, as ONNX: constants folded, batch norms fused, sizes left open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import ModelRefused
from visavis.models import dlib_resnet
from visavis.models.alignment import ARCFACE_112
from visavis.models.manifest import Format, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

    Constants = dict[str, NDArray[Any]]

VERSION = "4"
"""Goes into the name of what is cached; raised whenever this file gives another graph."""


def prepare(
    path: Path, kind: Kind, size: int = ARCFACE_112.size, written: Format = Format.ONNX
) -> ModelProto:
    """Read a network's file and simplify it without changing what it computes.

    Weights stored as block-quantised integers are unfolded to fp32, which OpenVINO cannot read
    otherwise and ONNX Runtime would redo at each run; batch norms go into the convolutions before
    them; a detector's height and width are left open.

    Parameters
    ----------
    size
        Height and width in pixels that an encoder must take.

    Raises
    ------
    ModelRefused
        When the file is no graph with one image input, with the reason.
    """
    import onnx  # noqa: PLC0415 - 0.1 s, and only the first run needs it

    model = _read(path) if written is Format.ONNX else dlib_resnet.read(path)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    ends = {output.name for output in model.graph.output}
    try:
        nodes = _fuse_batch_norms(_fold_constants(model, constants, ends), constants, ends)
    except Exception as broken:  # the reference raises whatever an operator stumbles over
        raise ModelRefused(f"{path.name}: cannot be simplified: {broken}") from broken
    _rebuild(model.graph, nodes, constants)
    _open_sizes(model.graph, kind, size, path.name)
    return model


def _read(path: Path) -> ModelProto:
    import onnx  # noqa: PLC0415

    try:
        model = onnx.load(path, load_external_data=False)
        inside = all(i.data_location != onnx.TensorProto.EXTERNAL for i in model.graph.initializer)
        if inside:  # else the checker would look for the other file
            onnx.checker.check_model(model)
    except Exception as broken:  # protobuf and the checker raise classes of their own
        raise ModelRefused(f"{path.name}: not a valid ONNX file: {broken}") from broken
    if not inside:
        raise ModelRefused(f"{path.name}: its weights are in another file; save it as one file")
    return model


def _fold_constants(model: ModelProto, constants: Constants, ends: set[str]) -> list[NodeProto]:
    """Evaluate every node whose inputs are constants, by ONNX's own reference."""
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

    opsets = {o.domain: o.version for o in model.opset_import}
    kept = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Dropout" and node.output[0] not in ends:
            _bypass(model.graph, node)
        elif node.op_type not in _RANDOM and all(name in constants for name in inputs):
            run = ReferenceEvaluator(node, opsets=opsets).run
            values: Any = run(None, {name: constants[name] for name in inputs})
            constants.update(zip(node.output, values, strict=True))
        else:
            kept.append(node)
    return kept


_FLOAT = 1  # onnx.TensorProto.FLOAT
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"}


def _bypass(graph: GraphProto, node: NodeProto) -> None:
    for user in graph.node:
        for position, name in enumerate(user.input):
            if name == node.output[0]:
                user.input[position] = node.input[0]


def _fuse_batch_norms(
    nodes: list[NodeProto], constants: Constants, ends: set[str]
) -> list[NodeProto]:
    """Multiply each batch norm into the convolution before it (Ioffe and Szegedy 2015, alg. 2)."""
    makers = {name: node for node in nodes for name in node.output}
    users = dict.fromkeys(ends, 1)
    for node in nodes:
        for name in node.input:
            users[name] = users.get(name, 0) + 1
    kept = []
    for node in nodes:
        conv = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if (
            conv is None
            or conv.op_type != "Conv"
            or users[node.input[0]] != 1
            or not all(name in constants for name in [*node.input[1:], *conv.input[1:]])
        ):
            kept.append(node)
            continue
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        gamma, beta, mean, variance = (
            constants[name].astype(np.float64) for name in node.input[1:]
        )
        factor = gamma / np.sqrt(variance + epsilon)
        weight = constants[conv.input[1]]
        weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        bias = constants[conv.input[2]] if len(conv.input) > 2 else 0.0
        constants[f"{conv.output[0]}.weight"] = weight.astype(np.float32)
        constants[f"{conv.output[0]}.bias"] = ((bias - mean) * factor + beta).astype(np.float32)
        inputs = [conv.input[0], f"{conv.output[0]}.weight", f"{conv.output[0]}.bias"]
        del conv.input[:]
        conv.input.extend(inputs)
        conv.output[0] = node.output[0]
    return kept


def _rebuild(graph: GraphProto, nodes: list[NodeProto], constants: Constants) -> None:
    import onnx  # noqa: PLC0415

    used = {name for node in nodes for name in node.input}
    used |= {output.name for output in graph.output}
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in constants.items()
        if name in used
    )
    inputs = [i for i in graph.input if i.name in used and i.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    del graph.value_info[:]


def _open_sizes(graph: GraphProto, kind: Kind, size: int, name: str) -> None:
    """Leave the batch open and, for a detector, the height and width too."""
    if len(graph.input) != 1:
        names = ", ".join(i.name for i in graph.input) or "none"
        raise ModelRefused(f"{name}: one image input is needed, found {names}")
    shape = graph.input[0].type.tensor_type.shape.dim
    sizes = [d.dim_value for d in shape]
    if graph.input[0].type.tensor_type.elem_type != _FLOAT:
        raise ModelRefused(f"{name}: input must be float32; save the network without a cast before")
    if len(sizes) != 4 or sizes[1] not in {0, 3}:
        raise ModelRefused(f"{name}: input must be (N, 3, H, W), found {sizes}")
    if kind is not Kind.DETECTOR and any(s not in {0, size} for s in sizes[2:]):
        raise ModelRefused(
            f"{name}: the encoder must take {size} x {size} pixels, found {sizes[2:]}"
        )
    shape[0].dim_param = "batch"
    if kind is Kind.DETECTOR:
        shape[2].dim_param, shape[3].dim_param = "height", "width"
        for output in graph.output:
            for dim in output.type.tensor_type.shape.dim[1:2]:
                dim.dim_param = "anchors"
    for output in graph.output:
        if output.type.tensor_type.shape.dim:
            output.type.tensor_type.shape.dim[0].dim_param = "batch"
