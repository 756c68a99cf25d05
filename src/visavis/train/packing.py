"""Photographs, a folder a person, to a pack of aligned crops: cut as the engine cuts them."""

from __future__ import annotations

import csv
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from visavis.engine import Photograph, Sight
from visavis.errors import InputRefused, PackRefused, ProtocolRefused
from visavis.image import read_bytes
from visavis.models import ALIGNMENTS
from visavis.train.layout import LEDGER, PACK, REFUSED, read_facts
from visavis.train.pack import Pack
from visavis.train.people_folder import Entry, entries, survey
from visavis.train.writer import PackWriter, check_same, drop_ledger
from visavis.values import Pick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from visavis.engine import Engine

QUALITY = 95
"""Of the JPEG crops, without subsampling of colour."""


class Left(StrEnum):
    """Why something was left out, beside the codes of refused photographs."""

    FACE_TOO_SMALL = "face_too_small"
    DUPLICATE = "duplicate"
    """The same bytes as another photograph of the same person."""
    SAME_PHOTOGRAPH = "same_photograph"
    """The same bytes as a photograph of somebody else: one of the two names is wrong."""
    IGNORED = "ignored"
    """No picture, or not where a folder a person has its pictures."""
    NOBODY = "nobody"
    """A person of whom no image is left."""


