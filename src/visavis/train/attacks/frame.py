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
_SKIN = [[0.86, 0.62, 0.50], [0.74, 0.50, 0.38], [0.52, 0.33, 0.24], [0.33, 0.20, 0.14]]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A flat rectangle around a face.

    Attributes
    ----------
    depth
        (N, 1, S, S) how far inside its nearest edge a pixel lies, negative outside.
    """

    depth: Tensor

    def inside(self, border: Tensor | float = 0.0) -> Tensor:
        """(N, 1, S, S) in [0, 1]: 1 further inside than ``border``."""
        return torch.sigmoid((self.depth - border) / (_EDGE / 2))


def sheet(draw: Draw, plane: Tensor, nearest: float, furthest: float, card: float = 0.0) -> Sheet:
    """Draw where the four edges lie, never through the face's box.

    ``card`` is the chance of a small one, all of whose edges are seen.
    """
    x, y = plane[:, :1], plane[:, 1:]
    # Cards show their edges close to the face; sheets and screens may fill the view.
    far = torch.lerp(torch.full((1, 1, 1, 1), furthest), torch.tensor(0.95), draw.yes(card))
    sides = nearest + draw.between(0, 1, 4) * (far - nearest)
    left, right, up, down = sides.clamp(min=FACE * 1.1).unbind(1)
    edges = [x + left[:, None], right[:, None] - x, y + up[:, None], down[:, None] - y]
    return Sheet(torch.cat(edges, 1).amin(1, keepdim=True))


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
    room = soften(look(others, there + shift), draw.evenly_in_log(0.4, 4))
    plain = draw.between(0.0, 0.9, 3) * (1 + 0.25 * draw.field(4, side))
    return torch.lerp(room, plain.clamp(0, 1), draw.yes(0.45))


def hands(draw: Draw, scene: Tensor, plane: Tensor, chance: float) -> Tensor:
    """Put fingers over the rim: skin-coloured ellipses that stay off the face."""
    skin = draw.one_of(_SKIN, 0.08) ** 2.2
    shown = draw.yes(chance)
    for _ in range(3):
        angle, far = draw.angle(), draw.between(0.85, 1.2)
        x, y = plane[:, :1] - far * angle.cos(), plane[:, 1:] - far * angle.sin()
        turn = angle + draw.angle(0.6)
        along = x * turn.cos() + y * turn.sin()
        across = y * turn.cos() - x * turn.sin()
        size = draw.between(0.08, 0.2)
        out = (along / (size * 2.2)) ** 2 + (across / size) ** 2
        light = (1 - 0.4 * out.clamp(0, 1)) * (1 + 0.15 * draw.field(5, scene.shape[-1]))
        scene = torch.lerp(scene, skin * light, torch.sigmoid((1 - out) * 8) * shown)
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
