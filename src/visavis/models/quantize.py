"""The encoder in int8: activation ranges measured beforehand, weights quantised at first use.

What is stored is small: for each layer the range of its input and a correction of its bias. The
weights themselves come from the digest-checked file, quantised here, symmetric and per output
channel. ``benchmarks/quantize_encoder.py`` says how the ranges were found and what they cost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import ModelRefused

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

_LEVELS = 256
_LAYERS = {"Convolution", "GroupConvolution", "MatMul"}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What turns an fp32 encoder into its int8 form.

    Attributes
    ----------
    ranges
        Layer name to (low, high): the real values that the 256 steps of its input span. A layer
        that is not named stays in fp32.
    bias
        Layer name to (C,) float32, added to the layer's output: the mean error that quantising
        the layer makes, taken back (Nagel et al. 2019, arXiv:1906.04721, sec. 4.2).
    digest
        SHA-256 of the file, part of the encoder's id.
    """

    ranges: dict[str, tuple[float, float]]
    bias: dict[str, NDArray[np.float32]]
    digest: str


def read_table(path: Path) -> Table:
    """Read what ``write_table`` wrote; raises ModelRefused when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            layers = [str(name) for name in stored["layers"]]
            ranges = dict(zip(layers, map(tuple, stored["ranges"].tolist()), strict=True))
            biased = [str(name) for name in stored["biased"]]
            parts = np.split(stored["bias"].astype(np.float32), np.cumsum(stored["sizes"])[:-1])
        bias = dict(zip(biased, parts, strict=bool(biased)))
    except (OSError, ValueError, KeyError) as broken:
        raise ModelRefused(f"{path.name}: damaged quantisation table: {broken}") from broken
    return Table(ranges, bias, hashlib.sha256(path.read_bytes()).hexdigest())


def write_table(
    path: Path,
    ranges: dict[str, tuple[float, float]],
    bias: dict[str, NDArray[np.float32]],
) -> None:
    """Store a table as one compressed NumPy archive, biases in half precision."""
    flat = np.concatenate([*bias.values(), np.zeros(0)]).astype(np.float16)
    np.savez_compressed(
        path,
        layers=np.array(list(ranges)),
        ranges=np.array(list(ranges.values()), np.float32).reshape(-1, 2),
        biased=np.array(list(bias)),
        sizes=np.array([len(b) for b in bias.values()], np.int32),
        bias=flat,
    )


def layers(model: ov.Model) -> dict[str, Any]:
    """Give the nodes that can run in int8 by the names they have in the ONNX file."""
    found = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() in _LAYERS:
            found[node.get_friendly_name().removesuffix("/WithoutBiases")] = node
    return found


def quantize(model: ov.Model, table: Table) -> None:
    """Put the quantisation steps of ``table`` into an fp32 model, in place.

    Raises
    ------
    ModelRefused
        When the table names a layer that the model does not have.
    """
    from openvino import opset13 as op  # noqa: PLC0415

    nodes = layers(model)
    unknown = (set(table.ranges) | set(table.bias)) - set(nodes)
    if unknown:
        raise ModelRefused(f"quantisation table: no layer {sorted(unknown)[0]!r} in the network")
    for name, (low, high) in table.ranges.items():
        node = nodes[name]
        ends = [np.float32(low), np.float32(high)]
        source = op.fake_quantize(node.input_value(0), *ends, *ends, _LEVELS)
        node.input(0).replace_source_output(source.output(0))
        weight = _constant(node.input_value(1).get_node())
        axes = tuple(range(1, weight.ndim))
        if node.get_type_name() == "GroupConvolution":
            axes = tuple(range(2, weight.ndim))
        bound = np.maximum(np.abs(weight).max(axis=axes, keepdims=True), np.float32(1e-12))
        stored = op.constant(weight)
        quantized = op.fake_quantize(stored, -bound, bound, -bound, bound, _LEVELS - 1)
        node.input(1).replace_source_output(quantized.output(0))
    for name, shift in table.bias.items():
        node = nodes[name]
        users = list(node.output(0).get_target_inputs())
        shape = (1, -1) if node.get_type_name() == "MatMul" else (1, -1, 1, 1)
        added = op.add(node.output(0), op.constant(shift.astype(np.float32).reshape(shape)))
        for user in users:
            user.replace_source_output(added.output(0))
    model.validate_nodes_and_infer_types()


def _constant(node: Any) -> NDArray[np.float32]:  # noqa: ANN401 - an OpenVINO node of any kind
    """Evaluate the constant that feeds a layer's weights, reshaped or not."""
    if node.get_type_name() == "Constant":
        return np.array(node.data, np.float32)
    values = [_constant_any(node.input_value(i).get_node()) for i in range(node.get_input_size())]
    if node.get_type_name() == "Reshape":
        shape = tuple(node.output(0).get_shape())
        return np.asarray(values[0], np.float32).reshape(shape)
    if node.get_type_name() == "Transpose":
        return np.asarray(values[0], np.float32).transpose(values[1])
    raise ModelRefused(f"quantisation: weights made by {node.get_type_name()} are not understood")


def _constant_any(node: Any) -> NDArray[Any]:  # noqa: ANN401
    return np.array(node.data) if node.get_type_name() == "Constant" else np.zeros(0)
