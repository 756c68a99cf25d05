"""What a run starts from: an architecture with random weights, or an encoder that is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from visavis.encode import open_encoder
from visavis.errors import TrainingRefused
from visavis.models import ALIGNMENTS, Cores, Kind, Precision, RuntimeName
from visavis.models.manifest import Preprocessing
from visavis.train.encoders import EncoderName, build, rebuild

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from visavis.models import Manifest, ModelStore
    from visavis.train.pack import Pack

_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A network to be trained.

    Attributes
    ----------
    name
        An architecture's, or the encoder's whose weights it has.
    dimension
        D, the length of its vectors.
    pretrained
        The encoder's manifest; None for random weights.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    dimension: int
    pretrained: Manifest | None = None


def open_start(name: str, dimension: int | None, pack: Pack, store: ModelStore) -> Start:
    """Build an architecture for a pack's crops, or rebuild an encoder of the store.

    Random weights come from torch's random numbers.

    Raises
    ------
    TrainingRefused
        When the encoder takes other crops than the pack holds, or gives vectors of another length
        than was asked for.
    ModelUnknown, ModelRefused
        When there is neither, or the encoder cannot be rebuilt, with the reason.
    """
    if name in {str(each) for each in EncoderName}:
        network = build(name, pack.side, dimension)
        shape = Preprocessing(mean=(127.5,) * 3, scale=(127.5,) * 3, alignment=pack.alignment)
        return Start(name, network, shape, _dimension(network, pack.side))
    manifest = store.manifest(name)
    if manifest.kind is not Kind.ENCODER or manifest.members:
        raise TrainingRefused(f"{name} is no single encoder: only one network can be trained")
    shape = manifest.preprocessing
    if shape.alignment != pack.alignment:
        raise TrainingRefused(
            f"{name} takes faces cut as {shape.alignment}, and the pack holds {pack.alignment}: "
            f"pack again with --alignment {shape.alignment}"
        )
    if shape.mirror:
        raise TrainingRefused(f"{name} adds each face and its mirror image: train it without that")
    side = ALIGNMENTS[shape.alignment].size
    network = rebuild(store.weights(manifest), side, manifest.format)
    found = _dimension(network, pack.side)
    if dimension not in {None, found}:
        raise TrainingRefused(f"{name} gives {found} numbers, not {dimension}: leave it out")
    return Start(name, network, shape, found, manifest)


def kept_encodings(
    start: Start,
    pack: Pack,
    store: ModelStore,
    folder: Path,
    told: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:
    """Encode every crop of a pack by the encoder a run starts from; kept in its folder and mapped.

    Returns
    -------
    (images, D) float32 unit rows, memory-mapped.

    Raises
    ------
    TrainingRefused
        When the start has random weights, which are not worth keeping.
    """
    if start.pretrained is None:
        raise TrainingRefused("'keep' holds on to what a pretrained encoder knows: start from one")
    shape = (len(pack), start.dimension)
    of = f"{pack.digest[:12]}-{start.pretrained.sha256[:12]}"
    path = folder / f"kept-{of}.npy"
    if path.is_file():
        stored: NDArray[np.float32] = np.load(path, mmap_mode="r")
        if stored.shape == shape:
            return stored
    encoder = open_encoder(store, start.pretrained, Precision.FP32, RuntimeName.OPENVINO, Cores())
    staged = path.with_name(f".{path.name}.part")
    try:
        rows = np.lib.format.open_memmap(staged, "w+", np.float32, shape)
        if hasattr(os, "posix_fallocate"):  # a mapped file that finds no room kills the process
            with staged.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, staged.stat().st_size)
    except OSError as full:
        staged.unlink(missing_ok=True)
        raise TrainingRefused(f"{path} cannot be written ({full}): make room") from full
    for at in range(0, len(pack), _BATCH):
        some = np.arange(at, min(at + _BATCH, len(pack)))
        rows[some] = encoder.encode(pack.read(some))
        told(len(some))
    rows.flush()
    del rows
    staged.replace(path)
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return mapped


def _dimension(network: nn.Module, side: int) -> int:
    training = network.training
    network.eval()
    with torch.no_grad():
        vectors = network(torch.zeros(1, 3, side, side))
    network.train(training)
    return int(vectors.shape[1])
