"""Anything a user may hand in becomes an upright RGB picture or a refusal that says why."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageCms, features

from visavis.errors import (
    ImageNotFound,
    ImageRefused,
    ImageTooLarge,
    ImageTooSmall,
    ImageUnreadable,
)
from visavis.image import Limits, decode, digest_of, image_of, open_image, read_bytes

RED, GREEN, BLUE, WHITE = (220, 30, 40), (30, 190, 60), (40, 50, 210), (250, 250, 250)


def quarters(height: int = 64, width: int = 96) -> np.ndarray:
    """Red and green above blue and white: no turn or mirror of it looks like another."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = RED
    picture[: height // 2, width // 2 :] = GREEN
    picture[height // 2 :, : width // 2] = BLUE
    picture[height // 2 :, width // 2 :] = WHITE
    return picture


def encoded(picture: np.ndarray | PIL.Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    if isinstance(picture, np.ndarray):
        picture = PIL.Image.fromarray(picture)
    picture.save(file, kind, **options)
    return file.getvalue()


def far(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def centres(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, as ``quarters`` lays them."""
    h, w = pixels.shape[:2]
    places = [
        (h // 4, w // 4),
        (h // 4, 3 * w // 4),
        (3 * h // 4, w // 4),
        (3 * h // 4, 3 * w // 4),
    ]
    return [tuple(map(int, pixels[place])) for place in places]


# What can be read


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG2000"])
def test_lossless_kinds_come_out_exactly(kind):
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    image = decode(encoded(quarters(), kind, **options))
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous
    assert np.array_equal(image.pixels, quarters())
    assert (image.height, image.width, image.reduction) == (64, 96, 1.0)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"keep_rgb": True}])
def test_jpeg_comes_out_as_pillow_reads_it(options):
    data = encoded(quarters(), "JPEG", quality=95, subsampling=0, **options)
    pillow = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
    assert far(decode(data).pixels, pillow) < 0.5
    assert far(decode(data).pixels, quarters()) < 3


def test_grey_becomes_three_equal_planes():
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (32, 1))
    for data in (encoded(grey, "PNG"), encoded(grey, "JPEG", quality=100), encoded(grey, "TIFF")):
        pixels = decode(data).pixels
        assert pixels.shape == (32, 64, 3)
        assert np.array_equal(pixels[..., 0], pixels[..., 1])
        assert np.array_equal(pixels[..., 0], pixels[..., 2])
        assert far(pixels[..., 0], grey) < 1


def test_one_bit_pictures_are_black_and_white():
    bits = PIL.Image.fromarray(np.eye(32, dtype=bool))
    pixels = decode(encoded(bits, "PNG")).pixels
    assert np.array_equal(pixels[..., 1], np.eye(32, dtype=np.uint8) * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_fills_the_range(kind):
    deep = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (32, 1))
    pixels = decode(encoded(deep, kind)).pixels
    assert int(pixels.min()) == 0
    assert int(pixels.max()) == 255
    assert np.abs(pixels[0, :, 0].astype(float) - deep[0] / 257).max() <= 1


def test_sixteen_bit_colour_png():
    rows = b""
    for row in quarters():
        rows += b"\0" + (row.astype(">u2") * 257).tobytes()
    data = png(
        [(b"IHDR", struct.pack(">IIBBBBB", 96, 64, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    )
    assert np.array_equal(decode(data).pixels, quarters())


def test_a_float_tiff_with_gaps_is_read():
    values = np.full((32, 32), 128, np.float32)
    values[:4] = np.nan
    values[4:8] = np.inf
    pixels = decode(encoded(PIL.Image.fromarray(values), "TIFF")).pixels
    assert pixels[20, 20].tolist() == [128] * 3
    assert pixels[0, 0].tolist() == [0] * 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_over_white(kind):
    picture = np.dstack([quarters(), np.full((64, 96), 255, np.uint8)])
    picture[:32, :48, 3] = 0
    picture[:32, 48:, 3] = 128
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pixels = decode(encoded(PIL.Image.fromarray(picture, "RGBA"), kind, **options)).pixels
    assert pixels[10, 10].tolist() == [255] * 3
    half = [round(c * 128 / 255 + 255 * 127 / 255) for c in GREEN]
    assert np.abs(pixels[10, 80].astype(int) - half).max() <= 1
    assert tuple(pixels[50, 10]) == BLUE


def test_a_transparent_grey_png_and_one_transparent_colour():
    grey = PIL.Image.fromarray(np.zeros((32, 32, 2), np.uint8), "LA")
    assert decode(encoded(grey, "PNG")).pixels.min() == 255
    keyed = encoded(quarters(), "PNG", transparency=RED)
    assert centres(decode(keyed).pixels) == [(255, 255, 255), GREEN, BLUE, WHITE]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff\xff"])
def test_a_palette_with_transparency(transparency):
    picture = PIL.Image.new("P", (96, 64))
    picture.putpalette([*RED, *GREEN, *BLUE, *WHITE])
    for index, corner in enumerate([(0, 0), (48, 0), (0, 32), (48, 32)]):
        picture.paste(index, (*corner, corner[0] + 48, corner[1] + 32))
    data = encoded(picture, "PNG", transparency=transparency)
    assert centres(decode(data).pixels) == [RED, (255, 255, 255), BLUE, WHITE]


def test_an_animation_gives_its_first_picture():
    frames = [PIL.Image.fromarray(np.full((32, 48, 3), c, np.uint8)) for c in (RED, GREEN, BLUE)]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(data).pixels[16, 24].tolist() == list(RED), kind


def test_cmyk_as_adobe_inverts_it():
    """Pillow writes an Adobe marker and inverted inks; white paper must come out white."""
    cmyk = PIL.Image.fromarray(quarters()).convert("CMYK")
    data = encoded(cmyk, "JPEG", quality=100)
    assert b"Adobe" in data
    pillow = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
    assert far(decode(data).pixels, pillow) < 1
    for seen, colour in zip(centres(decode(data).pixels), [RED, GREEN, BLUE, WHITE], strict=True):
        assert np.abs(np.subtract(seen, colour)).max() <= 4


def test_cmyk_tiff():
    cmyk = PIL.Image.fromarray(quarters()).convert("CMYK")
    assert far(decode(encoded(cmyk, "TIFF")).pixels, quarters()) < 2


def test_ycck_as_photoshop_writes_it():
    """The same four planes with the first three as YCbCr: known by the Adobe marker's last byte."""
    pure = encoded(PIL.Image.new("CMYK", (64, 48), (0, 0, 0, 0)), "JPEG", quality=100)
    adobe = pure.index(b"Adobe")
    ycck = pure[: adobe + 11] + b"\x02" + pure[adobe + 12 :]
    pillow = np.asarray(PIL.Image.open(io.BytesIO(ycck)).convert("RGB"))
    assert far(decode(ycck).pixels, pillow) < 1


def test_a_colour_profile_does_no_harm():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(quarters(), "JPEG", quality=95, icc_profile=profile * 40)
    assert far(decode(data).pixels, quarters()) < 4


def test_the_name_of_a_file_says_nothing(tmp_path):
    path = tmp_path / "face.jpg"
    path.write_bytes(encoded(quarters(), "PNG"))
    assert np.array_equal(open_image(path).pixels, quarters())
    assert open_image(path).source == str(path)


# EXIF orientation

SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
"""CIPA DC-008, tag 274: which side of the upright picture the file's first row and column are."""


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    row, column = SIDES[orientation]
    if row in {"left", "right"}:
        upright = upright.transpose(1, 0, 2)
    if row in {"bottom", "right"}:
        upright = upright[::-1]
    if column in {"bottom", "right"}:
        upright = upright[:, ::-1]
    return np.ascontiguousarray(upright)


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """A minimal EXIF block with another tag before the orientation."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *([orientation, 0][: 5 - kind]))
    entries = struct.pack(order + "HHIHH", 0x0103, 3, 1, 6, 0)
    entries += struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 2) + entries + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", SIDES)
def test_every_orientation_comes_out_upright(kind, orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(as_stored(quarters(), orientation), kind, exif=tags, **options)
    upright = decode(data).pixels
    assert far(upright, quarters()) < (3 if kind == "JPEG" else 0.001)
    assert upright.flags.c_contiguous


@pytest.mark.parametrize(
    ("kind", "options"),
    [("TIFF", {"compression": "tiff_lzw"}), ("AVIF", {"quality": 95, "subsampling": "4:4:4"})],
)
@pytest.mark.parametrize("orientation", SIDES)
def test_orientation_where_pillow_turns_some_itself(kind, options, orientation):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    data = encoded(as_stored(quarters(), orientation), kind, exif=tags, **options)
    assert far(decode(data).pixels, quarters()) < 3


@pytest.mark.parametrize("orientation", SIDES)
def test_orientation_after_the_pixels_of_a_png(orientation):
    plain = encoded(as_stored(quarters(), orientation), "PNG")
    block = exif(orientation)[6:]
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + block))
    assert np.array_equal(decode(plain[:-12] + chunk + plain[-12:]).pixels, quarters())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_in_either_byte_order_and_as_short_or_long(order, kind):
    stored = as_stored(quarters(), 6)
    data = encoded(stored, "JPEG", quality=95, exif=exif(6, order, kind))
    assert far(decode(data).pixels, quarters()) < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    data = encoded(quarters(), "JPEG", quality=95, exif=exif(orientation))
    assert far(decode(data).pixels, quarters()) < 4


def test_orientation_behind_other_segments():
    """Some programs put a colour profile or notes of more than 64 KB before the EXIF block."""
    plain = encoded(as_stored(quarters(), 6), "JPEG", quality=95)
    notes = b"".join(b"\xff\xe5" + struct.pack(">H", 60002) + bytes(60000) for _ in range(3))
    block = exif(6)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    data = plain[:2] + notes + segment + plain[2:]
    assert far(decode(data).pixels, quarters()) < 4


@pytest.mark.parametrize("cut", range(6, 44, 3))
def test_a_damaged_exif_block_does_not_cost_the_photograph(cut):
    data = encoded(quarters(), "JPEG", quality=95, exif=exif(6)[:cut] + b"\xff" * 8)
    assert sorted(decode(data).pixels.shape) == [3, 64, 96]


def test_a_reduced_picture_is_upright_too():
    big = np.kron(quarters(), np.ones((8, 8, 1), np.uint8))
    data = encoded(as_stored(big, 8), "JPEG", quality=95, exif=exif(8))
    image = decode(data, long_side=96)
    assert image.reduction == 8
    assert far(image.pixels, quarters()) < 4


def test_pillow_has_no_say_in_how_large_a_jpeg_may_be(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    data = encoded(as_stored(quarters(), 6), "JPEG", quality=95, exif=exif(6))
    assert far(decode(data).pixels, quarters()) < 4


def test_a_broken_list_of_further_pictures_is_no_matter():
    """Phones append depth maps; messengers cut them off and leave the list (CIPA DC-007)."""
    frames = [PIL.Image.fromarray(as_stored(quarters(), 6)) for _ in range(2)]
    data = encoded(
        frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95, exif=exif(6)
    )
    at = data.index(b"MPF\0")
    cut = data[: at + 8] + b"\xff" * 24 + data[at + 32 :]
    for mpo in (data, cut):
        assert far(decode(mpo).pixels, quarters()) < 4


# What is refused


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in [*chunks, (b"IEND", b"")]:
        data += struct.pack(">I", len(body)) + name + body
        data += struct.pack(">I", zlib.crc32(name + body))
    return data


def huge_jpeg(side: int) -> bytes:
    data = encoded(quarters(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def huge_png(side: int) -> bytes:
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return png([(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000)))])


def huge_gif(side: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + frame


def huge_bmp(side: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + bytes(1000)


def huge_tiff(side: int) -> bytes:
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side)]
    tags.append((279, side))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(1000)


def huge_webp(side: int) -> bytes:
    bits = (side - 1) | (side - 1) << 14
    chunk = b"VP8L" + struct.pack("<I", 1005) + b"\x2f" + struct.pack("<I", bits) + bytes(1001)
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (huge_jpeg, 30_000),
        (huge_png, 30_000),
        (huge_png, 2**31 - 1),
        (huge_gif, 30_000),
        (huge_gif, 10_500),
        (huge_bmp, 30_000),
        (huge_tiff, 30_000),
        (huge_webp, 16_384),
        (huge_webp, 10_500),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(make, side):
    """The headers say gigabytes; the files are a kilobyte. 10,500 is where Pillow only warns."""
    data = make(side)
    assert len(data) < 4000
    most, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ImageTooLarge, match=r"x|pixels"):
        decode(data)
    assert time.perf_counter() - began < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 40_000  # KB


def test_a_large_jpeg_is_decoded_at_half_scale_before_it_is_refused():
    data = encoded(quarters(), "JPEG", quality=95)  # 6,144 pixels
    assert decode(data, Limits(max_pixels=6144)).reduction == 1
    assert decode(data, Limits(max_pixels=6143)).reduction == 2
    assert decode(data, Limits(max_pixels=1536)).reduction == 2
    with pytest.raises(ImageTooLarge, match="96 x 64"):
        decode(data, Limits(max_pixels=1535))


def test_what_cannot_be_decoded_at_half_scale_is_refused():
    with pytest.raises(ImageTooLarge):
        decode(encoded(quarters(), "PNG"), Limits(max_pixels=6143))
    cmyk = encoded(PIL.Image.new("CMYK", (96, 64)), "JPEG")
    with pytest.raises(ImageTooLarge):
        decode(cmyk, Limits(max_pixels=6143))


def test_too_many_bytes(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(encoded(quarters(), "PNG"))
    limits = Limits(max_bytes=path.stat().st_size - 1)
    for source in (path, path.read_bytes()):
        with pytest.raises(ImageTooLarge, match="MB"):
            open_image(source, limits)
    assert open_image(path, Limits(max_bytes=path.stat().st_size)).width == 96


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_too_few_pixels(kind, size):
    with pytest.raises(ImageTooSmall, match=f"{size[0]} x {size[1]}"):
        decode(encoded(PIL.Image.new("RGB", size), kind))


def test_sixteen_pixels_are_enough():
    assert decode(encoded(PIL.Image.new("RGB", (16, 16)), "JPEG")).width == 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(ImageUnreadable):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
        b"BM",
        b"hello, this is a letter\n" * 50,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"PK\x03\x04" + bytes(100),
        bytes(5000),
    ],
)
def test_what_is_no_picture(data, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageUnreadable, match="holiday"):
        open_image(path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(ImageUnreadable, match="empty"):
        open_image(path)


def test_no_program_is_started_for_a_picture(monkeypatch):
    """Pillow hands EPS to Ghostscript, which has run attackers' PostScript before."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(ImageUnreadable, match="not a picture"):
        decode(eps)


# Where it comes from


@pytest.mark.parametrize(
    "name",
    [
        "முகம்.png",
        "with space and 'quotes' and \"more\".png",
        "two\nlines.png",
        "-rf.png",
        os.fsdecode(b"caf\xe9.png"),
        "x" * 250 + ".png",
    ],
)
def test_names_of_all_kinds(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(ImageNotFound, match="No such file"):
        open_image(path)
    path.write_bytes(encoded(quarters(), "PNG"))
    assert np.array_equal(open_image(path).pixels, quarters())
    assert np.array_equal(open_image(str(path)).pixels, quarters())


@pytest.mark.parametrize("name", ["", "no\0name.jpg", "no/such/folder.jpg", "x" * 5000])
def test_names_that_lead_nowhere(name):
    with pytest.raises(ImageNotFound):
        open_image(name)


def test_a_directory(tmp_path):
    with pytest.raises(ImageNotFound, match="directory"):
        open_image(tmp_path)


def test_a_pipe_without_a_writer_does_not_hold_us(tmp_path):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    began = time.perf_counter()
    with pytest.raises(ImageNotFound, match="regular"):
        open_image(path)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device(device):
    with pytest.raises(ImageNotFound, match="regular"):
        open_image(device)


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(quarters(), "PNG"))
    path.chmod(0)
    root = os.geteuid() == 0
    if root:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(ImageNotFound, match="ermission"):
            open_image(path)
    finally:
        if root:
            os.seteuid(0)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.png").write_bytes(encoded(quarters(), "PNG"))
    (tmp_path / "link").symlink_to("real.png")
    (tmp_path / "loop").symlink_to("loop")
    assert open_image(tmp_path / "link").width == 96
    with pytest.raises(ImageNotFound):
        open_image(tmp_path / "loop")


def test_bytes_pass_through():
    data = encoded(quarters(), "PNG")
    assert read_bytes(data) is data
    assert np.array_equal(open_image(data).pixels, quarters())


# Arrays


def test_an_array_is_taken_as_it_is():
    assert np.array_equal(image_of(quarters()).pixels, quarters())
    grey = quarters()[..., 0]
    assert np.array_equal(open_image(grey).pixels, np.dstack([grey] * 3))
    mirrored = image_of(quarters()[:, ::-1]).pixels
    assert mirrored.flags.c_contiguous
    assert centres(mirrored) == [GREEN, RED, WHITE, BLUE]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 1), np.uint8),
        np.zeros((3, 64, 64), np.uint8),
        np.zeros((1, 64, 64, 3), np.uint8),
        np.zeros(64, np.uint8),
        np.zeros((), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.int64),
        np.zeros((64, 64, 3), bool),
        np.array(["a.jpg", "b.jpg"]),
        np.array([None, None]),
    ],
)
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(ImageUnreadable, match=r"RGB or \(H, W\) grey"):
        open_image(array)


@pytest.mark.parametrize("shape", [(0, 0, 3), (15, 64, 3), (64, 15), (0, 64)])
def test_arrays_too_small(shape):
    with pytest.raises(ImageTooSmall):
        open_image(np.zeros(shape, np.uint8))


def test_an_array_too_large():
    wide = np.broadcast_to(np.uint8(0), (20_000, 20_000, 3))  # of one byte
    with pytest.raises(ImageTooLarge):
        open_image(wide)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], bytearray(b"x")])
