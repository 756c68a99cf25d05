r"""Find the quantisation table that turns SFace into int8, by post-training quantisation.

Run from the repository, with Labeled Faces in the Wild at hand (see ``lfw.py``)::

    python benchmarks/quantize_encoder.py --images LFW/images --pairs LFW/pairsDevTrain.txt \
        --out src/visavis/models/data/sface.int8.npz

Only photographs of View 1 may serve here: View 2 is for reporting. Half of the photographs are
degraded as ``lfw.py --hard`` does, since a bad picture is where int8 loses first.

Layer by layer, in the network's order and with all earlier layers already in int8 (so that each
layer also answers for its predecessors' errors):

1. A scale for each channel of the layer's input, so that channels of small range get as many steps
   as the others. SFace is one chain of convolutions and PReLUs, and a PReLU commutes with a
   positive scale, so this costs nothing (cross-layer equalisation, Nagel et al. 2019,
   arXiv:1906.04721, sec. 4.1). A depthwise convolution keeps its channels apart, and all of the
   range is evened out; in the others, weights of one output share their steps, so some of the
   range may have to move from the input to the weights (SmoothQuant, Xiao et al. 2023,
   arXiv:2211.10438, eq. 4): the strengths in ``STRENGTHS`` are tried.
2. The range of the scaled input: that of the samples, cut by the factors in ``CUTS``.
3. The mean error of each channel of the layer's output, added back as a bias (Nagel et al. 2019,
   sec. 4.2).

What is chosen in 1 and 2 is what turns the final vectors least away from those of fp32 when the
layer's successors are still in fp32. Every trial runs the int8 kernels that serve later.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import openvino as ov
import platformdirs

from lfw import Degradation, crops, hard_crop, read_pairs
from visavis.image import open_image
from visavis.models import ModelStore
from visavis.models.graph import prepare
from visavis.models.quantize import (
    Table,
    exponent_of,
    layers,
    quantize,
    scale_of,
    weights,
    write_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

STRENGTHS = (0.0, 0.5, 1.0)
"""How much of the input's range the scales even out, for layers that mix channels."""
CUTS = (0.9, 0.75, 0.65, 0.55)
"""Shares of the measured range that are tried."""
BATCH = 16
KEEP = (
    "conv_2_dw_conv2d",
    "conv_2_conv2d",
    "conv_3_dw_conv2d",
    "conv_3_conv2d",
    "conv_4_dw_conv2d",
    "conv_4_conv2d",
)
"""Layers that stay in fp32. A dark picture is a faint signal on a large constant until these have
brought it out, and 256 steps that must also span bright pictures leave little of it. The very first
convolution can be int8: its input has 256 grey levels anyway, and its weights are rounded so that a
uniform picture comes out right."""


_CONFIG: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


class Network:
    """An fp32 network of which stretches can be run alone, one layer of them in int8."""

    def __init__(self, onnx_file: Path) -> None:
        self._file = onnx_file
        self.layers = list(layers(self._read()))

    def _read(self) -> ov.Model:
        return ov.Core().read_model(self._file)

    def weights(self, layer: str) -> Rows:
        """Largest absolute weight that each channel of the layer's input meets, (C,)."""
        node = layers(self._read())[layer]
        weight = np.abs(weights(node))
        if node.get_type_name() == "GroupConvolution":
            return weight.reshape(len(weight), -1).max(1)
        return weight.max(0).reshape(weight.shape[1], -1).max(1)

    def run(
        self, rows: Rows, begin: str | None, end: str | None, table: Table | None = None
    ) -> Rows:
        """Compute from one layer's input (None: the picture) to another's (None: the end)."""
        model = self._read()
        nodes = layers(model)
        last = nodes[end].input_value(0) if end else model.output(0).get_node().input_value(0)
        return _run(model, begin, last, rows, table)

    def mean_output(self, rows: Rows, layer: str, table: Table | None = None) -> Rows:
        """Mean of each channel of one layer's own output, (C,) float32."""
        total = 0.0
        for start in range(0, len(rows), 4 * BATCH):
            model = self._read()
            part = rows[start : start + 4 * BATCH]
            out = _run(model, layer, layers(model)[layer].output(0), part, table)
            total = total + out.sum(axis=(0, *range(2, out.ndim)), dtype=np.float64) / (
                out[0, 0].size * len(rows)
            )
        return np.asarray(total, np.float32)


