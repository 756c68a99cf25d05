"""Clustering of LFW: B-cubed F1 beside DBSCAN and HDBSCAN, and what many faces cost.

::

    python benchmarks/clustering.py --images LFW/images
    python benchmarks/clustering.py --synthetic 100000

All images are clustered, of each the most central face. B-cubed precision and recall are means over
the faces of people with two images or more; the strangers, people with one image, are in the input
and cost precision where they are put with somebody. ``alone`` is the share of strangers that stay
alone. What visavis was tuned on is the half of the people named ``development``; the other half is
``test``. DBSCAN and scikit-learn's HDBSCAN are given their best settings on the very people that
are reported, which no user could know. Needs scikit-learn and scipy.

``--synthetic`` groups as many unit vectors of people drawn at random, one of whom has a fifth of
all faces, and gives seconds and memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from visavis.cluster import Evidence, common_cosine, group
from visavis.engine import ClusterConfig, Engine, EngineConfig
from visavis.evaluate.bcubed import bcubed
from visavis.models import Cores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from visavis.decide import OperatingCurve
    from visavis.engine import Clusters, Found

    Rows = NDArray[np.float32]
    Labels = NDArray[np.intp]


def central(found: Clusters) -> tuple[list[Found], list[Path]]:
    """Give the face nearest to the middle of each 250 x 250 image, and the images."""
    best: dict[Path, tuple[float, Found]] = {}
    everyone = [*found.strangers, *(f for each in found.clusters for f in each.faces)]
    for face in everyone:
        x, y, wide, high = face.sighting.face.box
        off = float(np.hypot(x + wide / 2 - 125, y + high / 2 - 125))
        for path in (face.path, *face.copies):
            if path not in best or off < best[path][0]:
                best[path] = (off, face)
    paths = sorted(best)
    return [best[path][1] for path in paths], paths


def judged(truth: Labels, found: Labels) -> dict[str, float]:
    """Give B-cubed over people with several faces, and the share of strangers left alone."""
    faces = np.bincount(truth)[truth]
    told = bcubed(truth, found, faces > 1)
    size = np.bincount(found)[found]
    return {
        "f1": round(told.f1, 4),
        "precision": round(told.precision, 4),
        "recall": round(told.recall, 4),
        "alone": round(float((size[faces == 1] == 1).mean()), 4),
    }


def ours(vectors: Rows, curve: OperatingCurve) -> Labels:
    """Group as ``visavis cluster`` does at its default rate."""
    among_all = curve.identification(ClusterConfig().fpir, len(vectors) - 1).tau
    tau = min(among_all, curve.verification(EngineConfig().fmr).tau)
    common = common_cosine([p.fmr for p in curve.points], [p.tau for p in curve.points])
    return group(vectors, Evidence(tau, common))


def numbered(labels: NDArray[Any]) -> Labels:
    """Make a group of its own of each face that was called noise (-1)."""
    alone = labels.max() + 1 + np.arange(len(labels))
    return np.unique(np.where(labels < 0, alone, labels), return_inverse=True)[1]


def dbscan(vectors: Rows) -> Iterator[tuple[str, Labels]]:
    """Yield DBSCAN's answers over a grid of distances and of faces that make a core."""
    from scipy.sparse import csr_array
    from sklearn.cluster import DBSCAN

    cosines = vectors @ vectors.T
    a, b = np.nonzero(cosines >= 1 - 1.2 / 2)
    d = np.maximum(2 - 2 * cosines[a, b], 1e-9)
    del cosines
    graph = csr_array((d, (a, b)), shape=(len(vectors), len(vectors)))
    graph.sort_indices()
    for core in (1, 2, 3, 4):
        for d in np.arange(0.6, 1.2, 0.025):
            clustering = DBSCAN(eps=d, min_samples=core, metric="precomputed")
            yield f"d {d:.3f}, core {core}", numbered(clustering.fit_predict(graph))


