"""A photograph to the faces that count: decoded, found, aligned and assessed, each step once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from visavis.align import align
from visavis.detect import Detector, Search
from visavis.errors import NoFaceFound, SeveralFaces
from visavis.image import decode, digest_of, image_of, name_of, read_bytes
from visavis.models import ARCFACE_112
from visavis.quality import assess
from visavis.values import Pick, Sighting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.engine.config import EngineConfig
    from visavis.image import Limits, Source
    from visavis.models import Alignment
    from visavis.values import Crop, Embedding, Face, Image

_LONG_SIDE = 960
"""A large JPEG is first decoded no larger than needed: a subject fills an eighth of it or more."""
_LEAST_WIDTH = 112
"""A face narrower than this in the reduced picture loses detail: decode the picture in full. More
where the encoder's crops are larger."""


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A picture as it was handed in, read once."""

    name: str
    content: bytes | NDArray[np.uint8]

    @classmethod
    def read(cls, source: Source, limits: Limits) -> Photograph:
        """Read it from bytes, a path, or an array; raises what ``image`` raises."""
        if isinstance(source, np.ndarray):
            return cls("image", source)
        return cls(name_of(source), read_bytes(source, limits))

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, or of the pixels where there were none."""
        return digest_of(self.content)

    @property
    def data(self) -> bytes | None:
        """The file's bytes, when it came as a file."""
        return self.content if isinstance(self.content, bytes) else None

    def image(self, limits: Limits, long_side: int | None = None) -> Image:
        """Decode it; see ``image.decode``."""
        if isinstance(self.content, bytes):
            return decode(self.content, limits, name=self.name, long_side=long_side)
        return image_of(self.content, limits)


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """A face ready to be encoded, and what there is to say about it.

    The coordinates in ``sighting`` are pixels of the original picture, those of ``crop.face`` of
    ``image``, in which it was found.
    """

    sighting: Sighting
    crop: Crop
    image: Image


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A photograph whose face is fit to be enrolled, encoded.

    Attributes
    ----------
    name
        The photograph's, for messages.
    digest
        SHA-256 by which the same photograph is known again.
    data
        Its bytes, only when they are to be kept.
    """

    name: str
    digest: str
    data: bytes | None
    sighting: Sighting
    embedding: Embedding


class Sight:
    """Finds in a photograph whom it is of, or everybody in it.

    Parameters
    ----------
    alignments
        How the encoder wants faces cut out. ArcFace's crop is always made: quality is judged on it.
    """

    def __init__(
        self,
        detector: Detector,
        config: EngineConfig,
        alignments: tuple[Alignment, ...] = (ARCFACE_112,),
    ) -> None:
        self.detector = detector
        self._config = config
        self._further = tuple(each for each in alignments if each != ARCFACE_112)
        self._least_width = max(_LEAST_WIDTH, *(each.size for each in alignments))

    def subject(self, photograph: Photograph) -> Observed:
        """Give the one face that the photograph is of.

        Raises
        ------
        NoFaceFound
        SeveralFaces
            When the largest face is not clearly larger than the next.
        """
        limits = self._config.limits
        image = photograph.image(limits, _LONG_SIDE)
        faces = self.detector.find(image, Search.SUBJECT)
        if image.reduction > 1 and (not faces or faces[0].box[2] < self._least_width):
            image = photograph.image(limits)
            faces = self.detector.find(image, Search.SUBJECT)
        if not faces:
            raise NoFaceFound(
                f"{photograph.name}: no face found; use a photograph that shows the face from "
                "the front, larger and in better light"
            )
        return self.observed(image, self._picked(faces, image, photograph.name))

    def everyone(self, photograph: Photograph) -> list[Observed]:
        """Give every face, the largest first; an empty list when there is none."""
        return self.those_in(photograph.image(self._config.limits))

    def those_in(self, image: Image) -> list[Observed]:
        """Give every face of a decoded picture, the largest first."""
        return [self.observed(image, face) for face in self.detector.find(image, Search.ALL)]

    def _picked(self, faces: list[Face], image: Image, name: str) -> Face:
        config = self._config
        if config.pick is Pick.MOST_CENTRAL:
            return min(faces, key=lambda face: _off_centre(face, image))
        largest = faces[0]
        rivals = faces[1:] if config.pick is Pick.CLEAR_SUBJECT else []
        if any(largest.box[2] < config.clear_subject * other.box[2] for other in rivals):
            raise SeveralFaces(
                f"{name}: {len(faces)} faces, and none is clearly the subject; cut the picture to "
                "the person meant, or pick the largest or the most central"
            )
        return largest

    def observed(self, image: Image, face: Face) -> Observed:
        """Align and assess a face that was found in a picture."""
        crop = align(image, face)
        quality = assess(image, crop, self._config.quality)
        if self._further:
            crop = replace(crop, further=tuple(align(image, face, each) for each in self._further))
        original = face.scaled(image.reduction) if image.reduction != 1 else face
        return Observed(Sighting(original, quality), crop, image)


def _off_centre(face: Face, image: Image) -> float:
    x, y, w, h = face.box
    return abs(x + w / 2 - image.width / 2) + abs(y + h / 2 - image.height / 2)
