"""Networks that run: OpenVINO on CPUs, ONNX Runtime for the rest, behind one Protocol."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from visavis.errors import MissingExtra, ModelRefused
from visavis.models.manifest import Channels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.models.manifest import Preprocessing


_PATIENCE = 60.0
"""Seconds to wait for a process that compiles the same network."""


class RuntimeName(StrEnum):
    """Which engine computes the networks."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Cores:
    """How much of the machine a network may use.

    Attributes
    ----------
    threads
        Threads in all; 0 leaves it to the runtime.
    streams
        How many calls of ``Session.run`` compute side by side.
    """

    threads: int = 0
    streams: int = 1


class Session(Protocol):
    """A network ready to run; may be called from several threads at once."""

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Compute every output, in the graph's order, of (N, H, W, 3) uint8 RGB pixels."""


class Runtime(Protocol):
    """Where networks run."""

    name: RuntimeName

    def bake(self, onnx: Path, table: Path | None, shape: Preprocessing, out: Path) -> None:
        """Turn a prepared ONNX file into the file that ``open`` takes, once."""

    def open(self, baked: Path, shape: Preprocessing, cores: Cores, cache: Path) -> Session:
        """Load a baked file; raises ModelRefused when it cannot be run."""


_ABSENT: Any = object()
_IMPORTING = threading.RLock()
_ONE = threading.Lock()
_CORES: dict[int, Any] = {}


def openvino() -> Any:  # noqa: ANN401 (the module)
    """Import OpenVINO without the part that tells its maker of every import, over the network."""
    with _IMPORTING:
        kept = sys.modules.get("openvino_telemetry", _ABSENT)
        # None there makes its import fail, which OpenVINO takes for "not installed".
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("openvino")
        finally:
            if kept is _ABSENT:
                del sys.modules["openvino_telemetry"]
            else:
                sys.modules["openvino_telemetry"] = kept


def openvino_core() -> Any:  # noqa: ANN401 (ov.Core)
    """Give this process's one ``ov.Core``, which is never let go of.

    Each Core gives the thread that first compiles with it another stack for signals, and puts the
    one before back when it goes, whether or not that still exists: with two of them that go in the
    order they came, the next Ctrl-C is a segmentation fault (seen with OpenVINO 2026.4.1). A forked
    child gets a Core of its own.
    """
    ov = openvino()

    with _ONE:
        if os.getpid() not in _CORES:
            # OpenVINO's binding initialises a C++ static at the first array while it may give up
            # the interpreter's lock; two threads that meet there wait for each other for ever.
            ov.Tensor(np.zeros(1, np.uint8))
            _CORES[os.getpid()] = ov.Core()
        return _CORES[os.getpid()]


