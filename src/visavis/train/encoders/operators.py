"""ONNX operators as torch modules, with ONNX's weights as their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from onnx import NodeProto
    from torch import Tensor


class Refusal(ValueError):
    """Why an operator cannot be rebuilt; ``rebuild`` adds which node it was."""


class Node:
    """An ONNX node with its attributes in Python's own types.

    Attributes
    ----------
    constants
        What stands at each input that is constant, None for those that are computed.
    """

    def __init__(self, node: NodeProto, constants: dict[str, NDArray[Any]]) -> None:
        from onnx import helper  # noqa: PLC0415

        self.kind = node.op_type
        self._attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.constants = [constants.get(name) for name in node.input]
        self._given = [bool(name) for name in node.input]
        self.computed = [name for name in node.input if name and name not in constants]

    def get(self, name: str, usual: Any) -> Any:  # noqa: ANN401 - ONNX has many types
        """Give an attribute."""
        value = self._attributes.get(name, usual)
        return value.decode() if isinstance(value, bytes) else value

    def only(self, **values: Any) -> None:  # noqa: ANN401
        """Refuse attributes that are there and have other values than these."""
        for name, value in values.items():
            if self.get(name, value) != value:
                raise Refusal(f"{name} is {self.get(name, value)}, and only {value} is known")

    def constant(self, position: int) -> NDArray[Any]:
        """Give the constant at an input."""
        if position >= len(self.constants) or (value := self.constants[position]) is None:
            raise Refusal(f"input {position + 1} must be constant")
        return value

    def tensor(self, position: int) -> Tensor:
        """Give the constant at an input, in fp32 and in memory of its own."""
        return torch.from_numpy(np.array(self.constant(position), np.float32))

    def number(self, position: int, name: str, usual: float) -> float:
        """Give an optional number: an input in younger graphs, an attribute in older ones."""
        given = self.constant(position).item() if self.has(position) else self.get(name, usual)
        return float(given)

    def has(self, position: int) -> bool:
        """Say whether an optional input is given."""
        return position < len(self._given) and self._given[position]


class FrozenBatchNorm(nn.Module):
    """Batch norm by the statistics of the pretraining, also in training; scale and shift learn.

    Fine-tuning with few people would else replace statistics of millions of faces by those of
    small batches.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        return functional.batch_norm(
            x, self.mean, self.variance, self.weight, self.bias, training=False, eps=self.eps
        )


class Arithmetic(nn.Module):
    """Two inputs, or an input and a constant that is not learnt, put together by one operation.

    Parameters
    ----------
    first
        Whether the constant comes before the input.
    """

    constant: Tensor | None

    def __init__(
        self,
        operation: Callable[[Tensor, Tensor], Tensor],
        constant: Tensor | None,
        *,
        first: bool,
    ) -> None:
        super().__init__()
        self.operation = operation
        self.register_buffer("constant", constant)
        self.first = first

    def forward(self, *inputs: Tensor) -> Tensor:
        """Tensors of shapes that broadcast."""
        if self.constant is None:
            return self.operation(*inputs)
        pair = (self.constant, *inputs) if self.first else (*inputs, self.constant)
        return self.operation(*pair)


class Pad(nn.Module):
    """Zeros around the maps, and as further channels."""

    def __init__(self, ends: Sequence[int]) -> None:
        super().__init__()
        half = len(ends) // 2
        pairs = zip(ends[:half], ends[half:], strict=True)  # ONNX: first axis first, starts, ends
        self.ends = [end for pair in reversed(list(pairs)) for end in pair]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same or larger."""
        return functional.pad(x, self.ends)


class Concatenation(nn.Module):
    """Inputs behind one another."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """Tensors that differ in one axis at most."""
        return torch.cat(inputs, self.axis)


class Mean(nn.Module):
    """The mean of each map."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, 1) or (B, C)."""
        return x.mean((2, 3), keepdim=self.keeps)


def _convolution(node: Node) -> nn.Module:
    node.only(auto_pad="NOTSET")
    weight = node.tensor(1)
    if weight.ndim != 4:
        raise Refusal(f"its weights have {weight.ndim} axes, and only images are known")
    groups, (top, left, bottom, right) = node.get("group", 1), node.get("pads", [0] * 4)
    even = (top, left) == (bottom, right)
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        tuple(node.get("strides", [1, 1])),
        (top, left) if even else 0,
        tuple(node.get("dilations", [1, 1])),
        groups,
        bias=node.has(2),
    )
    layer.weight = nn.Parameter(weight)
    if node.has(2):
        layer.bias = nn.Parameter(node.tensor(2))
    return layer if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), layer)


