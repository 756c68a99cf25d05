"""visavis people list, show, rename, remove; duplicates and merge have a module of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from visavis.cli.answers import print_json
from visavis.cli.duplicates import duplicates, merge
from visavis.cli.options import (
    complete_person,
    gallery_option,
    json_option,
    open_gallery,
    pass_on,
)
from visavis.spelling import person_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visavis.values import Person


@click.group()
def people() -> None:
    """List, show, rename, merge and remove those enrolled.

    \b
    Example:
      visavis people list
    """


@people.command("list")
@gallery_option
@json_option
def list_(gallery: str | None, as_json: bool) -> None:
    """List everybody by name.

    \b
    Example:
      visavis people list --json
    """
    with open_gallery(gallery) as registry:
        everybody = registry.people()
    if as_json:
        print_json({"people": [person_json(person) for person in everybody]})
        return
    for person in everybody:
        click.echo(f"{person.id[:8]}  {person.templates:3d}  {person.name}")
    click.echo(f"{len(everybody)} people", err=True)


@people.command()
@click.argument("person", shell_complete=complete_person)
@gallery_option
@json_option
def show(person: str, gallery: str | None, as_json: bool) -> None:
    """Show what is stored of PERSON, a name or an id: never a photograph unless it was kept.

    \b
    Example:
      visavis people show Ada
    """
    with open_gallery(gallery) as registry:
        found = registry.person(person)
        templates = registry.templates(found.id)
        kept = [registry.keeps_photograph(t.id) for t in templates]
    stored = [
        {"id": t.id, "created": t.created.isoformat(), "photograph_kept": k, "digest": t.digest}
        for t, k in zip(templates, kept, strict=True)
    ]
    if as_json:
        print_json({**person_json(found), "stored": stored})
        return
    click.echo(f"{found.name}\n  id {found.id}\n  enrolled {found.created:%Y-%m-%d %H:%M} UTC")
    for line in _consent_lines(found):
        click.echo(f"  {line}")
    for row in stored:
        photo = "photograph kept" if row["photograph_kept"] else "no photograph"
        click.echo(f"  template {str(row['id'])[:8]}  {str(row['created'])[:16]}  {photo}")


@people.command()
@click.argument("person", shell_complete=complete_person)
@click.argument("name")
@gallery_option
@json_option
def rename(person: str, name: str, gallery: str | None, as_json: bool) -> None:
    """Give PERSON another NAME; id and templates stay.

    \b
    Example:
      visavis people rename Ada "Ada Lovelace"
    """
    with open_gallery(gallery) as registry:
        renamed = registry.rename(person, name)
    if as_json:
        print_json(person_json(renamed))
    else:
        click.echo(f"{person} is now {renamed.name}")


@people.command()
@click.argument("people", nargs=-1, required=True, shell_complete=complete_person)
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
@json_option
def remove(people: tuple[str, ...], yes: bool, gallery: str | None, as_json: bool) -> None:
    """Erase PEOPLE: names, templates, photographs, and their bytes in the file. All or none.

    \b
    Example:
      visavis people remove Ada --yes
    """
    with open_gallery(gallery) as registry:
        found = [registry.person(person) for person in people]
        if not yes:
            who = ", ".join(person.name for person in found)
            templates = sum(person.templates for person in found)
            click.confirm(f"Erase {who} ({templates} template(s))?", abort=True, err=True)
        gone = registry.remove(*(person.id for person in found))
        pass_on(registry)
    if as_json:
        erased = [{"id": person.id, "name": person.name} for person in gone.persons]
        print_json({"removed": erased, "templates": len(gone.templates), "erased": gone.erased})
        return
    who = ", ".join(person.name for person in gone.persons)
    click.echo(f"erased: {who}, {len(gone.templates)} template(s) with them")
    if not gone.erased:
        click.echo(
            "the file could not be rewritten now (another process reads it, or the disk is full): "
            "nobody finds them any more, but their bytes stay in it until the next removal",
            err=True,
        )


people.add_command(duplicates)
people.add_command(merge)


def _consent_lines(person: Person) -> Iterator[str]:
    consent = person.consent
    if consent.reference:
        yield f"consent {consent.reference}"
    if consent.purpose:
        yield f"for {consent.purpose}"
    if consent.expires is not None:
        ended = person.expired(datetime.now(UTC))
        yield f"{'EXPIRED' if ended else 'until'} {consent.expires:%Y-%m-%d %H:%M} UTC"
