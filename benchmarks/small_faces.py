"""SFace fine-tuned for faces 10 to 14 pixels wide: what it gains there, and loses at full size.

The people of a fold of LFW's View 2 take no part; they are what is measured. Faces are made small
as in FACTS of degradation: area averaging, then linear enlargement, both photographs of a pair.

    visavis data pack lfw/images lfw112
    python benchmarks/small_faces.py --pack lfw112 --pairs lfw/pairs.txt
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from train_lfw import fold_pairs, measured
from visavis.models import ModelStore
from visavis.train.augment import FACE, PRESETS, Preset
from visavis.train.config import Hardware, HeldOut, Learning, TrainConfig
from visavis.train.learner import Encoder
from visavis.train.objectives import ObjectiveConfig, parse_objective
from visavis.train.pack import Pack
from visavis.train.run import train_encoder
from visavis.train.starts import open_start

if TYPE_CHECKING:
    from visavis.train.progress import Progress

WIDTHS = (0, 14, 10)
"""Looked at on the way; a face's width is that of YuNet's box, 0.73 of the crop's side."""

CELLS = (0, 19, 17, 14, 12)
"""Measured at the end: the crop averaged to so many cells. 19 and 14 are YuNet's boxes 14 and 10
pixels wide; with 17 and 12 SFace has the TAR that others have told of faces of 14 and 10 pixels."""


def main() -> None:
    asked = arguments()
    torch.set_num_threads(asked.threads)
    pack, store = Pack.open(asked.pack), ModelStore.default()
    pairs = fold_pairs(asked.pairs, asked.fold)
    apart = tuple(sorted({name for a, b, _ in pairs for name in (a[0], b[0])}))
    config = config_of(asked, apart)
    began = time.monotonic()

    def told(progress: Progress) -> None:
        seconds = time.monotonic() - began
        if progress.check:
            seen = [f"{s.width}: {s.accuracy:.4f} {s.tar:.3f}" for s in progress.check.sights]
            print(f"{seconds:6.0f} s step {progress.step}: {seen}", flush=True)
        elif progress.note:
            print(f"step {progress.step}: {progress.note}", flush=True)
        elif progress.vitals and progress.step % 20 == 0:
            v = progress.vitals
            print(f"{seconds:6.0f} s step {progress.step}: loss {v.loss:.4f} mated {v.mated:.3f}")

    folder = asked.out or Path(tempfile.mkdtemp(prefix="small-faces-"))
    resume = (folder / "last.ckpt").exists()  # a run that has ended is only measured again
    trained = train_encoder(asked.pack, folder, config, store, resume=resume, told=told)
    start = open_start("sface", None, pack, store)
    before = Encoder(start.network, start.preprocessing).eval()
    groups = (apart, trained.split.validation)
    for cells in CELLS:
        width = cells * FACE
        for name, encoder in (("sface", before), ("fine-tuned", trained.encoder)):
            found = measured(encoder, pack, pairs, groups, width)
            row = {"encoder": name, "cells": cells, "steps": asked.steps, "seed": asked.seed}
            row |= {"fold": asked.fold, "objective": asked.objective, **found}
            print(json.dumps(row), flush=True)
            if asked.json:
                with asked.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True, help="LFW's pairs.txt")
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objective", default="triplet+keep")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--json", type=Path, help="append the results here")
    return parser.parse_args()


def config_of(asked: argparse.Namespace, apart: tuple[str, ...]) -> TrainConfig:
    return TrainConfig(
        start="sface",
        objective=ObjectiveConfig(parse_objective(asked.objective)),
        augment=PRESETS[Preset.LOW_RESOLUTION],
        people=asked.people,
        images=4,
        steps=asked.steps,
        seed=asked.seed,
        keep_every=asked.every,
        exclude=apart,
        learning=Learning(rate=asked.rate, warmup=20, ema=0.95),
        held_out=HeldOut(0.1, 0.01, every=asked.every, photographs=500, widths=WIDTHS[1:]),
        hardware=Hardware(accelerator="cpu", threads=asked.threads),
    )


if __name__ == "__main__":
    main()
