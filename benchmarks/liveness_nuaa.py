"""How far liveness can be trusted: kinds of attack never learnt from, NUAA, and what it costs.

    M=benchmarks/liveness_nuaa.py
    python $M kinds --data DIR --work W      # each kind left out of training
    python $M without --data DIR --work W    # no NUAA learnt from, all of it tested
    python $M subjects --data DIR --work W   # NUAA by subject, three splits
    python $M ablate --data DIR --work W     # short runs, one thing changed at a time
    python $M shipped --data DIR --run RUN --photo A.jpg  # the package's: points, cost, other path

DIR holds ``lfw/images`` and ``nuaa/train.csv``. W keeps the presentations, which are rendered once,
and a checkpoint of every network, so that what was interrupted goes on and what is done is not done
again. Up to three photographs of each person of LFW are used. A sixth of the people is held out:
one half chooses the epoch, the other is measured on. A third of NUAA's nine subjects is held out at
a time. RUN is the folder that 'visavis train liveness' made the package's weights in.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
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
from visavis.train.live_bank import Bank, Canvases, cut_canvases, presented, render, split
from visavis.train.live_config import LivenessConfig
from visavis.train.live_finish import grouped
from visavis.train.live_keep import PARTS, Keep
from visavis.train.live_run import listed, live_folder
from visavis.train.liveness import Course, fit, scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from visavis.train.live_net import LiveNet

TESTS = Path(__file__).resolve().parents[1] / "tests" / "liveness"
EACH = 3
"""Photographs of a person of LFW."""
FURTHER = 3
"""Epochs with NUAA's subjects, after those without."""


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
            f"{name:<34} {species:<21} n {len(live.score):>5} + {len(kind.score):>5}  "
            "EER {}  BPCER@APCER1% {}  APCER@BPCER1% {}".format(*told),
            flush=True,
        )


def learnt(name: str, learn: Bank, choose: Bank, config: LivenessConfig, work: Path) -> LiveNet:
    """Learn, or take what was learnt before under this name."""
    known = np.isin(choose.species, np.unique(learn.species))
    print(f"{name}: {len(learn):,} presentations to learn from", file=sys.stderr, flush=True)
    course = Course(
        lambda e: print(e, file=sys.stderr, flush=True), checkpoint=work / f"{name}.last.pt"
    )
    return fit(learn, choose.take(known), config, course).network


def joined(*banks: Bank) -> Bank:
    fields = ("crops", "live", "species", "subject")
    return Bank(*(np.concatenate([getattr(b, f) for b in banks]) for f in fields))


def independent(args: argparse.Namespace, people: set[str]) -> Bank:
    """Present held-out people by the tests' own path, which shares no code with the simulator.

    Where the path leaves no face to be found, there is no presentation either.
    """
    folder, finder = args.data / "lfw" / "images", detector()
    sys.path.insert(0, str(TESTS))
    import rephotographed as path
    from PIL import Image

    # Close up, an attack fills the view as a live face does: neither edge nor room gives it away.
    ways = {
        "live": path.retaken,
        "dithered, close up": partial(path.printed, close=True),
        "clustered, close up": partial(path.printed, clustered=True, close=True),
        "phone, close up": partial(path.on_a_phone, close=True),
        "dithered, edges seen": path.printed,
        "clustered, edges seen": partial(path.printed, clustered=True),
        "phone, edges seen": path.on_a_phone,
    }
    crops, species, subjects = [], [], []
    listing = [p for p in live_folder(folder, 1).presentations if p.subject in people]
    for seed, each in enumerate(listing[: args.people]):
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


@dataclass(frozen=True)
class Material:
    """What the modes share: LFW's presentations, NUAA's canvases, and people for other paths."""

    learn: Bank
    choose: Bank
    measure: Bank
    nuaa: Canvases


def material(args: argparse.Namespace, config: LivenessConfig) -> Material:
    """Cut and render, or map what is there."""
    args.work.mkdir(parents=True, exist_ok=True)
    finder = detector()
    listing = listed(args.data / "nuaa" / "train.csv", None)
    nuaa = cut_canvases(listing.presentations, listing.images, finder)
    keep = Keep(
        args.work / "lfw", {"seed": config.seed, "rounds": config.rounds, "close": config.close}
    )
    if not keep.whole():
        faces = live_folder(args.data / "lfw" / "images", EACH)
        parts = split(cut_canvases(faces.presentations, faces.images, finder), config)
        once = replace(config, seed=config.seed + 1, rounds=1)
        for name, part, plan in zip(
            PARTS, parts, (config, once, replace(once, seed=config.seed + 2)), strict=True
        ):
            bank = render(part, plan, into=keep.file(name))
            keep.labelled(name, bank, "")
            print(f"{name}: {len(part):,} photographs", file=sys.stderr, flush=True)
        keep.finished()
    banks = [keep.opened(part).bank for part in PARTS]
    return Material(*banks, nuaa)


def kinds(args: argparse.Namespace, config: LivenessConfig, has: Material) -> None:
    for left_out in ("simulated-screen", "simulated-print"):
        name = f"without {left_out}"
        part = has.learn.take(has.learn.species != left_out)
        net = learnt(name, part, has.choose, config, args.work)
        report(name, scores(net, has.measure.crops), has.measure)
    net = learnt("both kinds", has.learn, has.choose, config, args.work)
    report("both kinds, simulated", scores(net, has.measure.crops), has.measure)
    other = independent(args, set(has.measure.subject))
    report("both kinds, independent", scores(net, other.crops), other)


