"""Learning liveness: the loop, on crops that a camera took of live people and of attacks."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from visavis.errors import TrainingRefused
from visavis.evaluate.metrics import curve, equal_error
from visavis.train.live_net import LiveNet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from visavis.train.live_bank import Bank
    from visavis.train.live_config import LivenessConfig

MEAN = SCALE = 127.5
"""Preprocessing of the network: ``(pixel - MEAN) / SCALE``."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch ended with.

    Attributes
    ----------
    loss
        Mean over the epoch.
    eer
        On the subjects held out, for the attack species that does worst; in [0, 1].
    pace
        Presentations a second.
    """

    number: int
    of: int
    loss: float
    eer: float
    pace: float


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The network of the best epoch, in evaluation mode, and the way there."""

    network: LiveNet
    epochs: tuple[Epoch, ...]
    best: int


def fit(
    learn: Bank,
    check: Bank,
    config: LivenessConfig,
    told: Callable[[Epoch], bool | None] = lambda _: None,
    start: Mapping[str, Tensor] | None = None,
) -> Fitted:
    """Learn from one bank, and keep the epoch that does best on the other.

    Parameters
    ----------
    told
        Hears of every epoch; what it answers says whether to stop.
    start
        Weights of an earlier run to go on from; None starts with random ones.

    Raises
    ------
    TrainingRefused
        When a class is missing from either bank, or the loss is no number.
    """
    for bank, what in ((learn, "to learn from"), (check, "to check with")):
        if bank.live.all() or not bank.live.any():
            raise TrainingRefused(f"live faces and attacks are both needed {what}")
    torch.manual_seed(config.seed)
    order = torch.Generator().manual_seed(config.seed)
    network = LiveNet()
    if start is not None:
        _load(network, start)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
    steps = math.ceil(len(learn) / config.batch)
    every = steps * config.epochs
    # Each class weighs the same, however many of each there are.
    share = float(learn.live.mean())
    weights = torch.tensor([0.5 / (1 - share), 0.5 / share])
    epochs: list[Epoch] = []
    best, kept, step = 0, network, 0
    for number in range(1, config.epochs + 1):
        begun, losses = time.perf_counter(), []
        network.train()
        shuffled = torch.randperm(len(learn), generator=order)
        for rows in torch.split(shuffled, config.batch):
            if len(rows) < 2:  # a batch norm needs two
                continue
            for group in optimizer.param_groups:
                group["lr"] = config.rate * _warmth(step / every)
            crops, live = _batch(learn, np.sort(rows.numpy()), order)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.half):
                loss = _loss(network, crops, live, weights, config.map_weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
            losses.append(float(loss.detach()))
        if not all(map(math.isfinite, losses)):
            raise TrainingRefused("the loss is no number any more: choose a lower rate")
        pace = len(learn) / (time.perf_counter() - begun)
        eer = worst_eer(scores(network, check.crops), check)
        epochs.append(Epoch(number, config.epochs, float(np.mean(losses)), eer, pace))
        if eer <= epochs[best].eer or number == 1:
            best, kept = number - 1, copy.deepcopy(network)
        if told(epochs[-1]):  # asked to stop
            break
    return Fitted(kept.eval(), tuple(epochs), best + 1)


def _load(network: LiveNet, start: Mapping[str, Tensor]) -> None:
    try:
        network.load_state_dict(start)
    except (RuntimeError, AttributeError) as wrong:
        raise TrainingRefused("these are no weights of a liveness network") from wrong


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
    planes = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float()
    return ((planes - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)


def _batch(bank: Bank, rows: NDArray[np.int64], order: torch.Generator) -> tuple[Tensor, Tensor]:
    crops = prepared(bank.crops[rows])
    mirrored = torch.rand(len(rows), generator=order) < 0.5
    crops = torch.where(mirrored[:, None, None, None], crops.flip(3), crops)
    return crops, torch.from_numpy(bank.live[rows]).float()


def _loss(
    network: LiveNet, crops: Tensor, live: Tensor, weights: Tensor, map_weight: float
) -> Tensor:
    odds, where = (each.float() for each in network.both(crops))
    weight = weights[live.long()]
    loss = functional.binary_cross_entropy_with_logits(odds, live, weight)
    if map_weight:
        wanted = live[:, None, None] * _hump(where.shape[-1])
        each = functional.binary_cross_entropy_with_logits(where, wanted, reduction="none")
        loss = loss + map_weight * (each.mean((1, 2)) * weight).mean()
    return loss


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
