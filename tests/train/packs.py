"""Packs and folders for tests, made without a network: colours stand for faces."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import simplejpeg

from visavis.engine import EngineConfig
from visavis.models import ALIGNMENTS
from visavis.train.pack import Pack
from visavis.train.writer import SHARD, PackWriter
from visavis.values import Face


def flat(colour, side=112):
    """One colour: it survives JPEG to within 2."""
    return np.full((side, side, 3), colour, np.uint8)


def written(path, people, *, alignment="arcface-112", shard=SHARD):
    """Write {name: [crop, ...]} as a pack and open it."""
    path.mkdir(exist_ok=True)
    with PackWriter(path, {"folder": "made up"}, shard) as writer:
        for name, crops in people.items():
            for number, crop in enumerate(crops):
                jpeg = simplejpeg.encode_jpeg(crop, 95, "RGB", "444")
                source = f"{name}/{number}.jpg"
                writer.add(name, source, hashlib.sha256(source.encode()).digest(), jpeg)
                writer.settle()
        size = ALIGNMENTS[alignment].size
        writer.finish({"alignment": alignment, "side": size, "made": {"folder": "made up"}})
    return Pack.open(path)


class Everywhere:
    """A detector that sees a face in the middle of every picture, half as wide as it."""

    def find(self, image, _search):
        middle, size = np.array([image.width, image.height]) / 2, image.width / 2
        places = np.array(ALIGNMENTS["arcface-112"].landmarks, np.float32) / 112 - 0.5
        x, y = middle - size / 2
        return [Face((x, y, size, size), (middle + size * places).astype(np.float32), 0.9)]


def engine_without_networks():
    """All of an engine that packing asks for."""
    return SimpleNamespace(config=EngineConfig(), sight=SimpleNamespace(detector=Everywhere()))


def folder_of(path, counts, side=96):
    """Write {person: number of photographs} of noise, each its own."""
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for number in range(count):
            seed = int.from_bytes(hashlib.sha256(os.fsencode(f"{name} {number}")).digest()[:4])
            noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
            picture = PIL.Image.fromarray(noise).resize((side, side))
            picture.save(path / name / f"{number:03d}.png")
    return path


def contents(path):
    """Give every file below a folder with its bytes."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(Path(path).rglob("*"))
        if file.is_file()
    }
