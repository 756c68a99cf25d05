"""A folder a person, in a fixed order: photographs, and what is none, with the reason."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.errors import ProtocolRefused
from visavis.evaluate.listing import PICTURES

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in the folder: a photograph, or what is ignored, with the reason."""

    person: str
    source: str
    ignored: str = ""


def entries(images: Path) -> Iterator[Entry]:
    """Give everything in the folder in a fixed order, a person at a time."""
    for name in _names(images):
        place = images / name
        if not place.is_dir():
            what = "a picture" if _is_picture(place) else "no picture, and"
            yield Entry("", name, f"{what} beside the folders of people")
            continue
        try:
            inside = _names(place)
        except OSError as fault:
            yield Entry(name, name, f"the folder cannot be read: {fault.strerror}")
            continue
        if not inside:
            yield Entry(name, name, "the folder is empty")
        for each in inside:
            yield Entry(name, f"{name}/{each}", _why_not(place / each))


def _why_not(path: Path) -> str:
    """Say why something in a person's folder is no photograph of theirs; empty when it is."""
    if path.is_dir():
        files = (Path(at, name) for at, _, names in os.walk(path) for name in names)
        deeper = sum(_is_picture(file) for file in files)
        return f"a folder inside a person's folder, with {deeper} picture(s) below it"
    return "" if _is_picture(path) else "no picture"


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()


def survey(images: Path) -> tuple[int, str]:
    """Count the folder's entries; with a hash over their names, sizes and times."""
    total, photographs, mark = 0, 0, hashlib.sha256()
    hint = ""
    try:
        for entry in entries(images):
            total += 1
            photographs += not entry.ignored
            if entry.ignored and "picture" in entry.ignored and not hint.startswith("such"):
                hint = f"{entry.source} is {entry.ignored}"
            at = (images / entry.source).stat() if not entry.ignored else None
            size = (at.st_size, at.st_mtime_ns) if at else ()
            mark.update(repr((os.fsencode(entry.source), entry.ignored, size)).encode())
    except OSError as fault:
        raise ProtocolRefused(f"{images}: {fault.strerror or fault}") from fault
    if not photographs:
        raise ProtocolRefused(
            f"{images}: it should hold a folder for each person with their photographs inside, "
            f"but there is none{f' ({hint})' if hint else ''}"
        )
    return total, mark.hexdigest()
