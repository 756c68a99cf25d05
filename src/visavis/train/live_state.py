"""Where a run on liveness stands, and the file that keeps it."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from visavis.errors import TrainingRefused
from visavis.train.live_net import LiveNet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Generator, Tensor
    from torch.optim import Optimizer

    from visavis.train.live_config import LivenessConfig


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


@dataclass(slots=True)
class State:
    """Everything that an interrupted run needs to go on as if it had not been.

    Attributes
    ----------
    of
        What the run was asked for; a checkpoint of another is refused.
    order
        Chance of order and augmentation; dropout draws from torch's own.
    best
        Number of the best epoch, from 0, and its weights.
    """

    network: LiveNet
    optimizer: Optimizer
    order: Generator
    of: dict[str, Any]
    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def ended(self, epoch: Epoch) -> None:
        """Take an epoch in, and keep its weights when none did better."""
        self.epochs.append(epoch)
        if len(self.epochs) == 1 or epoch.eer <= self.epochs[self.best].eer:
            self.best = len(self.epochs) - 1
            self.weights = copy.deepcopy(self.network.state_dict())

    def kept(self) -> LiveNet:
        """Give the network of the best epoch, in evaluation mode."""
        network = LiveNet()
        network.load_state_dict(self.weights)
        return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def begin(config: LivenessConfig, start: Mapping[str, Tensor] | None) -> State:
    """Give the state before the first epoch.

    Raises TrainingRefused when ``start`` holds no weights of such a network.
    """
    torch.manual_seed(config.seed)
    network = LiveNet()
    if start is not None:
        try:
            network.load_state_dict(start)
        except (RuntimeError, AttributeError) as wrong:
            raise TrainingRefused("these are no weights of a liveness network") from wrong
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
    order = torch.Generator().manual_seed(config.seed)
    return State(network, optimizer, order, config.as_json())


def save(state: State, path: Path) -> None:
    """Write a state to a file, whole or not at all."""
    stored = {
        "of": state.of,
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "order": state.order.get_state(),
        "chance": torch.get_rng_state(),
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "best": state.best,
        "weights": state.weights,
    }
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        torch.save(stored, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def restore(state: State, path: Path) -> None:
    """Take a state from a file.

    Raises TrainingRefused when the file is none, or of a run that was asked for something else.
    """
    try:
        stored: dict[str, Any] = torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError) as wrong:
        raise TrainingRefused(f"{path} holds no state to go on from: {wrong}") from wrong
    other = [name for name, asked in state.of.items() if stored["of"].get(name) != asked]
    if other:
        raise TrainingRefused(f"{path} is of a run with another {other[0].replace('_', ' ')}")
    state.network.load_state_dict(stored["network"])
    state.optimizer.load_state_dict(stored["optimizer"])
    state.order.set_state(stored["order"])
    torch.set_rng_state(stored["chance"])
    state.epochs[:] = [Epoch(**each) for each in stored["epochs"]]
    state.best = stored["best"]
    state.weights = stored["weights"]
