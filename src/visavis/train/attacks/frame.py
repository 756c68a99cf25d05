"""What lies around and over a picture that is held up: its edges, background, hands and glare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from visavis.train.attacks.canvas import FACE, look, soften

if TYPE_CHECKING:
    from torch import Tensor

    from visavis.train.attacks.draw import Draw

_EDGE = 0.02
"""Width in plane coordinates over which an edge falls off: one pixel."""
_OUT_OF_VIEW = (1.8, 3.0)
"""Where edges lie that no view reaches, however it is turned and the sheet bent."""
_SKIN = [[0.86, 0.62, 0.50], [0.74, 0.50, 0.38], [0.52, 0.33, 0.24], [0.33, 0.20, 0.14]]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A flat rectangle around a face.

    Attributes
    ----------
    depth
        (N, 1, S, S) how far inside its nearest edge a pixel lies, negative outside.
    sides
        (N, 4, 1, 1) how far left, right, up and down it reaches.
    """

    depth: Tensor
    sides: Tensor

    def inside(self, border: Tensor | float = 0.0) -> Tensor:
        """(N, 1, S, S) in [0, 1]: 1 further inside than ``border``."""
        return torch.sigmoid((self.depth - border) / (_EDGE / 2))


@dataclass(frozen=True, slots=True)
class Reach:
    """How far from the middle of the face a sheet's edges lie, in plane coordinates.

    Attributes
    ----------
    card
        Chance of a small one, all of whose edges are seen.
    close
        Chance of one that is held so close that none of them is; what is left is shared out
        between cards and others.
    """

    nearest: float
    furthest: float
    card: float = 0.0
    close: float = 0.0


def sheet(draw: Draw, plane: Tensor, reach: Reach) -> Sheet:
    """Draw where the four edges lie, never through the face's box."""
    x, y = plane[:, :1], plane[:, 1:]
    # Cards show their edges close to the face; sheets and screens may fill the view.
    far = torch.full((1, 1, 1, 1), reach.furthest)
    far = torch.lerp(far, torch.tensor(0.95), draw.yes(reach.card))
    sides = reach.nearest + draw.between(0, 1, 4) * (far - reach.nearest)
    if reach.close:
        sides = torch.lerp(sides, draw.between(*_OUT_OF_VIEW, 4), draw.yes(reach.close))
    sides = sides.clamp(min=FACE * 1.1)
    left, right, up, down = sides.unbind(1)
    edges = [x + left[:, None], right[:, None] - x, y + up[:, None], down[:, None] - y]
    return Sheet(torch.cat(edges, 1).amin(1, keepdim=True), sides)


def background(draw: Draw, canvases: Tensor, side: int) -> Tensor:
    """Give (N, 3, side, side) linear light: a piece of another photograph, or a plain surface."""
    others = canvases[draw.order()]
    line = torch.linspace(-0.5, 0.5, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    there = torch.stack([x, y])[None] * draw.between(0.4, 1.2)
    # From the picture's rim, where there is a room rather than a face.
    shift = draw.angle().repeat(1, 2, 1, 1)
    shift[:, 0], shift[:, 1] = shift[:, 0].cos(), shift[:, 1].sin()
    shift = shift * (1 - 0.7 * draw.yes(0.3))  # or the one who holds it up
    room = soften(look(others, there + shift), draw.evenly_in_log(0.3, 3))
    return torch.lerp(room, surface(draw, side), draw.yes(0.45))


def surface(draw: Draw, side: int) -> Tensor:
    """Give (N, 3, side, side) linear light: a wall or cloth, mostly pale, now and then coloured."""
    colour = draw.evenly_in_log(0.05, 1.0) * (1 - draw.between(0, 0.3, 3))
    colour = torch.lerp(colour, draw.between(0.0, 0.9, 3), draw.yes(0.25))
    return (colour * (1 + 0.25 * draw.field(4, side))).clamp(0, 1)


def against_light(draw: Draw, chance: float = 0.3) -> tuple[Tensor, Tensor]:
    """Give how bright front and background are, (N, 1, 1, 1) each: before a window, or not."""
    here = draw.yes(chance)
    front = torch.lerp(torch.ones(1), draw.evenly_in_log(0.12, 0.8), here)
    return front, torch.lerp(torch.ones(1), draw.evenly_in_log(1, 4), here)


def hands(draw: Draw, scene: Tensor, plane: Tensor, page: Sheet | None, chance: float) -> Tensor:
    """Let hands hold a sheet by its sides, or reach in from the rim where there is none.

    A palm lies outside, and three fingers or a thumb reach over the edge; none covers the face.
    """
    skin = draw.one_of(_SKIN, 0.08) ** 2.2
    light = draw.evenly_in_log(0.3, 1.2)
    for left in (True, False):
        edge = draw.between(0.75, 1.1)
        if page is not None:
            edge = page.sides[:, :1] if left else page.sides[:, 1:2]
        shown = draw.yes(chance)
        side = -1.0 if left else 1.0
        high = draw.between(-0.5, 1.1)
        size, reach = draw.between(0.05, 0.11), draw.between(0.04, 0.3)
        reach = reach.minimum(edge - FACE * 0.95).clamp(min=0)
        turn = draw.angle(0.5)
        # Along the fingers, from the edge inwards, and across them.
        out_x, out_y = side * plane[:, :1] - edge, plane[:, 1:] - high
        along = -(out_x * turn.cos() + out_y * turn.sin())
        across = out_y * turn.cos() - out_x * turn.sin()
        parts = [(across.abs() / (size * 3.2)) ** 2 + ((along + size * 5) / (size * 4.6)) ** 2]
        for finger in (-1.9, 0.0, 1.9):
            length = reach * draw.between(0.6, 1) + size * 3
            here = (across - finger * size) / size
            parts.append(here**2 + ((along - reach + length) / length) ** 4)
        nearest = torch.cat(parts, 1).amin(1, keepdim=True)
        shade = (
            light * (1 - 0.45 * nearest.clamp(0, 1)) * (1 + 0.15 * draw.field(9, scene.shape[-1]))
        )
        scene = torch.lerp(scene, skin * shade, torch.sigmoid((1 - nearest) * 8) * shown)
    return scene


def glare(draw: Draw, scene: Tensor, plane: Tensor, chance: float) -> Tensor:
    """Add a lamp's reflection: a bright ellipse without colour."""
    x = plane[:, :1] - draw.between(-0.9, 0.9)
    y = plane[:, 1:] - draw.between(-0.9, 0.9)
    turn = draw.angle()
    along, across = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    long, short = draw.evenly_in_log(0.1, 1.2), draw.evenly_in_log(0.05, 0.4)
    spot = torch.exp(-((along / long) ** 2) - (across / short) ** 2)
    tint = 1 - draw.between(0, 0.15, 3)
    return scene + tint * spot * draw.evenly_in_log(0.05, 0.9) * draw.yes(chance)
