"""Dot products of many int8 rows with a few, by the int8 matrix kernels inside OpenVINO."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.models.runtime import openvino, openvino_core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class IntegerProducts:
    """Multiplies (rows, length) by (width, length), all int8, on the calling thread.

    One call at a time: give every thread its own. The interpreter's lock is free meanwhile.

    Raises
    ------
    ArithmeticError
        When this processor's kernel is not exact. Without VNNI some add up in 16 bits and saturate.
    """

    def __init__(self, rows: int, length: int, width: int) -> None:
        ov = openvino()

        config = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        compiled = openvino_core().compile_model(_network(rows, length, width), "CPU", config)
        self.width = width
        self._request: Any = compiled.create_infer_request()
        self._tensor = ov.Tensor
        self._probes = np.zeros((width, length), np.int8)
        self._out = np.zeros((rows, width), np.float32)
        self._request.set_input_tensor(1, ov.Tensor(self._probes, shared_memory=True))
        self._request.set_output_tensor(0, ov.Tensor(self._out, shared_memory=True))
        self._check(rows, length)

    def __call__(
        self, rows: NDArray[np.int8], probes: NDArray[np.int8] | None = None
    ) -> NDArray[np.float32]:
        """Multiply.

        Parameters
        ----------
        rows
            (rows, length) int8, contiguous.
        probes
            (at most width, length) int8; None for those of the call before.

        Returns
        -------
        NDArray
            (rows, width) float32, exact up to 2**24; valid until the next call.
        """
        if probes is not None:
            self._probes[: len(probes)] = probes
            self._probes[len(probes) :] = 0
        held = self._tensor(rows, shared_memory=True)
        self._request.set_input_tensor(0, held)
        self._request.infer(share_outputs=True)  # or it would copy them
        return self._out

    def _check(self, rows: int, length: int) -> None:
        """Compare with NumPy, on numbers as large as they get and on some of every size."""
        chance = np.random.default_rng(0)
        some = chance.integers(-127, 128, (rows, length), dtype=np.int8)
        probes = chance.integers(-127, 128, self._probes.shape, dtype=np.int8)
        some[0], some[1], some[2] = 127, -127, 127 * np.sign(probes[1])
        probes[0] = 127
        at = np.arange(0, rows, max(1, rows // 256))
        found = self(some, probes)[at]
        truth = some[at].astype(np.int64) @ probes.T.astype(np.int64)
        if not np.allclose(found, truth, rtol=2.0**-23, atol=0):
            raise ArithmeticError("the int8 matrix kernel of this processor is not exact")


def _network(rows: int, length: int, width: int) -> Any:  # noqa: ANN401 (ov.Model)
    """Build the product, with what makes OpenVINO choose its int8 kernels."""
    ov = openvino()
    from openvino import opset13 as op  # noqa: PLC0415

    def scaled(source: Any, by: float) -> Any:  # noqa: ANN401 (ov.Node)
        return op.multiply(op.convert(source, ov.Type.f32), op.constant(np.float32(by)))

    many = op.parameter([rows, length], ov.Type.i8)
    few = op.parameter([width, length], ov.Type.i8)
    # The factors are undone exactly; without any, the inputs do not look quantised.
    product = op.matmul(scaled(many, 2.0), scaled(few, 0.5), False, True)
    # Integers are considered at all only in a graph with a FakeQuantize somewhere.
    aside = op.parameter([1, 4], ov.Type.f32)
    low, high = op.constant(np.float32(0)), op.constant(np.float32(1))
    quantised = op.relu(op.fake_quantize(aside, low, high, low, high, 256))
    return ov.Model([product, quantised], [many, few, aside])


_MADE: dict[tuple[int, int, int], list[IntegerProducts]] = {}
_INEXACT: set[tuple[int, int, int]] = set()
_POOL = threading.Lock()


@contextmanager
def lent_products(rows: int, length: int, width: int) -> Iterator[IntegerProducts | None]:
    """Lend an `IntegerProducts` of this form to one thread; None where it is not exact.

    It is made on first need (about 30 ms) and kept for the next.
    """
    form = (rows, length, width)
    with _POOL:
        kept = _MADE.setdefault(form, [])
        lent = kept.pop() if kept else None
    if lent is None and form not in _INEXACT:
        try:
            lent = IntegerProducts(*form)
        except (ArithmeticError, RuntimeError):  # RuntimeError: OpenVINO refuses it
            _INEXACT.add(form)
    try:
        yield lent
    finally:
        if lent is not None:
            with _POOL:
                kept.append(lent)
