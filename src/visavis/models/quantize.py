"""The encoder in int8: activation ranges measured beforehand, weights quantised at first use.

What is stored is small: for each layer the range of its input, a scale for each of the input's
channels, and a correction of its bias. The weights themselves come from the digest-checked file,
quantised here, symmetric and per output channel. ``benchmarks/quantize_encoder.py`` says how the
table was found and what it costs in accuracy.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import ModelRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

_LEVELS = 256
_ALIKE = 0.97
"""Correlation between neighbouring values, and between the planes, that rounding expects."""
_STRETCHES = np.linspace(1.0, 1.15, 24)
"""Lengths of a step that rounding tries, the shortest that spans the weights being 1."""
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
_LAYERS = {"Convolution", "GroupConvolution", "MatMul"}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What turns an fp32 encoder into its int8 form.

    Attributes
    ----------
    ranges
        Layer name to (low, high): what the 256 steps of its input span, after each channel was
        divided by its scale. A layer that is not named stays in fp32.
    scales
        Layer name to (C,) float32, the scale of each channel of its input; 1 where not named. The
        weights are multiplied by it, so that the layer computes the same, but channels of small
        range get as many steps as the others (cross-layer equalisation, Nagel et al. 2019,
        arXiv:1906.04721, sec. 4.1; Xiao et al. 2023, arXiv:2211.10438, SmoothQuant).
    bias
        Layer name to (C,) float32, added to the layer's output: the mean error that quantising
        the layer makes, taken back (Nagel et al. 2019, sec. 4.2).
    digest
        SHA-256 of the file, part of the encoder's id.
    """

    ranges: dict[str, tuple[float, float]]
    scales: dict[str, NDArray[np.float32]]
    bias: dict[str, NDArray[np.float32]]
    digest: str = ""


