"""visavis people duplicates, people merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.consent import agreed, consent_options
from visavis.cli.options import (
    EngineChoice,
    complete_person,
    engine_options,
    gallery_option,
    gallery_path,
    json_option,
    open_gallery,
    pass_on,
)
from visavis.cli.progress import portions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visavis.engine import DuplicatePair, Duplicates
    from visavis.gallery import Merged
    from visavis.values import Consent, Person

fpir_option = click.option(
    "--fpir",
    type=float,
    metavar="RATE",
    help="How often a stranger may be taken for somebody enrolled; tau follows from it and from "
    "the size of the gallery. Default 1e-3, at which 'visavis enroll' refuses.",
)


@click.command()
@fpir_option
@click.option(
    "--most",
    default=10_000,
    show_default=True,
    type=click.IntRange(1),
    help="How many pairs to list, the nearest.",
)
@gallery_option
@json_option
@engine_options
def duplicates(
    networks: EngineChoice, fpir: float | None, most: int, gallery: str | None, as_json: bool
) -> None:
    """Find people who are enrolled twice: pairs so near that enrolment would refuse them.

    Everybody is compared with everybody. A few strangers are so near too, and it is said how many
    at most: look at a pair before you merge it.

    \b
    Example:
      visavis people duplicates
    """
    with open_gallery(gallery):
        pass  # none is made here
    with networks.open(gallery_path(gallery)) as engine, portions("comparing") as told:
        found = engine.duplicates(fpir=fpir, most=most, told=told)
    if as_json:
        print_json(_found_json(found))
        return
    for pair in found.pairs:
        click.echo(f"d = {pair.distance:.3f}  {pair.first.name}  {pair.second.name}")
    for line in _explained(found):
        click.echo(line)


@click.command()
@click.argument("person", shell_complete=complete_person)
@click.argument("into", shell_complete=complete_person)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Merge them however far apart they are.")
@fpir_option
@consent_options
@gallery_option
@json_option
@engine_options
def merge(
    networks: EngineChoice,
    person: str,
    into: str,
    yes: bool,
    force: bool,
    fpir: float | None,
    consent: str,
    purpose: str,
    expires: str | None,
    gallery: str | None,
    as_json: bool,
) -> None:
    """Make one person of two: PERSON's templates go to INTO, and PERSON is erased.

    Photographs that INTO has already are not taken over. Refused when the two are farther apart
    than 'people duplicates' looks, and when they agreed to different things: then say with
    --consent what the one person agreed to.

    \b
    Example:
      visavis people merge "Ada Byron" "Ada Lovelace"
    """
    given = agreed(consent, purpose, expires)
    with open_gallery(gallery) as registry:
        found = registry.person(person), registry.person(into)
        if not yes:
            _confirm(*found)
        if force:
            done = registry.merge(found[0].id, found[1].id, consent=given)
        else:
            done = _merged_alike(networks, gallery, found, fpir, given)
        pass_on(registry)
    if as_json:
        print_json(_merged_json(done))
        return
    click.echo(_told(done))
    if not done.erased:
        click.echo(
            "the file could not be rewritten now (another process reads it, or the disk is full): "
            f"nobody finds {done.gone.name} any more, but their bytes stay in it until the next "
            "removal",
            err=True,
        )


def _merged_alike(
    networks: EngineChoice,
    gallery: str | None,
    pair: tuple[Person, Person],
    fpir: float | None,
    consent: Consent | None,
) -> Merged:
    with networks.open(gallery_path(gallery)) as engine:
        return engine.merge(pair[0].id, pair[1].id, fpir=fpir, consent=consent)


def _confirm(person: Person, into: Person) -> None:
    click.confirm(
        f"Merge {person.name} ({person.templates} template(s)) into {into.name} "
        f"({into.templates} template(s)) and erase {person.name}?",
        abort=True,
        err=True,
    )


def _explained(found: Duplicates) -> Iterator[str]:
    count = f"{len(found.pairs)} pair(s)"
    if found.cut:
        count = f"the nearest {len(found.pairs)} pairs; there are more"
    yield (
        f"{count} of {found.people} people within tau = {found.tau:.3f}, where a stranger is taken "
        f"for one of them at FPIR {found.fpir:g}"
    )
    if found.comparisons:
        yield (
            f"of {found.comparisons} comparisons of different people at most "
            f"{_rounded(found.false_pairs)} are so near by chance: such a pair is two people"
        )
    if found.extrapolated:
        yield "that rate is lower than the data could show; tau was extrapolated"


def _rounded(number: float) -> str:
    return "0.01" if number < 0.01 else f"{number:.2g}" if number < 100 else f"{number:.0f}"


def _told(done: Merged) -> str:
    near = "" if done.distance is None else f" (d = {done.distance:.3f})"
    skipped = f", {done.skipped} that were there already left out" if done.skipped else ""
    return (
        f"merged: {done.gone.name} into {done.person.name}{near}, {len(done.moved)} template(s) "
        f"taken over{skipped}, {done.person.templates} in all"
    )


def _found_json(found: Duplicates) -> dict[str, Any]:
    return {
        "people": found.people,
        "templates": found.templates,
        "comparisons": found.comparisons,
        "tau": round(found.tau, 6),
        "fpir": found.fpir,
        "fmr": found.fmr,
        "fmr_upper": found.fmr_upper,
        "extrapolated": found.extrapolated,
        "encoder": found.encoder,
        "false_pairs": round(found.false_pairs, 6),
        "cut": found.cut,
        "pairs": [_pair_json(pair) for pair in found.pairs],
    }


def _pair_json(pair: DuplicatePair) -> dict[str, Any]:
    first, second = (
        {"id": each.id, "name": each.name, "templates": each.templates}
        for each in (pair.first, pair.second)
    )
    return {"distance": round(pair.distance, 6), "first": first, "second": second}


def _merged_json(done: Merged) -> dict[str, Any]:
    person, consent = done.person, done.person.consent
    return {
        "person": {"id": person.id, "name": person.name, "templates": person.templates},
        "merged": {"id": done.gone.id, "name": done.gone.name},
        "moved": len(done.moved),
        "skipped": done.skipped,
        "distance": None if done.distance is None else round(done.distance, 6),
        "consent": {
            "reference": consent.reference,
            "purpose": consent.purpose,
            "expires": consent.expires and consent.expires.isoformat(),
        },
        "erased": done.erased,
    }
