"""An encoder that learns in minutes on a laptop: for tests and for learning how it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from visavis.train.encoders.layers import convolution, final_side, normal_start

if TYPE_CHECKING:
    from torch import Tensor

_CHANNELS = (16, 24, 32, 32)


class Tiny(nn.Module):
    """Four convolutions that halve the size, then a linear layer over the last map; no residuals.

    At 64 pixels and 64 numbers it has 53 thousand parameters and takes 1.9 million multiplications
    and additions a face. Too weak to recognise strangers with.

    Parameters
    ----------
    side
        Height and width in pixels.
    dimension
        Length of the vectors.
    """

    def __init__(self, side: int = 64, dimension: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for out in _CHANNELS:
            layers += [convolution(channels, out, 3, 2), nn.PReLU(out)]
            channels = out
        self.features = nn.Sequential(*layers)
        self.vector = nn.Linear(channels * final_side(side) ** 2, dimension, bias=False)
        self.norm = nn.BatchNorm1d(dimension)
        normal_start(self)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, S, S) float32 to (B, D), not of unit length."""
        vectors: Tensor = self.norm(self.vector(self.features(faces).flatten(1)))
        return vectors
