"""What each objective learns from LFW: accuracy on the people of a fold that it never saw.

All people of one fold of View 2 take no part in training; a tenth of the others choose the best
weights and the threshold. Every recipe sees the same number of images with the same encoder.

    visavis data pack lfw/images lfw64 --alignment arcface-64
    python benchmarks/train_lfw.py --pack lfw64 --pairs lfw/pairs.txt --recipe semi-hard --seed 0
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from visavis.evaluate import metrics
from visavis.models import ModelStore
from visavis.train.augment import PRESETS, Preset
from visavis.train.config import Hardware, HeldOut, Learning, Optimizer, TrainConfig
from visavis.train.objectives import Mining, ObjectiveConfig, parse_objective
from visavis.train.pack import Pack
from visavis.train.run import train_encoder
from visavis.train.watch import all_pairs, chosen_rows, encode_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from visavis.train.progress import Progress

    Pairs = list[tuple[tuple[str, int], tuple[str, int], bool]]
    Groups = tuple[tuple[str, ...], NDArray[np.int64]]

RECIPES = {
    # objective, mining, learning rate
    "semi-hard": ("triplet", Mining.SEMI_HARD, 1e-3),
    "hard": ("triplet", Mining.HARD, 1e-3),
    "random": ("triplet", Mining.RANDOM, 1e-3),
    "all": ("triplet", Mining.ALL, 1e-3),
    "contrastive": ("contrastive", Mining.SEMI_HARD, 1e-3),
    "softmax": ("softmax", Mining.SEMI_HARD, 1e-3),
    "arcface": ("arcface", Mining.SEMI_HARD, 1e-3),
    "arcface+triplet": ("arcface+10*triplet", Mining.SEMI_HARD, 1e-3),
    "arcface-then-triplet": ("triplet", Mining.SEMI_HARD, 1e-3),
}


def main() -> None:
    asked = arguments()
    torch.set_num_threads(asked.threads)
    pack = Pack.open(asked.pack)
    pairs = fold_pairs(asked.pairs, asked.fold)
    apart = tuple(sorted({name for a, b, _ in pairs for name in (a[0], b[0])}))
    config = config_of(asked, apart)
    folder = asked.out or Path(tempfile.mkdtemp(prefix="train-lfw-"))
    began = time.monotonic()

    def told(progress: Progress) -> None:
        if progress.check:
            seen = [f"{s.accuracy:.3f} {s.tar:.3f}" for s in progress.check.sights]
            print(f"{time.monotonic() - began:6.0f} s step {progress.step}: {seen}", flush=True)
        elif progress.note:
            print(f"step {progress.step}: {progress.note}", flush=True)
        elif progress.vitals and progress.step % 50 == 0:
            v = progress.vitals
            print(
                f"{time.monotonic() - began:6.0f} s step {progress.step}: loss {v.loss:.4f} mated "
                f"{v.mated:.3f} non-mated {v.nonmated:.3f} active {v.active} dimension "
                f"{v.dimension:.1f}, {progress.images_a_second:.0f} images/s",
                flush=True,
            )

    trained = train_encoder(asked.pack, folder, config, ModelStore.default(), told=told)
    found = {
        "recipe": asked.recipe,
        "seed": asked.seed,
        "images_seen": asked.steps * config.people * config.images,
        "people": len(trained.split.train),
        "seconds": round(time.monotonic() - began),
        "ended": trained.ending,
        "notes": list(trained.notes),
        **measured(trained.encoder, pack, pairs, (apart, trained.split.validation)),
    }
    print(json.dumps(found), flush=True)
    if asked.json:
        with asked.json.open("a") as file:
            file.write(json.dumps(found) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True, help="LFW's pairs.txt")
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--recipe", choices=RECIPES, default="semi-hard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--start", default="mobilefacenet")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--augment", default="light")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--sgd", action="store_true")
    parser.add_argument("--scale", type=float, default=30.0, help="ArcFace's")
    parser.add_argument("--margin", type=float, default=0.5, help="ArcFace's")
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--alpha", type=float, default=0.2)
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--json", type=Path, help="append the result here")
    return parser.parse_args()


def config_of(asked: argparse.Namespace, apart: tuple[str, ...]) -> TrainConfig:
    objective, mining, rate = RECIPES[asked.recipe]
    first = parse_objective("arcface") if "then" in asked.recipe else ()
    return TrainConfig(
        start=asked.start,
        first=first,
        first_steps=2 * asked.steps // 3 if first else 0,
        objective=ObjectiveConfig(
            parse_objective(objective),
            asked.alpha,
            mining,
            arcface_scale=asked.scale,
            arcface_margin=asked.margin,
        ),
        augment=PRESETS[Preset(asked.augment)],
        people=asked.people,
        images=asked.images,
        steps=asked.steps,
        seed=asked.seed,
        keep_every=asked.every,
        exclude=apart,
        learning=Learning(
            Optimizer.SGD if asked.sgd else Optimizer.ADAMW,
            rate=asked.rate or rate,
            warmup=50,
            decay=asked.decay,
        ),
        held_out=HeldOut(0.1, 0.01, every=asked.every, photographs=1000),
        hardware=Hardware(accelerator="cpu", threads=asked.threads, compiled=asked.compile),
    )


def fold_pairs(path: Path, fold: int) -> Pairs:
    """Read the 600 pairs of a fold of View 2: (name, number) twice, and whether mated."""
    lines = path.read_text("utf-8").splitlines()
    chosen = lines[1 + 600 * (fold - 1) : 1 + 600 * fold]
    pairs = []
    for line in chosen:
        words = line.split("\t")
        if len(words) == 3:
            pairs.append(((words[0], int(words[1])), (words[0], int(words[2])), True))
        else:
            pairs.append(((words[0], int(words[1])), (words[2], int(words[3])), False))
    return pairs


def measured(
    encoder: nn.Module, pack: Pack, pairs: Pairs, groups: Groups, width: float = 0
) -> dict[str, Any]:
    """Measure on a fold's pairs, and on all pairs of its people, with the others' threshold."""
    device = torch.device("cpu")
    apart, validation = groups
    rows = chosen_rows(pack.offsets, validation, 1000)
    vectors = encode_rows(encoder, pack, rows, device, width)
    line = metrics.curve(*all_pairs(vectors, pack.owners(rows)))
    tau = float(line.tau[np.argmin(line.fmr + line.fnmr)])
    named = set(apart)
    people = [p for p in range(pack.people) if pack.name(p) in named]
    rows = np.concatenate([np.arange(pack.offsets[p], pack.offsets[p + 1]) for p in people])
    vectors = encode_rows(encoder, pack, rows, device, width)
    at = {Path(pack.source(int(row))).stem: i for i, row in enumerate(rows)}
    ends = [[at[f"{name}_{number:04d}"] for name, number in pair[:2]] for pair in pairs]
    d = np.array([np.square(vectors[a] - vectors[b]).sum() for a, b in ends])
    same = np.array([pair[2] for pair in pairs])
    mated, nonmated = all_pairs(vectors, pack.owners(rows))
    return {
        "accuracy": float(np.mean((d <= tau) == same)),
        "tar_1e-2": metrics.tar_at_far(d[same], d[~same], 1e-2),
        "all_pairs": {
            "mated": len(mated),
            "nonmated": len(nonmated),
            "eer": metrics.equal_error(metrics.curve(mated, nonmated)).rate,
            "tar_1e-2": metrics.tar_at_far(mated, nonmated, 1e-2),
            "tar_1e-3": metrics.tar_at_far(mated, nonmated, 1e-3),
        },
    }


if __name__ == "__main__":
    main()
