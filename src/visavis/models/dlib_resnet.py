"""dlib's face recognition network read from dlib's own file format and written as ONNX.

dlib is not needed to run it: as a graph it runs where all other networks run, in a tenth of the
time. The layers are those of Davis King's ``dnn_face_recognition_ex.cpp``, a residual network (He
et al. 2015, arXiv:1512.03385) of 29 convolutions with half of ResNet-34's filters. The file stores
the numbers of each layer behind the layer's name, first layer first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import ModelRefused

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

SIZE = 150
"""Height and width in pixels that the network takes."""
_BLOCKS = [32] * 3 + [-64] + [64] * 3 + [-128] + [128] * 2 + [-256] + [256] * 2 + [-256]
"""Filters of each residual block; negative where it halves height and width."""
_DIMENSIONS = 128


def read(path: Path) -> ModelProto:
    """Read ``dlib_face_recognition_resnet_model_v1.dat`` or another of the same layers.

    Returns
    -------
    A graph of (1, 3, 150, 150) pixels, less their mean and divided by their scale, to (1, 128).

    Raises
    ------
    ModelRefused
        When the file does not hold these layers.
    """
    try:
        layers = _Layers(path.read_bytes())
        return _network(layers)
    except (ValueError, IndexError) as broken:
        raise ModelRefused(f"{path.name}: not dlib's face recognition network: {broken}") from None


class _Layers:
    """The file, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def convolution(self, filters: int, channels: int, size: int) -> list[NDArray[np.float32]]:
        """Give (F, C, S, S) weights and (F,) biases, the affine layer that follows multiplied in.

        The affine layer is what a batch norm became after training.
        """
        numbers = self._tensor(b"\x01\x05con_4")
        weight = numbers[:-filters].reshape(filters, channels, size, size)
        gamma, beta = self._tensor(b"\x01\x07affine_").reshape(2, filters)
        return [weight * gamma[:, None, None, None], numbers[-filters:] * gamma + beta]

    def last(self, inputs: int, outputs: int) -> NDArray[np.float32]:
        """Give the (inputs, outputs) weights of the layer that has no bias."""
        return self._tensor(b"\x01\x04fc_2", skip=2).reshape(inputs, outputs)

    def _tensor(self, name: bytes, skip: int = 0) -> NDArray[np.float32]:
        """Give the numbers behind the next layer of that name: 4-byte little-endian floats."""
        self._at = self._data.index(name, self._at) + len(name)
        version, *shape = [self._integer() for _ in range(skip + 5)][skip:]
        if version != 2:
            raise ValueError(f"tensors of version {version}")
        count = int(np.prod(shape))
        numbers = np.frombuffer(self._data, "<f4", count, self._at).astype(np.float32)
        self._at += 4 * count
        return numbers

    def _integer(self) -> int:
        """Read a number: a byte that says how many bytes follow, then these, the lowest first."""
        size = self._data[self._at]
        if not 1 <= size <= 8:
            raise ValueError(f"a number of {size} bytes")
        start = self._at + 1
        self._at = start + size
        return int.from_bytes(self._data[start : self._at], "little")


def _network(layers: _Layers) -> ModelProto:
    """Lay out the graph; where two sizes to be added differ, dlib appends zeros."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    nodes: list[NodeProto] = []
    constants: dict[str, NDArray[Any]] = {}

    def put(kind: str, *inputs: str, **how: Any) -> str:  # noqa: ANN401 - what ONNX takes
        nodes.append(helper.make_node(kind, list(inputs), [f"{kind}{len(nodes)}"], **how))
        return str(nodes[-1].output[0])

    def constant(value: NDArray[Any]) -> str:
        name = f"constant{len(constants)}"
        constants[name] = value
        return name

    def convolve(x: str, shape: tuple[int, int, int], stride: int) -> str:
        values = [constant(value) for value in layers.convolution(*shape)]
        pad = 0 if stride > 1 else shape[2] // 2  # dlib's default
        return put("Conv", x, *values, strides=[stride] * 2, pads=[pad] * 4)

    def padded(x: str, channels: int, side: int) -> str:
        """Append zeros: ``channels`` planes, and ``side`` rows and columns."""
        ends = np.array([0, 0, 0, 0, 0, channels, side, side], np.int64)
        return put("Pad", x, constant(ends)) if ends.any() else x

    x = put("Relu", convolve("image", (32, 3, 7), 2))
    x = put("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    channels, side = 32, 35
    for block in _BLOCKS:
        filters, stride = abs(block), 2 if block < 0 else 1
        past = x
        x = put("Relu", convolve(x, (filters, channels, 3), stride))
        x = convolve(x, (filters, filters, 3), 1)
        if stride == 2:
            past = put("AveragePool", past, kernel_shape=[2, 2], strides=[2, 2])
            convolved, side = (side - 3) // 2 + 1, side // 2
            x = padded(x, 0, side - convolved)
            past = padded(past, filters - channels, 0)
        x = put("Relu", put("Add", x, past))
        channels = filters
    x = put("Flatten", put("GlobalAveragePool", x))
    x = put("MatMul", x, constant(layers.last(channels, _DIMENSIONS)))
    graph = helper.make_graph(
        nodes,
        "dlib_resnet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, (1, _DIMENSIONS))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
