"""A photograph to the bytes that are sent: a file's as they are, pixels as a PNG."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from visavis.errors import ImageNotFound, ImageTooLarge, ImageUnreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source: TypeAlias = bytes | str | os.PathLike[str] | NDArray[np.uint8]

_MOST = 128 << 20
"""Bytes of a file: what the engine takes. A service takes less, and says how much."""


def load(source: Source) -> bytes:
    """Read a photograph once.

    Parameters
    ----------
    source
        Bytes, a path, or an (H, W, 3) RGB or (H, W) grey uint8 array, which nothing is lost of.

    Raises
    ------
    ImageNotFound
        No such file, a directory, a pipe or a device, or no permission.
    ImageTooLarge
        More than 128 MiB.
    ImageUnreadable
        An array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _png(source)
    data = source if isinstance(source, bytes) else _read(os.fspath(source))
    if len(data) > _MOST:
        raise _too_large("image", len(data))
    return data


def _read(name: str) -> bytes:
    try:
        with open(name, "rb", opener=_without_waiting) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ImageNotFound(f"{name}: not a regular file")
            if state.st_size > _MOST:
                raise _too_large(name, state.st_size)
            return file.read()
    except IsADirectoryError:
        raise ImageNotFound(f"{name}: is a directory; name the photographs in it") from None
    except OSError as missing:
        raise ImageNotFound(f"{name}: {missing.strerror or missing}") from missing
    except ValueError as broken:  # a NUL in the name
        raise ImageNotFound(f"{name!r}: not a file name: {broken}") from broken


def _without_waiting(path: str, flags: int) -> int:
    # A named pipe without a writer would otherwise hold us forever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _too_large(name: str, size: int) -> ImageTooLarge:
    return ImageTooLarge(f"{name}: {size} bytes; at most {_MOST} are sent")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    right = pixels.dtype == np.uint8 and pixels.ndim in {2, 3} and pixels.shape[2:] in {(), (3,)}
    if not right or 0 in pixels.shape:
        raise ImageUnreadable(
            f"an array must be (H, W, 3) RGB or (H, W) grey, uint8; "
            f"this one is {pixels.shape} {pixels.dtype}"
        )
    import PIL.Image  # noqa: PLC0415

    out = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=1)
    return out.getvalue()
