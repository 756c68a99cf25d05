"""Everybody compared with everybody: seconds of ``Engine.duplicates``' own part.

Random unit vectors, of which forty people are there twice. A product of the same size by NumPy, in
the same blocks and with nothing looked for in it, runs beside it.

    python benchmarks/duplicates.py --people 100000
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from visavis.engine.pairs import NearPairs

TAU = 1.0
ROWS, COLUMNS = 1024, 8192


def bare(vectors: np.ndarray) -> float:
    """Seconds of the products alone."""
    began = time.perf_counter()
    for top in range(0, len(vectors), ROWS):
        for left in range(top, len(vectors), COLUMNS):
            vectors[top : top + ROWS] @ vectors[left : left + COLUMNS].T
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    count = parser.parse_args().people
    for length in (128, 512):
        chance = np.random.default_rng(0)
        vectors = chance.normal(size=(count, length)).astype(np.float32)
        vectors[-40:] = vectors[:40] + 0.3 * vectors[40:80]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        products = bare(vectors)
        began = time.perf_counter()
        pairs = NearPairs(np.arange(count, dtype=np.int64), vectors, TAU, 10_000)
        pairs.run(lambda _done, _of: None)
        seconds = time.perf_counter() - began
        print(
            f"{count} templates of {length}: {seconds:.1f} s, the products alone {products:.1f} s, "
            f"{len(pairs.found())} pairs",
            flush=True,
        )


if __name__ == "__main__":
    main()
