"""visavis doctor."""

from __future__ import annotations

import platform
import sys
import time
from importlib import metadata
from statistics import median
from typing import TYPE_CHECKING, Any

import click

import visavis
from visavis.cli.answers import REFUSED, print_json
from visavis.cli.options import EngineChoice, engine_options, json_option, settings
from visavis.errors import VisavisError

if TYPE_CHECKING:
    from collections.abc import Callable

_PACKAGES = ("openvino", "opencv-python-headless", "numpy", "sqlalchemy", "onnxruntime")


@click.command()
@json_option
@engine_options
def doctor(networks: EngineChoice, as_json: bool) -> None:
    """Say what is installed, which runtime and precision run, and time a face.

    \b
    Example:
      visavis doctor --threads 1
    """
    found: dict[str, Any] = {
        "visavis": visavis.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "cache": str(settings().cache),
        "data": str(settings().data),
        "problems": [],
    }
    try:
        found |= _networks(networks)
    except VisavisError as refused:
        found["problems"].append({"code": refused.code, "message": str(refused)})
    if as_json:
        print_json(found)
    else:
        _tell(found)
    sys.exit(REFUSED if found["problems"] else 0)


def _networks(networks: EngineChoice) -> dict[str, Any]:
    """Open the engine and time it on made-up pixels, which cost what a photograph costs."""
    import numpy as np  # noqa: PLC0415

    from visavis.values import Image  # noqa: PLC0415

    start = time.perf_counter()
    engine = networks.open()
    opened = time.perf_counter() - start
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    crops = [pixels[None, : a.size, : a.size] for a in engine.encoder.alignments]
    found: dict[str, Any] = {
        "runtime": str(engine.config.runtime),
        "precision": str(engine.config.precision),
        "encoder": {"name": engine.encoder.name, "id": engine.encoder.id},
        "milliseconds": {
            "open": round(opened * 1000, 1),
            "detect 640x480": _timed(lambda: engine.sight.detector.find(Image(pixels))),
            "encode a face": _timed(lambda: engine.encoder.encode(*crops)),
        },
        "problems": [],
    }
    try:
        found["measured_on"] = engine.curve.tuned_on
    except VisavisError as refused:
        found["problems"].append({"code": refused.code, "message": str(refused)})
    return found


def _timed(work: Callable[[], object]) -> float:
    """Median of thirty runs, in milliseconds."""
    taken = []
    for _ in range(33):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return round(median(taken[3:]) * 1000, 2)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _tell(found: dict[str, Any]) -> None:
    click.echo(f"visavis {found['visavis']}, Python {found['python']}, {found['machine']}")
    for name, version in found["packages"].items():
        click.echo(f"  {name:<24} {version or 'not installed'}")
    if "runtime" in found:
        click.echo(f"runtime {found['runtime']}, encoder {found['encoder']['name']}")
        for what, taken in found["milliseconds"].items():
            click.echo(f"  {what:<24} {taken:8.2f} ms")
    if "measured_on" in found:
        click.echo(f"operating points measured on {found['measured_on']}")
    for problem in found["problems"]:
        click.echo(f"{problem['code']}: {problem['message']}", err=True)
    click.echo("all well" if not found["problems"] else "something is wrong")
