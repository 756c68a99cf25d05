"""How far liveness can be trusted: kinds of attack never learnt from, NUAA, and what it costs.

    python benchmarks/liveness_nuaa.py kinds --data DIR      # each kind left out of training
    python benchmarks/liveness_nuaa.py without --data DIR    # no NUAA in training, all of it tested
    python benchmarks/liveness_nuaa.py subjects --data DIR   # NUAA by subject, three splits
    python benchmarks/liveness_nuaa.py shipped --photo A.jpg # of the package: its points, its cost

DIR holds ``lfw/images`` and ``nuaa/train.csv``. Presentations are rendered once a run (minutes);
each network is learnt afresh. A third of NUAA's nine subjects is held out at a time; of LFW one
photograph of each person is used, and a sixth of the people is held out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from visavis.detect import Detector, Search
from visavis.engine import Engine, EngineConfig
from visavis.evaluate.presentation import (
    at_threshold,
    separation,
    threshold_at_apcer,
    threshold_at_bpcer,
)
from visavis.image import image_of, open_image
from visavis.liveness.passive import PassiveLiveness
from visavis.models import Cores, ModelStore, Precision, RuntimeName
from visavis.train.attacks import CROP, CROP_SIZE
from visavis.train.live_bank import Bank, cut_canvases, presented, render, split
from visavis.train.live_config import LivenessConfig
from visavis.train.live_finish import grouped
from visavis.train.live_run import listed, live_folder
from visavis.train.liveness import fit, scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from visavis.train.live_net import LiveNet

TESTS = Path(__file__).resolve().parents[1] / "tests" / "liveness"
INDEPENDENT = 120
"""People whom the independent path presents."""


def detector() -> Detector:
    store = ModelStore.default()
    manifest = store.manifest("yunet")
    cores = Cores(threads=1)
    return Detector(store.session(manifest, Precision.FP32, RuntimeName.OPENVINO, cores))


def report(name: str, score: np.ndarray, bank: Bank) -> None:
    """Print EER, BPCER at APCER 1 % and APCER at BPCER 1 %, by species, with intervals."""
    live, attacks, weights = grouped(1 / (1 + np.exp(-score / 2)), bank)
    for species, kind in attacks.items():
        only = {species: kind}
        eer = separation(live, only, weights)["all"].eer
        strict = at_threshold(live, only, min(1.0, threshold_at_apcer(only, 0.01)), weights).bpcer
        easy = threshold_at_bpcer(live.score, 0.01)
        through = at_threshold(live, only, easy, weights).apcer[species]
        told = (
            f"{100 * i.value:.2f} [{100 * i.low:.2f}, {100 * i.high:.2f}]"
            for i in (eer, strict, through)
        )
        print(
            f"{name:<28} {species:<17} n {len(live.score):>5} + {len(kind.score):>5}  "
            "EER {}  BPCER@APCER1% {}  APCER@BPCER1% {}".format(*told),
            flush=True,
        )


def learnt(learn: Bank, check: Bank, config: LivenessConfig, name: str) -> LiveNet:
    print(f"{name}: {len(learn):,} presentations to learn from", file=sys.stderr, flush=True)
    return fit(learn, check, config, lambda e: print(e, file=sys.stderr, flush=True)).network


def joined(*banks: Bank) -> Bank:
    fields = ("crops", "live", "species", "subject")
    return Bank(*(np.concatenate([getattr(b, f) for b in banks]) for f in fields))


def independent(folder: Path, people: set[str], finder: Detector) -> Bank:
    """Present held-out people by the tests' own path, which shares no code with the simulator."""
    sys.path.insert(0, str(TESTS))
    import rephotographed as path
    from PIL import Image

    ways = {
        "live": path.retaken,
        "dithered print": path.printed,
        "clustered print": lambda photo, seed: path.printed(photo, seed, clustered=True),
        "phone": path.on_a_phone,
    }
    crops, species, subjects = [], [], []
    listing = [p for p in live_folder(folder, 1).presentations if p.subject in people]
    for seed, each in enumerate(listing[:INDEPENDENT]):
        photo = Image.open(folder / each.path).convert("RGB")
        for name, present in ways.items():
            image = image_of(np.asarray(present(photo, seed)))
            faces = finder.find(image, Search.SUBJECT)
            if faces:
                from visavis.align import surroundings

                crops.append(surroundings(image, faces[0], CROP, CROP_SIZE))
                species.append(name)
                subjects.append(each.subject)
    kinds = np.array(species)
    return Bank(np.stack(crops), kinds == "live", kinds, np.array(subjects))