def without(args: argparse.Namespace, config: LivenessConfig, has: Material) -> None:
    net = learnt("both kinds", has.learn, has.choose, config, args.work)
    bank = presented(has.nuaa)
    report("without NUAA", scores(net, bank.crops), bank)


def subjects(args: argparse.Namespace, config: LivenessConfig, has: Material) -> None:
    """Learn without NUAA first, then with six of its subjects among a fifth of the rest."""
    base = learnt("both kinds", has.learn, has.choose, config, args.work).state_dict()
    further = replace(config, epochs=FURTHER, rate=config.rate / 3)
    some = has.learn.take(np.random.default_rng(config.seed).random(len(has.learn)) < 0.2)
    names = np.unique(has.nuaa.subject)
    every, found = [], []
    for fold in range(3):
        out = np.isin(has.nuaa.subject, names[fold::3])
        mixed = joined(some, render(has.nuaa.take(~out), config))
        course = Course(
            lambda e: print(e, file=sys.stderr, flush=True),
            base,
            args.work / f"subjects-{fold}.last.pt",
        )
        net = fit(mixed, has.choose, further, course).network
        every.append(presented(has.nuaa.take(out)))
        found.append(scores(net, every[-1].crops))
        report(f"subjects {', '.join(names[fold::3])}", found[-1], every[-1])
    report("all nine, pooled", np.concatenate(found), joined(*every))


VARIANTS = {
    "as it is": {},
    "close-ups": {"close": 0.4},
    "face map": {"map_weight": 0.3},
    "other look": {"look": True},
    "spectrum": {"fourier_weight": 0.1},
}


def ablate(args: argparse.Namespace, config: LivenessConfig) -> None:
    """Learn from a fifth, for a short while, with one thing changed at a time."""
    finder, random = detector(), np.random.default_rng(config.seed)
    faces = live_folder(args.data / "lfw" / "images", EACH)
    learn, choose, measure = split(cut_canvases(faces.presentations, faces.images, finder), config)
    part = learn.take(random.random(len(learn)) < 0.2)
    listing = listed(args.data / "nuaa" / "train.csv", None)
    once = replace(config, seed=config.seed + 2, rounds=1)
    tested = {
        "edges as they fall": render(measure, replace(once, close=0.0)),
        "close up": render(measure, replace(once, close=1.0)),
        "independent": independent(args, set(measure.subject)),
        "NUAA": presented(cut_canvases(listing.presentations, listing.images, finder)),
    }
    chosen_by = render(choose, replace(config, seed=config.seed + 1, rounds=1))
    args.work.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for what in args.variants:
            name = f"{what}, seed {seed}"
            short = replace(config, epochs=args.short, seed=seed, **VARIANTS[what])
            net = learnt(name, render(part, short), chosen_by, short, args.work)
            for path, bank in tested.items():
                report(f"{name}, {path}", scores(net, bank.crops), bank)


def shipped(args: argparse.Namespace) -> None:
    """Print the points, what the independent path makes of people held out, and the cost."""
    store = ModelStore.default()
    points = store.points(store.manifest("visavis-live"), Precision.FP32)
    print(json.dumps(points, indent=1))
    if args.run is not None:
        held_out = Keep(args.run / "presentations", {}).opened("measure").bank
        session = store.session(
            store.manifest("visavis-live"), Precision.FP32, RuntimeName.OPENVINO, Cores(threads=1)
        )
        for what, bank in (
            ("shipped, held out", held_out),
            ("shipped, independent", independent(args, set(held_out.subject))),
        ):
            live = np.array([session.run(crop[None])[0][0, 1] for crop in bank.crops], np.float64)
            report(what, np.log(live / (1 - live)), bank)
            for point in points["points"]:
                passed = {
                    str(
                        kind
                    ): f"{100 * (live[bank.species == kind] >= point['threshold']).mean():.1f}"
                    for kind in np.unique(bank.species)
                }
                print(
                    f"passed, in per cent, at {point['rate']} {point['at']}: {passed}", flush=True
                )
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
    modes = {"kinds": kinds, "without": without, "subjects": subjects}
    parser.add_argument("mode", choices=[*modes, "ablate", "shipped"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, help="Folder of presentations and checkpoints.")
    parser.add_argument("--photo", type=Path, help="For the cost: a photograph of a face.")
    parser.add_argument("--run", type=Path, help="Of the package's weights, to know whom they met.")
    parser.add_argument("--epochs", type=int, default=LivenessConfig().epochs)
    parser.add_argument("--short", type=int, default=4, help="Epochs of each run of ablate.")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="Of ablate.")
    parser.add_argument("--people", type=int, default=120, help="Whom the other path presents.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--half", action="store_true", help="bfloat16, as the shipped one learnt")
    parser.add_argument("--compile", action="store_true", help="as the shipped one learnt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.mode == "shipped":
        shipped(args)
        return
    if args.data is None or args.work is None:
        parser.error("--data and --work are needed")
    config = LivenessConfig(
        seed=args.seed, epochs=args.epochs, half=args.half, compiled=args.compile
    )
    if args.mode == "ablate":
        ablate(args, config)
        return
    modes[args.mode](args, config, material(args, config))


if __name__ == "__main__":
    main()
