"""Encoders that can be trained: three families from nothing, and ONNX files rebuilt.

All take (B, 3, S, S) float32, already ``(pixel - mean) / scale`` as their manifest says, and give
(B, D) vectors that the caller brings to unit length.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from visavis.train.encoders.iresnet import IResNet
from visavis.train.encoders.mobilefacenet import MobileFaceNet
from visavis.train.encoders.rebuilt import Rebuilt, rebuild
from visavis.train.encoders.tiny import Tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

__all__ = ["EncoderName", "IResNet", "MobileFaceNet", "Rebuilt", "Tiny", "build", "rebuild"]


class EncoderName(StrEnum):
    """The encoders that ``build`` makes, from the lightest to the heaviest."""

    TINY = "tiny"
    MOBILEFACENET_HALF = "mobilefacenet-half"
    """With half the channels: a quarter of the work."""
    MOBILEFACENET = "mobilefacenet"
    IRESNET18 = "iresnet18"
    IRESNET34 = "iresnet34"
    IRESNET50 = "iresnet50"


_MAKERS: dict[EncoderName, tuple[Callable[..., nn.Module], int]] = {
    EncoderName.TINY: (Tiny, 64),
    EncoderName.MOBILEFACENET_HALF: (partial(MobileFaceNet, width=0.5), 128),
    EncoderName.MOBILEFACENET: (MobileFaceNet, 128),
    EncoderName.IRESNET18: (partial(IResNet, 18), 512),
    EncoderName.IRESNET34: (partial(IResNet, 34), 512),
    EncoderName.IRESNET50: (partial(IResNet, 50), 512),
}


def build(name: EncoderName | str, side: int, dimension: int | None = None) -> nn.Module:
    """Make an encoder with random weights, from torch's random numbers.

    Parameters
    ----------
    side
        Height and width in pixels, at least 32; that of the alignment it will be trained on.
    dimension
        Length of the vectors; where it is not given, 64 for tiny, 128 for MobileFaceNet and 512 for
        IResNet.

    Raises
    ------
    ValueError
        For another name, or a side or dimension that is too small.
    """
    make, usual = _MAKERS[EncoderName(name)]
    wanted = usual if dimension is None else dimension
    if side < 32:
        raise ValueError(f"an encoder needs faces of 32 pixels or more, not {side}")
    if wanted < 2:
        raise ValueError(f"vectors need two numbers or more, not {wanted}")
    return make(side=side, dimension=wanted)
