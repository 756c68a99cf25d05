"""What feeding a training run costs: a batch's milliseconds and memory at 10 million images.

::

    python benchmarks/training_data.py
    python benchmarks/training_data.py --pack lfw.pack

A synthetic index of 1 million people and 10 million images stands for a large training set; the
sampler reads it memory-mapped, as it reads a pack's. Beside it stands pytorch-metric-learning's
``MPerClassSampler`` over the same labels. Each is measured in a process of its own; memory is the
growth of its resident set. With ``--pack``, crops are decoded in sampled order by one and by two
threads.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from visavis.train.pack import Pack
from visavis.train.sampler import PeopleSampler, paired

P, K = 32, 4


def index(folder: Path, people: int, images: int) -> Path:
    """Write offsets of people with one image or more, many with few and few with many."""
    rng = np.random.default_rng(0)
    counts = 1 + rng.multinomial(images - people, rng.dirichlet(np.full(people, 0.7)))
    path = folder / "offsets.npy"
    np.save(path, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return path


def memory() -> float:
    """Megabytes of this process that are in memory, mapped files among them."""
    return float(psutil.Process().memory_info().rss / 1e6)


def ours(path: Path, steps: int) -> dict[str, Any]:
    """Measure PeopleSampler."""
    before, start = memory(), time.perf_counter()
    offsets = np.load(path, mmap_mode="r")
    sampler = PeopleSampler(offsets, paired(offsets), P, K, seed=0)
    opened = time.perf_counter() - start
    took = []
    for step in range(steps):
        at = time.perf_counter()
        sampler.batch(step)
        took.append(1e3 * (time.perf_counter() - at))
    return row("PeopleSampler", before, opened, took)


def theirs(path: Path, steps: int) -> dict[str, Any]:
    """Measure MPerClassSampler, whose iterator makes the batches of an epoch in advance."""
    from pytorch_metric_learning.samplers import MPerClassSampler

    offsets = np.load(path, mmap_mode="r")
    labels = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    before, start = memory(), time.perf_counter()
    sampler = MPerClassSampler(labels, K, batch_size=P * K, length_before_new_iter=steps * P * K)
    opened = time.perf_counter() - start
    at = time.perf_counter()
    sum(1 for _ in sampler)
    took = [1e3 * (time.perf_counter() - at) / steps] * steps
    return row("MPerClassSampler", before, opened, took)


def row(name: str, before: float, opened: float, took: list[float]) -> dict[str, Any]:
    return {
        "sampler": name,
        "seconds to open": round(opened, 2),
        "ms the first batch": round(took[0], 3),
        "ms a batch": round(float(np.mean(took)), 3),
        "ms the slowest after the first": round(max(took[1:]), 3),
        "MB grown": round(memory() - before),
        "MB peak of the process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def loading(path: Path, steps: int) -> list[dict[str, Any]]:
    """Decode sampled batches by one thread and by two, in turn, and take the better of each."""
    pack = Pack.open(path)
    sampler = PeopleSampler(pack.offsets, paired(pack.offsets), P, K, seed=0)
    rates: dict[int, float] = {}
    for workers in (1, 2, 1, 2):
        start = time.perf_counter()
        for step in range(steps):
            pack.read(sampler.batch(step), workers)
        rate = steps * P * K / (time.perf_counter() - start)
        rates[workers] = max(rates.get(workers, 0), rate)
    return [
        {"pack": pack.alignment, "workers": w, "images a second": round(r)}
        for w, r in rates.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--their-steps", type=int, default=5)
    parser.add_argument("--pack", type=Path, nargs="*", default=[])
    wanted = parser.parse_args()
    apart = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = index(Path(folder), wanted.people, wanted.images)
        for measure, steps in ((ours, wanted.steps), (theirs, wanted.their_steps)):
            with apart.Pool(1) as pool:
                print(json.dumps(pool.apply(measure, (path, steps))), flush=True)
    for each in wanted.pack:
        for found in loading(each, 100):
            print(json.dumps(found))


if __name__ == "__main__":
    main()
