"""visavis compare, verify, identify."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import REFUSED, decision_text, identification_text, print_json
from visavis.cli.options import (
    PHOTOGRAPH,
    EngineChoice,
    LiveChoice,
    complete_person,
    engine_options,
    exit_status_option,
    gallery_option,
    gallery_path,
    json_option,
    live_option,
    live_options,
    photograph,
)
from visavis.errors import VisavisError
from visavis.spelling import decision_json, identification_json, identified_json
from visavis.values import DecideBy

if TYPE_CHECKING:
    from pathlib import Path

fmr_option = click.option(
    "--fmr",
    type=float,
    metavar="RATE",
    help="False match rate to decide at; default 1e-4, one in ten thousand.",
)
decide_by_option = click.option(
    "--decide-by",
    type=click.Choice(["distance", "head"]),
    default="distance",
    show_default=True,
    help="The plain distance, or what 'visavis train pair-head' learnt.",
)


@click.command()
@click.argument("a", type=PHOTOGRAPH)
@click.argument("b", type=PHOTOGRAPH)
@fmr_option
@decide_by_option
@exit_status_option
@json_option
@engine_options
def compare(
    networks: EngineChoice,
    a: Path,
    b: Path,
    fmr: float | None,
    decide_by: str,
    exit_status: bool,
    as_json: bool,
) -> None:
    """Say whether photographs A and B show the same person. ``-`` reads standard input.

    \b
    Example:
      visavis compare passport.jpg selfie.jpg --fmr 1e-5
    """
    engine = networks.open()
    by = DecideBy(decide_by)
    decision = engine.compare(photograph(a), photograph(b), fmr=fmr, decide_by=by)
    if as_json:
        print_json(decision_json(decision))
    else:
        click.echo(decision_text(decision, "same person", "different people"))
    sys.exit(int(exit_status and not decision.accepted))


@click.command()
@click.argument("image", type=PHOTOGRAPH)
@click.argument("person", shell_complete=complete_person)
@fmr_option
@decide_by_option
@live_option
@live_options
@gallery_option
@exit_status_option
@json_option
@engine_options
def verify(
    networks: EngineChoice,
    alive: LiveChoice,
    image: Path,
    person: str,
    fmr: float | None,
    decide_by: str,
    gallery: str | None,
    exit_status: bool,
    as_json: bool,
) -> None:
    """Say whether IMAGE shows PERSON, who is enrolled (a name or an id).

    \b
    Example:
      visavis verify door.jpg Ada --live passive --exit-status && open-the-gate
    """
    with networks.open(gallery_path(gallery), alive=alive) as engine:
        by = DecideBy(decide_by)
        decision = engine.verify(photograph(image), person, fmr=fmr, decide_by=by)
    if as_json:
        print_json({"person": person, **decision_json(decision)})
    else:
        no = f"it looks like {person}, but is not accepted"
        no = no if decision.matched else f"it is not {person}"
        click.echo(decision_text(decision, f"it is {person}", no))
    sys.exit(int(exit_status and not decision.accepted))


@click.command()
@click.argument("images", type=PHOTOGRAPH, nargs=-1, required=True)
@click.option(
    "--fpir",
    type=float,
    metavar="RATE",
    help="How often a stranger may be taken for somebody enrolled; default 1e-3.",
)
@click.option(
    "--candidates",
    default=0,
    type=click.IntRange(0),
    help="List so many of the nearest people for each face, near enough or not.",
)
@live_option
@live_options
@gallery_option
@exit_status_option
@json_option
@engine_options
def identify(
    networks: EngineChoice,
    alive: LiveChoice,
    images: tuple[Path, ...],
    fpir: float | None,
    candidates: int,
    gallery: str | None,
    exit_status: bool,
    as_json: bool,
) -> None:
    """Say for every face in the IMAGES who it is, or that it is not recognized.

    \b
    Example:
      visavis identify door.jpg party.jpg --candidates 3
    """
    faces: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    head: dict[str, Any] = {}
    with networks.open(gallery_path(gallery), alive=alive) as engine:
        for image in images:
            try:
                answer = engine.identify(photograph(image), fpir=fpir, candidates=candidates)
            except VisavisError as refused:
                if len(images) == 1:
                    raise
                errors.append({"image": str(image), "code": refused.code, "message": str(refused)})
                click.echo(f"{refused.code}: {refused}", err=True)
                continue
            head = identification_json(answer)
            faces += [{"image": str(image), **identified_json(face)} for face in answer.faces]
            if not as_json:
                click.echo(identification_text(str(image), answer))
    if as_json:
        print_json({**head, "faces": faces, "errors": errors})
    nobody = not any(face["person"] for face in faces)
    sys.exit(REFUSED if errors else int(exit_status and nobody))
