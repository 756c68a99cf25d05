"""What learns: one encoder f applied to every image of a batch, its objective, its optimiser."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from visavis.errors import CheckpointRefused
from visavis.models.manifest import Channels
from visavis.train.config import Optimizer, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_fabric import Fabric

    from visavis.models.manifest import Preprocessing
    from visavis.train.augment import Augment
    from visavis.train.objectives import Objective, Outcome

    Gather = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """A network together with its preprocessing: pixels in 0..255 to encodings.

    Parameters
    ----------
    network
        (B, 3, S, S) float32, prepared, to (B, D).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self._reversed = preprocessing.channels is Channels.BGR
        for name in ("mean", "scale"):
            values = torch.tensor(getattr(preprocessing, name)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (B, 3, S, S) float32 RGB in 0..255; the (B, D) rows are of any length."""
        pixels = pixels.flip(1) if self._reversed else pixels
        ready = ((pixels - self.mean) / self.scale).contiguous(memory_format=torch.channels_last)
        out: Tensor = self.network(ready)
        return out


class Siamese(nn.Module):
    """A batch of crops to the loss: the whole of what a gradient flows through.

    Parameters
    ----------
    gather
        Joins the rows of all processes, with gradients, so that triplets are mined across them.
    """

    def __init__(
        self, encoder: Encoder, augment: Augment, objective: Objective, gather: Gather = lambda t: t
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.augment = augment
        self.objective = objective
        self._gather = gather
        self._compiled: tuple[Any, ...] = ()

    def compile_encoder(self) -> None:
        """Have torch compile the encoder for learning; it is checked and kept as it is."""
        self._compiled = (torch.compile(self.encoder, dynamic=False),)

    def forward(
        self, crops: Tensor, labels: Tensor, kept: Tensor | None, seed: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give the loss, the share of active triplets, encodings and labels of all processes.

        Parameters
        ----------
        crops
            (B, S, S, 3) uint8 RGB.
        seed
            For what the objective draws, the same in all processes.
        """
        encode = self._compiled[0] if self._compiled else self.encoder
        vectors = encode(self.augment(crops))
        with torch.autocast(vectors.device.type, enabled=False):
            vectors, labels = self._gather(vectors.float()), self._gather(labels)
            kept = None if kept is None else self._gather(kept)
            torch.manual_seed(seed)
            outcome: Outcome = self.objective(vectors, labels, kept)
            active = vectors.new_tensor(math.nan) if outcome.active is None else outcome.active
            return outcome.loss, active.detach(), vectors.detach(), labels


@dataclass(slots=True, eq=False)
class Learner:
    """Everything of a run that changes while it learns, but for its health.

    Attributes
    ----------
    step
        Of the optimiser, that comes next.
    model, optimizer
        As the loop runs them: wrapped for the devices.
    average
        The moving average of the encoder's weights; None without one.
    """

    siamese: Siamese
    model: Any
    optimizer: Any
    average: AveragedModel | None
    step: int = 0

    @property
    def checked(self) -> nn.Module:
        """The encoder that is measured and exported."""
        return self.siamese.encoder if self.average is None else self.average.module

    def set_rate(self, rate: float) -> None:
        """Give all weights the same learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def clip(self, fabric: Fabric, longest: float) -> float:
        """Shorten the gradient to ``longest`` (0: not), and give the length it had (L2)."""
        norm = fabric.clip_gradients(
            self.model, self.optimizer, max_norm=longest or math.inf, error_if_nonfinite=False
        )
        return float(norm if norm is not None else math.nan)

    def follow(self) -> None:
        """Let the moving average follow the weights by one step."""
        if self.average is not None:
            self.average.update_parameters(self.siamese.encoder)

    def state(self) -> dict[str, Any]:
        """Give a copy of all weights and moments, on the CPU, by name."""
        parts: dict[str, Any] = {
            "encoder": self.siamese.encoder.state_dict(),
            "objective": self.siamese.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        return {"step": self.step, **{name: _on_cpu(part) for name, part in parts.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` gave; raises CheckpointRefused when it is another network's."""
        try:
            self.siamese.encoder.load_state_dict(state["encoder"])
            self.siamese.objective.load_state_dict(state["objective"])
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.step = int(state["step"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as other:
            first = str(other).strip().splitlines()[0]
            raise CheckpointRefused(f"the checkpoint is another network's: {first}") from other


def optimizer_for(config: TrainConfig, siamese: Siamese) -> torch.optim.Optimizer:
    """Build the optimiser; what is no matrix or filter is not decayed."""
    trained = [weight for weight in siamese.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if w.ndim > 1], "weight_decay": config.learning.decay},
        {"params": [w for w in trained if w.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = config.learning.rate
    if config.learning.optimizer is Optimizer.SGD:
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate)


def average_of(config: TrainConfig, encoder: nn.Module) -> AveragedModel | None:
    """Give the moving average that starts at the encoder as it is."""
    if not config.learning.ema:
        return None
    averaged = AveragedModel(encoder, multi_avg_fn=_rising(config.learning.ema), use_buffers=True)
    return averaged.requires_grad_(False)


def _rising(most: float) -> Callable[[Any, Any, Any], None]:
    """Forget fast at first: what a young average starts from is worth nothing."""

    def follow(averaged: Any, current: Any, so_far: Any) -> None:  # noqa: ANN401 - torch's own
        seen = float(so_far)
        decay = min(most, (1 + seen) / (10 + seen))
        get_ema_multi_avg_fn(decay)(averaged, current, so_far)  # type: ignore[no-untyped-call]

    return follow


def _on_cpu(part: Any) -> Any:  # noqa: ANN401 - a tree of tensors and plain values
    if isinstance(part, Tensor):
        return part.detach().to("cpu", copy=True)
    if isinstance(part, dict):
        return {key: _on_cpu(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return type(part)(_on_cpu(value) for value in part)
    return part
