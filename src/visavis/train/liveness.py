"""Learning liveness: the loop, on crops that a camera took of live people and of attacks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from visavis.errors import TrainingRefused
from visavis.evaluate.metrics import curve, equal_error
from visavis.train.live_augment import another_look
from visavis.train.live_state import Epoch, begin, restore, save

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from visavis.train.live_bank import Bank
    from visavis.train.live_config import LivenessConfig
    from visavis.train.live_net import LiveNet
    from visavis.train.live_state import State

MEAN = SCALE = 127.5
"""Preprocessing of the network: ``(pixel - MEAN) / SCALE``."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The network of the best epoch, in evaluation mode, and the way there."""

    network: LiveNet
    epochs: tuple[Epoch, ...]
    best: int


@dataclass(frozen=True, slots=True)
class Course:
    """What goes along with learning.

    Attributes
    ----------
    told
        Hears of every epoch, those of the interrupted run first; what it answers to a new one says
        whether to stop.
    start
        Weights of an earlier run to go on from; None starts with random ones.
    checkpoint
        File that is written after every epoch and, where it exists, gone on from: the result is
        then that of a run without the interruption.
    """

    told: Callable[[Epoch], bool | None] = lambda _: None
    start: Mapping[str, Tensor] | None = None
    checkpoint: Path | None = None


def fit(
    learn: Bank,
    check: Bank,
    config: LivenessConfig,
    course: Course = Course(),
) -> Fitted:
    """Learn from one bank, and keep the epoch that does best on the other.

    Raises
    ------
    TrainingRefused
        When a class is missing from either bank, or the loss is no number, or the checkpoint is of
        another run.
    """
    for bank, what in ((learn, "to learn from"), (check, "to check with")):
        if bank.live.all() or not bank.live.any():
            raise TrainingRefused(f"live faces and attacks are both needed {what}")
    state = begin(config, course.start)
    if course.checkpoint is not None and course.checkpoint.exists():
        restore(state, course.checkpoint)
        for epoch in state.epochs:
            course.told(epoch)
    step = _Step(state, learn, config)
    while len(state.epochs) < config.epochs:
        begun = time.perf_counter()
        loss = step.epoch()
        if not math.isfinite(loss):
            raise TrainingRefused("the loss is no number any more: choose a lower rate")
        pace = len(learn) / (time.perf_counter() - begun)
        eer = worst_eer(scores(state.network, check.crops), check)
        state.ended(Epoch(len(state.epochs) + 1, config.epochs, loss, eer, pace))
        if course.checkpoint is not None:
            save(state, course.checkpoint)
        if course.told(state.epochs[-1]):
            break
    return Fitted(state.kept(), tuple(state.epochs), state.best + 1)


class _Step:
    """Learns from one bank, an epoch at a time."""

    def __init__(self, state: State, bank: Bank, config: LivenessConfig) -> None:
        self.state = state
        self.bank = bank
        self.config = config
        # Each class weighs the same, however many of each there are.
        share = float(bank.live.mean())
        self.weights = torch.tensor([0.5 / (1 - share), 0.5 / share])
        # What is left over is too small a batch; the next epoch is shuffled anew.
        self.steps = max(1, len(bank) // config.batch)
        heads = state.network.heads
        self.heads = torch.compile(heads) if config.compiled else heads

    def epoch(self) -> float:
        """Learn from every presentation once; gives the mean loss."""
        state, config, losses = self.state, self.config, []
        state.network.train()
        shuffled = torch.randperm(len(self.bank), generator=state.order)
        done = len(state.epochs) * self.steps
        for some in torch.split(shuffled[: self.steps * config.batch], config.batch):
            for group in state.optimizer.param_groups:
                group["lr"] = config.rate * _warmth(done / (self.steps * config.epochs))
            rows = np.sort(some.numpy())
            crops = np.ascontiguousarray(self.bank.crops[rows])
            seen = another_look(crops, state.order) if config.look else prepared(crops)
            live = torch.from_numpy(self.bank.live[rows]).float()
            with torch.autocast("cpu", torch.bfloat16, enabled=config.half):
                heads = self.heads(seen.contiguous(memory_format=torch.channels_last))
            loss = self._loss(heads, seen, live)
            state.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimizer.step()
            losses.append(float(loss.detach()))
            done += 1
        return float(np.mean(losses))

    def _loss(self, heads: tuple[Tensor, Tensor, Tensor], seen: Tensor, live: Tensor) -> Tensor:
        odds, where, spectrum = (each.float() for each in heads)
        weight, config = self.weights[live.long()], self.config
        loss = functional.binary_cross_entropy_with_logits(odds, live, weight)
        if config.map_weight:
            wanted = live[:, None, None] * _hump(where.shape[-1])
            each = functional.binary_cross_entropy_with_logits(where, wanted, reduction="none")
            loss = loss + config.map_weight * (each.mean((1, 2)) * weight).mean()
        if config.fourier_weight:
            difference = spectrum - spectrum_of(seen, spectrum.shape[-1])
            loss = loss + config.fourier_weight * difference.square().mean()
        return loss


@torch.no_grad()
def scores(network: LiveNet, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Give (N,) log odds of being live of (N, S, S, 3) uint8 RGB crops."""
    network.eval()
    parts = [network(prepared(crops[i : i + 256])).double() for i in range(0, len(crops), 256)]
    found: NDArray[np.float64] = torch.cat(parts).numpy()
    return found


def worst_eer(odds: NDArray[np.float64], bank: Bank) -> float:
    """Give the equal error rate of the attack species that does worst."""
    attacks = sorted(set(bank.species[~bank.live]))
    live = -odds[bank.live]
    return max(equal_error(curve(live, -odds[bank.species == each])).rate for each in attacks)


def prepared(crops: NDArray[np.uint8]) -> Tensor:
    """(N, S, S, 3) uint8 to (N, 3, S, S) float32, in the order in memory that is fastest here."""
    # A copy, since what is mapped from a file cannot be written to.
    planes = torch.from_numpy(np.array(crops)).permute(0, 3, 1, 2).float()
    return ((planes - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)


def spectrum_of(crops: Tensor, side: int) -> Tensor:
    """(B, 3, S, S) to (B, side, side): the logarithm of the spectrum's power, standardised."""
    power = torch.fft.fftshift(torch.fft.fft2(crops.mean(1)).abs(), dim=(1, 2))
    coarse = functional.adaptive_avg_pool2d(torch.log1p(power)[:, None], side)[:, 0]
    mean = coarse.mean((1, 2), keepdim=True)
    return (coarse - mean) / (coarse.std((1, 2), keepdim=True) + 1e-6)


def _warmth(done: float) -> float:
    """Give the share of the rate when so much of the run is done: up for a fifth, then down."""
    if done < 0.2:
        return 0.04 + 0.96 * (0.5 - 0.5 * math.cos(math.pi * done / 0.2))
    return 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8)


def _hump(side: int) -> Tensor:
    """(side, side) in [0, 1]: how far a live face comes forward, by place in the crop."""
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    # Its box reaches to 0.45 of the crop's half; a Gaussian as wide holds a head.
    return torch.exp(-0.5 * ((line[:, None] / 0.42) ** 2 + (line[None] / 0.34) ** 2))
