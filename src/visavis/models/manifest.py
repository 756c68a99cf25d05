"""What a network is: its file, digest, licence, origin and preprocessing, in one TOML file."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from visavis.errors import ModelRefused
from visavis.values import EncoderId

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TEXTS = ("name", "file", "sha256", "licence", "origin", "training_data", "url")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Kind(StrEnum):
    """What a network does."""

    DETECTOR = "detector"
    ENCODER = "encoder"


class Channels(StrEnum):
    """The order of the colour planes a network wants."""

    RGB = "RGB"
    BGR = "BGR"


class Precision(StrEnum):
    """The arithmetic an encoder runs in; it changes the vectors, so it is part of their id."""

    INT8 = "int8"
    FP32 = "fp32"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels in 0..255 become the network's input: ``(pixel - mean) / scale``."""

    channels: Channels = Channels.RGB
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    alignment: str = "arcface-112"


@dataclass(frozen=True, slots=True)
class Carrier:
    """An installed Python distribution that carries the weights; nothing of it is imported."""

    distribution: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One network.

    Attributes
    ----------
    name
        What the user calls it: lower-case letters, digits, ``.``, ``_`` and ``-``.
    sha256, size
        Of the weights file, in hexadecimal and in bytes.
    licence, origin, training_data
        For people: under which terms, from whom, learnt from what.
    url
        Where ``visavis models pull`` fetches the very file, or empty.
    """

    name: str
    kind: Kind
    file: str
    sha256: str
    size: int
    licence: str
    origin: str
    training_data: str = "not stated"
    url: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    carrier: Carrier | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be a manifest, naming the field."""
        for key in _TEXTS:
            if not isinstance(getattr(self, key), str):
                raise ModelRefused(f"manifest: {key} must be a text")
        if self.carrier and not all(isinstance(v, str) for v in asdict(self.carrier).values()):
            raise ModelRefused("manifest: a carrier's distribution, version and path are texts")
        if not _NAME.fullmatch(self.name):
            raise ModelRefused(
                f"manifest: name {self.name!r} must be lower-case letters, digits, '.', '_', '-'"
            )
        if not _SHA256.fullmatch(self.sha256):
            raise ModelRefused(f"manifest of {self.name}: sha256 must be 64 hexadecimal digits")
        if any(part in self.file for part in ("/", "\\", "\0")) or self.file in {"", ".", ".."}:
            raise ModelRefused(f"manifest of {self.name}: file must be a bare file name")
        if not isinstance(self.size, int) or self.size < 0:
            raise ModelRefused(f"manifest of {self.name}: size must be a number of bytes")
        if len(self.preprocessing.mean) != 3 or len(self.preprocessing.scale) != 3:
            raise ModelRefused(f"manifest of {self.name}: mean and scale take three numbers")
        if not all(s and math.isfinite(s) for s in self.preprocessing.scale):
            raise ModelRefused(f"manifest of {self.name}: scale must be finite and not 0")
        if not all(map(math.isfinite, self.preprocessing.mean)):
            raise ModelRefused(f"manifest of {self.name}: mean must be finite")
        if self.preprocessing.alignment != "arcface-112":
            raise ModelRefused(
                f"manifest of {self.name}: alignment {self.preprocessing.alignment!r} is not known;"
                " visavis aligns to 'arcface-112'"
            )

    def encoder_id(self, recipe: str) -> EncoderId:
        """Name the vectors this network gives under ``recipe`` (see ``quantize.recipe``).

        The id is a hash of the weights' digest, the preprocessing and the recipe, so that vectors
        which cannot be compared never share one.
        """
        what = {"weights": self.sha256, "input": asdict(self.preprocessing), "recipe": recipe}
        text = json.dumps(what, sort_keys=True, separators=(",", ":"))
        return EncoderId(hashlib.sha256(text.encode()).hexdigest()[:32])


def read_manifest(path: Path) -> Manifest:
    """Read one manifest.

    Raises
    ------
    ModelRefused
        When the file is no TOML or a field is missing, unknown or of the wrong kind.
    """
    try:
        return manifest_of(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ModelRefused(f"{path}: not a TOML file: {broken}") from broken
    except OSError as missing:
        raise ModelRefused(f"{path}: cannot be read: {missing.strerror}") from missing


def manifest_of(table: dict[str, Any]) -> Manifest:
    """Build a Manifest from parsed TOML; raises ModelRefused naming what is wrong."""
    try:
        fields = dict(table)
        shape = dict(fields.pop("preprocessing", {}))
        for key in ("mean", "scale"):
            if key in shape:
                value = shape[key]
                shape[key] = tuple(map(float, value if isinstance(value, list) else [value] * 3))
        shape["channels"] = Channels(shape.get("channels", "RGB"))
        carrier = fields.pop("carrier", None)
        return Manifest(
            kind=Kind(fields.pop("kind")),
            preprocessing=Preprocessing(**shape),
            carrier=Carrier(**carrier) if carrier else None,
            **fields,
        )
    except (TypeError, ValueError, KeyError) as wrong:
        raise ModelRefused(f"manifest: {wrong}") from wrong


def write_manifest(manifest: Manifest) -> str:
    """Give the TOML text that ``read_manifest`` reads back."""
    lines = [f"{key} = {_quoted(getattr(manifest, key))}" for key in _TEXTS]
    lines += [f'kind = "{manifest.kind}"', f"size = {manifest.size}"]
    shape = manifest.preprocessing
    lines += [
        "",
        "[preprocessing]",
        f'channels = "{shape.channels}"',
        f"mean = {list(shape.mean)}",
        f"scale = {list(shape.scale)}",
        f'alignment = "{shape.alignment}"',
    ]
    if manifest.carrier:
        lines += ["", "[carrier]"]
        lines += [f"{k} = {_quoted(v)}" for k, v in asdict(manifest.carrier).items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Write a TOML string: JSON's, but without surrogates and with DEL escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
