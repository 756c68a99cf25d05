"""Videos to frames: in order, upright, bounded, and a refusal for what is none."""

from __future__ import annotations

import itertools
import os
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np
import PIL.Image
import pytest

from visavis.errors import (
    ImageNotFound,
    ImageTooLarge,
    ImageTooSmall,
    VideoTooLong,
    VideoUnreadable,
)
from visavis.image import VideoLimits, is_video, read_frames

if TYPE_CHECKING:
    from pathlib import Path

CODECS = {"avi": "MJPG", "mp4": "mp4v", "mkv": "MJPG", "mov": "mp4v"}


def written(path: Path, frames: list[np.ndarray], rate: float = 10.0) -> Path:
    """Write RGB frames as a video of the kind that the name says."""
    height, width = frames[0].shape[:2]
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix[1:]])
    video = cv2.VideoWriter(str(path), codec, rate, (width, height))
    assert video.isOpened()
    for frame in frames:
        video.write(np.ascontiguousarray(frame[:, :, ::-1]))
    video.release()
    return path


def ramp(number: int = 20, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frame i has a left half of 10 i grey levels and a red right half: time and colour show."""
    frames = []
    for i in range(number):
        frame = np.empty((height, width, 3), np.uint8)
        frame[:, : width // 2] = 10 * i
        frame[:, width // 2 :] = (200, 30, 30)
        frames.append(frame)
    return frames


def grey(frame: np.ndarray) -> float:
    return float(frame[8:-8, 8 : frame.shape[1] // 2 - 8].mean())


@pytest.mark.parametrize("kind", CODECS)
def test_every_frame_in_order_with_its_time_and_colour(tmp_path, kind):
    path = written(tmp_path / f"clip.{kind}", ramp())
    assert is_video(path)
    frames = list(read_frames(path))
    assert [f.seconds for f in frames] == pytest.approx([i / 10 for i in range(20)], abs=2e-3)
    for i, frame in enumerate(frames):
        assert frame.image.pixels.shape == (48, 64, 3)
        assert frame.image.pixels.dtype == np.uint8
        assert grey(frame.image.pixels) == pytest.approx(10 * i, abs=6)
        red, green, _ = frame.image.pixels[8:-8, 40:-8].mean((0, 1))
        assert red > 150
        assert green < 80
    assert frames[3].image.source == f"{path} at 0.30 s"


def test_some_frames_are_enough(tmp_path):
    path = written(tmp_path / "clip.avi", ramp())
    some = list(read_frames(path, every=0.5))
    assert [f.seconds for f in some] == pytest.approx([0, 0.5, 1, 1.5])
    assert [grey(f.image.pixels) for f in some] == pytest.approx([0, 50, 100, 150], abs=6)


def test_reading_stops_when_nobody_asks_for_more(tmp_path):
    frames = read_frames(written(tmp_path / "clip.mp4", ramp()))
    assert grey(next(frames).image.pixels) == pytest.approx(0, abs=6)
    frames.close()
    with pytest.raises(StopIteration):
        next(frames)


# What has no end, or is too much


@pytest.mark.parametrize(
    ("limits", "read"),
    [(VideoLimits(max_seconds=1.0), 11), (VideoLimits(max_frames=7), 7)],
)
def test_a_video_longer_than_the_limit_is_refused_and_not_cut(tmp_path, limits, read):
    path = written(tmp_path / "clip.avi", ramp())
    seen = []
    with pytest.raises(VideoTooLong, match="cut it to"):
        seen.extend(read_frames(path, limits))  # extend keeps what came before the refusal
    assert len(seen) == read


def test_a_file_too_large_is_not_even_opened(tmp_path, monkeypatch):
    path = written(tmp_path / "clip.avi", ramp())
    monkeypatch.setattr(cv2, "VideoCapture", None)
    with pytest.raises(VideoTooLong, match="MB"):
        list(read_frames(path, VideoLimits(max_bytes=100)))


def test_frames_too_large_are_refused_before_they_are_decoded(tmp_path):
    path = written(tmp_path / "clip.avi", ramp())
    with pytest.raises(ImageTooLarge, match="64 x 48"):
        list(read_frames(path, VideoLimits(max_pixels=3000)))


def test_frames_too_small_for_a_face(tmp_path):
    path = written(tmp_path / "clip.avi", ramp(height=8, width=64))
    with pytest.raises(ImageTooSmall):
        list(read_frames(path))


@pytest.mark.parametrize("make", [os.mkfifo, None], ids=["pipe", "device"])
def test_a_stream_without_an_end_is_refused_without_waiting(tmp_path, make):
    path = tmp_path / "endless.mp4" if make else "/dev/zero"
    if make:
        make(path)
    for ask in (is_video, lambda p: list(read_frames(p))):
        with pytest.raises(ImageNotFound, match="not a regular file"):
            ask(path)


# What cannot be decoded


def test_what_is_no_video(tmp_path):
    written(tmp_path / "good.mp4", ramp())
    whole = (tmp_path / "good.mp4").read_bytes()
    damaged = {
        "empty.mp4": b"",
        "text.mp4": b"this is no video at all, whatever its name says\n" * 10,
        "cut.mp4": whole[: len(whole) // 2],  # its index stands at the end
        "junk.avi": b"RIFF\0\0\0\0AVI LIST" + bytes(range(256)) * 20,
        "zero.mkv": b"\x1aE\xdf\xa3" + bytes(5000),
    }
    for name, data in damaged.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert is_video(path), name
        with pytest.raises(VideoUnreadable, match=name):
            list(read_frames(path))
    with pytest.raises(ImageNotFound):
        list(read_frames(tmp_path / "none.mp4"))
    with pytest.raises(ImageNotFound):
        is_video(tmp_path / "none.mp4")


def test_a_video_cut_short_ends_there(tmp_path):
    path = written(tmp_path / "clip.mkv", ramp())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    frames = list(read_frames(path))
    assert 3 < len(frames) < 20
    assert grey(frames[2].image.pixels) == pytest.approx(20, abs=6)


def test_a_list_of_other_files_is_not_followed(tmp_path):
    """FFmpeg would open what a playlist or a concatenation names, and so anything at all."""
    secret = written(tmp_path / "secret.avi", ramp())
    lists = {
        "a.mp4": f"ffconcat version 1.0\nfile {secret.name}\n",
        "b.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret.name}\n",
        "c.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(VideoUnreadable, match="no video"):
            list(read_frames(tmp_path / name))


def test_an_address_is_a_file_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageNotFound):
        list(read_frames("http://127.0.0.1:1/clip.mp4"))


def test_a_picture_is_no_video(tmp_path):
    for kind in ("jpg", "png", "gif", "webp", "avif"):
        path = tmp_path / f"picture.{kind}"
        PIL.Image.fromarray(ramp()[5]).save(path)
        assert not is_video(path), kind


# Odd times and sizes


def test_times_that_go_back_are_counted_on(tmp_path, monkeypatch):
    """A file may claim any time; who measures motion needs one that only goes on."""
    path = written(tmp_path / "clip.avi", ramp())
    real = cv2.VideoCapture
    claimed = iter([0.0, 100, 200, 50, float("nan"), -1e9, 600] + [700.0] * 20)

    class Odd:
        def __init__(self, *arguments: object) -> None:
            self._video = real(*arguments)

        def get(self, what: int) -> float:
            return next(claimed) if what == cv2.CAP_PROP_POS_MSEC else self._video.get(what)

        def __getattr__(self, name: str) -> object:
            return getattr(self._video, name)

    monkeypatch.setattr(cv2, "VideoCapture", Odd)
    seconds = [f.seconds for f in read_frames(path)]
    assert seconds[:8] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert len(seconds) == 20
    assert all(b > a for a, b in itertools.pairwise(seconds))


def raw_mjpeg(path: Path, frames: list[np.ndarray]) -> Path:
    """JPEG after JPEG, as cheap cameras store it; each may have a size of its own."""
    parts = [cv2.imencode(".jpg", frame[:, :, ::-1])[1].tobytes() for frame in frames]
    path.write_bytes(b"".join(parts))
    return path


def test_frames_of_changing_size(tmp_path):
    small, large = ramp(4), ramp(4, 96, 128)
    path = raw_mjpeg(tmp_path / "clip.mjpeg", small + large)
    assert is_video(path)
    frames = list(read_frames(path))
    assert len(frames) >= 7
    assert all(f.image.pixels.ndim == 3 and f.image.pixels.shape[2] == 3 for f in frames)
    assert grey(frames[3].image.pixels) == pytest.approx(30, abs=6)


def test_a_phone_held_upright(tmp_path):
    """MP4 stores the turn as a matrix in the track's header."""
    path = written(tmp_path / "clip.mp4", ramp())
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd")
    # Version 0: 4 + 4 flags, 8 times, 4 track, 4, 4 duration, 8, 2, 2, 2, 2, then the matrix.
    at = header + 4 + 4 + 8 + 4 + 4 + 4 + 8 + 8
    assert struct.unpack_from(">i", data, at)[0] == 0x10000
    quarter = (0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
    struct.pack_into(">9i", data, at, *quarter)
    path.write_bytes(data)
    frame = next(read_frames(path)).image.pixels
    assert frame.shape == (64, 48, 3)
    assert frame[40:-8, 8:-8, 0].mean() > 150  # what was on the right is now below
    assert frame[8:24, 8:-8].mean() < 10
