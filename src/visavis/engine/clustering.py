"""A folder of photographs that nobody labelled to people without names: resumable, growing."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visavis.cluster import Evidence, carried_on, common_cosine, group
from visavis.encode import embed
from visavis.engine.album import Album, FaceKey, Remembered
from visavis.engine.folder import is_picture
from visavis.engine.sight import Ready
from visavis.errors import InputRefused, PoorQuality, VisavisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from visavis.engine.core import Engine
    from visavis.values import Embedding, EncoderId, Enrolment, OperatingPoint, Sighting

_TOGETHER = 64
"""Photographs remembered in one transaction."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How sure, and of which faces.

    Attributes
    ----------
    fpir
        At most this share of the faces of people who are seen once may be put with somebody; it
        bounds the false positive identification rate of each face looked for among all others,
        and tau follows from it and from their number. Among few faces that would be lenient: two
        faces that ``compare`` would tell apart are no candidates either.
    least_width
        Faces narrower than this many pixels of their photograph are left out.
    workers
        Photographs worked on side by side; open the engine with ``Cores(workers, workers)``.
    """

    fpir: float = 0.2
    least_width: int = 30
    workers: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A face in an unlabelled photograph.

    Attributes
    ----------
    path
        The photograph, the first by name where several files are the same.
    copies
        Those others.
    """

    path: Path
    sighting: Sighting
    embedding: Embedding
    digest: str
    copies: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Faces of what seems to be one person.

    Attributes
    ----------
    id
        A number from 1; it stays when photographs are added, and is never given again.
    faces
        The most typical first.
    person
        As whom it was enrolled; None when it was not.
    """

    id: int
    faces: tuple[Found, ...]
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A photograph without a part in it, and why; a refusal's ``code`` and message."""

    path: Path
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Everybody who was found.

    Attributes
    ----------
    clusters
        Of two faces or more, the largest first.
    strangers
        Faces that are near nobody else's, by photograph.
    tau, fpir, fmr
        Two faces are candidates for one person within tau. It follows from the rate asked for and
        the number of faces, which together give the false match rate of two faces; but never more
        than ``compare`` decides at.
    extrapolated
        True when the rate is lower than the encoder's data could show.
    photographs
        Different ones that could be read.
    embedded
        How many of them were looked at in this run; the others were remembered.
    faceless
        Photographs that show no face.
    too_small
        Faces left out because they are narrower than asked for.
    unusable
        What could not be read, with the reason.
    ignored
        Files that are no pictures.
    """

    clusters: tuple[Cluster, ...]
    strangers: tuple[Found, ...]
    tau: float
    fpir: float
    fmr: float
    encoder: EncoderId
    extrapolated: bool
    photographs: int
    embedded: int
    faceless: tuple[Path, ...] = ()
    too_small: int = 0
    unusable: tuple[Unusable, ...] = ()
    ignored: tuple[Path, ...] = ()

    def cluster(self, number: int) -> Cluster:
        """Give the cluster of an id; raises InputRefused when there is none."""
        for each in self.clusters:
            if each.id == number:
                return each
        ids = sorted(each.id for each in self.clusters)
        there = f"there are {ids[0]} to {ids[-1]}" if ids else "there are none"
        raise InputRefused(f"there is no cluster {number}; {there}")


def cluster_faces(
    engine: Engine,
    photographs: Path | Sequence[Path],
    *,
    state: Path | None = None,
    config: ClusterConfig | None = None,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Clusters:
    """Group the faces of photographs by person; see `visavis.engine.Engine.cluster`.

    Parameters
    ----------
    told
        Called with the number of photographs done and of all.
    """
    config = config or ClusterConfig()
    _point(engine, config.fpir, 2)  # what cannot be decided is told before hours are spent
    paths, ignored, unusable = _listed(photographs)
    with Album(state, engine) as album:
        looking = _Looking(engine, album, config.workers)
        looking.run(paths, told)
        album.keep_only(looking.paths)
        return _grouped(engine, album, looking, config, unusable, ignored)


def enroll_cluster(
    engine: Engine, cluster: Cluster, person: str, *, most: int = 3, force: bool = False
) -> Enrolment:
    """Enrol a cluster's person by its most typical faces that would make good templates.

    One face of a photograph is taken, and of at most ``most`` photographs.

    Raises
    ------
    PoorQuality
        When none of its faces is fit for enrolment.
    DuplicatePerson, PersonMismatch, NameRefused, GalleryError
        As ``Engine.enroll``.
    """
    fit = [f for f in cluster.faces if force or f.sighting.quality.fit_for_enrolment]
    if not fit:
        advice = "; ".join(cluster.faces[0].sighting.quality.advice)
        raise PoorQuality(
            f"none of the {len(cluster.faces)} faces of cluster {cluster.id} would make a good "
            f"template, such as {cluster.faces[0].path}: {advice} (or force the enrolment)"
        )
    chosen = {face.digest: face for face in reversed(fit)}  # the most typical one of each
    best = sorted(chosen.values(), key=fit.index)[:most]
    return engine.store(
        person,
        [Ready(str(f.path), f.digest, None, f.sighting, f.embedding) for f in best],
        force=force,
    )


def name_cluster(engine: Engine, state: Path, cluster: Cluster, person: str) -> Cluster:
    """Remember in a state file as whom a cluster was enrolled; gives it with the name."""
    with Album(state, engine) as album:
        album.name(cluster.id, person)
    return replace(cluster, person=person)


class _Looking:
    """Looks at photographs that are not remembered, several at once, and remembers them."""

    def __init__(self, engine: Engine, album: Album, workers: int) -> None:
        self._engine = engine
        self._album = album
        self._workers = workers
        self._known = album.known()
        self.paths: dict[str, list[Path]] = {}
        self.unusable: list[Unusable] = []
        self.embedded = 0

    def run(self, paths: Sequence[Path], told: Callable[[int, int], None]) -> None:
        pool = ThreadPoolExecutor(self._workers)
        ahead: deque[tuple[Path, Future[Remembered | str | VisavisError]]] = deque()
        waiting: list[Remembered] = []
        coming = iter(paths)
        try:
            for done in range(1, len(paths) + 1):
                while len(ahead) < 4 * self._workers and (path := next(coming, None)) is not None:
                    ahead.append((path, pool.submit(self._look, path)))
                path, future = ahead.popleft()
                self._take(path, future.result(), waiting)
                if len(waiting) >= _TOGETHER:
                    self._album.add(waiting)
                    waiting.clear()
                told(done, len(paths))
        finally:  # an interruption loses nothing that was told
            pool.shutdown(wait=True, cancel_futures=True)
            self._album.add(waiting)

    def _look(self, path: Path) -> Remembered | str | VisavisError:
        """Give the digest of what is remembered, or the faces, or why it cannot be read."""
        engine = self._engine
        try:
            taken = engine.read(path)
        except VisavisError as refused:
            return refused
        digest = taken.digest
        if digest in self._known:
            return digest
        try:
            seen = engine.sight.everyone(taken)
        except InputRefused as refused:
            return Remembered(digest, code=refused.code, message=_without(path, refused))
        embeddings = embed(engine.encoder, [each.crop for each in seen])
        pairs = [(s.sighting, e) for s, e in zip(seen, embeddings, strict=True)]
        return Remembered(digest, tuple(pairs))

    def _take(
        self, path: Path, result: Remembered | str | VisavisError, waiting: list[Remembered]
    ) -> None:
        if isinstance(result, VisavisError):
            self.unusable.append(Unusable(path, result.code, str(result)))
            return
        digest = result if isinstance(result, str) else result.digest
        if isinstance(result, Remembered) and digest not in self.paths:
            waiting.append(result)
            self.embedded += not result.code
        self.paths.setdefault(digest, []).append(path)


def _without(path: Path, refused: VisavisError) -> str:
    """Give a message without the file's name, which may change."""
    return str(refused).removeprefix(f"{path}: ")


