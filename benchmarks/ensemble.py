r"""Two encoders as one on LFW: accuracy of each alone and of both together, and what each counts.

Run from the repository, with LFW unpacked anywhere and the weights of dlib's encoder installed::

    pip install 'visavis[dlib]'
    python benchmarks/ensemble.py --images LFW/images --pairs LFW/pairsDevTrain.txt \
        LFW/pairsDevTest.txt --weights 0.25 0.5 1 2 4
    python benchmarks/ensemble.py --images LFW/images --pairs LFW/pairs.txt

The first command, on View 1, is what the weight in the manifest was chosen by: it compares all
photographs of View 1's pairs with each other, since its 3,200 pairs alone are too few to tell two
weights apart. The second, on View 2, is for reporting. Each photograph is found once and encoded
once by each member; the vectors are kept in the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import platformdirs

import lfw
from timing import one_core
from visavis.align import align
from visavis.encode import Encoder, open_encoder
from visavis.image import open_image
from visavis.models import ARCFACE_112, Cores, ModelStore, Precision, RuntimeName
from visavis.values import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.models import Alignment

CACHE = Path(platformdirs.user_cache_dir("visavis", appauthor=False)) / "benchmarks"
BATCH = 64
FARS = (1e-2, 1e-3, 1e-4, 1e-5)


def encoded(encoder: Encoder, images: Path, cut: lfw.Crops, cache: Path) -> NDArray[np.float32]:
    """Encode every photograph of ``cut``, cut out as the encoder wants it: (N, D) unit rows.

    Kept in ``cache`` by the encoder's id and what was cut.
    """
    spell = f"{images.resolve()} {encoder.id} {cut.names} {cut.landmarks.sum()}"
    path = cache / f"lfw-rows-{hashlib.sha256(spell.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    rows = []
    for start in range(0, len(cut.names), BATCH):
        some = slice(start, start + BATCH)
        rows.append(encoder.encode(*(_stack(images, cut, some, a) for a in encoder.alignments)))
        if start // BATCH % 20 == 19:
            print(f"{encoder.name}: {start + BATCH} of {len(cut.names)}", file=sys.stderr)
    whole = np.concatenate(rows)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, whole)
    return whole


def _stack(images: Path, cut: lfw.Crops, some: slice, alignment: Alignment) -> NDArray[np.uint8]:
    if alignment == ARCFACE_112:
        return cut.pixels[some]
    faces = zip(cut.names[some], cut.landmarks[some], strict=True)
    return np.stack(
        [
            align(open_image(images / name), Face((0.0, 0.0, 1.0, 1.0), at, 1.0), alignment).pixels
            for name, at in faces
        ]
    )


def together(rows: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Join members' rows as ``visavis.encode.Ensemble`` does."""
    shares = np.array(weights) / np.sum(weights)
    return np.concatenate([np.sqrt(s) * r for s, r in zip(shares, rows, strict=True)], 1)


def on_pairs(
    rows: NDArray[np.float32], cut: lfw.Crops, folds: list[list[lfw.Pair]]
) -> dict[str, Any]:
    """Accuracy over the folds with its standard error, and TAR at two FARs, in per cent."""
    pairs = [pair for fold in folds for pair in fold]
    number = np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])
    row = {name: i for i, name in enumerate(cut.names)}
    d = np.array(
        [
            2 - 2 * float(rows[row[p.a]] @ rows[row[p.b]])
            if p.a in row and p.b in row
            else lfw.FARTHEST
            for p in pairs
        ]
    )
    same = np.array([pair.same for pair in pairs])
    mean, error = lfw.ten_fold_accuracy(d, same, number)
    tars = {f"tar at far {far:g}": _percent(lfw.tar_at_far(d, same, far)) for far in FARS[:2]}
    return {"accuracy": _percent(mean), "se": _percent(error), **tars}


def on_all(rows: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
    """EER and TAR, in per cent, over all pairs of the photographs."""
    people = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    later = np.triu(np.ones((len(names), len(names)), bool), 1)
    same = (people[:, None] == people[None])[later]
    d = (2 - 2 * rows @ rows.T)[later]
    strangers = np.sort(d[~same])
    mated = np.sort(d[same])
    missed = 1 - np.arange(1, len(mated) + 1) / len(mated)
    matched = np.searchsorted(strangers, mated, "right") / len(strangers)
    nearest = np.argmin(np.abs(missed - matched))
    return {
        "mated": len(mated),
        "non-mated": len(strangers),
        "eer": round(50 * float(missed[nearest] + matched[nearest]), 3),
        **{
            f"tar at far {far:g}": _percent(
                float(np.mean(mated < strangers[int(far * len(strangers))]))
            )
            for far in FARS
        },
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of LFW's photographs")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="LFW's pairs files")
    parser.add_argument("--ensemble", default="sface-dlib", help="default: %(default)s")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default="fp32")
    parser.add_argument(
        "--weights", type=float, nargs="+", help="of the last member, the first counting 1"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="default: %(default)s")
    asked = parser.parse_args()
    one_core()
    cv2.setNumThreads(1)
    store = ModelStore.default()
    ensemble = store.manifest(asked.ensemble)
    folds = [fold for path in asked.pairs for fold in lfw.read_pairs(path)]
    names = sorted({name for fold in folds for pair in fold for name in (pair.a, pair.b)})
    cut = lfw.crops(asked.images, names, asked.cache)
    members = {}
    for member in store.members(ensemble):
        precision = store.precision_of(member, asked.precision)
        encoder = open_encoder(store, member, precision, RuntimeName.OPENVINO, Cores(1))
        members[encoder.name] = encoded(encoder, asked.images, cut, asked.cache)
    rows = dict(members)
    if asked.weights:
        first, last = members.values()
        for weight in asked.weights:
            rows[f"weight {weight:g}"] = together([first, last], [1, weight])
    else:
        rows[ensemble.name] = together(list(members.values()), ensemble.shares)
    for name, found in rows.items():
        result = on_pairs(found, cut, folds)
        if asked.weights:
            result["all against all"] = on_all(found, cut.names)
        print(json.dumps({"encoder": name, **result}), flush=True)


if __name__ == "__main__":
    main()
