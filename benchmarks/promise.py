"""Calibrate on half of LFW's people and check the promise on the other half.

::

    python benchmarks/promise.py --images LFW/images --splits 5

Each split deals the people out anew. Points at 1e-2 to 1e-5 are measured on one half exactly as
``visavis calibrate`` does (at most five photographs a person), then held against all comparisons
of the other half. "kept" is measured within the stated 95 % bounds, "safer" below them. The
encodings are remembered, so only the first run embeds.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np

from visavis.engine import Engine, EngineConfig
from visavis.evaluate.encodings import Encodings
from visavis.evaluate.listing import read_people
from visavis.evaluate.run import promises_between
from visavis.models import Cores, ModelStore, Precision
from visavis.values import Pick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--encoder", default="sface")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default="int8")
    parser.add_argument("--splits", type=int, default=5)
    wanted = parser.parse_args()
    workers = os.cpu_count() or 1
    engine = Engine.open(
        config=EngineConfig(
            encoder=wanted.encoder,
            precision=wanted.precision,
            pick=Pick.MOST_CENTRAL,
            cores=Cores(workers, workers),
        )
    )
    people = read_people(wanted.images)
    names = sorted(people)
    encodings = Encodings(engine, ModelStore.default().cache, workers)
    encoded = encodings.of(wanted.images, [n for photos in people.values() for n in photos])
    rows, verdicts = [], Counter[str]()
    for split in range(wanted.splits):
        order = np.random.default_rng(split).permutation(len(names))
        halves = [{names[i]: people[names[i]] for i in sorted(order[k::2])} for k in (0, 1)]
        for promise in promises_between(encoded, *halves):
            verdicts[str(promise.verdict)] += 1
            rows.append(
                {
                    "split": split,
                    "fmr": promise.point.fmr,
                    "tau": round(promise.point.tau, 4),
                    "stated": [promise.point.lower, promise.point.upper],
                    "measured": promise.measured.value,
                    "interval": [promise.measured.low, promise.measured.high],
                    "comparisons": promise.comparisons,
                    "false matches": promise.matches,
                    "verdict": str(promise.verdict),
                }
            )
    for row in rows:
        print(json.dumps({k: _short(v) for k, v in row.items()}))
    print(json.dumps({"encoder": engine.encoder.name, "verdicts": dict(verdicts)}))


def _short(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.3g}")
    return [_short(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