def _listed(
    photographs: Path | Sequence[Path],
) -> tuple[list[Path], tuple[Path, ...], list[Unusable]]:
    """Give pictures in a folder and below, other files, and folders that cannot be read."""
    if not isinstance(photographs, str | os.PathLike):
        return sorted(Path(each) for each in photographs), (), []
    folder = Path(photographs)
    if not folder.is_dir():
        raise InputRefused(f"{folder}: no folder; name the one that holds the photographs")
    pictures: list[Path] = []
    ignored: list[Path] = []
    closed: list[Unusable] = []

    def note(fault: OSError) -> None:
        told = f"{fault.filename}: {fault.strerror}"
        closed.append(Unusable(Path(os.fsdecode(fault.filename)), InputRefused.code, told))

    for base, below, names in os.walk(folder, onerror=note):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = Path(base, name)
            if not name.startswith("."):
                (pictures if is_picture(path) else ignored).append(path)
    if not pictures:
        why = f"; {closed[0].message}" if closed else ""
        raise InputRefused(f"{folder}: no photographs in it or below{why}")
    return sorted(pictures), tuple(sorted(ignored)), closed


def _grouped(  # noqa: PLR0913, PLR0917 - called once, by what gathered these
    engine: Engine,
    album: Album,
    looking: _Looking,
    config: ClusterConfig,
    unusable: list[Unusable],
    ignored: tuple[Path, ...],
) -> Clusters:
    everyone: dict[FaceKey, Found] = {}
    with_faces: set[str] = set()
    too_small = 0
    for key, seen, embedding in album.faces():
        if key[0] not in looking.paths:
            continue  # another process remembers into the same file
        path, *copies = looking.paths[key[0]]
        with_faces.add(key[0])
        if seen.face.box[2] < config.least_width:
            too_small += 1
            continue
        everyone[key] = Found(path, seen, embedding, key[0], tuple(copies))
    point = _point(engine, config.fpir, len(everyone))
    clusters, strangers = _people(engine, album, everyone, point.tau)
    refused = album.refused()
    for digest, (code, message) in refused.items():
        unusable += [Unusable(p, code, f"{p}: {message}") for p in looking.paths.get(digest, ())]
    without = set(looking.paths) - with_faces - set(refused)
    return Clusters(
        clusters,
        strangers,
        point.tau,
        config.fpir,
        point.fmr,
        engine.encoder.id,
        point.extrapolated,
        len(looking.paths) - len(set(refused) & set(looking.paths)),
        looking.embedded,
        tuple(sorted(path for digest in without for path in looking.paths[digest])),
        too_small,
        tuple(sorted([*unusable, *looking.unusable], key=lambda each: each.path)),
        ignored,
    )