def _run(
    model: ov.Model,
    begin: str | None,
    last: ov.Output,
    rows: Rows,
    table: Table | None,
) -> Rows:
    inputs = model.get_parameters()
    if begin is not None:
        source = layers(model)[begin].input_value(0)
        given = ov.opset13.parameter([-1, *rows.shape[1:]], np.float32)
        for user in list(source.get_target_inputs()):
            user.replace_source_output(given.output(0))
        inputs = [given]
    result = ov.opset13.result(last)
    cut = ov.Model([result], inputs)
    if table is not None:
        quantize(cut, table)
    request = ov.Core().compile_model(cut, "CPU", _CONFIG).create_infer_request()
    starts = range(0, len(rows), BATCH)
    return np.concatenate([request.infer([rows[i : i + BATCH]])[0].copy() for i in starts])


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One way to quantise one layer."""

    scale: Rows
    low: float
    high: float

    def table(self, layer: str, bias: Rows | None = None) -> Table:
        """Give a table of this layer alone."""
        shift = {} if bias is None else {layer: bias}
        return Table({layer: (self.low, self.high)}, {layer: self.scale}, shift)


def trial(rows: Rows, scale: Rows, cut: float) -> Trial:
    """Cut the range of scaled input, and move it so that zero is one of its steps."""
    channel = np.moveaxis(rows.reshape(len(rows), len(scale), -1), 1, 0).reshape(len(scale), -1)
    low = min(0.0, float((channel.min(1) / scale).min())) * cut
    high = max(0.0, float((channel.max(1) / scale).max())) * cut
    step = (high - low) / 255
    zero = round(-low / step)
    return Trial(scale, -zero * step, (255 - zero) * step)


def scales(rows: Rows, weight: Rows) -> dict[str, Rows]:
    """Give the scales to try, by what they are: rounded as the table stores them."""
    each = np.abs(rows.reshape(len(rows), len(weight), -1)).max(2).mean(0)
    each = np.maximum(each / np.median(each), 1e-3)
    weight = np.maximum(weight / np.median(weight), 1e-3)
    tried = {f"range^{a}": each**a for a in STRENGTHS} | {
        "range/weight^0.5": (each / weight) ** 0.5
    }
    return {name: scale_of(exponent_of(s.astype(np.float32))) for name, s in tried.items()}


def find(network: Network, pixels: NDArray[np.uint8], few: int, keep: set[str]) -> Table:
    """Find the table, layer by layer.

    Parameters
    ----------
    pixels
        (N, 112, 112, 3) uint8 RGB.
    few
        How many of them serve to compare trials; all serve for ranges and biases.
    keep
        Layers that stay in fp32.
    """
    names = network.layers
    picture = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    exact = network.run(picture, None, names[0])
    spoilt = exact
    judge = _Judge(network, _unit(network.run(picture[:few], None, None)))
    found = Table({}, {}, {})
    for number, name in enumerate(names):
        after = names[number + 1] if number + 1 < len(names) else None
        chosen = None
        if name not in keep:
            best = judge.best(name, exact, spoilt, first=number == 0)
            shift = network.mean_output(exact, name)
            shift = shift - network.mean_output(spoilt, name, best.table(name))
            # Rounded as the table stores it, so that the next layer sees what it will get.
            chosen = best.table(name, shift.astype(np.float16).astype(np.float32))
            found.ranges.update(chosen.ranges)
            found.scales.update(chosen.scales)
            found.bias.update(chosen.bias)
        spoilt = network.run(spoilt, name, after, chosen)
        exact = network.run(exact, name, after)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Compares trials by the final vectors of the first few samples."""

    network: Network
    wanted: Rows

    def best(self, name: str, exact: Rows, spoilt: Rows, *, first: bool) -> Trial:
        """Choose scale, then range, for one layer.

        ``exact`` and ``spoilt`` are its inputs without and with the int8 of earlier layers. The
        ``first`` layer's input is the picture, whose 256 grey levels are kept as they are.
        """
        if first:
            ones = np.ones(exact.shape[1], np.float32)
            return Trial(ones, float(exact.min()), float(exact.max()))
        few = len(self.wanted)
        mean = self.network.mean_output(exact[:few], name)

        def error(tried: Trial) -> float:
            shift = mean - self.network.mean_output(spoilt[:few], name, tried.table(name))
            rows = self.network.run(spoilt[:few], name, None, tried.table(name, shift))
            return float(np.mean(np.linalg.norm(_unit(rows) - self.wanted, axis=1)))

        options = scales(exact, self.network.weights(name))
        by_scale = {key: error(trial(exact, scale, 0.7)) for key, scale in options.items()}
        scale = min(by_scale, key=by_scale.__getitem__)
        by_cut = {cut: error(trial(exact, options[scale], cut)) for cut in CUTS}
        cut = min(by_cut, key=by_cut.__getitem__)
        print(name, _told(by_scale), _told(by_cut), file=sys.stderr, flush=True)
        return trial(exact, options[scale], cut)


def _told(errors: Mapping[Any, float]) -> str:
    return ", ".join(f"{key}: {error:.4f}" for key, error in errors.items())


def _unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def samples(images: Path, pairs: list[Path], cache: Path, count: int) -> NDArray[np.uint8]:
    """Give crops of ``count`` photographs named in the pairs files, every other one degraded."""
    named = sorted({n for p in pairs for fold in read_pairs(p) for q in fold for n in (q.a, q.b)})
    cut = crops(images, named, cache)
    chosen = np.random.default_rng(0).choice(len(cut.names), count, replace=False)
    pixels = cut.pixels[chosen].copy()
    kinds = list(Degradation)
    for row, index in list(enumerate(chosen))[1::2]:
        name = cut.names[index]
        kind = kinds[row // 2 % len(kinds)]
        seed = zlib.crc32(name.encode())
        pixels[row] = hard_crop(open_image(images / name), cut.landmarks[index], kind, seed)
    return pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of LFW's photographs")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="View 1's pairs")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    parser.add_argument("--samples", type=int, default=640)
    parser.add_argument("--few", type=int, default=64, help="samples that decide between trials")
    parser.add_argument("--keep", nargs="*", default=KEEP, help="layers that stay in fp32")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(platformdirs.user_cache_dir("visavis", appauthor=False)) / "benchmarks",
    )
    asked = parser.parse_args()
    pixels = samples(asked.images, asked.pairs, asked.cache, asked.samples)
    store = ModelStore.default()
    manifest = store.manifest("sface")
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        onnx.save(prepare(store.weights(manifest), manifest.kind), prepared)
        table = find(Network(prepared), pixels, asked.few, set(asked.keep))
    write_table(asked.out, table)
    print(json.dumps({"layers": len(table.ranges), "bytes": asked.out.stat().st_size}))


if __name__ == "__main__":
    main()
