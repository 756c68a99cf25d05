"""What a network is: its file, digest, licence, origin and preprocessing, in one TOML file.

An ensemble has no file: its manifest names other encoders and how much each counts.
"""

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
from visavis.models.alignment import ALIGNMENTS, ARCFACE_112
from visavis.values import EncoderId

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TEXTS = ("name", "file", "sha256", "licence", "origin", "training_data", "url")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Kind(StrEnum):
    """What a network does."""

    DETECTOR = "detector"
    ENCODER = "encoder"
    LIVENESS = "liveness"
    """Tells a live face from an attack: gives (N, 2), the probabilities of attack and live."""


class Format(StrEnum):
    """How the weights file is written."""

    ONNX = "onnx"
    DLIB_RESNET = "dlib-resnet"
    """dlib's own format, holding dlib's face recognition network; see ``models.dlib_resnet``."""


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
    """How pixels in 0..255 become the network's input: ``(pixel - mean) / scale``.

    With ``mirror`` an encoder sees the face and its mirror image, and what it gives is added.
    """

    channels: Channels = Channels.RGB
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    alignment: str = ARCFACE_112.name
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How a liveness network wants a face cut out; see ``align.surroundings``.

    Attributes
    ----------
    scale
        How many times the longer side of the face's box is seen.
    size
        Height and width of what the network takes, in pixels.
    """

    scale: float
    size: int


@dataclass(frozen=True, slots=True)
class Carrier:
    """An installed Python distribution that carries the weights; nothing of it is imported."""

    distribution: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Member:
    """An encoder of an ensemble.

    Attributes
    ----------
    weight
        How much its distances count: the ensemble's d is the members' mean, weighted so.
    """

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """One network, or an ensemble of encoders.

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
    members
        The encoders that an ensemble is made of; it has no file, digest, preprocessing or carrier
        of its own then. Empty for a network.
    surroundings
        What a liveness network sees of a face; None for every other kind.
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
    format: Format = Format.ONNX
    members: tuple[Member, ...] = ()
    surroundings: Surroundings | None = None

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
        if self.members:
            self._check_members()
        else:
            self._check_network()

    def _check_members(self) -> None:
        own = (self.file, self.sha256, self.size, self.url, self.carrier, self.preprocessing)
        if own != ("", "", 0, "", None, Preprocessing()) or self.format is not Format.ONNX:
            raise ModelRefused(
                f"manifest of {self.name}: an ensemble has members, and no file, format, sha256, "
                "size, url, preprocessing or carrier of its own"
            )
        if self.kind is not Kind.ENCODER:
            raise ModelRefused(f"manifest of {self.name}: only encoders can be an ensemble")
        names = [member.name for member in self.members]
        if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
            raise ModelRefused(f"manifest of {self.name}: members need the names of encoders")
        if len(names) < 2 or len(set(names)) < len(names) or self.name in names:
            raise ModelRefused(f"manifest of {self.name}: members must be two or more, all other")
        for member in self.members:
            weight = member.weight
            if not isinstance(weight, int | float) or not 0 < weight < math.inf:
                raise ModelRefused(
                    f"manifest of {self.name}: the weight of {member.name} must be above 0"
                )

    def _check_network(self) -> None:
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
        if self.preprocessing.alignment not in ALIGNMENTS:
            raise ModelRefused(
                f"manifest of {self.name}: alignment {self.preprocessing.alignment!r} is not known;"
                f" visavis aligns to {', '.join(map(repr, ALIGNMENTS))}"
            )
        if not isinstance(self.preprocessing.mirror, bool):
            raise ModelRefused(f"manifest of {self.name}: mirror must be true or false")
        if self.preprocessing.mirror and self.kind is not Kind.ENCODER:
            raise ModelRefused(f"manifest of {self.name}: only an encoder can mirror faces")
        self._check_surroundings()
        if self.format is Format.DLIB_RESNET and self.kind is not Kind.ENCODER:
            raise ModelRefused(f"manifest of {self.name}: {self.format} holds an encoder")

    def _check_surroundings(self) -> None:
        seen = self.surroundings
        if (seen is not None) != (self.kind is Kind.LIVENESS):
            raise ModelRefused(
                f"manifest of {self.name}: a liveness network has surroundings (scale and size), "
                "and no other kind has"
            )
        if seen is None:
            return
        if not isinstance(seen.scale, int | float) or not 1 <= seen.scale <= 10:
            raise ModelRefused(f"manifest of {self.name}: surroundings.scale must be in 1 to 10")
        if not isinstance(seen.size, int) or not 16 <= seen.size <= 1024:
            raise ModelRefused(
                f"manifest of {self.name}: surroundings.size must be 16 to 1024 pixels"
            )

    @property
    def side(self) -> int:
        """Height and width in pixels of what the network takes; a detector takes any."""
        if self.surroundings is not None:
            return self.surroundings.size
        return ALIGNMENTS[self.preprocessing.alignment].size

    def encoder_id(self, recipe: str) -> EncoderId:
        """Name the vectors this network gives under ``recipe`` (see ``quantize.recipe``).

        The id is a hash of the weights' digest, the preprocessing and the recipe, so that vectors
        which cannot be compared never share one.
        """
        shape = asdict(self.preprocessing)
        if not self.preprocessing.mirror:
            shape.pop("mirror")  # younger than the ids in people's galleries
        return _hashed({"weights": self.sha256, "input": shape, "recipe": recipe})

    def ensemble_id(self, members: Sequence[EncoderId]) -> EncoderId:
        """Name the vectors of an ensemble: a hash over its members' ids, in order, and shares."""
        return _hashed({"members": list(zip(members, self.shares, strict=True))})

    @property
    def shares(self) -> tuple[float, ...]:
        """The members' weights, brought to a sum of 1."""
        total = math.fsum(member.weight for member in self.members)
        return tuple(member.weight / total for member in self.members)


