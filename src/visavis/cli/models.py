"""visavis models list, show, add, pull."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import json_option, settings
from visavis.errors import ModelNotFound, VisavisError

if TYPE_CHECKING:
    from visavis.models import Manifest, ModelStore

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def models() -> None:
    """List, show, add and fetch networks.

    \b
    Example:
      visavis models show sface
    """


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the networks of this machine.

    \b
    Example:
      visavis models list
    """
    store = settings().store
    rows = [_described(store, manifest) for manifest in store.manifests()]
    if as_json:
        print_json({"models": rows})
        return
    for row in rows:
        size = f"{row['size'] / 1e6:.1f} MB"
        click.echo(
            f"{row['name']:<10} {row['kind']:<9} {size:>9}  {row['licence']:<24} {row['state']}"
        )


@models.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show file, digest, licence, origin and preprocessing of a network, and check the file.

    \b
    Example:
      visavis models show sface
    """
    store = settings().store
    row = _described(store, store.manifest(name))
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        told = json.dumps(value) if isinstance(value, dict | list) else value
        click.echo(f"{key.replace('_', ' '):<14} {told}")


@models.command()
@click.argument("manifest", type=FILE)
@click.option("--weights", type=FILE, help="The weights; default the file the manifest names.")
@click.option(
    "--operating-points",
    type=FILE,
    help="What was measured of it; default NAME.fp32.points.json beside the manifest, if any.",
)
@json_option
def add(manifest: Path, weights: Path | None, operating_points: Path | None, as_json: bool) -> None:
    """Add an ONNX encoder, or an ensemble of encoders, that a MANIFEST (TOML) describes.

    \b
    Example manifest:
      name = "mine"
      kind = "encoder"
      file = "mine.onnx"
      sha256 = "..."                  # sha256sum mine.onnx
      size = 12345
      licence = "Apache-2.0"
      origin = "trained by us, 2026"
      [preprocessing]                 # (pixel - mean) / scale
      channels = "RGB"
      mean = [127.5, 127.5, 127.5]
      scale = [127.5, 127.5, 127.5]
    \b
    Example manifest of an ensemble, whose d is the weighted mean of its members' d:
      name = "sface-mine"
      kind = "encoder"
      licence = "Apache-2.0"
      origin = "both together"
      members = [{name = "sface", weight = 1.0}, {name = "mine", weight = 0.5}]
    \b
    Example:
      visavis models add mine.toml && visavis compare a.jpg b.jpg --encoder mine
    """
    from visavis.models import Precision, read_manifest  # noqa: PLC0415

    described = read_manifest(manifest)
    file = weights or manifest.parent / described.file
    points = f"{described.name}.{Precision.FP32}.points.json"
    beside = manifest.with_name(points)
    measured = operating_points or (beside if beside.is_file() else None)
    extras = {points: measured} if measured else {}
    store = settings().store
    added = store.add(described, file, extras)
    if as_json:
        print_json(_described(store, added))
    else:
        click.echo(f"{added.name} is added; use it with --encoder {added.name}")


@models.command()
@click.argument("name")
@click.option(
    "--from", "source", type=FILE, help="A file that you have; default the manifest's url."
)
@json_option
def pull(name: str, source: Path | None, as_json: bool) -> None:
    """Fetch a network's weights where the package that carries them is missing.

    The file is kept only when its digest is the manifest's.

    \b
    Example:
      visavis models pull sface --from ~/Downloads/face_recognition_sface_2021dec_int8bq.onnx
    """
    store = settings().store
    manifest = store.manifest(name)
    path = store.pull(manifest, source)
    if as_json:
        print_json({"name": name, "path": str(path), "sha256": manifest.sha256})
    else:
        click.echo(f"{name}: {path}")


def _described(store: ModelStore, manifest: Manifest) -> dict[str, Any]:
    row = asdict(replace(manifest, carrier=None))
    row.pop("carrier")
    if manifest.carrier:
        row["carrier"] = f"{manifest.carrier.distribution} {manifest.carrier.version}"
    row.pop("members")
    if manifest.members:
        for key in ("file", "sha256", "format", "url", "preprocessing"):
            row.pop(key)
        row["members"] = [asdict(member) for member in manifest.members]
    try:
        parts = store.members(manifest) or [manifest]
        row["size"] = sum(part.size for part in parts)
        paths = [str(store.weights(part)) for part in parts]
        row |= {"path": "" if manifest.members else paths[0], "state": "ready"}
        row |= _encoders(store, manifest)
    except ModelNotFound as missing:
        row |= {"path": "", "state": "missing: see visavis models pull --help"}
        row |= {"missing": str(missing)} | _encoders(store, manifest)
    except VisavisError as refused:
        row |= {"path": "", "state": refused.code}
    return row


def _encoders(store: ModelStore, manifest: Manifest) -> dict[str, Any]:
    """Name the vectors in each precision, and whether their operating points are known."""
    from visavis.models import Kind  # noqa: PLC0415

    if manifest.kind is not Kind.ENCODER:
        return {}
    return {
        "encoders": {
            str(p): {
                "id": store.encoder_id(manifest, p),
                "operating_points": store.points(manifest, p) is not None,
            }
            for p in store.precisions(manifest)
        }
    }
