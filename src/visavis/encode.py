"""Crops to unit vectors, by one network or by several together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from visavis.errors import ModelRefused
from visavis.models.alignment import ALIGNMENTS, ARCFACE_112, Alignment
from visavis.values import Crop, Embedding, EncoderId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.models import Cores, Manifest, ModelStore, Precision, RuntimeName, Session


class Encoder(Protocol):
    """Anything that encodes crops.

    Attributes
    ----------
    alignments
        How it wants a face cut out; an ensemble may want it in several ways.
    """

    id: EncoderId
    name: str
    alignments: tuple[Alignment, ...]

    def encode(self, *crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, S, S, 3) uint8 RGB for each of ``alignments`` to (N, D) float32 unit rows."""


class SessionEncoder:
    """A network's last layer before the softmax, brought to unit length (FaceNet, sec. 3).

    Parameters
    ----------
    session
        Takes (1, S, S, 3) uint8 RGB, gives (1, D).
    alignment
        What the crops are cut to; S is its size, 112 unless it says otherwise.
    """

    def __init__(
        self,
        session: Session,
        identity: EncoderId,
        name: str,
        alignment: Alignment = ARCFACE_112,
    ) -> None:
        self._session = session
        self.id = identity
        self.name = name
        self.alignments: tuple[Alignment, ...] = (alignment,)

    def encode(self, *crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, S, S, 3) uint8 RGB to (N, D) float32 unit rows.

        Raises
        ------
        ModelRefused
            When the network gives something that is no finite vector.
        """
        (faces,) = _checked(crops, self.alignments)
        rows = np.concatenate([self._session.run(face[None])[0] for face in faces])
        if rows.ndim != 2:
            raise ModelRefused(f"{self.name} gives {rows.shape[1:]} for a face, not one vector")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise ModelRefused(f"{self.name} gives a vector that is zero or not finite")
        unit: NDArray[np.float32] = (rows / norms).astype(np.float32)
        return unit


class _Mirrored:
    """A network that sees a face and its mirror image, and gives the sum."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        there, mirrored = self._session.run(pixels), self._session.run(pixels[:, :, ::-1])
        return [a + b for a, b in zip(there, mirrored, strict=True)]


class Ensemble:
    """Several encoders as one: d is the weighted mean of the members' d.

    Each member's unit vector is multiplied by the root of its share, and they are put one behind
    the other: the result has unit length, and squared distances add up share by share.

    Parameters
    ----------
    shares
        What each member counts, together 1.
    """

    def __init__(
        self, members: Sequence[Encoder], shares: Sequence[float], identity: EncoderId, name: str
    ) -> None:
        self._members = tuple(members)
        self._roots = np.sqrt(np.array(shares)).astype(np.float32)
        self.id = identity
        self.name = name
        self.alignments = tuple(dict.fromkeys(a for each in members for a in each.alignments))

    def encode(self, *crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode crops, given once for each of ``alignments``, by every member."""
        cut = dict(zip(self.alignments, _checked(crops, self.alignments), strict=True))
        rows = [
            root * member.encode(*(cut[a] for a in member.alignments))
            for root, member in zip(self._roots, self._members, strict=True)
        ]
        return np.concatenate(rows, axis=1)


def _checked(
    crops: tuple[NDArray[np.uint8], ...], alignments: tuple[Alignment, ...]
) -> tuple[NDArray[np.uint8], ...]:
    """Raise ValueError for other arrays than the encoder takes."""
    wanted = [(a.size, a.size, 3) for a in alignments]
    if [each.shape[1:] for each in crops] != wanted or any(c.dtype != np.uint8 for c in crops):
        shapes = ", ".join(f"(N, {a.size}, {a.size}, 3)" for a in alignments)
        raise ValueError(f"crops must be {shapes} uint8, not {[each.shape for each in crops]}")
    return crops


def open_encoder(
    store: ModelStore, manifest: Manifest, precision: Precision, on: RuntimeName, cores: Cores
) -> Encoder:
    """Open an encoder, or all members of an ensemble; raises what ``ModelStore.session`` raises.

    Members that have no int8 form run in fp32.
    """
    identity = store.encoder_id(manifest, precision)
    name = f"{manifest.name} ({precision})"
    if manifest.members:
        members = [
            open_encoder(store, each, store.precision_of(each, precision), on, cores)
            for each in store.members(manifest)
        ]
        return Ensemble(members, manifest.shares, identity, name)
    session = store.session(manifest, precision, on, cores)
    shape = manifest.preprocessing
    if shape.mirror:
        session = _Mirrored(session)
    return SessionEncoder(session, identity, name, ALIGNMENTS[shape.alignment])


def embed(encoder: Encoder, crops: Sequence[Crop]) -> list[Embedding]:
    """Encode crops of faces, one run of each network for each face.

    Where the encoder wants other alignments than ArcFace's, the crops must carry them; ``engine``
    sees to it.
    """
    if not crops:
        return []
    stacks = [np.stack([_cut(crop, a) for crop in crops]) for a in encoder.alignments]
    return [Embedding(row, encoder.id) for row in encoder.encode(*stacks)]


def _cut(crop: Crop, alignment: Alignment) -> NDArray[np.uint8]:
    for each in (crop, *crop.further):
        if each.alignment == alignment.name:
            return each.pixels
    raise ValueError(f"the crop was not cut to {alignment.name!r}, which the encoder wants")