class OpenVino:
    """OpenVINO's CPU device: int8 and fp32; preprocessing becomes part of the graph."""

    name = RuntimeName.OPENVINO
    suffix = ".xml"

    def bake(self, onnx: Path, table: Path | None, shape: Preprocessing, out: Path) -> None:
        """Write an IR file whose input is uint8 RGB, quantised when ``table`` is given."""
        ov = openvino()
        from openvino.preprocess import ColorFormat, PrePostProcessor  # noqa: PLC0415

        from visavis.models.quantize import quantize, read_table  # noqa: PLC0415

        try:
            model = openvino_core().read_model(onnx)
            shape_in = model.input().get_partial_shape()
            if shape_in[2].is_static and shape_in[3].is_static:
                # An encoder sees one face a run, and fixed sizes have faster kernels.
                model.reshape([1, 3, shape_in[2].get_length(), shape_in[3].get_length()])
            if table is not None:
                quantize(model, read_table(table))
            steps = PrePostProcessor(model)
            steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
            steps.input().tensor().set_color_format(ColorFormat.RGB)
            steps.input().model().set_layout(ov.Layout("NCHW"))
            if shape.channels is Channels.BGR:
                steps.input().preprocess().convert_color(ColorFormat.BGR)
            steps.input().preprocess().convert_element_type(ov.Type.f32)
            if any(shape.mean):
                steps.input().preprocess().mean(list(shape.mean))
            if any(s != 1 for s in shape.scale):
                steps.input().preprocess().scale(list(shape.scale))
            ov.save_model(steps.build(), out, compress_to_fp16=False)
        except RuntimeError as refused:
            raise ModelRefused(f"{onnx.name}: OpenVINO cannot run it: {_first(refused)}") from None

    def open(self, baked: Path, shape: Preprocessing, cores: Cores, cache: Path) -> Session:  # noqa: ARG002
        """Compile for the CPU; the compiled form is cached beside the graph."""
        # Without the hint some processors would compute in bf16 or f16, and give other vectors.
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": 1,
            # Pinned, two networks meet on one core while another is idle.
            "ENABLE_CPU_PINNING": False,
            "CACHE_DIR": str(cache),
        }
        if cores.threads:
            config["INFERENCE_NUM_THREADS"] = max(1, cores.threads // cores.streams)
        core = openvino_core()
        try:
            # A network a stream: they share nothing, which is a quarter faster than streams of one.
            with _compiling(cache):
                compiled = [core.compile_model(baked, "CPU", config) for _ in range(cores.streams)]
        except RuntimeError as refused:
            raise ModelRefused(
                f"{baked.name}: OpenVINO cannot load it: {_first(refused)}"
            ) from None
        return _OpenVinoSession(compiled)


@contextmanager
def _compiling(cache: Path) -> Iterator[None]:
    """Keep other processes from the compiled forms in a folder meanwhile.

    OpenVINO writes them in place and reads them as mapped memory: a process that reads what another
    is still writing dies of SIGBUS (seen with OpenVINO 2026.4.1, six processes at once).
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415

    lock = FileLock(cache / "compiling.lock", timeout=_PATIENCE)
    try:
        lock.acquire()
    except (OSError, Timeout):  # a folder of another user's, or a process that hangs
        yield
        return
    try:
        yield
    finally:
        lock.release()


class _OpenVinoSession:
    def __init__(self, compiled: list[Any]) -> None:  # ov.CompiledModel
        ov = openvino()

        self._compiled = itertools.cycle(compiled)
        self._outputs = len(compiled[0].outputs)
        self._tensor = ov.Tensor
        self._local = threading.local()

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        # An infer request serves one thread at a time, so each thread keeps its own.
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = next(self._compiled).create_infer_request()
        # Setting the tensor and copying the outputs costs half of what infer(inputs) does.
        # The array is held here until it was read: a tensor that shares memory does not hold it.
        batch = np.require(pixels, requirements=["C", "W"])
        request.set_input_tensor(self._tensor(batch, shared_memory=True))
        request.infer()
        return [request.get_output_tensor(i).data.copy() for i in range(self._outputs)]


class OnnxRuntime:
    """ONNX Runtime's CPU provider, in fp32: the second judge, and for other platforms."""

    name = RuntimeName.ONNXRUNTIME
    suffix = ".onnx"

    def bake(self, onnx: Path, table: Path | None, shape: Preprocessing, out: Path) -> None:  # noqa: ARG002
        """Keep the prepared ONNX file as it is; int8 is OpenVINO's alone."""
        if table is not None:
            raise ModelRefused("int8 runs on OpenVINO only: choose --precision fp32")
        out.write_bytes(onnx.read_bytes())

    def open(self, baked: Path, shape: Preprocessing, cores: Cores, cache: Path) -> Session:  # noqa: ARG002
        """Start a session; raises MissingExtra without the package."""
        try:
            import onnxruntime as ort  # noqa: PLC0415
        except ModuleNotFoundError as missing:
            raise MissingExtra(
                "this runtime needs onnxruntime: pip install 'visavis[onnxruntime]'"
            ) from missing
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores.threads
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(
                os.fspath(baked), options, providers=["CPUExecutionProvider"]
            )
        except Exception as refused:  # noqa: BLE001 - ORT's exceptions share no other base
            raise ModelRefused(
                f"{baked.name}: ONNX Runtime cannot load it: {_first(refused)}"
            ) from None
        return _OnnxRuntimeSession(session, shape)


class _OnnxRuntimeSession:
    def __init__(self, session: Any, shape: Preprocessing) -> None:  # noqa: ANN401
        self._session = session
        self._input = session.get_inputs()[0].name
        self._mean = np.array(shape.mean, np.float32)
        self._scale = np.array(shape.scale, np.float32)
        self._step = -1 if shape.channels is Channels.BGR else 1

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        planes = pixels[..., :: self._step].astype(np.float32)
        values = (planes - self._mean) / self._scale
        batch = np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)
        outputs: list[NDArray[np.float32]] = self._session.run(None, {self._input: batch})
        return outputs


def runtime(name: RuntimeName) -> OpenVino | OnnxRuntime:
    """Give the runtime of that name."""
    return OpenVino() if name is RuntimeName.OPENVINO else OnnxRuntime()


def _first(error: Exception) -> str:
    """Give the line of a runtime's long message that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from")]
    return (told or lines or ["no reason given"])[0][:300]
