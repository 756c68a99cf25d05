"""What the loop of training costs beside the bare forward, backward and step on the same batches.

In one process, turn about, in seconds of processor time of one thread, so that whatever else the
machine does matters little. The loop reads, decodes, augments, mines, clips, averages, watches and
writes; the bare one has its pictures ready.

    python benchmarks/training_speed.py --pack lfw64
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from visavis.models import ModelStore
from visavis.models.manifest import Preprocessing
from visavis.train.augment import PRESETS, Augment, Preset
from visavis.train.config import Hardware, HeldOut, TrainConfig
from visavis.train.encoders import build
from visavis.train.learner import Encoder, Siamese, optimizer_for
from visavis.train.objectives import Objective
from visavis.train.pack import Pack
from visavis.train.run import train_encoder
from visavis.train.sampler import PeopleSampler, paired

if TYPE_CHECKING:
    from visavis.train.progress import Progress

WARM = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--start", default="mobilefacenet")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--augment", default="none")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    config = TrainConfig(
        start=asked.start,
        augment=PRESETS[Preset(asked.augment)],
        steps=asked.steps + WARM,
        keep_every=10_000,
        held_out=HeldOut(every=10_000, photographs=100),
        hardware=Hardware(accelerator="cpu", threads=asked.threads),
    )
    ratios = []
    for _ in range(asked.rounds):
        loop, bare = looped(asked.pack, config), bared(asked.pack, config)
        ratios.append(loop / bare)
        each = config.people * config.images
        print(
            f"bare {bare * 1e3:.0f} ms a step ({each / bare:.0f} images/s of processor time), "
            f"loop {loop * 1e3:.0f} ms, ratio {loop / bare:.3f}",
            flush=True,
        )
    print(f"{asked.start}, augmentation {asked.augment}: ratio {statistics.median(ratios):.3f}")


def looped(pack: Path, config: TrainConfig) -> float:
    """Seconds of processor time a step, as ``train_encoder`` takes them."""
    seen = {}

    def told(progress: Progress) -> None:
        seen[progress.step] = time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        train_encoder(pack, Path(folder), config, ModelStore.default(), told=told)
    return (seen[config.steps] - seen[WARM]) / (config.steps - WARM)


def bared(path: Path, config: TrainConfig) -> float:
    """Seconds of processor time a step of nothing but forward, backward and step."""
    pack = Pack.open(path)
    shape = Preprocessing(mean=(127.5,) * 3, scale=(127.5,) * 3)
    people = paired(pack.offsets)
    sampler = PeopleSampler(pack.offsets, people, config.people, config.images, config.seed)
    network = build(config.start, pack.side)
    dimension = int(network.eval()(torch.zeros(1, 3, pack.side, pack.side)).shape[1])
    network.train()
    objective = Objective(config.objective, dimension, len(people))
    siamese = Siamese(Encoder(network, shape), Augment(config.augment), objective)
    siamese.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_for(config, siamese)
    began = 0.0
    ready = []
    for step in range(config.steps):
        rows = sampler.batch(step)
        pixels = torch.from_numpy(pack.read(rows)).permute(0, 3, 1, 2).float()
        ready.append((pixels, torch.from_numpy(pack.owners(rows))))
    for step, (pixels, labels) in enumerate(ready):
        if step == WARM:
            began = time.process_time()
        objective(siamese.encoder(pixels), labels, None).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.process_time() - began) / (config.steps - WARM)


if __name__ == "__main__":
    main()
