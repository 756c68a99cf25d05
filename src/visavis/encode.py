"""Crops to unit vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from visavis.errors import ModelRefused
from visavis.values import CROP_SIZE, Crop, Embedding, EncoderId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.models import Session


class Encoder(Protocol):
    """Anything that encodes crops."""

    id: EncoderId
    name: str

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 112, 3) uint8 RGB to (N, D) float32 unit rows."""


class SessionEncoder:
    """A network's last layer before the softmax, brought to unit length (FaceNet, sec. 3).

    Parameters
    ----------
    session
        Takes (1, 112, 112, 3) uint8 RGB, gives (1, D).
    """

    def __init__(self, session: Session, identity: EncoderId, name: str) -> None:
        self._session = session
        self.id = identity
        self.name = name

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 112, 3) uint8 RGB to (N, D) float32 unit rows.

        Raises
        ------
        ModelRefused
            When the network gives something that is no finite vector.
        """
        if crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops must be (N, 112, 112, 3) uint8, not {crops.shape}")
        rows = np.concatenate([self._session.run(crop[None])[0] for crop in crops])
        if rows.ndim != 2:
            raise ModelRefused(f"{self.name} gives {rows.shape[1:]} for a face, not one vector")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise ModelRefused(f"{self.name} gives a vector that is zero or not finite")
        unit: NDArray[np.float32] = (rows / norms).astype(np.float32)
        return unit


def embed(encoder: Encoder, crops: Sequence[Crop]) -> list[Embedding]:
    """Encode crops of faces, one run of the network each."""
    if not crops:
        return []
    rows = encoder.encode(np.stack([crop.pixels for crop in crops]))
    return [Embedding(row, encoder.id) for row in rows]
