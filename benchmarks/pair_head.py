r"""A pair head against the plain distance, on people it has not seen (LFW, View 2).

Run from the repository, with LFW packed by ``visavis data pack LFW/images PACK``::

    python benchmarks/pair_head.py --data PACK --pairs LFW/pairs.txt --folds 1

Everybody in the 600 pairs of a fold is dropped from the training; the head is learnt on all others
and reported on the fold: its 600 pairs (accuracy at the threshold that errs least on the pairs of
the other folds, TAR at FAR 1e-2), and, since 300 non-mated pairs are few, all pairs of the fold's
people, at most ten photographs a person. Rows marked *free* are fitted without drawing the weights
towards equal ones (C = 1), as DeepFace's recipe reads. Several folds are averaged.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

import lfw
from visavis.engine import Engine, EngineConfig
from visavis.evaluate import metrics
from visavis.evaluate.protocols import squared_between
from visavis.head import Form
from visavis.models import Cores
from visavis.train.head_trial import Trial, encode_rows
from visavis.train.pack import Pack
from visavis.train.pair_head import HeadConfig, learn_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Between = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]

PER_PERSON = 10
FREE = (1.0,)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Encodings of a whole pack, whose each is, and View 2 in rows of it."""

    vectors: NDArray[np.float32]
    owner: NDArray[np.int64]
    folds: list[NDArray[np.int64]]
    same: list[NDArray[np.bool_]]


def opened(data: Path, pairs: Path, encoder: str) -> World:
    pack = Pack.open(data)
    cores = os.cpu_count() or 1
    engine = Engine.open(config=EngineConfig(encoder=encoder, cores=Cores(cores, cores)))
    cache = Path(platformdirs.user_cache_dir("visavis", appauthor=False))
    rows = np.arange(len(pack))
    vectors = encode_rows(pack, engine.encoder, rows, Trial(cache=cache, workers=cores))
    row = {pack.source(int(i)): int(i) for i in rows}
    folds = [
        [p for p in fold if p.a in row and p.b in row]  # a face was found in both
        for fold in lfw.read_pairs(pairs)
    ]
    return World(
        vectors,
        pack.owners(rows),
        [np.array([(row[p.a], row[p.b]) for p in fold]) for fold in folds],
        [np.array([p.same for p in fold]) for fold in folds],
    )


def measured(world: World, fold: int, between: Between) -> list[float]:
    """Accuracy and TAR at FAR 1e-2 on the list; TAR at 1e-2, 1e-3, 1e-4 and EER on all pairs."""

    def listed(which: int) -> NDArray[np.float64]:
        at = world.folds[which]
        some = [between(world.vectors[a : a + 1], world.vectors[b : b + 1])[0, 0] for a, b in at]
        return np.array(some, np.float64)

    d, same = listed(fold), world.same[fold]
    others = [other for other in range(len(world.folds)) if other != fold]
    tau = metrics.best_tau(
        np.concatenate([listed(other) for other in others]),
        np.concatenate([world.same[other] for other in others]),
    )
    people = np.unique(world.owner[world.folds[fold]])
    rows = np.concatenate([np.flatnonzero(world.owner == p)[:PER_PERSON] for p in people])
    i, j = np.triu_indices(len(rows), 1)
    every = between(world.vectors[rows], world.vectors[rows])[i, j].astype(np.float64)
    own = world.owner[rows[i]] == world.owner[rows[j]]
    mated, others_d = every[own], every[~own]
    return [
        float(np.mean((d <= tau) == same)),
        metrics.tar_at_far(d[same], d[~same], 1e-2),
        *(metrics.tar_at_far(mated, others_d, far) for far in (1e-2, 1e-3, 1e-4)),
        metrics.equal_error(metrics.curve(mated, others_d)).rate,
    ]


def heads(world: World, fold: int) -> dict[str, tuple[Between, str]]:
    """Give the distance and heads of each form, learnt without the fold's people."""
    out = np.unique(world.owner[world.folds[fold]])
    rows = np.flatnonzero(~np.isin(world.owner, out))
    found: dict[str, tuple[Between, str]] = {"distance d": (squared_between, "")}
    for form in Form:
        for name, config in (
            (f"head, {form}", HeadConfig(form)),
            (f"head, {form}, *free*", HeadConfig(form, strengths=FREE)),
        ):
            learnt = learn_head(world.vectors[rows], world.owner[rows], "", "LFW", config)
            told = f"C = {learnt.strength:g}, weights' spread {learnt.spread:.3f}"
            found[name] = (learnt.head.between, told)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--encoder", default="sface")
    parser.add_argument("--folds", type=int, nargs="+", default=[1], help="from 1 to 10")
    given = parser.parse_args()
    world = opened(given.data, given.pairs, given.encoder)
    rows: dict[str, list[list[float]]] = {}
    told: dict[str, str] = {}
    for fold in given.folds:
        for name, (between, said) in heads(world, fold - 1).items():
            rows.setdefault(name, []).append(measured(world, fold - 1, between))
            told[name] = said
    print(
        "| | accuracy, 600 pairs | TAR at FAR 1e-2, 600 pairs | TAR at 1e-2, all pairs "
        "| at 1e-3 | at 1e-4 | EER | |"
    )
    print("|---|" + "---|" * 7)
    for name, found in rows.items():
        numbers = " | ".join(f"{100 * value:.2f}" for value in np.mean(found, axis=0))
        print(f"| {name} | {numbers} | {told[name]} |")


if __name__ == "__main__":
    main()