def _batch_norm(node: Node) -> nn.Module:
    node.only(training_mode=0)
    return FrozenBatchNorm(*(node.tensor(i) for i in range(1, 5)), eps=node.get("epsilon", 1e-5))  # type: ignore[arg-type,misc]


def _slopes(node: Node) -> nn.Module:
    slope = node.tensor(1)
    shape = tuple(slope.shape[-3:])
    if slope.numel() > 1 and (len(shape) < 3 or shape[1:] != (1, 1) or slope.shape[0] not in shape):
        raise Refusal(f"slopes of shape {tuple(slope.shape)}: one a channel, or one, is known")
    layer = nn.PReLU(slope.numel())
    layer.weight = nn.Parameter(slope.flatten())
    return layer


def _linear(node: Node) -> nn.Module:
    """Gemm, or MatMul by a constant on its right."""
    node.only(transA=0)
    if node.constants[0] is not None or node.constants[1] is None or node.constants[1].ndim != 2:
        raise Refusal("it must multiply by a constant matrix on its right")
    weight = node.tensor(1) if node.get("transB", 0) else node.tensor(1).T.contiguous()
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=node.has(2))
    layer.weight = nn.Parameter(weight * node.get("alpha", 1.0))
    if node.has(2):
        bias = node.tensor(2) * node.get("beta", 1.0)
        layer.bias = nn.Parameter(bias.flatten().expand(weight.shape[0]).clone())
    return layer


def _flatten(node: Node) -> nn.Module:
    if node.kind == "Flatten":
        node.only(axis=1)
    else:
        shape = node.constant(1).tolist()
        if len(shape) != 2 or shape[0] not in {-1, 0, 1}:
            raise Refusal(f"to {shape}, and only one row a face is known")
    return nn.Flatten(1)


def _pooling(node: Node) -> nn.Module:
    node.only(auto_pad="NOTSET", ceil_mode=0, dilations=[1, 1])
    kernel, strides = tuple(node.get("kernel_shape", ())), tuple(node.get("strides", (1, 1)))
    pads = node.get("pads", [0] * 4)
    if len(kernel) != 2 or pads[:2] != pads[2:]:
        raise Refusal(f"kernel {kernel} with pads {pads}: only images padded evenly are known")
    if node.kind == "MaxPool":
        return nn.MaxPool2d(kernel, strides, tuple(pads[:2]))
    counts = bool(node.get("count_include_pad", 0))
    return nn.AvgPool2d(kernel, strides, tuple(pads[:2]), count_include_pad=counts)


def _mean(node: Node) -> nn.Module:
    if node.kind == "GlobalAveragePool":
        return Mean(keeps=True)
    axes = node.constant(1).tolist() if node.has(1) else node.get("axes", [])
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise Refusal(f"over axes {list(axes)}, and only over height and width is known")
    return Mean(keeps=bool(node.get("keepdims", 1)))


def _padding(node: Node) -> nn.Module:
    node.only(mode="constant")
    ends = node.constant(1).tolist() if node.has(1) else node.get("pads", [])
    value = node.number(2, "value", 0.0)
    if len(ends) != 8 or min(ends) < 0 or value or ends[0] or ends[4] or node.has(3):
        raise Refusal(f"ends {list(ends)} with {value}: only zeros added to images are known")
    return Pad(ends)


def _clip(node: Node) -> nn.Module:
    return nn.Hardtanh(node.number(1, "min", -torch.inf), node.number(2, "max", torch.inf))


def _arithmetic(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Node], nn.Module]:
    def make(node: Node) -> nn.Module:
        first = node.constants[0] is not None
        constant = node.tensor(0 if first else 1) if len(node.computed) == 1 else None
        return Arithmetic(operation, constant, first=first)

    return make


def _concatenation(node: Node) -> nn.Module:
    if len(node.computed) != len(node.constants):
        raise Refusal("it joins constants, which is not known")
    return Concatenation(node.get("axis", 1))


MAKERS: dict[str, Callable[[Node], nn.Module]] = {
    "Add": _arithmetic(torch.add),
    "AveragePool": _pooling,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concatenation,
    "Conv": _convolution,
    "Div": _arithmetic(torch.div),
    "Dropout": lambda _: nn.Identity(),
    "Flatten": _flatten,
    "Gemm": _linear,
    "GlobalAveragePool": _mean,
    "Identity": lambda _: nn.Identity(),
    "LeakyRelu": lambda node: nn.LeakyReLU(node.get("alpha", 0.01)),
    "MatMul": _linear,
    "MaxPool": _pooling,
    "Mul": _arithmetic(torch.mul),
    "PRelu": _slopes,
    "Pad": _padding,
    "ReduceMean": _mean,
    "Relu": lambda _: nn.ReLU(),
    "Reshape": _flatten,
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Sub": _arithmetic(torch.sub),
}
"""By ONNX's name of the operator."""
