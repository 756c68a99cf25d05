"""visavis liveness IMAGE... | VIDEO."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import REFUSED, liveness_text, print_json
from visavis.cli.options import (
    PHOTOGRAPH,
    EngineChoice,
    LiveChoice,
    engine_options,
    exit_status_option,
    json_option,
    live_options,
    photograph,
)
from visavis.errors import VisavisError
from visavis.spelling import liveness_json

if TYPE_CHECKING:
    from pathlib import Path

    from visavis.engine import Engine
    from visavis.values import Liveness

_EVERY = 0.25
"""Seconds between the frames of a video that are looked at."""


@click.command()
@click.argument("sources", metavar="IMAGE...|VIDEO", type=PHOTOGRAPH, nargs=-1, required=True)
@click.option(
    "--together", is_flag=True, help="The IMAGES are of one presentation: judge them as one."
)
@live_options
@exit_status_option
@json_option
@engine_options
def liveness(
    networks: EngineChoice,
    alive: LiveChoice,
    sources: tuple[Path, ...],
    together: bool,
    exit_status: bool,
    as_json: bool,
) -> None:
    """Say whether a live human was before the camera, and not a picture of one.

    A VIDEO is judged by frames spread over all of it, one answer for all. What cannot be told (no
    face, several, one that is cut off) is said with its reason, and counts as not live.

    \b
    Examples:
      visavis liveness door.jpg --exit-status
      visavis liveness visit.mp4 --apcer 0.01 --json
    """
    found: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    engine = networks.open(alive=alive)
    for name, group in _groups(sources, together):
        try:
            judged, kind = _judged(engine, group, together)
        except VisavisError as refused:
            if len(sources) == 1 or together:
                raise
            errors.append({"source": name, "code": refused.code, "message": str(refused)})
            click.echo(f"{refused.code}: {refused}", err=True)
            continue
        found.append({"source": name, "kind": kind, **liveness_json(judged)})
        if not as_json:
            click.echo(liveness_text(name, judged))
    if as_json:
        print_json({"presentations": found, "errors": errors})
    fake = not all(each["live"] for each in found)
    sys.exit(REFUSED if errors else int(exit_status and fake))


def _groups(sources: tuple[Path, ...], together: bool) -> list[tuple[str, tuple[Path, ...]]]:
    if together:
        return [(" ".join(map(str, sources)), sources)]
    return [(str(each), (each,)) for each in sources]


def _judged(engine: Engine, group: tuple[Path, ...], together: bool) -> tuple[Liveness, str]:
    """Judge one presentation; gives what it was seen in."""
    from visavis.image import is_video, read_frames  # noqa: PLC0415

    moving = [each for each in group if str(each) != "-" and is_video(each)]
    if moving and together:
        raise click.UsageError(f"{moving[0]} is a video: --together is for pictures")
    if moving:
        frames = read_frames(moving[0], every=_EVERY)
        return engine.liveness_of(frame.image.pixels for frame in frames), "video"
    if together:
        return engine.liveness_of(photograph(each) for each in group), "images"
    return engine.liveness(photograph(group[0])), "image"
