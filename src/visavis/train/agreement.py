"""Whether a torch module and the ONNX of it give the same encodings, as the runtime computes it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from visavis.errors import ModelRefused
from visavis.models.manifest import Preprocessing
from visavis.models.runtime import Cores, RuntimeName, runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch import nn

TOLERANCE = 1e-4
"""Of any number of a unit vector; d moves by less than 0.005 of what decisions turn on."""
_FACES = 5


def check_agreement(module: nn.Module, model: ModelProto, side: int, name: str) -> None:
    """Compare a module with its prepared graph on random images.

    Parameters
    ----------
    module
        In evaluation mode or without layers that act otherwise in training; on the CPU.
    model
        What ``models.graph.prepare`` gives.
    name
        What the message calls it.

    Raises
    ------
    ModelRefused
        When a number of a unit vector differs by more than ``TOLERANCE``, or is not finite.
    """
    try:
        found = disagreement(module, model, side)
    except (RuntimeError, ValueError, KeyError) as failed:  # shapes that do not meet
        raise ModelRefused(f"{name}: the module cannot be run: {failed}") from failed
    if not found <= TOLERANCE:  # NaN is refused too
        raise ModelRefused(
            f"{name}: the module and the runtime disagree by {found:.2g} in a unit vector, "
            f"allowed is {TOLERANCE:g}"
        )


def disagreement(module: nn.Module, model: ModelProto, side: int) -> float:
    """Give the largest difference in any number of the unit vectors of random images.

    Each is seen twice, with pixels as they are and brought to -1..1, since encoders are made for
    either.
    """
    import onnx  # noqa: PLC0415

    pixels = np.random.default_rng(0).integers(0, 256, (_FACES, side, side, 3)).astype(np.uint8)
    engine = runtime(RuntimeName.OPENVINO)
    worst = []
    with tempfile.TemporaryDirectory(prefix="visavis-") as folder:
        graph = Path(folder) / "graph.onnx"
        onnx.save(model, graph)
        for mean, scale in ((0.0, 1.0), (127.5, 127.5)):
            shape = Preprocessing(mean=(mean,) * 3, scale=(scale,) * 3)
            baked = Path(folder) / f"{scale:.0f}.xml"
            engine.bake(graph, None, shape, baked)
            session = engine.open(baked, shape, Cores(threads=1), Path(folder))
            judged = np.concatenate([session.run(face[None])[0] for face in pixels])
            theirs = _unit(_vectors(module, (pixels - mean) / scale))
            worst.append(np.abs(_unit(judged) - theirs).max())
    return float(np.max(worst))  # NaN wins, which it does not in max()


def _vectors(module: nn.Module, faces: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    planes = torch.from_numpy(faces.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        vectors: NDArray[np.float32] = module(planes).numpy()
    return vectors


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
