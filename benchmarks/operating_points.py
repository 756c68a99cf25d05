r"""Operating points of an encoder: tau for false match rates from 1e-1 to 1e-6.

Run from the repository, with LFW unpacked anywhere::

    python benchmarks/operating_points.py --images LFW/images \\
        --pairs LFW/pairsDevTrain.txt LFW/pairsDevTest.txt --write

It takes every photograph of everybody who occurs in the pairs of View 1 and compares all
photographs of different people. Labels that are wrong (found among the nearest pairs, which
``--nearest 150`` lists, and looked at one by one) are named in ``lfw_wrong_labels.csv`` and left
out; brothers and sisters stay in. Intervals are bootstrapped over
people, since pairs that share a person are not independent (ISO/IEC 19795-1; Bolle et al. 2004).
``--write`` puts the result beside the model's manifest; otherwise it goes to ``--out`` or is
printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

import ensemble
import lfw
from visavis.encode import open_encoder
from visavis.evaluate.calibration import misses_at
from visavis.evaluate.intervals import ByPerson, draws
from visavis.evaluate.run import PER_PERSON
from visavis.models import Cores, ModelStore, Precision, RuntimeName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from visavis.encode import Encoder

RATES = [10 ** (-k / 2) for k in range(2, 13)]
BINS = 80_000
REPEATS = 1000
BLOCK = 512
BEYOND = 4
"""Decades below the last rate measured, for which is told what tau turns away."""
CACHE = Path(platformdirs.user_cache_dir("visavis", appauthor=False)) / "benchmarks"
WRONG = Path(__file__).with_name("lfw_wrong_labels.csv")


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Encodings of many people: (N, D) unit rows ordered by person, and whose each is."""

    vectors: NDArray[np.float32]
    names: list[str]
    people: list[str]
    owner: NDArray[np.int64]


def view1(images: Path, pairs: Iterable[Path]) -> list[str]:
    """List all photographs of everybody in View 1's pairs."""
    folds = [pair for path in pairs for fold in lfw.read_pairs(path) for pair in fold]
    people = {name.split("/")[0] for pair in folds for name in (pair.a, pair.b)}
    return sorted(
        f"{person}/{photo.name}" for person in people for photo in (images / person).glob("*.jpg")
    )


def encoded(images: Path, names: list[str], encoder: Encoder, cache: Path) -> Faces:
    """Encode every photograph that shows a face."""
    cut = lfw.crops(images, names, cache)
    owners = [name.split("/")[0] for name in cut.names]
    people = sorted(set(owners))
    number = {person: i for i, person in enumerate(people)}
    order = np.argsort([number[o] for o in owners], kind="stable")
    vectors = ensemble.encoded(encoder, images, cut, cache)[order]
    return Faces(
        vectors, [cut.names[i] for i in order], people, np.array([number[owners[i]] for i in order])
    )


def blocks(faces: Faces) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
    """Give d of a block of rows to all later rows, and which of those pairs are non-mated."""
    for start in range(0, len(faces.vectors), BLOCK):
        rows = faces.vectors[start : start + BLOCK]
        d = np.clip(2 - 2 * rows @ faces.vectors[start:].T, 0, 4)
        later = np.arange(d.shape[1])[None] > np.arange(len(rows))[:, None]
        other = faces.owner[start : start + BLOCK, None] != faces.owner[None, start:]
        yield start, d, later & other


def nearest(faces: Faces, count: int, dropped: set[frozenset[str]]) -> list[tuple[float, str, str]]:
    """List the nearest pairs of different names."""
    found: list[tuple[float, str, str]] = []
    bound = 4.0
    for start, d, wanted in blocks(faces):
        for i, j in zip(*np.nonzero(wanted & (d <= bound)), strict=True):
            a, b = faces.names[start + i], faces.names[start + j]
            if frozenset((a.split("/")[0], b.split("/")[0])) not in dropped:
                found.append((float(d[i, j]), a, b))
        found = sorted(found)[:count]
        bound = found[-1][0] if len(found) == count else 4.0
    return found


