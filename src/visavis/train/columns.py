"""The files of a pack's index, written in one pass and never held."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from visavis.train.layout import COLUMNS, TEXTS

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 65_536
"""Numbers written at once."""


class Index:
    """All of them, open at once; a mistake in the order of calls is the writer's."""

    def __init__(self, folder: Path) -> None:
        self._columns = {
            name: _Column(folder / f"{name}.npy", kind) for name, kind in COLUMNS.items()
        }
        self._blobs = {name: _Blob(folder / f"{name}.txt") for name in TEXTS}
        for name in TEXTS:
            self.number(f"{name}_offsets", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for column in self._columns.values():
            column.close()
        for blob in self._blobs.values():
            blob.close()

    def number(self, name: str, value: int) -> None:
        """Append to an array."""
        self._columns[name].add(value)

    def text(self, name: str, value: bytes) -> None:
        """Append a text, and where it ends."""
        self.number(f"{name}_offsets", self._blobs[name].add(value))


class _Column:
    """A .npy file of one dimension whose length is known only at the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._count = 0
        self._waiting: list[int] = []
        self._file = path.open("wb")
        self._file.write(self._header())

    def add(self, value: int) -> None:
        self._waiting.append(value)
        if len(self._waiting) >= _BLOCK:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.seek(0)
        self._file.write(self._header())
        _close(self._file)

    def _flush(self) -> None:
        self._file.write(np.array(self._waiting, self._dtype).tobytes())
        self._count += len(self._waiting)
        self._waiting.clear()

    def _header(self) -> bytes:
        """Give a header whose length does not depend on the count (NEP 1 leaves it room)."""
        header = io.BytesIO()
        kind = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(header, kind)
        return header.getvalue()


class _Blob:
    """Texts one behind the other."""

    def __init__(self, path: Path) -> None:
        self._at = 0
        self._file = path.open("wb")

    def add(self, value: bytes) -> int:
        """Append a text; gives where it ends."""
        self._file.write(value)
        self._at += len(value)
        return self._at

    def close(self) -> None:
        _close(self._file)


def _close(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
