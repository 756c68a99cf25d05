"""What lies where in a pack, and whether it is all there.

::

    OUT/pack.json          written last: its presence says that the pack is whole
    OUT/shards/00000.jpgs  crops as JPEG, one behind the other, person by person
    OUT/index/             shard, offset, length, crc32 of each row; rows of each person; texts
    OUT/refused.csv        the photographs that were left out, and why
    OUT/packing.db         only while it is made: what is settled; see ``writer``
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import PackRefused
from visavis.models import ALIGNMENTS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SCHEMA = 1
"""Of ``pack.json`` and of the files beside it."""

PACK, REFUSED, LEDGER = "pack.json", "refused.csv", "packing.db"
"""The three files at the top; the last is there only while a pack is made."""

ROWS: dict[str, np.dtype[Any]] = {
    "shard": np.dtype("<u4"),
    "offset": np.dtype("<u4"),
    "length": np.dtype("<u4"),
    "crc32": np.dtype("<u4"),
}
"""What the index says of each image, a file each."""
TEXTS = ("names", "sources")
"""Texts in the index: the names of the people, the paths of the photographs."""

COLUMNS: dict[str, np.dtype[Any]] = {
    **ROWS,
    "offsets": np.dtype("<i8"),
    **{f"{name}_offsets": np.dtype("<i8") for name in TEXTS},
}
"""All arrays of the index."""

WORD = np.dtype("<i8")
_NPY_HEADER = 128
"""Bytes before the numbers in the .npy files written here."""


def shard_path(pack: Path, number: int) -> Path:
    """Give the file of a shard."""
    return pack / "shards" / f"{number:05d}.jpgs"


def index_path(pack: Path, name: str) -> Path:
    """Give a file of the index."""
    return pack / "index" / name


def index_digest(pack: Path, alignment: str) -> str:
    """Hash the index, and with its checksums the crops, from its files."""
    told = []
    for name in (*(f"{name}.npy" for name in COLUMNS), *(f"{name}.txt" for name in TEXTS)):
        with index_path(pack, name).open("rb") as file:
            file.seek(_NPY_HEADER if name.endswith(".npy") else 0)
            told.append(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return hashlib.sha256("\n".join([f"{SCHEMA} {alignment}", *told]).encode()).hexdigest()


def read_facts(path: Path) -> dict[str, Any]:
    """Read ``pack.json``; raises PackRefused when there is none, or one of another version."""
    try:
        facts = json.loads((path / PACK).read_text("utf-8"))
    except FileNotFoundError:
        if (path / LEDGER).exists():
            raise PackRefused(
                f"{path}: this pack is unfinished; run 'visavis data pack' with the same arguments "
                "again, and it goes on"
            ) from None
        raise PackRefused(
            f"{path}: no pack lies here (there is no {PACK}); make one with "
            f"'visavis data pack DIR {path}'"
        ) from None
    except (OSError, ValueError) as fault:
        raise damaged(path, f"{PACK} cannot be read: {fault}") from fault
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if schema != SCHEMA:
        raise PackRefused(
            f"{path}: a pack of version {schema}, this visavis reads version {SCHEMA}; pack again, "
            "or use the visavis that made it"
        )
    _check_facts(path, facts)
    return dict(facts)


def _check_facts(path: Path, facts: dict[str, Any]) -> None:
    alignment = ALIGNMENTS.get(str(facts.get("alignment")))
    if alignment is None:
        raise PackRefused(
            f"{path}: cut to {facts.get('alignment')!r}, which this visavis does not know"
        )
    shards = facts.get("shards")
    counts = [
        facts.get("people"),
        facts.get("images"),
        *(shards if isinstance(shards, list) else [None]),
    ]
    whole = all(isinstance(count, int) and count > 0 for count in counts) and counts[2:]
    digest, rest = facts.get("digest"), (facts.get("refused"), facts.get("made"))
    if not (whole and isinstance(digest, str) and all(isinstance(each, dict) for each in rest)):
        raise damaged(path, f"{PACK} lacks something")
    if facts.get("side") != alignment.size:
        raise damaged(path, f"{PACK} contradicts itself: {alignment.name} is {alignment.size} wide")


def mapped(pack: Path, name: str, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Map an array of the index; raises PackRefused unless it is what ``pack.json`` promises."""
    path = index_path(pack, f"{name}.npy")
    check_size(pack, path, _NPY_HEADER + count * dtype.itemsize)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as fault:
        raise damaged(pack, f"{path.name} cannot be read: {fault}") from fault
    if array.shape != (count,) or array.dtype != dtype:
        raise damaged(pack, f"{path.name} is {array.shape} {array.dtype}")
    return array


def check_size(pack: Path, path: Path, size: int) -> None:
    """Raise PackRefused unless a file has the size that it was written with."""
    try:
        found = path.stat().st_size
    except OSError as fault:
        what = f"{path.relative_to(pack)} is missing ({fault.strerror})"
        raise damaged(pack, what) from fault
    if found != size:
        raise damaged(pack, f"{path.relative_to(pack)} has {found} bytes, not {size}")


def damaged(path: Path, what: str) -> PackRefused:
    """Say that a pack is damaged, and what to do."""
    return PackRefused(
        f"{path}: the pack is damaged: {what}; copy it again from where it came, or delete it and "
        "pack again"
    )