def counted(
    faces: Faces, dropped: set[frozenset[str]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the non-mated pairs by distance; also give which pairs of people count."""
    allowed = ~np.eye(len(faces.people), dtype=bool)
    number = {person: i for i, person in enumerate(faces.people)}
    for pair in dropped:
        a, b = (number.get(person) for person in sorted(pair))
        if a is not None and b is not None:
            allowed[a, b] = allowed[b, a] = False
    histogram = np.zeros(BINS, np.int64)
    for start, d, wanted in blocks(faces):
        rows = faces.owner[start : start + len(d)]
        keep = wanted & allowed[rows[:, None], faces.owner[None, start:]]
        bins = np.minimum((d[keep] * (BINS / 4)).astype(np.int64), BINS - 1)
        histogram += np.bincount(bins, minlength=BINS)
    return histogram, allowed


def false_matches(faces: Faces, taus: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, P, P) how many pairs of photographs of two people are within each tau."""
    people = len(faces.people)
    counts = np.zeros((len(taus), people, people), np.float32)
    starts = np.flatnonzero(np.r_[True, np.diff(faces.owner) != 0])
    for person, start in enumerate(starts):
        end = starts[person + 1] if person + 1 < people else len(faces.owner)
        d = np.clip(2 - 2 * faces.vectors[start:end] @ faces.vectors.T, 0, 4)
        for level, tau in enumerate(taus):
            within = (d <= tau).sum(0, dtype=np.float32)
            counts[level, person] = np.add.reduceat(within, starts)
    return counts


def intervals(
    faces: Faces, taus: NDArray[np.float64], allowed: NDArray[np.bool_], seed: int = 0
) -> NDArray[np.float64]:
    """(T, 2) 95 % bounds of the rate at each tau, people drawn with replacement."""
    photos = np.bincount(faces.owner, minlength=len(faces.people)).astype(np.float32)
    pairs = np.outer(photos, photos) * allowed
    draws = np.random.default_rng(seed).multinomial(
        len(faces.people), np.full(len(faces.people), 1 / len(faces.people)), REPEATS
    )
    weights = draws.T.astype(np.float32)
    total = (weights * (pairs @ weights)).sum(0, dtype=np.float64)
    matches = false_matches(faces, taus)
    bounds = []
    for level in matches:
        rate = (weights * ((level * allowed) @ weights)).sum(0, dtype=np.float64) / total
        bounds.append(np.quantile(rate, [0.025, 0.975]))
    return np.array(bounds)


def measure(faces: Faces, dropped: set[frozenset[str]]) -> dict[str, Any]:
    """Find tau for each rate, its interval, and the slope of the tail."""
    histogram, allowed = counted(faces, dropped)
    pairs = int(histogram.sum())
    share = np.cumsum(histogram) / pairs
    edges = np.arange(1, BINS + 1) * (4 / BINS)
    # The largest tau at which no more than the wanted share is accepted.
    taus = np.array([edges[max(0, np.searchsorted(share, rate, "right") - 1)] for rate in RATES])
    measured = np.array([share[max(0, np.searchsorted(share, r, "right") - 1)] for r in RATES])
    bounds = intervals(faces, taus, allowed)
    points = [
        {
            "fmr": float(f"{rate:.6g}"),
            "tau": round(float(tau), 6),
            "measured": float(f"{m:.4g}"),
            "lower": float(f"{low:.4g}"),
            "upper": float(f"{max(high, rate):.4g}"),
        }
        for rate, tau, m, (low, high) in zip(RATES, taus, measured, bounds, strict=True)
    ]
    tail = [i for i, rate in enumerate(RATES) if rate <= 1.001e-4]
    slope = np.polyfit(taus[tail], np.log10(np.array(RATES)[tail]), 1)[0]
    return {
        "pairs": pairs,
        "people": len(faces.people),
        "photographs": len(faces.names),
        "points": points,
        "tail_slope": round(float(slope), 4),
        "mated": misses(faces, [p["tau"] for p in points] + _further(points[-1], float(slope))),
    }


def _further(last: dict[str, float], slope: float) -> list[float]:
    """List taus below the last one, as far as the tail's slope is followed."""
    taus = [last["tau"] - decade / slope for decade in range(1, BEYOND + 1)]
    return [round(tau, 6) for tau in taus if tau > 0]


def misses(faces: Faces, taus: list[float]) -> dict[str, Any]:
    """Measure what each tau turns away, on at most so many photographs of a person."""
    d, owner = [np.zeros(0)], [np.zeros(0, np.int64)]
    for person in range(len(faces.people)):
        rows = faces.vectors[faces.owner == person][:PER_PERSON]
        one, other = np.triu_indices(len(rows), 1)
        d.append(np.clip(2 - 2 * np.sum(rows[one] * rows[other], axis=1), 0, 4))
        owner.append(np.full(len(one), person))
    mated = ByPerson(np.concatenate(d).astype(np.float64), np.concatenate(owner))
    found = misses_at(taus, mated, draws(len(faces.people), REPEATS))
    rounded = [
        {"tau": m.tau, **{k: float(f"{getattr(m, k):.4g}") for k in ("fnmr", "lower", "upper")}}
        for m in found
    ]
    return {"pairs": len(mated.d), "photographs_a_person": PER_PERSON, "misses": rounded}


def wrong_labels(path: Path) -> list[dict[str, str]]:
    """Read what is known to be labelled wrongly: two names of one person, or one photograph."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Measure one encoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, nargs="+", required=True)
    parser.add_argument("--encoder", default="sface")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default="int8")
    parser.add_argument("--wrong", type=Path, default=WRONG)
    parser.add_argument("--nearest", type=int, help="only list so many of the nearest pairs")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, default=CACHE)
    wanted = parser.parse_args()
    store = ModelStore.default()
    manifest = store.manifest(wanted.encoder)
    encoder = open_encoder(store, manifest, wanted.precision, RuntimeName.OPENVINO, Cores(1))
    listed = wrong_labels(wanted.wrong)
    misnamed = {row["a"] for row in listed if row["kind"] == "photograph"}
    names = [n for n in view1(wanted.images, wanted.pairs) if Path(n).stem not in misnamed]
    faces = encoded(wanted.images, names, encoder, wanted.cache)
    dropped = {frozenset((row["a"], row["b"])) for row in listed if row["kind"] == "people"}
    if wanted.nearest:
        for d, a, b in nearest(faces, wanted.nearest, dropped):
            print(f"{d:.4f} {a} {b}")
        return
    result = {
        "schema": 1,
        "encoder": encoder.id,
        "encoder_name": wanted.encoder,
        "tuned_on": "LFW deep-funneled, all photographs of the people of View 1",
        "command": "benchmarks/operating_points.py",
        "date": datetime.now(UTC).date().isoformat(),
        "interval": f"95 %, bootstrap over people, {REPEATS} repeats",
        **measure(faces, dropped),
        "dropped": [
            f"{row['a']}{' = ' + row['b'] if row['b'] else ''}: {row['why']}" for row in listed
        ],
    }
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    out = store.points_file(wanted.encoder, wanted.precision) if wanted.write else wanted.out
    if out:
        out.write_text(text, "utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
