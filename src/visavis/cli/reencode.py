"""visavis gallery reencode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visavis.cli.answers import print_json
from visavis.cli.options import (
    engine_options,
    gallery_option,
    json_option,
    open_gallery,
    pass_on,
    workers_option,
)
from visavis.cli.progress import portions

if TYPE_CHECKING:
    from visavis.cli.options import EngineChoice


@click.command()
@click.option(
    "--photographs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that holds the photographs people were enrolled from, in any order; default those "
    "that the gallery kept.",
)
@click.option(
    "--drop-missing",
    is_flag=True,
    help="Go on although people are left without a template: they must come again.",
)
@workers_option
@engine_options
@gallery_option
@json_option
def reencode(
    networks: EngineChoice,
    photographs: Path | None,
    drop_missing: bool,
    workers: int,
    gallery: str | None,
    as_json: bool,
) -> None:
    """Move the gallery to another encoder, and say who must come again.

    Photographs are recognised by their digest: only the very files that were enrolled count, under
    whatever name. The gallery goes on with the old encoder until all is encoded, and changes then
    in one moment; its id, names and consents stay. Without --drop-missing nothing is changed when
    anybody would be lost. Where people are told apart by other rates than the encoder came with,
    'visavis calibrate' again.

    \b
    Examples:
      visavis gallery reencode --encoder sface-dlib --photographs staff/
      visavis gallery reencode --precision fp32 --photographs staff/ --drop-missing
    """
    from visavis.engine import Reencode  # noqa: PLC0415
    from visavis.engine import reencode as reencoded  # noqa: PLC0415

    count = workers or os.cpu_count() or 1
    config = Reencode(photographs, drop_missing, count)
    with (
        networks.open(workers=count) as engine,
        open_gallery(gallery) as registry,
        portions("encoding") as told,
    ):
        done = reencoded(engine, registry, config, told)
        pass_on(registry)
    if as_json:
        missing = [{"id": a.id, "name": a.name, "reasons": list(a.reasons)} for a in done.missing]
        numbers = {"people": done.people, "templates": done.templates, "lost": done.lost}
        print_json({"encoder": done.encoder, **numbers, "missing": missing, "erased": done.erased})
        return
    click.echo(f"{done.people} people, {done.templates} templates of {engine.encoder.name}")
    if done.lost:
        click.echo(f"{done.lost} template(s) had no photograph that can be used", err=True)
    for absent in done.missing:
        click.echo(f"must come again: {absent.name} ({'; '.join(absent.reasons)})")
    if not done.erased:
        click.echo("old vectors may still lie in unused parts of the file", err=True)
