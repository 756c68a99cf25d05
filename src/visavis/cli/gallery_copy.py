"""visavis gallery backup, backups, restore, migrate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visavis.cli.answers import print_json
from visavis.cli.options import (
    actor,
    gallery_keys,
    gallery_option,
    gallery_path,
    json_option,
    open_gallery,
)
from visavis.cli.progress import portions

if TYPE_CHECKING:
    from visavis.gallery import Contents, Restoration


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
@gallery_option
@json_option
def backup(file: Path, force: bool, gallery: str | None, as_json: bool) -> None:
    """Write all that the gallery holds at this moment to FILE, while others go on.

    FILE is a gallery like any other, sealed with the same master key, which is not in it: keep
    that apart. It is read again and held against the gallery by count and digest before it gets
    its name, and noted in the audit log.

    \b
    Example:
      visavis gallery backup /backups/people-2026-11-29.db
    """
    begun = time.monotonic()
    with open_gallery(gallery) as registry, portions("backing up") as told:
        done = registry.backup(file, force=force, told=told)
    answer = {"file": str(done.file), "backup": done.id, **_contents(done.contents)}
    answer |= {"sequence": done.sequence, "bytes": done.size, "recorded": done.recorded}
    if as_json:
        print_json(answer | {"seconds": round(time.monotonic() - begun, 3)})
        return
    click.echo(f"{done.file}: {_told(done.contents)}, {done.size / 1e6:.1f} MB")
    click.echo(f"SHA-256 {done.contents.digest}, alike in both; backup {done.id}")
    if not done.recorded:
        click.echo(
            "the gallery can only be read, so its audit log does not know of this backup: note "
            "yourself who is in it",
            err=True,
        )


@click.command()
@click.option(
    "--gone",
    metavar="ID",
    help="Note that the backup of this id (or its beginning, or its file) was destroyed.",
)
@gallery_option
@json_option
def backups(gone: str | None, gallery: str | None, as_json: bool) -> None:
    """List the backups and other copies of the gallery that its audit log knows of.

    'gallery check --erased PERSON' names those that hold somebody who was removed.

    \b
    Examples:
      visavis gallery backups
      visavis gallery backups --gone 3f2a9c41
    """
    with open_gallery(gallery) as registry:
        if gone is not None:
            registry.note_gone(gone)
        found = registry.copies()
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "id": copy.id,
                "kind": str(copy.kind),
                "place": copy.place,
                "at": copy.at.isoformat(),
                "complete": copy.complete,
                "gone": copy.gone,
                "digest": copy.digest or None,
            }
            for copy in found
        ]
        print_json({"backups": rows})
        return
    for copy in found:
        state = "gone" if copy.gone else "there" if copy.complete else "cut short"
        told = f"{copy.id[:8]}  {copy.at:%Y-%m-%d %H:%M}  {copy.kind:<9}  {state:<9}"
        click.echo(f"{told}  {copy.place}")
    if not found:
        click.echo("no copy of this gallery is known", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace all that the gallery holds.")
@click.option("--digest", metavar="SHA256", help="What 'gallery backup' printed for FILE.")
@click.option("--damaged", is_flag=True, help="Restore it although 'gallery check' finds faults.")
@gallery_option
@json_option
def restore(
    file: Path,
    force: bool,
    digest: str | None,
    damaged: bool,
    gallery: str | None,
    as_json: bool,
) -> None:
    """Make the gallery what the backup FILE holds, all of it or nothing.

    FILE is digested and looked through first, and only read. Whoever was removed since the backup
    is enrolled again: they are named, to be removed once more. Open programs should be restarted.

    \b
    Examples:
      visavis gallery restore /backups/people-2026-11-29.db
      visavis gallery restore people.backup --gallery postgresql://ada@db.local/people
    """
    from visavis.gallery import RestoreConfig  # noqa: PLC0415
    from visavis.gallery import restore as restored  # noqa: PLC0415

    config = RestoreConfig(gallery_keys(), actor(), force, digest, damaged)
    with portions("restoring") as told:
        done = restored(file, gallery_path(gallery), config, told)
    if as_json:
        print_json(_restored(done))
        return
    click.echo(f"{done.where}: {_told(done.contents)}")
    click.echo(f"SHA-256 {done.contents.digest}, alike in both")
    for problem in done.problems:
        click.echo(f"{problem.kind}: {problem.message}", err=True)
    for person in done.returned:
        click.echo(
            f"enrolled again, had been removed since the backup: {person.name} ({person.id})",
            err=True,
        )
    if not done.erased:
        click.echo("what was replaced may still lie in unused parts of the file", err=True)


@click.command()
@click.argument("to", required=False)
@click.option(
    "--search",
    metavar="URL",
    help="Fill this Milvus from the gallery instead, and hold every row against it.",
)
@click.option("--drop", is_flag=True, help="With --search: drop what it holds of the gallery.")
@gallery_option
@json_option
def migrate(
    to: str | None, search: str | None, drop: bool, gallery: str | None, as_json: bool
) -> None:
    """Make TO, a new file or postgresql://user@host/database, the same gallery.

    Others go on writing here meanwhile. Interrupted at any moment, the same command goes on where
    it was; until it is complete nothing opens TO. Called again when it is complete, it brings
    over what came since: stop those who write, call it once more, and start them with TO.

    \b
    Examples:
      visavis gallery migrate postgresql://ada@db.local/people
      visavis gallery migrate people.db --gallery postgresql://ada@db.local/people
      visavis gallery migrate --search milvus://milvus.local:19530/visavis
      visavis gallery migrate --search milvus://milvus.local:19530/visavis --drop
    """
    if (to is None) == (search is None):
        raise click.UsageError("name one: TO, or --search URL")
    if drop and search is None:
        raise click.UsageError("--drop goes with --search URL")
    if search is not None:
        _searched(search, drop, gallery, as_json)
        return
    assert to is not None
    with open_gallery(gallery) as registry, portions("migrating") as told:
        done = registry.migrate(to, told=told)
    answer = {"where": done.where, "way": str(done.way), **_contents(done.contents)}
    if as_json:
        print_json(answer | {"recorded": done.recorded})
        return
    click.echo(f"{done.where} ({done.way}): {_told(done.contents)}")
    click.echo(f"SHA-256 {done.contents.digest}, alike in both")
    click.echo(
        "the old gallery is still there: name the new one from now on (--gallery, "
        "VISAVIS_GALLERY), and delete the old one, which keeps everybody who is removed later",
        err=True,
    )


def _searched(search: str, drop: bool, gallery: str | None, as_json: bool) -> None:
    from contextlib import closing  # noqa: PLC0415

    from visavis.cli.options import settings  # noqa: PLC0415
    from visavis.gallery.search.searchers import open_milvus  # noqa: PLC0415
    from visavis.gallery.transfer.filling import fill  # noqa: PLC0415

    token = settings().search_token
    with (
        open_gallery(gallery) as registry,
        closing(open_milvus(search, registry, token=token)) as searcher,
    ):
        if drop:
            searcher.drop()
            answer: dict[str, Any] = {"collection": searcher.name, "dropped": True}
            said = f"{searcher.name} is dropped; search without --search and VISAVIS_SEARCH"
        else:
            with portions("sending") as told:
                done = fill(searcher, registry, told)
            answer = {"collection": done.name, "dropped": False, "templates": done.templates}
            answer |= {"digest": done.digest}
            said = f"{done.name}: {done.templates} templates, SHA-256 {done.digest}, alike in both"
    if as_json:
        print_json(answer)
    else:
        click.echo(said)


def _restored(done: Restoration) -> dict[str, Any]:
    return {
        "where": done.where,
        "backup": done.backup or None,
        **_contents(done.contents),
        "returned": [{"id": person.id, "name": person.name} for person in done.returned],
        "problems": [{"kind": p.kind, "message": p.message} for p in done.problems],
        "erased": done.erased,
    }


def _contents(contents: Contents) -> dict[str, Any]:
    return {"counts": contents.counts, "digest": contents.digest}


def _told(contents: Contents) -> str:
    told = {"people": "person", "templates": "template", "photographs": "photograph"}
    return ", ".join(f"{contents.counts[table]} {what}" for what, table in told.items())