def trained(args: argparse.Namespace, config: LivenessConfig) -> None:
    finder = detector()
    images = args.data / "lfw" / "images"
    faces = live_folder(images, 1)
    lfw = cut_canvases(faces.presentations, faces.images, finder)
    nuaa_list = listed(args.data / "nuaa" / "train.csv", None)
    nuaa = cut_canvases(nuaa_list.presentations, nuaa_list.images, finder)
    learn, check = split(lfw, config)
    print(
        f"LFW {len(learn):,} + {len(check):,} people, NUAA {len(nuaa):,} frames",
        file=sys.stderr,
        flush=True,
    )
    rendered = render(learn, config)
    held = render(check, LivenessConfig(seed=config.seed + 1, rounds=1))
    if args.mode == "kinds":
        other = independent(images, set(check.subject), finder)
        for left_out in ("simulated-screen", "simulated-print"):
            keep = rendered.species != left_out
            known = held.take(held.species != left_out)
            net = learnt(rendered.take(keep), known, config, f"without {left_out}")
            report(f"without {left_out}", scores(net, held.crops), held)
        net = learnt(rendered, held, config, "both")
        report("both kinds, simulated", scores(net, held.crops), held)
        report("both kinds, independent path", scores(net, other.crops), other)
    elif args.mode == "without":
        net = learnt(rendered, held, config, "without NUAA")
        bank = presented(nuaa)
        report("without NUAA", scores(net, bank.crops), bank)
    else:
        every, all_scores = [], []
        base = learnt(rendered, held, config, "without NUAA").state_dict()
        further = replace(config, epochs=2, rate=1.5e-3)
        some = rendered.take(np.random.default_rng(config.seed).random(len(rendered)) < 0.35)
        subjects = np.unique(nuaa.subject)
        for fold in range(3):
            out = np.isin(nuaa.subject, subjects[fold::3])
            mixed = joined(some, render(nuaa.take(~out), config))
            net = fit(mixed, held, further, start=base).network
            bank = presented(nuaa.take(out))
            found = scores(net, bank.crops)
            report(f"subjects {', '.join(subjects[fold::3])}", found, bank)
            every.append(bank)
            all_scores.append(found)
        report("all nine, pooled", np.concatenate(all_scores), joined(*every))


def shipped(args: argparse.Namespace) -> None:
    store = ModelStore.default()
    points = store.points(store.manifest("visavis-live"), Precision.FP32)
    print(json.dumps(points, indent=1))
    engine = Engine.open(config=EngineConfig(cores=Cores(threads=1)))
    passive = PassiveLiveness.open(store, cores=Cores(threads=1))
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    image = image_of(pixels) if args.photo is None else open_image(args.photo)
    faces = detector().find(image)
    if not faces:
        raise SystemExit("--photo must show a face")
    face = faces[0]
    crop = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3)).astype(np.uint8)
    print(
        f"encode {timed(lambda: engine.encoder.encode(crop)):.2f} ms, liveness with crop "
        f"{timed(lambda: passive.judge(image, face)):.2f} ms, crop alone "
        f"{timed(lambda: passive.crop(image, face)):.2f} ms"
    )


def timed(call: Callable[[], object], repeats: int = 300) -> float:
    """Median milliseconds of one call."""
    for _ in range(20):
        call()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return 1000 * float(np.median(found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=["kinds", "without", "subjects", "shipped"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--photo", type=Path, help="For the cost: a photograph of a face.")
    parser.add_argument("--epochs", type=int, default=LivenessConfig().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--half", action="store_true", help="bfloat16, as the shipped one learnt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.mode == "shipped":
        shipped(args)
    elif args.data is None:
        parser.error("--data is needed")
    else:
        trained(args, LivenessConfig(seed=args.seed, epochs=args.epochs, half=args.half))


if __name__ == "__main__":
    main()