def hdbscan(vectors: Rows) -> Iterator[tuple[str, Labels]]:
    """Yield HDBSCAN's answers over its settings."""
    from sklearn.cluster import HDBSCAN

    for core in (1, 2, 3):
        for method in ("eom", "leaf"):
            # cluster_selection_epsilon fails in scikit-learn 1.9 with NumPy 2.4 (a TypeError).
            clustering = HDBSCAN(2, min_samples=core, cluster_selection_method=method, copy=True)
            yield f"core {core}, {method}", numbered(clustering.fit_predict(vectors))


def best(truth: Labels, answers: Iterator[tuple[str, Labels]]) -> dict[str, Any]:
    """Give the best of several settings by F1."""
    told = [{"setting": name, **judged(truth, labels)} for name, labels in answers]
    return max(told, key=lambda one: one["f1"])


def lfw(images: Path, state: Path, rivals: bool) -> dict[str, Any]:
    """Embed LFW once, then cluster it in every way."""
    engine = Engine.open(config=EngineConfig(cores=Cores(1)))
    start = time.perf_counter()
    config = ClusterConfig(least_width=0)
    whole = engine.cluster(images, state=state, config=config)
    seconds = time.perf_counter() - start
    faces, paths = central(whole)
    vectors = np.stack([face.embedding.vector for face in faces])
    people = [path.parent.name for path in paths]
    halves = np.array([zlib.crc32(name.encode()) % 2 for name in people])
    names, truth = np.unique(people, return_inverse=True)
    result: dict[str, Any] = {
        "images": len(paths),
        "people": len(names),
        "whole command": {
            "seconds": round(seconds, 1),
            "embedded": whole.embedded,
            "faces": len(whole.strangers) + sum(len(each.faces) for each in whole.clusters),
        },
    }
    for name, inside in (("development", halves == 0), ("test", halves == 1), ("all", halves >= 0)):
        rows = vectors[inside]
        who = np.unique(truth[inside], return_inverse=True)[1]
        start = time.process_time()
        found = ours(rows, engine.curve)
        cpu = time.process_time() - start
        result[name] = {
            "faces": len(rows),
            "counted": int((np.bincount(who)[who] > 1).sum()),
            "visavis": {**judged(who, found), "CPU seconds": round(cpu, 2)},
        }
        if rivals:
            result[name]["DBSCAN"] = best(who, dbscan(rows))
            if name == "all":
                result[name]["HDBSCAN"] = best(who, hdbscan(rows))
        print(json.dumps({name: result[name]}), flush=True)
    return result


def synthetic(count: int, curve: OperatingCurve) -> dict[str, Any]:
    """Group people drawn at random: one with a fifth of the faces, others with one to twenty."""
    rng = np.random.default_rng(0)
    sizes = [count // 5]
    while sum(sizes) < count:
        sizes.append(min(int(rng.integers(1, 21)), count - sum(sizes)))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    rows = rng.normal(size=(len(sizes), 128)).astype(np.float32)[truth]
    rows += 0.75 * rng.normal(size=rows.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    start, cpu = time.perf_counter(), time.process_time()
    found = ours(rows, curve)
    return {
        "faces": count,
        "people": len(sizes),
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(time.process_time() - cpu, 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        **judged(truth, found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of LFW's photographs")
    parser.add_argument("--synthetic", type=int, metavar="FACES")
    parser.add_argument("--no-rivals", action="store_true", help="visavis alone")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(platformdirs.user_cache_dir("visavis", appauthor=False)) / "lfw.faces",
        help="where encodings are kept (default: %(default)s)",
    )
    wanted = parser.parse_args()
    if wanted.images:
        print(json.dumps(lfw(wanted.images, wanted.state, not wanted.no_rivals), indent=1))
    if wanted.synthetic:
        print(json.dumps(synthetic(wanted.synthetic, Engine.open().curve), indent=1))


if __name__ == "__main__":
    main()