@dataclass(frozen=True, slots=True)
class PackConfig:
    """How photographs become crops.

    Attributes
    ----------
    alignment
        Name of the template that faces are cut to; see ``models.ALIGNMENTS``.
    min_face
        Faces narrower than this, in pixels of the photograph, are left out: they hold too little
        (LFW falls from 98.9 to 97.4 % between 30 and 20 pixels, docs/experiments.md).
    pick
        Whom a photograph with several faces is of. Data sets are cut around their subject.
    workers
        Photographs worked on side by side; open the engine with ``Cores(workers, workers)``. The
        pack does not depend on it.
    """

    alignment: str = "arcface-112"
    min_face: int = 30
    pick: Pick = Pick.MOST_CENTRAL
    workers: int = 1

    def __post_init__(self) -> None:
        if self.alignment not in ALIGNMENTS:
            raise ProtocolRefused(
                f"there is no alignment {self.alignment!r}; choose one of {', '.join(ALIGNMENTS)}"
            )
        if self.workers < 1 or self.min_face < 0:
            raise ValueError("workers must be 1 or more, and min_face not negative")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was left out, and why: a row of ``refused.csv``."""

    person: str
    photograph: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of a folder.

    Attributes
    ----------
    path
        The pack.
    people, images
        What it holds.
    digest
        Names the content.
    refused
        How many were left out, by code; see `refusals` for each.
    went_on
        Entries of the folder that an earlier, interrupted run had dealt with.
    """

    path: Path
    people: int
    images: int
    digest: str
    refused: dict[str, int]
    went_on: int = 0

    def refusals(self) -> Iterator[Refusal]:
        """Read what was left out, and why, from ``refused.csv``."""
        with (self.path / REFUSED).open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows)
            for row in rows:
                yield Refusal(*row)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A photograph that was worked on: a crop, or the reason why there is none."""

    digest: bytes = b""
    jpeg: bytes = b""
    code: str = ""
    message: str = ""


def pack_folder(
    engine: Engine,
    images: Path,
    out: Path,
    config: PackConfig | None = None,
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> Packed:
    """Pack a folder a person into aligned crops.

    Killed at any moment and called again with the same arguments, it goes on where it was; the
    pack comes out the same, byte for byte. Only what lies at ``images/PERSON/PHOTOGRAPH`` is
    packed; pictures beside the folders or deeper are listed in ``refused.csv``, as are photographs
    without a usable face and those that are there twice. Of the same photograph under two people
    the first stays and the other is listed. Names that begin with a dot are passed over.

    Parameters
    ----------
    engine
        Its detector finds the faces; its encoder plays no part.
    out
        The pack's folder; made, or gone on with.
    told
        Called with how many entries of the folder are dealt with, and of how many.

    Raises
    ------
    ProtocolRefused
        When the folder holds no photographs in folders of people, or no face in any.
    PackRefused
        When ``out`` holds something else, or was begun from another folder or configuration.
    PackUnwritable
        When the disk is full or may not be written; what was packed stays and is gone on with.
    """
    config = config or PackConfig()
    total, fingerprint = survey(images)
    identity = _identity(engine, config) | {"folder": fingerprint}
    if (out / PACK).exists():
        return _already(out, identity, told, total)
    _check_free(images, out)
    with PackWriter(out, identity) as writer:
        went_on = writer.settled
        told(min(went_on, total), total)
        packer = _Packer(engine, images, config, writer)
        packer.run(lambda: told(min(writer.settled, total), total))
        if not writer.images:
            raise ProtocolRefused(
                f"{images}: no usable face in any photograph, so there is nothing to train on; "
                f"the first reason: {writer.reason()}"
            )
        alignment = ALIGNMENTS[config.alignment]
        writer.finish({"alignment": alignment.name, "side": alignment.size, "made": identity})
    return _packed(out, went_on)


class _Packer:
    """Works through the folder in order, several photographs side by side."""

    def __init__(
        self, engine: Engine, images: Path, config: PackConfig, writer: PackWriter
    ) -> None:
        self._images = images
        self._config = config
        self._writer = writer
        self._limits = engine.config.limits
        seeing = replace(engine.config, pick=config.pick)
        self._sight = Sight(engine.sight.detector, seeing, (ALIGNMENTS[config.alignment],))
        self._person, self._kept, self._ended = "", 0, False

    def run(self, told: Callable[[], None]) -> None:
        """Deal with every entry that is not settled yet."""
        found = entries(self._images)
        self._resume(found)
        pool = ThreadPoolExecutor(self._config.workers)
        ahead: deque[tuple[Entry, Future[_Cut] | None]] = deque()
        try:
            for entry in found:
                work = None if entry.ignored else pool.submit(self._cut, entry)
                ahead.append((entry, work))
                # Enough in the queue to keep everybody busy, few enough to keep memory flat.
                if len(ahead) > 4 * self._config.workers:
                    self._settle(*ahead.popleft())
                    told()
            while ahead:
                self._settle(*ahead.popleft())
                told()
            if not self._ended:
                self._leave()
                self._writer.settle()  # the end counts as well, so that it is noted once
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _resume(self, found: Iterator[Entry]) -> None:
        """Pass over what is settled, and know how many images the last person has."""
        for _ in range(self._writer.settled):
            entry = next(found, None)
            if entry is None:
                self._ended = True
            else:
                self._person = entry.person
        self._kept = self._writer.images_of(self._person)

    def _settle(self, entry: Entry, work: Future[_Cut] | None) -> None:
        if entry.person != self._person:
            self._leave()
            self._person, self._kept = entry.person, 0
        if work is None:
            self._writer.refuse(entry.person, entry.source, Left.IGNORED, entry.ignored)
        else:
            self._keep(entry, work.result())
        self._writer.settle()

    def _keep(self, entry: Entry, cut: _Cut) -> None:
        code, message = cut.code, cut.message
        twin = None if code else self._writer.same(cut.digest)
        if twin and twin[0] == entry.person:
            code, message = Left.DUPLICATE, f"the same file as {twin[1]}"
        elif twin:
            code = Left.SAME_PHOTOGRAPH
            message = f"the same file as {twin[1]}, which stays: look whose photograph it is"
        if code:
            self._writer.refuse(entry.person, entry.source, code, message)
        else:
            self._writer.add(entry.person, entry.source, cut.digest, cut.jpeg)
            self._kept += 1

    def _leave(self) -> None:
        """Note that nothing is left of the person whose entries have ended."""
        if self._person and not self._kept:
            self._writer.refuse(self._person, "", Left.NOBODY, "no image of this person is left")

    def _cut(self, entry: Entry) -> _Cut:
        """Find, align and encode: all that takes time, in a thread of its own."""
        import simplejpeg  # noqa: PLC0415

        try:
            data = read_bytes(self._images / entry.source, self._limits)
            taken = Photograph(entry.source, data)
            seen = self._sight.subject(taken)
        except InputRefused as refused:
            return _Cut(code=refused.code, message=str(refused))
        width, least = seen.sighting.face.box[2], self._config.min_face
        if width < least:
            what = f"the face is {width:.0f} pixels wide, at least {least} are wanted"
            return _Cut(code=Left.FACE_TOO_SMALL, message=what)
        wanted = self._config.alignment
        crop = next(c for c in (seen.crop, *seen.crop.further) if c.alignment == wanted)
        jpeg = simplejpeg.encode_jpeg(crop.pixels, QUALITY, "RGB", "444")
        return _Cut(bytes.fromhex(taken.digest), jpeg)


def _identity(engine: Engine, config: PackConfig) -> dict[str, Any]:
    """Give all that decides what a crop looks like; workers do not."""
    seeing = engine.config
    return {
        "alignment": config.alignment,
        "pick": config.pick.value,
        "min_face": config.min_face,
        "jpeg": QUALITY,
        "detector": seeing.detector,
        "runtime": seeing.runtime.value,
        "detection": asdict(seeing.detection),
        "limits": asdict(seeing.limits),
    }


def _check_free(images: Path, out: Path) -> None:
    """Refuse a folder with something else in it, before anything is written there."""
    if out.resolve().is_relative_to(images.resolve()):
        raise PackRefused(f"{out}: lies within {images}, which is packed; write somewhere else")
    try:
        there = sorted(os.listdir(out)) if out.exists() else []  # noqa: PTH208
    except OSError as fault:
        raise PackRefused(f"{out}: {fault.strerror or fault}") from fault
    if there and LEDGER not in there and there != ["shards"]:
        raise PackRefused(
            f"{out}: there is something else in it ({there[0]}); give a new or an empty folder"
        )


def _already(
    out: Path, identity: dict[str, Any], told: Callable[[int, int], None], total: int
) -> Packed:
    """Give a pack that was finished before, when it is the one that is asked for."""
    check_same(out, read_facts(out).get("made", {}), identity)
    Pack.open(out)
    drop_ledger(out)  # killed between the last two steps
    told(total, total)
    return _packed(out, total)


def _packed(out: Path, went_on: int) -> Packed:
    facts = read_facts(out)
    return Packed(out, facts["people"], facts["images"], facts["digest"], facts["refused"], went_on)
