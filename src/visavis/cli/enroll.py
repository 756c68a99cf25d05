"""visavis enroll."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visavis.cli.answers import REFUSED, print_json
from visavis.cli.consent import agreed, consent_options
from visavis.cli.options import (
    PHOTOGRAPH,
    EngineChoice,
    engine_options,
    force_option,
    gallery_option,
    gallery_path,
    json_option,
    keep_option,
    photograph,
)
from visavis.spelling import sighting_json

if TYPE_CHECKING:
    from visavis.engine import Outcome
    from visavis.values import Consent


@click.command()
@click.argument("person", required=False)
@click.argument("images", type=PHOTOGRAPH, nargs=-1)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Enrol everybody in a folder: a folder a person, or one photograph a person.",
)
@click.option(
    "--workers",
    default=0,
    type=click.IntRange(0),
    show_default="one a core",
    help="With --folder: photographs worked on side by side.",
)
@consent_options
@force_option
@keep_option
@gallery_option
@json_option
@engine_options
def enroll(
    networks: EngineChoice,
    person: str | None,
    images: tuple[Path, ...],
    folder: Path | None,
    workers: int,
    force: bool,
    keep_photographs: bool,
    consent: str,
    purpose: str,
    expires: str | None,
    gallery: str | None,
    as_json: bool,
) -> None:
    """Enrol PERSON from one or more IMAGES, or everybody in a folder.

    The same photograph again changes nothing; another one of the same person adds a template. An
    interrupted --folder continues where it stopped when it is called again.

    \b
    Examples:
      visavis enroll Ada ada.jpg
      visavis enroll --folder staff/
      visavis enroll Bob bob.jpg --consent "form 12" --purpose "front door" --expires 2027-06-30
    """
    given = agreed(consent, purpose, expires)
    if folder is not None:
        if person is not None:
            raise click.UsageError("give PERSON and IMAGES, or --folder, not both")
        workers = workers or os.cpu_count() or 1
        wish = _Wish(force, keep_photographs, given)
        sys.exit(_folder(networks, folder, workers, wish, gallery, as_json))
    if person is None or not images:
        raise click.UsageError("give PERSON and at least one IMAGE, or --folder")
    with networks.open(gallery_path(gallery)) as engine:
        done = engine.enroll(
            person,
            [photograph(image) for image in images],
            force=force,
            keep_photographs=keep_photographs,
            consent=given,
        )
    if as_json:
        print_json(
            {
                "person": done.person.name,
                "id": done.person.id,
                "templates": done.person.templates,
                "added": len(done.added),
                "known": done.known,
                "faces": [sighting_json(seen) for seen in done.sightings],
            }
        )
    else:
        what = f"{len(done.added)} added" if done.added else "nothing new"
        click.echo(f"{done.person.name}: {what}, {done.person.templates} template(s) in all")


@dataclass(frozen=True, slots=True)
class _Wish:
    force: bool
    keep: bool
    consent: Consent | None


def _folder(
    networks: EngineChoice,
    folder: Path,
    workers: int,
    wish: _Wish,
    gallery: str | None,
    as_json: bool,
) -> int:
    from visavis.engine import Status, enroll_folder, plan_folder  # noqa: PLC0415

    plan = plan_folder(folder)
    counts: Counter[Status] = Counter()
    refused: list[dict[str, str]] = []

    def note(outcome: Outcome) -> None:
        counts[outcome.status] += 1
        if outcome.error:
            error = {"person": outcome.person, "image": str(outcome.path)}
            refused.append(error | {"code": outcome.error.code, "message": str(outcome.error)})

    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with (
        networks.open(gallery_path(gallery), workers=workers) as engine,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("enrolling", total=plan.photographs)
        for outcome in enroll_folder(
            engine,
            plan,
            workers=workers,
            force=wish.force,
            keep_photographs=wish.keep,
            consent=wish.consent,
        ):
            note(outcome)
            progress.advance(task)
            if not as_json and outcome.status is Status.ENROLLED:
                # One line for each photograph, printed once it is stored.
                click.echo(f"enrolled {outcome.person}: {outcome.path}")
            elif not as_json and outcome.error:
                click.echo(f"{outcome.error.code}: {outcome.error}", err=True)
        people = engine.gallery.size
    summary = {status.value: counts[status] for status in Status}
    if as_json:
        ignored = [str(path) for path in plan.ignored]
        print_json({**summary, "people": people, "errors": refused, "ignored": ignored})
    else:
        told = ", ".join(f"{count} {status}" for status, count in summary.items())
        click.echo(f"{told}; {len(plan.ignored)} file(s) ignored; {people} people in the gallery")
    return REFUSED if refused else 0
