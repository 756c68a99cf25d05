"""MobileFaceNet: an encoder for phones and laptops (Chen et al. 2018, arXiv:1804.07573)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from visavis.train.encoders.layers import convolution, final_side, normal_start

if TYPE_CHECKING:
    from torch import Tensor


class _Row(NamedTuple):
    """A row of the paper's table 1: ``n`` bottlenecks, the first with stride ``s``."""

    t: int  # how many times wider the bottleneck is inside
    c: int  # channels it gives
    n: int
    s: int


_TABLE_1 = (
    _Row(2, 64, 5, 2),
    _Row(4, 128, 1, 2),
    _Row(2, 128, 6, 1),
    _Row(4, 128, 1, 2),
    _Row(2, 128, 2, 1),
)
_STEM, _WIDE = 64, 512


class MobileFaceNet(nn.Module):
    """Inverted bottlenecks with PReLU, and a global depthwise convolution instead of a mean.

    The mean over the last feature map counts its corners as much as its middle, though on an
    aligned crop they see different parts of a face; a depthwise convolution as large as the map
    learns what each place counts (sec. 3.1).

    At 112 pixels and 128 numbers it has 1.00 million parameters (the paper counts 0.99) and takes
    221 million multiplications and additions a face (as the paper counts); at 96 pixels it takes
    162 million, at 64 pixels 72 million. Half as wide: 0.29 million, and 59, 43 and 19 million.

    Parameters
    ----------
    side
        Height and width in pixels; 16 of them become one of the last map.
    dimension
        Length of the vectors.
    width
        What every number of channels but the last two layers' is multiplied with.
    """

    def __init__(self, side: int = 112, dimension: int = 128, width: float = 1.0) -> None:
        super().__init__()
        channels = _wide(_STEM, width)
        layers = [convolution(3, channels, 3, 2), nn.PReLU(channels)]
        layers += [convolution(channels, channels, 3, 1, channels), nn.PReLU(channels)]
        for row in _TABLE_1:
            out = _wide(row.c, width)
            for i in range(row.n):
                layers.append(_Bottleneck(channels, out, row.t * channels, row.s if i == 0 else 1))
                channels = out
        wide = _wide(_WIDE, max(width, 0.25))
        layers += [convolution(channels, wide, 1), nn.PReLU(wide)]
        self.features = nn.Sequential(*layers)
        kernel = final_side(side)
        self.pool = nn.Sequential(
            nn.Conv2d(wide, wide, kernel, groups=wide, bias=False), nn.BatchNorm2d(wide)
        )
        self.vector = convolution(wide, dimension, 1)
        normal_start(self)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, S, S) float32 to (B, D), not of unit length."""
        vectors: Tensor = self.vector(self.pool(self.features(faces)))
        return vectors.flatten(1)


class _Bottleneck(nn.Module):
    """Widen, filter each plane, narrow without an activation (MobileNetV2, arXiv:1801.04381)."""

    def __init__(self, channels: int, out: int, inside: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, inside, 1),
            nn.PReLU(inside),
            convolution(inside, inside, 3, stride, inside),
            nn.PReLU(inside),
            convolution(inside, out, 1),
        )
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def _wide(channels: int, width: float) -> int:
    """Multiply, to the nearest multiple of eight, which processors like."""
    return max(8, int(channels * width / 8 + 0.5) * 8)
