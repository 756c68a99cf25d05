"""Photographs shown on paper and on phones, by Pillow's own means: what the simulator never saw.

Nothing here is shared with ``visavis.train.attacks``. A print is separated into inks, each dithered
by error diffusion (Floyd and Steinberg 1976) or by clustered dots, several a pixel. A phone shows
lit stripes of red, green and blue. The sheet or phone lies in a drawn room, is seen in perspective,
and is photographed: averaged down, blurred and saved as JPEG. Close up it fills the view, as the
live photograph beside it does, so that neither its edges nor the room tell.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

DOTS = 3
"""Printed dots, or lit pixels, along a pixel of the photograph as it is finally seen."""
_CLUSTER = np.array(
    [[12, 5, 6, 13], [4, 0, 1, 7], [11, 3, 2, 8], [15, 10, 9, 14]], np.float64
)  # a clustered-dot screen


def printed(
    photo: Image.Image, seed: int = 0, *, clustered: bool = False, close: bool = False
) -> Image.Image:
    """Give a photograph of a printed photograph, lying or held in a room."""
    random = np.random.default_rng(seed)
    large = photo.resize((photo.width * DOTS, photo.height * DOTS), Image.Resampling.BICUBIC)
    inks = ImageOps.autocontrast(large, cutoff=0.2).convert("CMYK").split()
    if clustered:
        dots = [_clustered(ink) for ink in inks]
    else:
        dots = [ink.convert("1").convert("L") for ink in inks]
    ink = Image.merge("CMYK", dots).convert("RGB")
    # Inks are no pure colours, and white is the paper's.
    paper = np.array([236, 233, 224]) + random.integers(-8, 8, 3)
    black = np.array([34, 30, 36]) + random.integers(-6, 6, 3)
    colours = np.asarray(ink, np.float64) / 255
    page = Image.fromarray((black + colours * (paper - black)).astype(np.uint8))
    if close:
        return _photographed(page, random, 0.1, close=True)
    margin = int(random.uniform(0.02, 0.08) * page.width)
    sheet = ImageOps.expand(page, margin, tuple(int(v) for v in paper))
    return _photographed(sheet, random, gloss=0.1)


def on_a_phone(photo: Image.Image, seed: int = 0, *, close: bool = False) -> Image.Image:
    """Give a photograph of a phone that shows the photograph."""
    random = np.random.default_rng(seed)
    large = np.asarray(
        photo.resize((photo.width * DOTS, photo.height * DOTS), Image.Resampling.BICUBIC)
    )
    lit = np.zeros_like(large)
    for colour in range(3):  # one column of each three is red, one green, one blue
        lit[:, colour::3, colour] = large[:, colour::3, colour]
    lit[::DOTS] //= 2  # the gap between rows
    panel = Image.fromarray(np.clip(lit * 2.4 + 8, 0, 255).astype(np.uint8))
    if close:
        return _photographed(panel, random, 0.25, close=True)
    bezel = int(random.uniform(0.03, 0.08) * panel.width)
    phone = ImageOps.expand(panel, (bezel, 3 * bezel, bezel, 3 * bezel), (12, 12, 14))
    return _photographed(phone, random, gloss=0.25)


def retaken(photo: Image.Image, seed: int = 0) -> Image.Image:
    """Give the photograph as the same camera's file would be: smaller, blurred, saved again."""
    return _saved(photo, np.random.default_rng(seed))


def _clustered(ink: Image.Image) -> Image.Image:
    values = np.asarray(ink, np.float64)
    rows, columns = -(-values.shape[0] // 4), -(-values.shape[1] // 4)
    limits = np.tile((_CLUSTER + 0.5) * 16, (rows, columns))[: values.shape[0], : values.shape[1]]
    return Image.fromarray(np.where(values > limits, 255, 0).astype(np.uint8))


def _photographed(
    sheet: Image.Image, random: np.random.Generator, gloss: float, *, close: bool = False
) -> Image.Image:
    wide, high = (sheet.width, sheet.height) if close else _around(sheet)
    room = _room(wide, high, random)
    left, top = (wide - sheet.width) // 2, (high - sheet.height) // 2
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [sheet.width, sheet.height]
    moved = random.uniform(-0.05, 0.05, (4, 2)) * sheet.width
    if close:  # every corner lies outside the view
        moved = np.abs(moved) * [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    corners = corners + np.array([left, top]) + moved
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [sheet.width, sheet.height]
    back = _perspective(corners, source)
    turned = sheet.transform((wide, high), Image.Transform.PERSPECTIVE, back, Image.BICUBIC)
    mask = Image.new("L", sheet.size, 255)
    mask = mask.transform((wide, high), Image.Transform.PERSPECTIVE, back, Image.BICUBIC)
    light = Image.new("L", (wide, high), 0)
    x, y = random.uniform(0.2, 0.8, 2) * [wide, high]
    reach = 0.12 * wide
    ImageDraw.Draw(light).ellipse(
        (x - reach, y - reach, x + reach, y + reach), fill=int(255 * gloss)
    )
    light = light.filter(ImageFilter.GaussianBlur(reach / 2))
    turned = ImageChops.add(turned, Image.merge("RGB", [light] * 3))
    room.paste(turned, (0, 0), mask)
    seen = room.resize((wide // DOTS, high // DOTS), Image.Resampling.BOX)
    return _saved(seen, random)


def _around(sheet: Image.Image) -> tuple[int, int]:
    return int(sheet.width * 1.5), int(sheet.height * 1.4)


def _room(wide: int, high: int, random: np.random.Generator) -> Image.Image:
    """Draw a wall, a table and a few things."""
    wall = tuple(int(v) for v in random.integers(90, 220, 3))
    room = Image.new("RGB", (wide, high), wall)
    draw = ImageDraw.Draw(room)
    draw.rectangle(
        (0, int(high * 0.8), wide, high), fill=tuple(int(v) for v in random.integers(40, 140, 3))
    )
    for _ in range(5):
        x, y = random.uniform(0, 1, 2) * [wide, high]
        w, h = random.uniform(0.05, 0.3, 2) * wide
        fill = tuple(int(v) for v in random.integers(20, 235, 3))
        draw.rectangle((x, y, x + w, y + h), fill=fill)
    return room.filter(ImageFilter.GaussianBlur(4 * DOTS))


def _perspective(corners: np.ndarray, source: np.ndarray) -> list[float]:
    """Solve for the eight numbers that take the picture's corners back to the sheet's."""
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(n) for n in np.linalg.solve(np.array(rows), np.array(values))]


def _saved(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    blurred = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 0.8)))
    noisy = np.asarray(blurred, np.float64) + random.normal(0, random.uniform(1, 4), (1, 1, 1))
    noisy = noisy + random.normal(0, 2.5, noisy.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=int(random.integers(75, 93))
    )
    return Image.open(file).convert("RGB")
