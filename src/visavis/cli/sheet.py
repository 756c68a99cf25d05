"""A contact sheet: one page with the faces of everybody who was found in a folder."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.align import surroundings
from visavis.errors import VisavisError
from visavis.evaluate.findings import printable
from visavis.evaluate.page import Run, rate, rendered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from visavis.engine import Cluster, Clusters, Engine, Found

_OF_ONE = 12
"""Faces shown of a cluster, the most typical first."""
_PICTURES = 1500
"""Faces shown in all, so that the page stays below some 8 MB, however many there are."""
_STRANGERS = 300
"""Of which strangers, at most."""
_SIDE = 88
"""Pixels of a thumbnail."""
_LONG_SIDE = 1280
"""A large JPEG is decoded no larger than that for its thumbnails."""
_NAMES = 200
"""Files listed of those that could not be used."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A face on the page; without data when its photograph cannot be read any more."""

    name: str
    alt: str
    data: str


@dataclass(frozen=True, slots=True)
class Row:
    """A cluster on the page."""

    id: int
    size: int
    person: str
    faces: tuple[Shown, ...]

    @property
    def more(self) -> int:
        """Faces that are not shown."""
        return self.size - len(self.faces)


def sheet_html(found: Clusters, engine: Engine, folder: Path, *, run: Run | None = None) -> str:
    """Give the page; it needs no other file, and shows at most 1,500 faces.

    Photographs are read again for their thumbnails, those that are shown only.
    """
    of_clusters, of_strangers = _chosen(found)
    pictures = _Pictures(engine, folder)
    thumbnails = pictures.of([*(f for faces in of_clusters for f in faces), *of_strangers])
    rows = [
        Row(
            each.id,
            len(each.faces),
            each.person or "",
            tuple(_shown(f, thumbnails[id(f)], folder, _of(each)) for f in faces),
        )
        for each, faces in zip(found.clusters, of_clusters, strict=False)
    ]
    strangers = [_shown(f, thumbnails[id(f)], folder, "a face seen once") for f in of_strangers]
    page = rendered(
        Path(__file__).with_name("cluster.html.j2"),
        title=f"People in {folder.name or folder}",
        found=found,
        rows=rows,
        strangers=strangers,
        hidden=len(found.clusters) - len(rows),
        hidden_faces=sum(len(c.faces) for c in found.clusters[len(rows) :]),
        hidden_strangers=len(found.strangers) - len(strangers),
        in_clusters=sum(len(c.faces) for c in found.clusters),
        unusable=[(_short(u.path, folder), u.code, u.message) for u in found.unusable[:_NAMES]],
        faceless=[_short(path, folder) for path in found.faceless[:_NAMES]],
        names=_NAMES,
        rate=f"{found.fpir:g}",
        fmr=rate(found.fmr),
        made=(run or Run()).made,
        encoder=engine.encoder.name,
    )
    return printable(page)


def _of(cluster: Cluster) -> str:
    return cluster.person or f"cluster {cluster.id}"


def _chosen(found: Clusters) -> tuple[list[Sequence[Found]], Sequence[Found]]:
    """Choose what is shown: strangers get their share, large clusters come first."""
    strangers = found.strangers[:_STRANGERS]
    left = _PICTURES - len(strangers)
    chosen: list[Sequence[Found]] = []
    for cluster in found.clusters:
        some = cluster.faces[:_OF_ONE]
        if len(some) > left:
            break
        left -= len(some)
        chosen.append(some)
    return chosen, strangers


class _Pictures:
    """Cuts thumbnails out of photographs, each photograph decoded once."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def of(self, faces: Iterable[Found]) -> dict[int, str]:
        """Give base64 of a JPEG for each face, by the ``id()`` of the face; empty when unread."""
        by_path: dict[Path, list[Found]] = defaultdict(list)
        for face in faces:
            by_path[face.path].append(face)
        with ThreadPoolExecutor(self._engine.config.cores.streams) as pool:
            cut = pool.map(self._cut, by_path.items())
            return {key: data for some in cut for key, data in some}

    def _cut(self, one: tuple[Path, list[Found]]) -> list[tuple[int, str]]:
        path, faces = one
        try:
            image = self._engine.read(path).image(self._engine.config.limits, _LONG_SIDE)
        except VisavisError:
            return [(id(face), "") for face in faces]
        return [
            (
                id(face),
                _jpeg(
                    surroundings(image, face.sighting.face.scaled(1 / image.reduction), 1.3, _SIDE)
                ),
            )
            for face in faces
        ]


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    import PIL.Image  # noqa: PLC0415

    stored = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stored, "JPEG", quality=80)
    return base64.b64encode(stored.getvalue()).decode()


def _shown(face: Found, data: str, folder: Path, whose: str) -> Shown:
    name = _short(face.path, folder)
    return Shown(name, f"{whose}, in {name}", data)


def _short(path: Path, folder: Path) -> str:
    try:
        return str(path.relative_to(folder))
    except ValueError:
        return str(path)
