"""visavis gallery info, check, expire, rotate-key; what copies it stands in `gallery_copy`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from visavis.cli.answers import REFUSED, print_json
from visavis.cli.gallery_copy import backup, backups, migrate, restore
from visavis.cli.options import (
    gallery_option,
    json_option,
    open_gallery,
    pass_on,
    searcher_outside,
)
from visavis.cli.progress import portions
from visavis.cli.reencode import reencode


@click.group()
def gallery() -> None:
    """Say what a gallery holds, and look after it.

    \b
    Examples:
      visavis gallery info
      visavis gallery check
    """


@gallery.command()
@gallery_option
@json_option
def info(gallery: str | None, as_json: bool) -> None:
    """Show file or URL, encoder, and numbers of people, templates and photographs.

    \b
    Example:
      visavis gallery info --gallery people.db --json
    """
    with open_gallery(gallery) as registry:
        found = registry.info()
    row = found.as_dict()
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        click.echo(f"{key.replace('_', ' '):<14} {'none yet' if value is None else value}")


@gallery.command("rotate-key")
@click.option(
    "--master-key-file",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="Have this master key open the gallery from now on; then seal every row anew.",
)
@click.option(
    "--only-master", is_flag=True, help="Exchange the master key only; rows stay as they are."
)
@gallery_option
@json_option
def rotate_key(
    master_key_file: Path | None, only_master: bool, gallery: str | None, as_json: bool
) -> None:
    """Seal every template and photograph with a new data key, while others read and write.

    Interrupted at any moment, it goes on where it was when it is called again. A gallery of a
    version that did not seal is sealed by it. The file is rewritten at the end.

    \b
    Examples:
      visavis gallery rotate-key
      visavis gallery rotate-key --master-key-file new.key
    """
    if only_master and master_key_file is None:
        raise click.UsageError("--only-master needs the new one: --master-key-file NEW")
    with open_gallery(gallery) as registry:
        erased = True
        if master_key_file is not None:
            erased = registry.rewrap_key(master_key_file)
        rows = 0
        if not only_master:
            with portions("sealing") as told:
                rotation = registry.rotate_key(told)
            rows, erased = rotation.rows, rotation.erased
        info = registry.info()
    answer = {"data_key": info.data_key, "master_key": info.master_key}
    if as_json:
        print_json({**answer, "rows": rows, "erased": erased})
        return
    click.echo(f"data key {info.data_key}, master key {info.master_key}: {rows} rows sealed anew")
    if master_key_file is not None:
        click.echo(f"from now on name the new master key: --key-file {master_key_file}", err=True)
    if not erased:
        click.echo(
            "the file could not be rewritten now (another process reads it, or the disk is full): "
            "what the old key sealed may still lie in unused parts of it until the next rotation",
            err=True,
        )


@gallery.command()
@click.option(
    "--erased",
    metavar="PERSON",
    help="Look for what is left of somebody who was removed: the id that the removal printed, or "
    "a name.",
)
@click.option("--name", default="", help="With --erased ID: the name they had.")
@gallery_option
@json_option
def check(erased: str | None, name: str, gallery: str | None, as_json: bool) -> None:
    """Open every row and hold the tables against each other; exit status 3 when a fault is found.

    With --erased: look for somebody in every table, in the file's raw bytes and its journal, and
    in the Milvus of VISAVIS_SEARCH.
    The change log and the audit log keep ids, which is allowed; nothing else may be left.

    \b
    Examples:
      visavis gallery check
      visavis gallery check --erased 0123456789abcdef0123456789abcdef --name Ada
    """
    if name and erased is None:
        raise click.UsageError("--name goes with --erased ID")
    if erased is None:
        sys.exit(_checked(gallery, as_json))
    sys.exit(_erased(erased, name, gallery, as_json))


@gallery.command()
@click.option("--dry-run", is_flag=True, help="Only say who would be erased.")
@gallery_option
@json_option
def expire(dry_run: bool, gallery: str | None, as_json: bool) -> None:
    """Erase everybody whose consent has ended, as 'people remove' does. Made for a daily job.

    \b
    Example:
      visavis gallery expire --dry-run
    """
    with open_gallery(gallery) as registry:
        if dry_run:
            persons, erased = tuple(registry.expired()), True
        else:
            gone = registry.expire()
            persons, erased = gone.persons, gone.erased
            pass_on(registry)
    if as_json:
        who = [{"id": person.id, "name": person.name} for person in persons]
        print_json({"expired": who, "dry_run": dry_run, "erased": erased})
        return
    for person in persons:
        ended = f", consent ended {person.consent.expires:%Y-%m-%d}"
        click.echo(f"{'would erase' if dry_run else 'erased'}: {person.name}{ended}")
    if not persons:
        click.echo("nobody's consent has ended", err=True)
    if not erased:
        click.echo(
            "the file could not be rewritten now (another process reads it, or the disk is full): "
            "nobody finds them any more, but their bytes stay in it until the next removal",
            err=True,
        )


def _checked(gallery: str | None, as_json: bool) -> int:
    with open_gallery(gallery) as registry:
        found = registry.check()
    numbers = {
        "people": found.people,
        "templates": found.templates,
        "photographs": found.photographs,
        "clear": found.clear,
    }
    if as_json:
        problems = [{"kind": p.kind, "message": p.message} for p in found.problems]
        state = {"whole": found.whole, "problems": problems, "notes": found.notes}
        print_json({**numbers, "anchor": found.anchor, **state})
    else:
        for problem in found.problems:
            click.echo(f"{problem.kind}: {problem.message}", err=True)
        for note in found.notes:
            click.echo(f"note: {note}", err=True)
        told = ", ".join(f"{count} {what}" for what, count in numbers.items())
        click.echo(f"{'whole' if found.whole else 'NOT whole'}: {told}")
    return 0 if found.whole else REFUSED


def _erased(erased: str, name: str, gallery: str | None, as_json: bool) -> int:
    from visavis.gallery.upkeep.leftovers import is_id  # noqa: PLC0415

    person, wanted = (erased, name) if is_id(erased) else ("", erased)
    with open_gallery(gallery) as registry, searcher_outside(registry) as searcher:
        holders = [] if searcher is None else [searcher]
        report = registry.check_erased(person, wanted, holders=holders)
    if as_json:
        print_json(report.as_dict())
    else:
        for left_over in report.leftovers:
            click.echo(f"{left_over.where}: {left_over.what}, {left_over.count} time(s)")
        for note in report.not_looked:
            click.echo(f"not looked for: {note}", err=True)
        if not report.leftovers:
            click.echo("nothing is left")
    return REFUSED if report.leftovers else 0


for _command in (backup, backups, restore, migrate, reencode):
    gallery.add_command(_command)
