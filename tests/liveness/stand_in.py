"""A test double for a liveness network: bright pictures are live, dark ones are attacks.

It knows nothing of attacks. It is a real ONNX model, so that the tests go the whole way from the
command line through the store to a score that a reader checks by head: the mean brightness of the
face's surroundings, in [0, 1].
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import PIL.Image
from onnx import TensorProto, helper, numpy_helper

from visavis.image import open_image
from visavis.models import Kind, Manifest, ModelStore, Preprocessing, Surroundings

if TYPE_CHECKING:
    from pathlib import Path

NAME = "bright"
THRESHOLD = 0.2
SIZE = 32


def add_bright(store: ModelStore, folder: Path, name: str = NAME) -> str:
    """Put the stand-in into a store; gives its name."""
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    axes = numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes")
    flat = numpy_helper.from_array(np.array([-1, 1], np.int64), "flat")
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=1),
        helper.make_node("Reshape", ["m", "flat"], ["live"]),
        helper.make_node("Sub", ["one", "live"], ["attack"]),
        helper.make_node("Concat", ["attack", "live"], ["y"], axis=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph(nodes, "bright", [x], [y], [one, axes, flat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    manifest = Manifest(
        name=name,
        kind=Kind.LIVENESS,
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        licence="none",
        origin="a test double",
        preprocessing=Preprocessing(scale=(255.0, 255.0, 255.0)),
        surroundings=Surroundings(scale=2.0, size=SIZE),
    )
    points = folder / f"{name}.fp32.points.json"
    rates = {"bpcer": {"value": 0.01}, "apcer": {"value": 0.02}, "worst": "dark"}
    at = [("bpcer", 0.01, THRESHOLD), ("apcer", 0.01, 0.9)]
    points.write_text(
        json.dumps({"points": [{"rate": r, "at": a, "threshold": t, **rates} for r, a, t in at]}),
        "utf-8",
    )
    store.add(manifest, path, {points.name: points})
    return name


def darkened(photograph: Path, folder: Path) -> Path:
    """An "attack": the same photograph, much darker, and still with a face to be found."""
    pixels = (open_image(photograph).pixels * 0.3).astype(np.uint8)
    path = folder / f"dark-{photograph.stem}.png"
    PIL.Image.fromarray(pixels).save(path)
    return path
