"""Memory of the blocks, apart from the heap."""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGE = 1 << 22
"""Bytes from which pages of 2 MiB pay; NumPy draws the line there as well."""


def zeros(shape: int | tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """Give zeros in a mapping of their own.

    On the heap, arrays that stay would come to lie between the temporary ones of a load, which
    then leave holes that the process keeps; and there a page that is not written yet may cost
    memory already.
    """
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows
        return np.zeros(shape, kind)
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    room = size * np.dtype(kind).itemsize
    # Private: a process that is forked must not write into its parent's.
    memory = mmap.mmap(-1, max(1, room), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if room >= _LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, kind, size).reshape(shape)