def test_what_is_no_source_at_all_is_a_programming_error(source):
    with pytest.raises(TypeError):
        open_image(source)


def test_digests_tell_pictures_apart():
    data = encoded(quarters(), "PNG")
    square = np.zeros((20, 30, 3), np.uint8)
    some = [
        digest_of(x) for x in (data, data[:-1], square, square.transpose(1, 0, 2), square[..., 0])
    ]
    assert len(set(some)) == 5
    assert digest_of(square) == digest_of(np.asfortranarray(square))


# Reduced decoding


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(16, 1100),
    height=st.integers(16, 1100),
    long_side=st.integers(1, 1200),
)
def test_reduction_never_goes_below_the_wanted_side(width, height, long_side):
    flat = np.full((height, width, 3), 90, np.uint8)
    image = decode(simplejpeg.encode_jpeg(flat), long_side=long_side)
    factor = round(image.reduction)
    assert factor in {1, 2, 4, 8}
    assert (image.width, image.height) == (-(-width // factor), -(-height // factor))
    assert image.reduction == pytest.approx(factor, rel=8 / max(width, height))
    assert max(image.width, image.height) >= min(long_side, max(width, height))
    if factor < 8:  # and it goes as low as it may
        assert max(width, height) // (2 * factor) < long_side


def test_a_reduced_picture_shows_the_same(photographs):
    data = photographs["biden.jpg"].read_bytes()
    full, quarter = decode(data), decode(data, long_side=500)
    assert quarter.reduction == pytest.approx(4, abs=0.01)
    h, w = full.height // 4 * 4, full.width // 4 * 4
    mean = full.pixels[:h, :w].reshape(h // 4, 4, w // 4, 4, 3).mean((1, 3))
    assert np.abs(mean - quarter.pixels[: h // 4, : w // 4]).mean() < 2


def test_only_jpeg_is_reduced():
    data = encoded(np.zeros((400, 400, 3), np.uint8), "PNG")
    assert decode(data, long_side=50).reduction == 1


# And quietly


def test_nothing_is_printed(capfd, photographs):
    for data in (
        huge_png(30_000),
        huge_gif(10_500),
        b"nothing",
        b"\xff\xd8\xff",
        huge_tiff(30_000),
    ):
        with pytest.raises(ImageRefused):
            decode(data)
    for path in photographs.values():
        open_image(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("make", [huge_gif, huge_webp, huge_bmp, huge_tiff])
def test_pillows_warnings_do_not_reach_the_user(make, recwarn):
    with pytest.raises(ImageTooLarge):
        decode(make(10_500))
    assert not recwarn.list


def test_a_picture_that_pillow_remarks_on_is_still_read(monkeypatch, recwarn):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 4000)  # it warns of quarters() now
    assert np.array_equal(decode(encoded(quarters(), "PNG")).pixels, quarters())
    assert not recwarn.list


def test_the_photographs_are_what_they_are(photographs):
    """Known by another reader: Pillow's own, upright."""
    for path in map(Path, photographs.values()):
        pillow = np.asarray(PIL.Image.open(path).convert("RGB"))
        assert far(open_image(path).pixels, pillow) < 1, path.name
