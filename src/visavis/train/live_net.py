"""The network that tells a live face from an attack: plain residual convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from visavis.train.encoders.layers import convolution, normal_start

if TYPE_CHECKING:
    from torch import Tensor

_WIDTHS = (16, 32, 64, 128)


class LiveNet(nn.Module):
    """Four halvings with a residual block (He et al. 2016) after each but the first, and a mean.

    At 96 pixels 0.47 million parameters and 41 million multiplications and additions, that is 83
    MFLOPs. Dense convolutions: on a CPU they take less time than depthwise ones of the same size.

    While it learns, a second head must say where a live face is: a map that is a hump over the
    face of a live person and flat for an attack (depth, in the words of Liu et al. 2018,
    arXiv:1803.11097, whose maps come from a 3-D model). A third can be asked for the crop's
    spectrum, in which grids and dots show (as Silent-Face's learn it). Neither is exported.
    """

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        channels = 3
        layers: list[nn.Module] = []
        for i, wide in enumerate(_WIDTHS):
            layers += [convolution(channels, wide, 3, 2), nn.ReLU(inplace=True)]
            if i:
                layers.append(_Block(wide))
            channels = wide
        self.early = nn.Sequential(*layers[:-3])  # 12 x 12 cells at 96 pixels
        self.late = nn.Sequential(*layers[-3:])
        self.dropout = nn.Dropout(dropout)
        self.decide = nn.Linear(channels, 1)
        self.map = nn.Conv2d(_WIDTHS[-2], 1, 1)
        self.spectrum = nn.Conv2d(_WIDTHS[-2], 1, 1)
        normal_start(self)

    def forward(self, crops: Tensor) -> Tensor:
        """(B, 3, S, S) after preprocessing to (B,) log odds of being live."""
        return self.column(crops)[:, 0]

    def heads(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the log odds (B,), and (B, 12, 12) each of the face's map and the spectrum's."""
        early = self.early(crops)
        return self._decided(early)[:, 0], self.map(early)[:, 0], self.spectrum(early)[:, 0]

    def column(self, crops: Tensor) -> Tensor:
        """Give the log odds as a column, (B, 1)."""
        return self._decided(self.early(crops))

    def _decided(self, early: Tensor) -> Tensor:
        odds: Tensor = self.decide(self.dropout(self.late(early).mean((2, 3))))
        return odds


class Answer(nn.Module):
    """What is exported: (B, 3, S, S) to (B, 2), the probabilities of an attack and of a live face.

    Parameters
    ----------
    temperature
        The log odds are divided by it, so that scores spread over [0, 1].
    """

    def __init__(self, network: LiveNet, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, crops: Tensor) -> Tensor:
        """Give rows that add up to 1."""
        live = torch.sigmoid(self.network.column(crops) / self.temperature)
        return torch.cat([1 - live, live], 1)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, channels, 3),
            nn.ReLU(inplace=True),
            convolution(channels, channels, 3),
        )
        self.last = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(x + self.layers(x))
        return y
