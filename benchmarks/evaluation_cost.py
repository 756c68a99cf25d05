"""What evaluating costs beside the networks' own time, and all against all of a data set.

::

    python benchmarks/evaluation_cost.py --images LFW/images

On one core: photographs through ``Encodings`` (read, decoded, found, aligned, assessed, encoded,
remembered) against the two networks run as often on pixels that are ready. Then the second
evaluation of unchanged photographs, which must embed nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from timing import one_core
from visavis.engine import Engine, EngineConfig
from visavis.evaluate.encodings import Encodings
from visavis.models import Cores, ModelStore, Precision, RuntimeName
from visavis.values import Pick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=1500)
    wanted = parser.parse_args()
    one_core()
    cores = Cores(threads=1)
    engine = Engine.open(config=EngineConfig(cores=cores, pick=Pick.MOST_CENTRAL))
    store = ModelStore.default()
    yunet, sface = store.manifest("yunet"), store.manifest("sface")
    detect = store.session(yunet, Precision.FP32, RuntimeName.OPENVINO, cores)
    encode = store.session(sface, Precision.INT8, RuntimeName.OPENVINO, cores)
    names = sorted(str(p.relative_to(wanted.images)) for p in wanted.images.rglob("*.jpg"))
    names = names[: wanted.photographs]
    picture, crop = np.zeros((1, 256, 256, 3), np.uint8), np.zeros((1, 112, 112, 3), np.uint8)
    with tempfile.TemporaryDirectory() as cache:
        Encodings(engine, None).of(wanted.images, names[:50])  # warm
        taken = {"evaluation": 0.0, "networks": 0.0}
        encodings = Encodings(engine, Path(cache))
        for start in range(0, len(names), 250):
            some = names[start : start + 250]
            begun = time.perf_counter()
            encodings.of(wanted.images, some)
            taken["evaluation"] += time.perf_counter() - begun
            begun = time.perf_counter()
            for _ in some:
                detect.run(picture)
                encode.run(crop)
            taken["networks"] += time.perf_counter() - begun
        first = encodings.embedded
        again = Encodings(engine, Path(cache))
        begun = time.perf_counter()
        again.of(wanted.images, names)
        second = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "photographs": len(names),
                "milliseconds a photograph": {
                    name: round(1000 * seconds / len(names), 2) for name, seconds in taken.items()
                },
                "evaluation / networks": round(taken["evaluation"] / taken["networks"], 3),
                "embedded the first time": first,
                "embedded again": again.embedded,
                "seconds the second time": round(second, 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
