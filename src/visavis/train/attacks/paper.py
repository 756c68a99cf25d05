"""A photograph on paper: ink and its gamut, halftone or dither, texture, bending."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from visavis.train.attacks.canvas import look, soften
from visavis.train.attacks.frame import Reach, against_light, background, glare, hands, sheet

if TYPE_CHECKING:
    from torch import Tensor

    from visavis.train.attacks.draw import Draw

_ANGLES = (0.26, 1.31, 0.0)
"""Of the screens for cyan, magenta and yellow, in radians: 15, 75 and 0 degrees, as printers do."""
_PAPERS = [[0.97, 0.97, 0.98], [0.93, 0.93, 0.90], [0.88, 0.85, 0.78], [0.92, 0.95, 1.0]]


def on_paper(draw: Draw, canvases: Tensor, plane: Tensor, close: float = 0.0) -> Tensor:
    """Print photographs and hold them up.

    Parameters
    ----------
    canvases
        (N, 3, K, K) linear light in [0, 1].
    plane
        (N, 2, S, S) from ``canvas.view``.
    close
        Share that fill the view, in [0, 1]: neither edges nor what lies behind are seen.

    Returns
    -------
    (N, 3, S, S) linear light that reaches the camera.
    """
    side = plane.shape[-1]
    bent, shade = _bend(draw, plane)
    page = sheet(draw, bent, Reach(0.5, 1.7, card=0.5, close=close))
    # The first camera's softness, then the printer's.
    photo = soften(look(canvases, bent), draw.evenly_in_log(0.25, 1.1) + draw.between(0, 0.35))
    paper = draw.one_of(_PAPERS, 0.03) ** 2.2
    printed = paper * _screened(draw, _ink(draw, photo), bent)
    printed = torch.lerp(paper, printed, page.inside(draw.between(0.02, 0.2) * draw.yes(0.5)))
    grain = 1 + draw.between(0, 0.05) * draw.noise(side)
    grain = grain * (1 + draw.between(0, 0.05) * draw.field(side // 4, side))
    printed = glare(draw, printed * grain * shade, plane, 0.35)
    front, back = against_light(draw)
    behind = background(draw, canvases, side) * back
    # The sheet's shadow on what lies behind it.
    behind = behind * (1 - draw.between(0, 0.6) * torch.exp(page.depth.clamp(max=0) / 0.12))
    scene = torch.lerp(behind, printed * front, page.inside())
    return hands(draw, scene, plane, page, 0.35)


def _bend(draw: Draw, plane: Tensor) -> tuple[Tensor, Tensor]:
    """Curve the sheet about one axis: what is seen moves, and light falls unevenly."""
    turn, wave = draw.angle(), draw.between(0.6, 2.5)
    along = plane[:, :1] * turn.cos() + plane[:, 1:] * turn.sin()
    phase = along * wave + draw.angle()
    depth = draw.between(0, 0.12) * draw.yes(0.7)
    shift = depth * torch.sin(phase) / wave
    shade = 1 + draw.between(0.5, 3) * depth * torch.cos(phase + draw.angle(0.5))
    return plane + torch.cat([shift * turn.cos(), shift * turn.sin()], 1), shade.clamp(0.3, 1.7)


def _ink(draw: Draw, photo: Tensor) -> Tensor:
    """Give the share of light that ink leaves: neither black nor full colour is reached."""
    tone = (photo.clamp(1e-4, 1) ** draw.between(0.75, 1.35)) * draw.between(0.8, 1.1)
    grey = tone.mean(1, keepdim=True)
    tone = grey + (tone - grey) * draw.between(0.55, 1.1) * (1 - draw.yes(0.1))
    black = draw.evenly_in_log(0.01, 0.2) + draw.between(0, 0.04, 3)
    return (black + (1 - black) * tone * draw.between(0.75, 1.0, 3)).clamp(0.01, 1)


def _screened(draw: Draw, tone: Tensor, plane: Tensor) -> Tensor:
    """Break tones into dots, in rows (halftone) or scattered (inkjet), as far as they are seen.

    The dots are computed where the camera's pixels look: dots finer than two pixels so fold into
    moire, as they do on a sensor, at what contrast the pixel's own size leaves.
    """
    side = plane.shape[-1]
    pitch = draw.evenly_in_log(0.2, 1.6)  # dots a pixel
    seen = (0.9 * torch.exp(-((pitch / 0.55) ** 2)) + 0.03) * draw.between(0.2, 1)
    waves = pitch * side / 2 * 2 * math.pi
    turn = draw.angle(0.3)
    planes = []
    for angle in _ANGLES:
        a, b = (turn + angle).cos(), (turn + angle).sin()
        along = (plane[:, :1] * a + plane[:, 1:] * b) * waves
        across = (plane[:, 1:] * a - plane[:, :1] * b) * waves
        planes.append((along.cos() + across.cos()) / 4 + 0.5)
    ordered = torch.cat(planes, 1)
    scattered = (draw.noise(side, 3) * 0.3 + 0.5).clamp(0, 1)
    inkjet = draw.yes(0.4)
    threshold = torch.lerp(ordered, scattered, inkjet)
    strength = torch.lerp(seen, draw.between(0, 0.25), inkjet) * draw.yes(0.75)
    dots = torch.sigmoid((tone.sqrt() - threshold) * 6)
    return torch.lerp(tone, dots, strength)
