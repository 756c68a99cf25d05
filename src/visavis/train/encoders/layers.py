"""What the encoders are made of."""

from __future__ import annotations

from torch import nn


def convolution(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolve with padding that keeps the size, then batch norm; linear."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    )


def final_side(side: int, halvings: int = 4) -> int:
    """Give the side of the last feature map: each stride of 2 halves it, rounding up."""
    for _ in range(halvings):
        side = (side + 1) // 2
    return side


def normal_start(module: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers (He et al. 2015, arXiv:1502.01852).

    With the variance of PReLU's slope of 0.25, kept from layer to layer on the way back.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, 0.25, "fan_out", "leaky_relu")
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
