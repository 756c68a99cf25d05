"""Bytes, a path, an array or a video to Images: RGB, uint8, upright, bounded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import stat
import struct
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from visavis.errors import (
    ImageNotFound,
    ImageTooLarge,
    ImageTooSmall,
    ImageUnreadable,
    VideoTooLong,
    VideoUnreadable,
)
from visavis.values import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import PIL.Image
    from numpy.typing import NDArray

    Source = bytes | str | os.PathLike[str] | NDArray[np.uint8]

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"

_KINDS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "JPEG2000")
"""What Pillow may read for us: it knows more, and would start Ghostscript for a stranger's EPS."""

_TURN: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}
"""EXIF orientation (CIPA DC-008, tag 274) to the turn that makes the picture upright."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it is decoded.

    Attributes
    ----------
    max_bytes
        Of the file.
    max_pixels
        Of the decoded picture. A JPEG may have four times as many: it is decoded at half scale.
    min_side
        Shorter side in pixels.
    """

    max_bytes: int = 128 * 1024 * 1024
    max_pixels: int = 100_000_000
    min_side: int = 16


DEFAULT_LIMITS = Limits()


def open_image(source: Source, limits: Limits = DEFAULT_LIMITS) -> Image:
    """Read a picture from bytes, a path, or an (H, W, 3) RGB or (H, W) grey uint8 array.

    Raises
    ------
    ImageNotFound, ImageUnreadable, ImageTooLarge, ImageTooSmall
    """
    if isinstance(source, np.ndarray):
        return image_of(source, limits)
    return decode(read_bytes(source, limits), limits, name=name_of(source))


def name_of(source: Source) -> str:
    """Say in messages where a picture came from."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "image"


def digest_of(source: bytes | NDArray[np.uint8]) -> str:
    """SHA-256 of a file's bytes, or of an array's shape and pixels, in hexadecimal."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    head = repr((source.shape, str(source.dtype))).encode()
    return hashlib.sha256(head + np.ascontiguousarray(source).tobytes()).hexdigest()


def read_bytes(source: bytes | str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read a file whole; bytes pass through.

    Raises
    ------
    ImageNotFound
        No such file, a directory, a pipe or a device, or no permission.
    ImageTooLarge
        More bytes than ``limits.max_bytes``.
    """
    if isinstance(source, bytes):
        _check_bytes(len(source), limits, "image")
        return source
    name = os.fspath(source)
    with _regular(name) as file:
        _check_bytes(os.fstat(file.fileno()).st_size, limits, name)
        return file.read()


@contextlib.contextmanager
def _regular(name: str) -> Iterator[BinaryIO]:
    """Open a file to read; raises ImageNotFound for what is none, without waiting for it."""
    try:
        with open(name, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageNotFound(f"{name}: not a regular file")
            yield file
    except IsADirectoryError:
        raise ImageNotFound(f"{name}: is a directory; name the photographs in it") from None
    except OSError as missing:
        raise ImageNotFound(f"{name}: {missing.strerror or missing}") from missing
    except ValueError as broken:  # a NUL in the name
        raise ImageNotFound(f"{name!r}: not a file name: {broken}") from broken


def _without_waiting(path: str, flags: int) -> int:
    # A named pipe without a writer would otherwise hold us forever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def image_of(pixels: NDArray[np.uint8], limits: Limits = DEFAULT_LIMITS) -> Image:
    """Take an array of pixels, (H, W, 3) RGB or (H, W) grey, uint8, as an Image.

    Raises
    ------
    ImageUnreadable
        For another shape or dtype.
    ImageTooLarge, ImageTooSmall
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3} or pixels.shape[2:] not in {(), (3,)}:
        raise ImageUnreadable(
            f"an array must be (H, W, 3) RGB or (H, W) grey, uint8; "
            f"this one is {pixels.shape} {pixels.dtype}"
        )
    _check_pixels(pixels.shape[1], pixels.shape[0], limits.max_pixels, limits, "image")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return Image(np.ascontiguousarray(pixels))


