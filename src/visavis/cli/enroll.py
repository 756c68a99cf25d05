"""visavis enroll."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visavis.cli.answers import REFUSED, print_json, sighting_json
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
@click.option("--consent", default="", metavar="REFERENCE", help="Where the consent is on file.")
@click.option("--purpose", default="", metavar="TEXT", help="What it is given for.")
@click.option(
    "--expires",
    metavar="DATE",
    help="Last day of the consent, such as 2027-06-30, or a time with its zone; from then on "
    "nobody is recognised by it, and 'visavis gallery expire' erases them.",
)
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
    agreed = _agreed(consent, purpose, expires)
    if folder is not None:
        if person is not None:
            raise click.UsageError("give PERSON and IMAGES, or --folder, not both")
        workers = workers or os.cpu_count() or 1
        wish = _Wish(force, keep_photographs, agreed)
        sys.exit(_folder(networks, folder, workers, wish, gallery, as_json))
    if person is None or not images:
        raise click.UsageError("give PERSON and at least one IMAGE, or --folder")
    with networks.open(gallery_path(gallery)) as engine:
        done = engine.enroll(
            person,
            [photograph(image) for image in images],
            force=force,
            keep_photographs=keep_photographs,
            consent=agreed,
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


def _agreed(reference: str, purpose: str, expires: str | None) -> Consent | None:
    from visavis.values import Consent  # noqa: PLC0415

    if not (reference or purpose or expires):
        return None
    return Consent(reference, purpose, _moment(expires) if expires else None)


def _moment(text: str) -> datetime:
    """Read a day, which counts to its end here, or a time with its zone."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            day = date.fromisoformat(text) + timedelta(days=1)
            return datetime(day.year, day.month, day.day).astimezone()
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError) as fault:
        raise click.UsageError(f"--expires {text!r} is no date such as 2027-06-30") from fault


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
