"""A whole run: from a pack to an encoder that ``visavis models add`` takes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric, seed_everything

from visavis.errors import TrainingRefused
from visavis.train.augment import Augment
from visavis.train.batches import Batches
from visavis.train.checkpoint import load_checkpoint
from visavis.train.config import TrainConfig, of_json, write_config
from visavis.train.keeper import BEST, LAST, Keeper
from visavis.train.learner import Encoder, Learner, Siamese, average_of, optimizer_for
from visavis.train.loop import INTERRUPTED, Run, train
from visavis.train.objectives import Objective, Term
from visavis.train.pack import Pack
from visavis.train.progress import Progress
from visavis.train.sampler import PeopleSampler, Split, paired, split_people
from visavis.train.starts import Start, kept_encodings, open_start
from visavis.train.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.models import ModelStore

CONFIG = "config.json"


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A run that has ended.

    Attributes
    ----------
    encoder
        Network and preprocessing with the best weights, at rest, on the CPU.
    split
        Who learnt, who chose and who calibrates.
    checks
        Every look at the validation people, in order; see ``watch.Check.as_json``.
    ending
        Why it ended, in words.
    leads
        True in the one process of several that writes files.
    """

    folder: Path
    config: TrainConfig
    pack: Pack
    start: Start
    encoder: Encoder
    split: Split
    checks: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    ending: str
    leads: bool = True

    @property
    def interrupted(self) -> bool:
        """True when it can go on."""
        return self.ending == INTERRUPTED


def stored_config(folder: Path) -> TrainConfig:
    """Read the configuration of a run that can go on; raises CheckpointRefused without one."""
    return of_json(load_checkpoint(folder / LAST)["config"])


def train_encoder(  # noqa: PLR0913 - what is learnt from, how, and who is told
    data: Path,
    out: Path,
    config: TrainConfig,
    store: ModelStore,
    *,
    resume: bool = False,
    told: Callable[[Progress], None] = lambda _: None,
    stop: Event | None = None,
) -> Trained:
    """Learn an encoder from a pack.

    Parameters
    ----------
    data
        A pack; see ``packing.pack_folder``.
    out
        Folder of the run: checkpoints, ``metrics.csv``, TensorBoard's events.
    resume
        Go on with the run that lies in ``out``. On a CPU, with the same number of threads, it takes
        the very same path as without the interruption.
    stop
        When set, the run ends after the step it is at, ready to be resumed.

    Raises
    ------
    PackRefused, TrainingRefused, CheckpointRefused, ModelRefused
        For what cannot be trained on or gone on with; files that were there are intact.
    """
    pack = Pack.open(data)
    if not resume and (out / LAST).exists():
        raise TrainingRefused(f"{out} holds a run: go on with --resume, or name another folder")
    split = _split(pack, config)
    people = paired(pack.offsets, split.train)
    config = _fitting(config, len(people))
    out.mkdir(parents=True, exist_ok=True)
    with _threads(config.hardware.threads):
        fabric = _fabric(config)
        seed_everything(config.seed, verbose=False)
        start = open_start(config.start, config.dimension, pack, store)
        learner = _learner(config, start, len(people), fabric)
        wants = Term.KEEP in {term for term, _ in config.whole.terms}
        if wants:
            told(Progress(0, config.steps, note=f"encoding {len(pack):,} faces by {start.name}"))
        kept = kept_encodings(start, pack, store, out) if wants else None
        sampler = PeopleSampler(pack.offsets, people, config.people, config.images, config.seed)
        place = (fabric.global_rank, fabric.world_size)
        batches = Batches(pack, sampler, people, kept, place, config.hardware.workers)
        watch = _watch(pack, split.validation, config)
        identity = f"{pack.digest}:{config.start}"
        leads = fabric.is_global_zero
        keeper = Keeper(out, config, learner, identity, leads=leads, told=told)
        if resume:
            keeper.resume()
        else:
            keeper.open()
            if leads:
                write_config(config, out / CONFIG)
        try:
            ending = train(Run(config, fabric, learner, batches, watch, keeper, stop or Event()))
        finally:
            batches.close()
            keeper.close()
    _part(fabric)
    learner.load(load_checkpoint(out / BEST))
    encoder = learner.checked.cpu().eval()
    assert isinstance(encoder, Encoder)
    checks, notes = tuple(keeper.checks), tuple(keeper.notes)
    return Trained(out, config, pack, start, encoder, split, checks, notes, ending, leads)


def _split(pack: Pack, config: TrainConfig) -> Split:
    shares = (config.held_out.validation, config.held_out.calibration)
    split = split_people(pack.offsets, shares, config.seed)
    if not config.exclude:
        return split
    apart = set(config.exclude)
    without = np.array([p for p in range(pack.people) if pack.name(p) in apart], np.int64)

    def left(people: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.setdiff1d(people, without)

    split = Split(left(split.train), left(split.validation), left(split.calibration))
    for what, group in (("validation", split.validation), ("calibration", split.calibration)):
        if len(paired(pack.offsets, group)) < 2:
            raise TrainingRefused(
                f"with those excluded, fewer than two people with two photographs are left for "
                f"{what}: exclude fewer, or hold out a larger share"
            )
    return split


def _fitting(config: TrainConfig, people: int) -> TrainConfig:
    """Let a batch hold no more people than there are."""
    if people < 2:
        raise TrainingRefused(
            f"{people} people with two photographs or more are left to learn from, and a triplet "
            "takes one of them and a stranger: pack more people, or hold out fewer"
        )
    return replace(config, people=min(config.people, people))


def _fabric(config: TrainConfig) -> Fabric:
    hardware = config.hardware
    accelerator, devices = hardware.accelerator, hardware.devices
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    count: int | str = devices or (1 if accelerator == "cpu" else "auto")
    fabric = Fabric(
        accelerator=accelerator,
        devices=count,
        strategy="auto" if count == 1 else "ddp",
        precision=hardware.precision,
    )
    fabric.launch()
    return fabric


def _part(fabric: Fabric) -> None:
    """Leave the other processes together, once all are done.

    A process that only exits may be aborted by the threads of its connections.
    """
    fabric.barrier()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _learner(config: TrainConfig, start: Start, people: int, fabric: Fabric) -> Learner:
    encoder = Encoder(start.network, start.preprocessing)
    objective = Objective(config.whole, start.dimension, people)
    siamese = Siamese(encoder, Augment(config.augment), objective, _gather(fabric))
    siamese.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.hardware.compiled:
        siamese.compile_encoder()
    optimizer = optimizer_for(config, siamese)
    model, wrapped = fabric.setup(siamese, optimizer)
    average = average_of(config, encoder)
    return Learner(siamese, model, wrapped, average)


def _gather(fabric: Fabric) -> Callable[[torch.Tensor], torch.Tensor]:
    """Join the rows of all processes; the gradient comes back to each process's own."""
    if fabric.world_size == 1:
        return lambda rows: rows

    def gathered(rows: torch.Tensor) -> torch.Tensor:
        every = fabric.all_gather(rows, sync_grads=rows.requires_grad)
        assert isinstance(every, torch.Tensor)
        return every.flatten(0, 1)

    return gathered


def _watch(pack: Pack, people: NDArray[np.int64], config: TrainConfig) -> Watch:
    return Watch(pack, people, config.held_out.photographs, config.held_out.widths)


@contextlib.contextmanager
def _threads(wanted: int) -> Iterator[None]:
    """Give torch so many threads, and have it compute the same way each time."""
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.set_num_threads(wanted or before)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
        # Only what reads memory before writing it would need that, and nothing here does.
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)
        memory.fill_uninitialized_memory = filled