def decode(
    data: bytes,
    limits: Limits = DEFAULT_LIMITS,
    *,
    name: str = "image",
    long_side: int | None = None,
) -> Image:
    """Decode JPEG, PNG, WebP, GIF (its first picture), TIFF, BMP, AVIF, JPEG 2000 and PPM.

    Grey, CMYK, 16-bit and palette pictures become RGB; transparency is laid over white; the EXIF
    orientation is applied.

    Parameters
    ----------
    data
        The file's bytes.
    long_side
        A JPEG may be decoded at 1/2, 1/4 or 1/8 scale, which is faster, as long as its longer
        side keeps this many pixels. None decodes at full scale.

    Raises
    ------
    ImageUnreadable
        Empty, truncated, damaged, or no picture.
    ImageTooLarge, ImageTooSmall
        Before it is decoded.
    """
    _check_bytes(len(data), limits, name)
    if not data:
        raise ImageUnreadable(f"{name}: the file is empty")
    if data.startswith(_JPEG):
        image = _decode_jpeg(data, limits, name, long_side)
        if image is not None:
            return image
    return _decode_other(data, limits, name)


def _decode_jpeg(data: bytes, limits: Limits, name: str, long_side: int | None) -> Image | None:
    """Decode with libjpeg-turbo; None when the file is damaged or of a rare kind."""
    import simplejpeg  # noqa: PLC0415

    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space in {"CMYK", "YCCK"}:
            return None
        _check_pixels(width, height, 4 * limits.max_pixels, limits, name)
        wanted = max(long_side or 0, 1)
        factor = 1
        while factor < 8 and (
            (long_side and max(width, height) // (2 * factor) >= wanted)
            or (width // factor) * (height // factor) > limits.max_pixels
        ):
            factor *= 2
        pixels = simplejpeg.decode_jpeg(
            data,
            colorspace="RGB",
            min_height=-(-height // factor) if factor > 1 else 0,
            min_width=-(-width // factor) if factor > 1 else 0,
            strict=True,
        )
    except ValueError:
        return None
    # One pixel of a JPEG at 1/f scale is the mean of f x f, also where the last ones are cut.
    return _upright(pixels, _jpeg_orientation(data), float(factor), name)


def _jpeg_orientation(data: bytes) -> int:
    """Read the EXIF orientation among a JPEG's segments; 1 when there is none or it is damaged."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data.startswith(_EXIF, at + 4):
            return _tag_274(data[at + 4 + len(_EXIF) : at + 2 + length])
        at += 2 + length
    return 1


def _tag_274(block: bytes) -> int:
    """Find the orientation in the first directory of a TIFF block (TIFF 6.0, sec. 2)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4], "")
    if order:
        with contextlib.suppress(struct.error):  # cut short
            (start,) = struct.unpack_from(order + "I", block, 4)
            (count,) = struct.unpack_from(order + "H", block, start)
            for at in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind = struct.unpack_from(order + "HH", block, at)
                if tag == 274:
                    value = struct.unpack_from(order + ("I" if kind == 4 else "H"), block, at + 8)
                    return int(value[0])
    return 1


def _decode_other(data: bytes, limits: Limits, name: str) -> Image:
    import PIL.Image  # noqa: PLC0415

    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        _check_pixels(width, height, limits.max_pixels, limits, name)
    kinds = (*_KINDS, "AVIF") if data[4:12] in {b"ftypavif", b"ftypavis"} else _KINDS
    try:
        with _quiet():
            picture = PIL.Image.open(io.BytesIO(data), formats=kinds)
        with picture:
            _check_pixels(*picture.size, limits.max_pixels, limits, name)
            if picture.format == "TIFF":  # its tags are read, and remarked on, with the pixels
                with _quiet():
                    picture.load()
            pixels = _rgb(picture)
            # Asked last: Pillow turns a TIFF itself when it loads it, and says so here.
            return _upright(pixels, _orientation(picture), 1.0, name)
    except PIL.UnidentifiedImageError:
        raise ImageUnreadable(
            f"{name}: not a picture that can be read (JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF)"
        ) from None
    except PIL.Image.DecompressionBombError as bomb:
        raise ImageTooLarge(f"{name}: {bomb}") from None
    except (ImageTooLarge, ImageTooSmall):
        raise
    except MemoryError:
        raise ImageTooLarge(f"{name}: too large for this machine's memory") from None
    except Exception as broken:  # damaged files raise whatever the codec stumbles over
        raise ImageUnreadable(f"{name}: damaged or cut short: {broken}") from broken


def _rgb(picture: PIL.Image.Image) -> NDArray[np.uint8]:
    """Give any Pillow picture as (H, W, 3) uint8 RGB."""
    import PIL.Image  # noqa: PLC0415

    if picture.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(picture, np.float64), posinf=0, neginf=0)
        # 16-bit pictures fill 0..65535; wider ones say nothing of their range.
        top = 65535.0 if picture.mode.startswith("I;16") or values.max() > 255 else 255.0
        grey = np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", over.size, "white")
        picture = PIL.Image.alpha_composite(white, over)
    return np.array(picture.convert("RGB"), np.uint8)


_QUIET = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what Pillow remarks on sizes and damaged tags: it is judged here."""
    # Filters of warnings belong to the process, so one thread at a time, and only for headers.
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _orientation(picture: PIL.Image.Image) -> int:
    try:
        with _quiet():
            return int(picture.getexif().get(274, 1))
    except Exception:  # noqa: BLE001 - a damaged EXIF block must not cost the photograph
        return 1


def _upright(pixels: NDArray[np.uint8], orientation: int, reduction: float, name: str) -> Image:
    turn = _TURN.get(orientation)
    upright = np.ascontiguousarray(turn(pixels)) if turn else pixels
    return Image(upright, reduction, name)


def _check_bytes(size: int, limits: Limits, name: str) -> None:
    if size > limits.max_bytes:
        raise ImageTooLarge(
            f"{name}: {size / 1e6:.0f} MB; at most {limits.max_bytes / 1e6:.0f} MB are read"
        )


def _check_pixels(width: int, height: int, most: int, limits: Limits, name: str) -> None:
    if width * height > most:
        raise ImageTooLarge(
            f"{name}: {width} x {height} pixels; at most {most / 1e6:.0f} million are decoded: "
            "make it smaller"
        )
    if min(width, height) < limits.min_side:
        raise ImageTooSmall(
            f"{name}: {width} x {height} pixels; a face needs at least "
            f"{limits.min_side} pixels on the shorter side"
        )


# Videos

_MOVING = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mjpeg"}
_MOVING |= {".mjpg", ".3gp", ".ogv", ".flv", ".wmv"}
_CONTAINERS = {
    b"\x1aE\xdf\xa3": 0,  # Matroska, WebM
    b"AVI ": 8,
    b"OggS": 0,
    b"FLV\x01": 0,
    b"\0\0\x01\xba": 0,  # MPEG programme stream
    b"\0\0\x01\xb3": 0,  # MPEG video
    b"0&\xb2u\x8ef\xcf\x11": 0,  # ASF
    b"moov": 4,
    b"mdat": 4,
    b"wide": 4,
}
"""Where each container says what it is. FFmpeg knows more, and some of it would fetch other files
and addresses that a stranger's file names: playlists, concatenations, session descriptions."""
_STILL = {b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"}
"""Brands of ISO files that hold pictures."""


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """How much of a video is read, and of what size.

    Attributes
    ----------
    max_bytes
        Of the file.
    max_seconds, max_frames
        Of the video. A longer one is refused, and not cut: nobody would know what was left out.
    max_pixels
        Of a frame.
    """

    max_bytes: int = 1024 * 1024 * 1024
    max_seconds: float = 60.0
    max_frames: int = 20_000
    max_pixels: int = 36_000_000


DEFAULT_VIDEO = VideoLimits()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture of a video, and how many seconds after its beginning it was taken."""

    image: Image
    seconds: float


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell from its first bytes or its name whether a file is, or means to be, a video.

    Raises
    ------
    ImageNotFound
        As ``read_bytes``.
    """
    with _regular(os.fspath(path)) as file:
        head = file.read(_HEAD)
    return _contained(head) or os.path.splitext(path)[1].lower() in _MOVING  # noqa: PTH122


def read_frames(
    path: str | os.PathLike[str], limits: VideoLimits = DEFAULT_VIDEO, every: float = 0.0
) -> Iterator[Frame]:
    """Decode a video frame by frame, upright, in the order they are shown.

    Parameters
    ----------
    every
        Give a frame only when so many seconds have passed since the last one; 0 gives all.

    Yields
    ------
    Frames whose seconds never go back: where the file's own do, the frame rate counts on.
    Frames may differ in size. A video that is cut short or damaged further on ends there.

    Raises
    ------
    ImageNotFound
        As ``read_bytes``; also for a camera or a pipe, which have no end.
    VideoUnreadable
        No container that is known, or not one frame of it can be decoded.
    VideoTooLong
        When a limit of ``limits`` on bytes, seconds or frames is passed.
    ImageTooLarge, ImageTooSmall
        For a frame, as for a picture.
    """
    name = os.fspath(path)
    _check_video(name, limits)
    shape = Limits(max_pixels=limits.max_pixels)
    last, due, given = -math.inf, -math.inf, 0
    for seconds, decoded in _decoded(name, limits, shape):
        last = seconds
        if seconds + _JITTER >= due:
            due = seconds + every
            pixels = decoded()
            if pixels is not None:
                given += 1
                _check_pixels(pixels.shape[1], pixels.shape[0], shape.max_pixels, shape, name)
                yield Frame(Image(pixels, source=f"{name} at {seconds:.2f} s"), seconds)
    if not given:
        why = "its frames" if last > -math.inf else "it"
        raise VideoUnreadable(f"{name}: {why} cannot be decoded: damaged, or of a rare kind")


_HEAD = 4 * 188
_JITTER = 1e-3
"""Of timestamps, in seconds."""


def _check_video(name: str, limits: VideoLimits) -> None:
    with _regular(name) as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(_HEAD)
    if size > limits.max_bytes:
        raise VideoTooLong(
            f"{name}: {size / 1e6:.0f} MB; at most {limits.max_bytes / 1e6:.0f} MB are read"
        )
    # Raw MJPEG begins as one picture does, so there its name must say it.
    moving = head.startswith(_JPEG) and name.lower().endswith((".mjpeg", ".mjpg"))
    if not moving and not _contained(head):
        what = "is empty" if not size else "holds no video that can be read"
        raise VideoUnreadable(f"{name}: the file {what} (MP4, MOV, AVI, MKV, WebM, MPEG, MJPEG)")


def _contained(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in _STILL
    stream = len(head) == _HEAD and all(head[at] == 0x47 for at in range(0, _HEAD, 188))
    return stream or any(head.startswith(word, at) for word, at in _CONTAINERS.items())


def _decoded(
    name: str, limits: VideoLimits, shape: Limits
) -> Iterator[tuple[float, Callable[[], NDArray[np.uint8] | None]]]:
    """Give the time of every frame and what decodes it; a frame not wanted costs less."""
    import cv2  # noqa: PLC0415 - pictures do without

    # An absolute path, or FFmpeg would take what looks like an address for one.
    video = cv2.VideoCapture(os.path.abspath(name), cv2.CAP_FFMPEG)  # noqa: PTH100
    try:
        if not video.isOpened():
            return
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        size = (video.get(each) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        wide, high = (int(each) if math.isfinite(each) else 0 for each in size)
        _check_pixels(wide, high, shape.max_pixels, shape, name)
        rate = video.get(cv2.CAP_PROP_FPS)
        step = 1 / rate if 0.1 <= rate <= 1000 else 0.04

        def decode() -> NDArray[np.uint8] | None:
            right, pixels = video.retrieve()
            return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)) if right else None

        seconds, number = -step, 0
        while video.grab():
            number += 1
            told = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = told if told > seconds and math.isfinite(told) else seconds + step
            if number > limits.max_frames or seconds > limits.max_seconds:
                raise VideoTooLong(
                    f"{name}: longer than {limits.max_seconds:g} seconds or "
                    f"{limits.max_frames} frames: cut it to what shows the face"
                )
            yield seconds, decode
    except cv2.error as broken:
        raise VideoUnreadable(f"{name}: cannot be decoded: {broken.err}") from broken
    finally:
        video.release()
