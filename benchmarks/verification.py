"""LFW by its standard protocol through the public API, in each precision, beside OpenCV's speed.

::

    python benchmarks/verification.py --images LFW/images --pairs LFW/pairs.txt

Each photograph goes through ``Engine.embedding`` once (the most central face is the subject, as
the data set means it); each pair through ``visavis.distance``. The ten folds' thresholds are
chosen on the other nine. A photograph without a face would be counted and its pairs rejected.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

import lfw
import visavis
from timing import interleaved, one_core, ratio
from visavis.engine import EngineConfig
from visavis.errors import InputRefused
from visavis.models import Cores, ModelStore, Precision
from visavis.values import Embedding, Pick


def protocol(engine: visavis.Engine, images: Path, folds: list[list[lfw.Pair]]) -> dict[str, Any]:
    """Embed every photograph once and run the ten folds."""
    pairs = [pair for fold in folds for pair in fold]
    names = sorted({name for pair in pairs for name in (pair.a, pair.b)})
    found: dict[str, Embedding] = {}
    for number, name in enumerate(names, 1):
        try:
            found[name] = engine.embedding(images / name)
        except InputRefused as refused:
            print(f"{refused.code}: {refused}", file=sys.stderr)
        if number % 1000 == 0:
            print(f"{number} of {len(names)}", file=sys.stderr)
    d = np.array(
        [
            visavis.distance(found[p.a], found[p.b])
            if p.a in found and p.b in found
            else lfw.FARTHEST
            for p in pairs
        ]
    )
    same = np.array([pair.same for pair in pairs])
    number_of = np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])
    mean, error = lfw.ten_fold_accuracy(d, same, number_of)
    return {
        "photographs": len(names),
        "failed to acquire": len(names) - len(found),
        "accuracy": round(100 * mean, 2),
        "se": round(100 * error, 2),
        "tar at far 1e-2": round(100 * lfw.tar_at_far(d, same, 1e-2), 2),
        "tar at far 1e-3": round(100 * lfw.tar_at_far(d, same, 1e-3), 2),
    }


def speed(engines: dict[str, visavis.Engine], rounds: int) -> dict[str, Any]:
    """Time one face, aligned already, on one core."""
    store = ModelStore.default()
    weights = store.weights(store.manifest("sface"))
    theirs = cv2.FaceRecognizerSF.create(str(weights), "")
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    works: dict[str, Any] = {"opencv": lambda: theirs.feature(crop)}
    for name, engine in engines.items():
        works[name] = lambda engine=engine: engine.encoder.encode(crop[None])
    taken = interleaved(works, rounds)
    return {
        "milliseconds": {name: round(median(ms), 2) for name, ms in taken.items()},
        **{f"opencv / {name}": round(ratio(taken, "opencv", name), 2) for name in engines},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--speed-only", action="store_true")
    wanted = parser.parse_args()
    one_core()
    cv2.setNumThreads(1)
    engines = {
        str(precision): visavis.Engine.open(
            config=EngineConfig(precision=precision, cores=Cores(threads=1), pick=Pick.MOST_CENTRAL)
        )
        for precision in Precision
    }
    result: dict[str, Any] = {"speed": speed(engines, wanted.rounds)}
    if not wanted.speed_only:
        folds = lfw.read_pairs(wanted.pairs)
        for name, engine in engines.items():
            result[name] = protocol(engine, wanted.images, folds)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