def read_table(path: Path) -> Table:
    """Read what ``write_table`` wrote; raises ModelRefused when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = [str(name) for name in stored["layers"]]
            ranges = dict(zip(names, map(tuple, stored["ranges"].tolist()), strict=True))
            exponents = _split(stored, "scale")
            bias = {k: v.astype(np.float32) for k, v in _split(stored, "bias").items()}
    except _DAMAGED as broken:
        raise ModelRefused(f"{path.name}: damaged quantisation table: {broken}") from broken
    scales = {k: scale_of(v) for k, v in exponents.items()}
    return Table(ranges, scales, bias, hashlib.sha256(path.read_bytes()).hexdigest())


def write_table(path: Path, table: Table) -> None:
    """Store a table as one compressed NumPy archive: biases in half precision, scales in a byte."""
    arrays: dict[str, Any] = {
        "layers": np.array(list(table.ranges), np.str_),
        "ranges": np.array(list(table.ranges.values()), np.float32).reshape(-1, 2),
        **_joined("scale", {k: exponent_of(v) for k, v in table.scales.items()}, np.int8),
        **_joined("bias", table.bias, np.float16),
    }
    np.savez_compressed(path, **arrays)


def exponent_of(scale: NDArray[np.float32]) -> NDArray[np.int8]:
    """Give scales as they are stored: eighths of a power of two, from 2**-16 to nearly 2**16."""
    exponent: NDArray[np.int8] = np.clip(np.rint(8 * np.log2(scale)), -128, 127).astype(np.int8)
    return exponent


def scale_of(exponent: NDArray[np.int8]) -> NDArray[np.float32]:
    """Give stored scales as numbers."""
    scale: NDArray[np.float32] = np.exp2(exponent / 8.0).astype(np.float32)
    return scale


def _joined(
    kind: str, rows: Mapping[str, NDArray[Any]], dtype: type[np.generic]
) -> dict[str, NDArray[Any]]:
    return {
        f"{kind}_layers": np.array(list(rows), np.str_),
        f"{kind}_sizes": np.array([len(row) for row in rows.values()], np.int32),
        f"{kind}_values": np.concatenate([*rows.values(), np.zeros(0)]).astype(dtype),
    }


def _split(stored: Mapping[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    names, sizes = stored[f"{kind}_layers"], stored[f"{kind}_sizes"]
    values = stored[f"{kind}_values"]
    if sizes.sum() != len(values) or len(sizes) != len(names):
        raise ValueError(f"{kind} values do not add up")
    ends = np.cumsum(sizes)
    return {str(n): values[e - s : e] for n, s, e in zip(names, sizes, ends, strict=True)}


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
    unknown = (set(table.ranges) | set(table.scales) | set(table.bias)) - set(nodes)
    if unknown:
        raise ModelRefused(f"quantisation table: no layer {sorted(unknown)[0]!r} in the network")
    for name, (low, high) in table.ranges.items():
        _quantize_layer(nodes[name], low, high, table.scales.get(name, np.ones(1, np.float32)))
    for name, shift in table.bias.items():
        node = nodes[name]
        users = list(node.output(0).get_target_inputs())
        shape = (1, -1) if node.get_type_name() == "MatMul" else (1, -1, 1, 1)
        added = op.add(node.output(0), op.constant(shift.astype(np.float32).reshape(shape)))
        for user in users:
            user.replace_source_output(added.output(0))
    model.validate_nodes_and_infer_types()


def _quantize_layer(node: Any, low: float, high: float, scale: NDArray[np.float32]) -> None:  # noqa: ANN401
    from openvino import opset13 as op  # noqa: PLC0415

    step = (high - low) / (_LEVELS - 1)
    # Zero, with which convolutions pad, must be one of the steps; where it is not, all values move
    # by less than half a step, which the correction of the bias takes back.
    zero = float(np.rint(-low / step))
    out = [np.float32(-zero * step), np.float32((_LEVELS - 1 - zero) * step)]
    kind = node.get_type_name()
    shape: tuple[int, ...]
    inner: tuple[int, ...]
    axes: tuple[int, ...]
    weight = weights(node)
    if kind == "MatMul":
        features = int(node.input_value(0).get_partial_shape()[1].get_length())
        scale = np.repeat(scale, features // len(scale))
        shape, inner, axes = (1, -1), (1, -1), (1,)
    elif kind == "GroupConvolution":
        shape, inner, axes = (1, -1, 1, 1), (-1, 1, 1, 1, 1), (2, 3, 4)
    else:
        shape, inner, axes = (1, -1, 1, 1), (1, -1, 1, 1), (1, 2, 3)
    ends = [op.constant((np.float32(e) * scale).reshape(shape)) for e in (low, high)]
    # The division by the scale is the difference between the ranges before and after.
    source = op.fake_quantize(node.input_value(0), *ends, *out, _LEVELS)
    node.input(0).replace_source_output(source.output(0))
    weight = weight * scale.reshape(inner)
    bound = np.maximum(np.abs(weight).max(axis=axes, keepdims=True), np.float32(1e-12))
    if kind != "MatMul" and weight.shape[-2:] != (1, 1):
        weight, bound = _rounded(weight, bound)
    quantized = op.fake_quantize(op.constant(weight), -bound, bound, -bound, bound, _LEVELS - 1)
    node.input(1).replace_source_output(quantized.output(0))


def _rounded(
    weight: NDArray[np.float32], bound: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Round kernels to their steps so that the errors cancel where the input is smooth.

    Neighbouring values of a picture or feature map are alike, so what counts is less each weight's
    error than their sum. Weights are rounded one by one, each one's error spread over those still
    to come (GPTQ, Frantar et al. 2022, arXiv:2210.17323, eq. 3), for an input whose neighbours
    correlate by ``_ALIKE``; of several lengths of the step, each channel gets the one that serves
    it best.
    """
    height, width = weight.shape[-2:]
    y, x = np.divmod(np.arange(height * width), width)
    likeness = _ALIKE ** np.hypot(y[:, None] - y, x[:, None] - x)
    planes = weight.shape[1] if weight.ndim == 4 else 1
    likeness = np.kron(_ALIKE + (1 - _ALIKE) * np.eye(planes), likeness)
    inverse = np.linalg.cholesky(np.linalg.inv(likeness)).T
    limit = _LEVELS // 2 - 1
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    best, bounds = np.zeros_like(flat), bound.reshape(-1, 1).astype(np.float64)
    least = np.full(len(flat), np.inf)
    for stretch in _STRETCHES:
        step = bound.reshape(-1, 1) * (stretch / limit)
        rest = flat / step
        rounded = np.empty_like(rest)
        for i in range(rest.shape[1]):
            rounded[:, i] = np.clip(np.rint(rest[:, i]), -limit, limit)
            error = (rest[:, i] - rounded[:, i]) / inverse[i, i]
            rest[:, i:] -= error[:, None] * inverse[i, i:]
        away = rounded * step - flat
        cost = np.einsum("oi,ij,oj->o", away, likeness, away)
        better = cost < least
        least[better] = cost[better]
        best[better] = (rounded * step)[better]
        bounds[better] = (step * limit)[better]
    return best.reshape(weight.shape).astype(np.float32), bounds.reshape(bound.shape).astype(
        np.float32
    )


def weights(node: Any) -> NDArray[np.float32]:  # noqa: ANN401 - an OpenVINO node of any kind
    """Give a layer's weights, in the shape it takes them."""
    return _constant(node.input_value(1).get_node())


def _constant(node: Any) -> NDArray[np.float32]:  # noqa: ANN401
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
