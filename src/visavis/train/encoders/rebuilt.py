"""An encoder that lies there as ONNX, as a torch module that can learn further."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from visavis.errors import ModelRefused
from visavis.models.graph import prepare
from visavis.models.manifest import Format, Kind
from visavis.train.agreement import check_agreement
from visavis.train.encoders.operators import MAKERS, Node, Refusal

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """One layer's place in the graph.

    Attributes
    ----------
    layer
        Its name among ``Rebuilt.layers``.
    inputs, output
        Names of values.
    spent
        The values that no later step wants, so that they need not be kept.
    """

    layer: str
    inputs: tuple[str, ...]
    output: str
    spent: tuple[str, ...]


class Rebuilt(nn.Module):
    """A feed-forward graph: its layers under their ONNX names, and the order to run them in."""

    def __init__(self, layers: dict[str, nn.Module], steps: tuple[Step, ...], image: str) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.steps = steps
        self.image = image

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, S, S) float32 to (B, D), not of unit length."""
        values = {self.image: faces}
        for step in self.steps:
            inputs = [values[name] for name in step.inputs]
            values[step.output] = self.layers[step.layer](*inputs)
            for name in step.spent:
                del values[name]
        return values[self.steps[-1].output]


def rebuild(path: Path, side: int = 112, written: Format = Format.ONNX) -> Rebuilt:
    """Read an encoder, such as SFace, as a torch module whose weights can be trained.

    Batch norms are multiplied into the convolutions before them, and those that stay keep their
    statistics: a fine-tuning set is small beside what the encoder has seen, and its own statistics
    would be the worse ones. Constants that are added or multiplied (preprocessing inside the
    graph) are not trained; weights, biases, slopes, and batch norms' scale and shift are.

    The module takes what the ONNX takes, that is faces after the manifest's preprocessing.

    Parameters
    ----------
    side
        Height and width in pixels that the encoder takes.
    written
        How the file is written; dlib's network is read as well, at 150 pixels.

    Raises
    ------
    ModelRefused
        When the file is no encoder, when an operator is not one of those that plain feed-forward
        networks need, naming it and its node, or when the module does not give the vectors that
        the runtime gives.
    """
    model = prepare(path, Kind.ENCODER, side, written)
    module = _module(model.graph, path.name)
    check_agreement(module, model, side, path.name)
    return module


def _module(graph: GraphProto, file: str) -> Rebuilt:
    from onnx import numpy_helper  # noqa: PLC0415

    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes = _needed(graph, graph.output[0].name)
    if not nodes:
        raise ModelRefused(f"{file}: nothing in it leads to its first output")
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    layers: dict[str, nn.Module] = {}
    steps = []
    for index, node in enumerate(nodes):
        name = _name(node, index, layers)
        layers[name] = _layer(node, constants, file)
        inputs = tuple(each for each in node.input if each and each not in constants)
        spent = tuple(dict.fromkeys(each for each in inputs if last[each] == index))
        steps.append(Step(name, inputs, node.output[0], spent))
    return Rebuilt(layers, tuple(steps), graph.input[0].name)


def _needed(graph: GraphProto, output: str) -> list[NodeProto]:
    """Give the nodes that the first output depends on, in order; it is made by the last."""
    wanted, nodes = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output[:1]):
            nodes.append(node)
            wanted.update(node.input)
    return nodes[::-1]


def _name(node: NodeProto, index: int, taken: dict[str, nn.Module]) -> str:
    """Give the node's name as a module's name, which holds no dots."""
    name = re.sub(r"\W+", "_", node.name or node.output[0]).strip("_")
    return name if name and name not in taken else f"{node.op_type}_{index}"


def _layer(node: NodeProto, constants: dict[str, NDArray[Any]], file: str) -> nn.Module:
    where = f"{file}: {node.op_type} (node {node.name or node.output[0]!r})"
    maker = MAKERS.get(node.op_type)
    if maker is None or node.domain not in {"", "ai.onnx"}:
        known = ", ".join(MAKERS)
        raise ModelRefused(f"{where} cannot be trained here; known operators are: {known}")
    try:
        return maker(Node(node, constants))
    except Refusal as refused:
        raise ModelRefused(f"{where} cannot be trained here: {refused}") from None
