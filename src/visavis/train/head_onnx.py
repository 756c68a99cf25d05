"""A pair head as ONNX: two batches of encodings in, the probability of each pair out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.head import Form

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto

    from visavis.head import PairHead

_OPSET = 17
_IR_VERSION = 9
"""Old enough for every runtime that knows the opset."""
_LEAST = 1e-30


def head_onnx(head: PairHead) -> ModelProto:
    """Give the graph: inputs ``a`` and ``b`` (B, D) float32, output ``probability`` (B,) float32.

    B is symbolic. The head's id, form, encoder and training data lie in the metadata.
    """
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    length = len(head.weights)
    constants: dict[str, NDArray[Any]] = {
        "minus_weights": (-head.slope * head.weights).astype(np.float32)[:, None],
        "bias": np.array([head.bias], np.float32),
        "least": np.array([_LEAST], np.float32),
        "last": np.array([1], np.int64),
    }
    nodes = [helper.make_node("Sub", ["a", "b"], ["apart"])]
    nodes += [helper.make_node(*node) for node in _FEATURES[head.form]]
    nodes += [
        helper.make_node("MatMul", ["features", "minus_weights"], ["weighted"]),
        helper.make_node("Squeeze", ["weighted", "last"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "pair_head",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", length])
            for name in ("a", "b")
        ],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["B"])],
        [numpy_helper.from_array(v, name) for name, v in constants.items() if name in used],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    told = {"id": head.id, "form": str(head.form), "encoder": head.encoder}
    helper.set_model_props(model, {**told, "trained_on": head.trained_on})
    onnx.checker.check_model(model, full_check=True)
    return model


_FEATURES: dict[Form, list[tuple[str, list[str], list[str]]]] = {
    Form.ABSOLUTE: [("Abs", ["apart"], ["features"])],
    Form.SQUARED: [("Mul", ["apart", "apart"], ["features"])],
    Form.CHI_SQUARE: [
        ("Mul", ["apart", "apart"], ["squared"]),
        ("Abs", ["a"], ["size_a"]),
        ("Abs", ["b"], ["size_b"]),
        ("Add", ["size_a", "size_b"], ["sizes"]),
        ("Max", ["sizes", "least"], ["divisor"]),
        ("Div", ["squared", "divisor"], ["features"]),
    ],
}
"""From ``apart``, a - b, to ``features``, as ``head.features`` makes them."""


def write_head_onnx(head: PairHead, path: Path) -> None:
    """Write the graph."""
    import onnx  # noqa: PLC0415

    onnx.save(head_onnx(head), path)
