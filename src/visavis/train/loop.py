"""The loop: it reads top to bottom on one page; what it calls is next door."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from visavis.train.health import vitals
from visavis.train.progress import Progress

if TYPE_CHECKING:
    from threading import Event

    from lightning_fabric import Fabric

    from visavis.train.batches import Batches
    from visavis.train.config import TrainConfig
    from visavis.train.keeper import Keeper
    from visavis.train.learner import Learner
    from visavis.train.watch import Check, Watch

INTERRUPTED = "interrupted"
LOOK_EVERY = 10
"""Steps between two looks at the run's health."""


@dataclass(slots=True, eq=False)
class Run:
    """A run's parts, put together by ``run.train_encoder``."""

    config: TrainConfig
    fabric: Fabric
    learner: Learner
    batches: Batches
    watch: Watch
    keeper: Keeper
    stop: Event


def train(run: Run) -> str:
    """Take steps until the run ends; gives why it ended, in words."""
    config, fabric, learner, keeper = run.config, run.fabric, run.learner, run.keeper
    settings, each = config.learning, config.learning.accumulate
    pace = _Pace(config.people * config.images * each * fabric.world_size)
    if not keeper.checks:
        keeper.judge(_checked(run))  # what a run starts from counts too: it may be pretrained
    while learner.step < config.steps and not _stopping(run):
        step = learner.step
        learner.set_rate(settings.rate_at(step, config.steps) * keeper.rate_factor(step))
        objective = learner.siamese.objective
        objective.mining, objective.weights = keeper.mining, config.weights_at(step)
        learner.optimizer.zero_grad()
        for micro in range(step * each, step * each + each):
            batch = run.batches.take(micro)
            crops, labels, kept = fabric.to_device((batch.crops, batch.labels, batch.kept))
            torch.manual_seed(_seed(config.seed, micro, fabric.global_rank))
            with fabric.no_backward_sync(learner.model, enabled=micro < step * each + each - 1):
                seen = learner.model(crops, labels, kept, _seed(config.seed, micro, -1))
                fabric.backward(seen[0] / each)
        gradient = learner.clip(fabric, settings.clip)
        loss, (active, vectors, people) = float(seen[0].detach()), seen[1:]
        sound = math.isfinite(loss) and math.isfinite(gradient)
        if sound:
            learner.optimizer.step()
            learner.follow()
        learner.step += 1
        signs = None
        if learner.step % LOOK_EVERY == 0 or not sound:
            signs = vitals(learner.step, vectors, people, loss, active, gradient)
        keeper.told(Progress(learner.step, config.steps, loss, pace.step(), signs))
        ending = keeper.look(signs) if signs else None
        if not ending and learner.step % config.held_out.every == 0:
            ending = keeper.judge(_checked(run))
            pace.rest()
        if ending:
            return ending
        if learner.step % config.keep_every == 0:
            keeper.keep()
    if learner.step == config.steps and config.steps % config.held_out.every:
        keeper.judge(_checked(run))
    keeper.keep()
    return INTERRUPTED if _stopping(run) else f"all {config.steps} steps were taken"


def _stopping(run: Run) -> bool:
    """Tell whether to stop; several processes agree on it now and then."""
    if run.fabric.world_size == 1:
        return run.stop.is_set()
    if run.learner.step % LOOK_EVERY:
        return False
    told = torch.tensor(float(run.stop.is_set()), device=run.fabric.device)
    every = run.fabric.all_reduce(told, reduce_op="sum")
    return bool(torch.as_tensor(every) > 0)


def _checked(run: Run) -> Check:
    return run.watch.check(run.learner.checked, run.fabric.device, run.learner.step)


def _seed(seed: int, batch: int, rank: int) -> int:
    """Give what a batch's chance follows from, so that a resumed run draws the same."""
    return hash((seed, batch, rank)) & 0x7FFFFFFF  # of whole numbers, so the same in every process


@dataclass(slots=True)
class _Pace:
    """Images a second, of the last steps more than of the first."""

    images: int
    _at: float = field(default_factory=time.monotonic)
    _seconds: float = 0.0

    def rest(self) -> None:
        """Leave out what was no step."""
        self._at = time.monotonic()

    def step(self) -> float:
        """Give the images a second after a step."""
        now = time.monotonic()
        took, self._at = now - self._at, now
        self._seconds = took if not self._seconds else 0.95 * self._seconds + 0.05 * took
        return self.images / max(self._seconds, 1e-9)