def _point(engine: Engine, fpir: float, faces: int) -> OperatingPoint:
    """Give tau for one face among all others, or that of ``compare`` where that is stricter."""
    among_all = engine.curve.identification(fpir, max(1, faces - 1))
    of_two = engine.curve.verification(engine.config.fmr)
    return min(among_all, of_two, key=lambda point: point.tau)


def _people(
    engine: Engine, album: Album, everyone: dict[FaceKey, Found], tau: float
) -> tuple[tuple[Cluster, ...], tuple[Found, ...]]:
    """Group faces, and give each group the id it had before."""
    keys, faces = list(everyone), list(everyone.values())
    if not faces:
        album.settle({})
        return (), ()
    points = engine.curve.points
    common = common_cosine([p.fmr for p in points], [p.tau for p in points])
    vectors = np.stack([f.embedding.vector for f in faces])
    labels = group(vectors, Evidence(tau, common))
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    several = [rows for rows in members if len(rows) > 1]
    several.sort(key=lambda rows: (-len(rows), rows[0]))
    listed = [[keys[n] for n in rows] for rows in several]
    ids = carried_on(album.clusters(), listed, album.next_cluster)
    album.settle({keys[n]: i for i, rows in zip(ids, several, strict=True) for n in rows})
    names = album.names()
    clusters = tuple(
        Cluster(number, tuple(faces[n] for n in _typical(vectors, rows)), names.get(number))
        for number, rows in zip(ids, several, strict=True)
    )
    alone = [faces[rows[0]] for rows in members if len(rows) == 1]
    return clusters, tuple(sorted(alone, key=lambda f: (f.path, f.sighting.face.box)))


def _typical(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> Iterable[int]:
    """Order a cluster's faces by how near they are to all of it."""
    near = vectors[rows] @ vectors[rows].sum(0, dtype=np.float64)
    ordered: list[int] = rows[np.lexsort((rows, -near))].tolist()
    return ordered
