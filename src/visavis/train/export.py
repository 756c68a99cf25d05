"""A trained encoder as an ONNX file that both runtimes take, checked before it is there."""

from __future__ import annotations

import copy
import importlib.util
import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from visavis.errors import MissingExtra
from visavis.models.graph import prepare
from visavis.models.manifest import Kind
from visavis.train.agreement import check_agreement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto
    from torch import nn

OPSET = 18
"""The version of ONNX's operators; the youngest that torch's exporter writes by itself."""
_LOUD = "torch.onnx._internal.exporter._registration"


def export_onnx(module: nn.Module, side: int, path: Path) -> None:
    """Write an encoder as it is in evaluation, with any number of faces a run.

    A copy on the CPU in fp32 is written, so that the module's mode, device, precision and memory
    layout stay as they are. The file holds no path or stack trace of this machine, which torch
    writes into each node. The same weights give the same bytes with the same versions of torch and
    onnxscript.

    Parameters
    ----------
    module
        (B, 3, S, S) float32, after preprocessing, to (B, D); not wrapped by ``torch.compile`` or
        for several processes.
    side
        Height and width in pixels.
    path
        A file in a folder that is there; one that exists is replaced, and only when all went well.

    Raises
    ------
    ModelRefused
        When the file cannot be prepared as any added encoder is, or what the runtime computes of it
        differs from the module by more than ``agreement.TOLERANCE`` in a unit vector.
    MissingExtra
        Without onnxscript.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise MissingExtra("writing ONNX needs onnxscript: pip install 'visavis[train]'")
    still = copy.deepcopy(module).cpu().float().eval()
    # The bytes follow the layout in memory; torch's stubs do not know this argument.
    still.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".exporting-") as folder:
        staged = Path(folder) / path.name
        _write(still, side, staged)
        check_agreement(still, prepare(staged, Kind.ENCODER, side), side, path.name)
        staged.replace(path)


def _write(module: nn.Module, side: int, path: Path) -> None:
    import onnx  # noqa: PLC0415

    # Two faces: torch takes a size of one for a constant.
    example = torch.zeros(2, 3, side, side)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["vector"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:  # only so for the exporter that wants a path
        raise TypeError("torch.onnx.export gave no program")
    model = program.model_proto
    _strip(model)
    onnx.save(model, path)


def _strip(model: ModelProto) -> None:
    """Take out what torch tells of the source code: file names, lines, classes."""
    graph = model.graph
    described = [graph, *graph.node, *graph.input, *graph.output, *graph.initializer]
    for each in (model, *described):
        del each.metadata_props[:]
        each.ClearField("doc_string")
    del graph.value_info[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch's exporter says about itself, and nothing else."""
    logger = logging.getLogger(_LOUD)
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed. Skipping torchvision::nms"
    try:
        with warnings.catch_warnings():
            # torch's own calls of its older functions, seen with 2.13
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