def _hashed(what: dict[str, Any]) -> EncoderId:
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
        seen = fields.pop("surroundings", None)
        members = tuple(Member(**member) for member in fields.pop("members", ()))
        if members:
            fields = {"file": "", "sha256": "", "size": 0} | fields
        return Manifest(
            kind=Kind(fields.pop("kind")),
            preprocessing=Preprocessing(**shape),
            carrier=Carrier(**carrier) if carrier else None,
            format=Format(fields.pop("format", "onnx")),
            members=members,
            surroundings=Surroundings(**seen) if seen else None,
            **fields,
        )
    except (TypeError, ValueError, KeyError) as wrong:
        raise ModelRefused(f"manifest: {wrong}") from wrong


def write_manifest(manifest: Manifest) -> str:
    """Give the TOML text that ``read_manifest`` reads back."""
    lines = [f"{key} = {_quoted(getattr(manifest, key))}" for key in _TEXTS]
    lines += [f'kind = "{manifest.kind}"', f"size = {manifest.size}"]
    for member in manifest.members:
        lines += ["", "[[members]]", f"name = {_quoted(member.name)}"]
        lines += [f"weight = {float(member.weight)!r}"]
    if manifest.members:
        return "\n".join(lines) + "\n"
    lines += [f'format = "{manifest.format}"']
    shape = manifest.preprocessing
    lines += [
        "",
        "[preprocessing]",
        f'channels = "{shape.channels}"',
        f"mean = {list(shape.mean)}",
        f"scale = {list(shape.scale)}",
        f'alignment = "{shape.alignment}"',
        f"mirror = {str(shape.mirror).lower()}",
    ]
    if manifest.surroundings:
        seen = manifest.surroundings
        lines += ["", "[surroundings]", f"scale = {float(seen.scale)!r}", f"size = {seen.size}"]
    if manifest.carrier:
        lines += ["", "[carrier]"]
        lines += [f"{k} = {_quoted(v)}" for k, v in asdict(manifest.carrier).items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Write a TOML string: JSON's, but without surrogates and with DEL escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
