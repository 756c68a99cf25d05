"""A photograph on a screen: gamut, backlight, pixel grid, moire, bands, reflections, bezel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from visavis.train.attacks.canvas import look, soften
from visavis.train.attacks.frame import Reach, background, glare, hands, sheet

if TYPE_CHECKING:
    from torch import Tensor

    from visavis.train.attacks.draw import Draw

_BEZELS = [[0.02, 0.02, 0.02], [0.05, 0.05, 0.06], [0.15, 0.15, 0.16], [0.9, 0.9, 0.9]]
_BARS = [[0.0, 0.0, 0.0], [0.02, 0.02, 0.02], [1.0, 1.0, 1.0], [0.2, 0.22, 0.25]]


def on_screen(draw: Draw, canvases: Tensor, plane: Tensor, close: float = 0.0) -> Tensor:
    """Show photographs on phones and monitors; arguments and result as ``paper.on_paper``."""
    side = plane.shape[-1]
    device = sheet(draw, plane, Reach(0.6, 2.0, card=0.35, close=close))
    bezel = draw.evenly_in_log(0.03, 0.3)
    photo = soften(look(canvases, plane), draw.evenly_in_log(0.25, 1.1) + draw.between(0, 0.3))
    shown = _displayed(draw, photo)
    # Bars beside the picture, or the page it is part of.
    bar = bezel + draw.between(0.0, 0.25) * draw.yes(0.4)
    bars = _displayed(draw, draw.one_of(_BARS, 0.02).expand_as(photo))
    shown = torch.lerp(bars, shown, device.inside(bar))
    shown = shown * _grid(draw, plane) * _bands(draw, side)
    mirrored = soften(background(draw, canvases, side), draw.evenly_in_log(0.5, 6))
    shown = shown + mirrored * draw.evenly_in_log(0.01, 0.2) * draw.yes(0.6)
    shown = glare(draw, shown, plane, 0.35)
    case = draw.one_of(_BEZELS, 0.02) * draw.between(0.3, 1)
    shown = torch.lerp(case.expand_as(shown), shown, device.inside(bezel))
    behind = background(draw, canvases, side) * draw.evenly_in_log(0.15, 1)
    return hands(draw, torch.lerp(behind, shown, device.inside()), plane, device, 0.25)


def _displayed(draw: Draw, photo: Tensor) -> Tensor:
    """Give the light that leaves the panel: its gamma, colour temperature, saturation and leak."""
    tone = photo.clamp(1e-4, 1) ** draw.between(0.75, 1.35)
    grey = tone.mean(1, keepdim=True)
    tone = (grey + (tone - grey) * draw.between(0.75, 1.35)).clamp(0, 1)
    white = torch.cat([draw.between(0.75, 1), draw.between(0.85, 1), draw.between(0.9, 1.15)], 1)
    leak = draw.evenly_in_log(0.002, 0.06)
    return (leak + (1 - leak) * tone) * white * draw.evenly_in_log(0.35, 1.6)


def _grid(draw: Draw, plane: Tensor) -> Tensor:
    """Give what the panel's dots do to light, sampled where the camera's pixels look.

    Dots come at 0.25 to 3 a camera's pixel; those finer than half a pixel fold into moire. The
    colours sit a third of a dot apart, so that the folds are coloured.
    """
    pitch = draw.evenly_in_log(0.25, 3)
    waves = pitch * plane.shape[-1] / 2 * 2 * math.pi
    turn = draw.angle(0.2)
    x = plane[:, :1] * turn.cos() + plane[:, 1:] * turn.sin()
    y = plane[:, 1:] * turn.cos() - plane[:, :1] * turn.sin()
    phase = torch.tensor([0.0, 1.0, 2.0])[None, :, None, None] * (2 * math.pi / 3)
    coloured = draw.between(0, 1)
    columns = torch.cos(x * waves + phase * coloured)
    rows = torch.cos(y * waves)
    seen = (0.5 * torch.exp(-((pitch / 0.7) ** 2)) + 0.07) * draw.between(0.25, 1) * draw.yes(0.9)
    return 1 + seen * columns + seen * draw.between(0, 1) * rows


def _bands(draw: Draw, side: int) -> Tensor:
    """Give the dark bands of a refresh that a shutter cuts: across the camera's picture."""
    down = torch.linspace(0, 1, side)[None, None, :, None]
    wave = torch.cos(2 * math.pi * (down * draw.evenly_in_log(0.5, 8)) + draw.angle())
    sharp = draw.between(1, 4)
    depth = draw.between(0, 0.3) * draw.yes(0.35)
    return 1 - depth * (0.5 + 0.5 * torch.tanh(wave * sharp) / torch.tanh(sharp))
