"""The photographs that people were enrolled from, as far as they are at hand, encoded anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from visavis.decide import squared
from visavis.encode import embed
from visavis.engine.core import Engine
from visavis.engine.folder import is_picture
from visavis.errors import InputRefused, ModelError, SeveralFaces, VisavisError
from visavis.models import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from visavis.engine.config import EngineConfig
    from visavis.engine.sight import Photograph
    from visavis.gallery import Gallery
    from visavis.gallery.upkeep.reencoding import Enrolled
    from visavis.values import PersonId, TemplateId

    Vector = NDArray[np.float32]
    Told = Callable[[int, int], None]

_SAME_FACE = 0.2
"""How far apart two encodings of one face in one photograph may be, in [0, 4]: they differ by how
the picture was decoded and by the runtime alone."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Somebody who must come again, and why."""

    id: PersonId
    name: str
    reasons: tuple[str, ...]


class AtHand:
    """New vectors by template, as far as they were made."""

    def __init__(self, engine: Engine, gallery: Gallery, folder: Path | None, workers: int) -> None:
        self.stored = gallery.reencoding()
        self.vectors: dict[TemplateId, Vector] = {}
        self._reasons: dict[TemplateId, str] = {}
        self._engine = engine
        self._gallery = gallery
        self._folder = folder
        self._workers = workers
        self._old: Engine | None = None
        self._looked_for_old = False
        self._lock = Lock()
        self._files: dict[str, Path] | None = None

    def catch_up(self, told: Told | None) -> dict[TemplateId, Enrolled]:
        """Encode what has not been yet; gives all templates that there are."""
        there = {each.template: each for each in self.stored.enrolled()}
        known = self.vectors.keys() | self._reasons.keys()
        new = [each for key, each in there.items() if key not in known]
        files = self._found_files(new)
        done = len(there) - len(new)
        with ThreadPoolExecutor(self._workers) as pool:
            for each, vector in zip(
                new, pool.map(lambda t: self._vector(t, files), new), strict=True
            ):
                if isinstance(vector, str):
                    self._reasons[each.template] = vector
                else:
                    self.vectors[each.template] = vector
                done += 1
                if told:
                    told(done, len(there))
        return there

    def absent(
        self, there: dict[TemplateId, Enrolled], missing: set[PersonId]
    ) -> tuple[Absent, ...]:
        """Say of those who are missing why."""
        reasons: dict[PersonId, list[str]] = {key: [] for key in missing}
        names = {}
        for key, each in there.items():
            if each.person in reasons:
                names[each.person] = each.name
                reasons[each.person].append(self._reasons[key])
        ordered = sorted(missing, key=lambda person: names[person])
        return tuple(Absent(key, names[key], tuple(dict.fromkeys(reasons[key]))) for key in ordered)

    def _found_files(self, wanted: Sequence[Enrolled]) -> dict[str, Path]:
        """Give the files by the digests as they are stored."""
        if self._folder is None or not wanted:
            return {}
        if self._files is None:
            self._files = self._digested(self._folder)
        as_stored = self.stored.stored_as(list(self._files))
        return {stored: self._files[digest] for stored, digest in as_stored.items()}

    def _digested(self, folder: Path) -> dict[str, Path]:
        if not folder.is_dir():
            raise InputRefused(f"{folder} is no folder; name the one that holds the photographs")
        found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if is_picture(path):
                try:
                    found[self._engine.read(path).digest] = path
                except VisavisError:
                    continue  # too large, or gone: it is then missing, which is told
        return found

    def _vector(self, each: Enrolled, files: dict[str, Path]) -> Vector | str:
        """Encode one template's photograph, or say why that cannot be done."""
        try:
            if each.digest in files:
                taken = self._engine.read(files[each.digest])
            elif each.kept and (kept := self._gallery.photograph(each.template)) is not None:
                taken = self._engine.read(kept)
            else:
                return "no photograph is at hand"
            return self._encoded(taken, each)
        except InputRefused as refused:
            return str(refused)

    def _encoded(self, taken: Photograph, each: Enrolled) -> Vector:
        seen = self._engine.sight.everyone(taken)
        if len(seen) > 1:
            face = seen[self._which(taken, each)]
        else:
            face = self._engine.sight.subject(taken)  # as an enrolment does
        return embed(self._engine.encoder, [face.crop])[0].vector

    def _which(self, taken: Photograph, each: Enrolled) -> int:
        """Tell by the old encoder which of several faces, in their order, was enrolled."""
        old = self._old_engine()
        if old is None:
            raise SeveralFaces(
                f"{taken.name} shows several faces, and the encoder that knew which is not here"
            )
        faces = embed(old.encoder, [face.crop for face in old.sight.everyone(taken)])
        (was,) = (t.vector for t in self._gallery.templates(each.person) if t.id == each.template)
        distances = [squared(face.vector, was) for face in faces]
        nearest = min(range(len(distances)), key=distances.__getitem__)
        if distances[nearest] > _SAME_FACE:
            raise SeveralFaces(f"{taken.name} shows several faces, and none as it was enrolled")
        return nearest

    def _old_engine(self) -> Engine | None:
        with self._lock:
            if not self._looked_for_old:
                self._old = old_engine(self._gallery, self._engine.config)
                self._looked_for_old = True
            return self._old


def old_engine(gallery: Gallery, config: EngineConfig) -> Engine | None:
    """Open the encoder that a gallery was made with; None where it is not there any more."""
    info = gallery.info()
    name = str(info.encoder_name).partition(" (")[0]  # "sface (int8)"
    for precision in Precision:
        try:
            found = Engine.open(config=replace(config, encoder=name, precision=precision))
        except ModelError:
            continue
        if found.encoder.id == info.encoder:
            return found
    return None
