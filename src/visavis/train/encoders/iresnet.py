"""ArcFace's residual network (Deng et al. 2019, arXiv:1801.07698), for machines with a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from visavis.train.encoders.layers import convolution, final_side, normal_start

if TYPE_CHECKING:
    from torch import Tensor

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3)}
"""Residual units a stage, by the network's depth."""
_CHANNELS = (64, 128, 256, 512)


class IResNet(nn.Module):
    """Improved residual units; then BatchNorm, dropout, a linear layer and BatchNorm.

    It differs from He's network (arXiv:1512.03385) where a face's 112 pixels would otherwise be too
    few: the first convolution is 3x3 and keeps the size, no pooling follows it, and the last map is
    flattened instead of averaged, so that its places keep their meaning.

    At 112 pixels and 512 numbers, millions of parameters and of multiplications and additions a
    face: depth 18 has 24.0 and 2,610, depth 34 has 34.1 and 4,460, depth 50 has 43.6 and 6,309. At
    64 pixels: 15.4 and 852, 25.5 and 1,456, 34.9 and 2,060.

    Parameters
    ----------
    depth
        18, 34 or 50 convolutions, near enough.
    side
        Height and width in pixels; 16 of them become one of the last map.
    dimension
        Length of the vectors.
    dropout
        Share of the last map's numbers that are left out in training.
    """

    def __init__(
        self, depth: int = 50, side: int = 112, dimension: int = 512, dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels = _CHANNELS[0]
        layers = [convolution(3, channels, 3), nn.PReLU(channels)]
        for out, units in zip(_CHANNELS, UNITS[depth], strict=True):
            for i in range(units):
                layers.append(_Unit(channels, out, 2 if i == 0 else 1))
                channels = out
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels))
        self.dropout = nn.Dropout(dropout)
        self.vector = nn.Linear(channels * final_side(side) ** 2, dimension, bias=False)
        self.norm = nn.BatchNorm1d(dimension)
        normal_start(self)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, S, S) float32 to (B, D), not of unit length."""
        features = self.dropout(self.features(faces).flatten(1))
        vectors: Tensor = self.norm(self.vector(features))
        return vectors


class _Unit(nn.Module):
    """BatchNorm, convolution, BatchNorm, PReLU, convolution, BatchNorm; the input is added."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            convolution(channels, out, 3),
            nn.PReLU(out),
            convolution(out, out, 3, stride),
        )
        same = stride == 1 and channels == out
        self.past = nn.Identity() if same else convolution(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x) + self.past(x)
        return y
