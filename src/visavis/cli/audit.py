"""visavis audit show, verify, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visavis.cli.answers import REFUSED, print_json
from visavis.cli.options import gallery_option, json_option, open_gallery

if TYPE_CHECKING:
    from visavis.gallery.trail.audit import AuditReport


@click.group()
def audit() -> None:
    """Show, verify and export the log of who did what to whom.

    \b
    Example:
      visavis audit verify
    """


@audit.command()
@click.argument("person", required=False)
@click.option(
    "--newest",
    default=50,
    show_default=True,
    type=click.IntRange(1),
    help="How many entries at most.",
)
@gallery_option
@json_option
def show(person: str | None, newest: int, gallery: str | None, as_json: bool) -> None:
    """Show the newest entries, the oldest of them first; of PERSON (a name or an id) or of all.

    Of somebody erased the id is known still, and the name is not.

    \b
    Examples:
      visavis audit show
      visavis audit show Ada --json
    """
    from visavis.gallery.upkeep.leftovers import is_id  # noqa: PLC0415

    with open_gallery(gallery) as registry:
        subject = person
        if person is not None and not is_id(person):
            subject = registry.person(person).id
        entries = list(registry.audit.entries(subject=subject, newest=newest))
    if as_json:
        print_json({"entries": [entry.as_dict() for entry in entries]})
        return
    for entry in entries:
        details = " ".join(f"{key}={_short(value)}" for key, value in entry.details.items())
        who = entry.subject[:8] or "-"
        click.echo(
            f"{entry.seq:6d}  {entry.at[:19]}  {entry.actor}  {entry.action}  {who:<8}  {details}"
        )


@audit.command()
@click.option(
    "--anchor",
    metavar="NUMBER:HASH",
    help="What an earlier 'audit verify' printed and you kept elsewhere; the log must hold it.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Verify what 'audit export' wrote, by the keys of the gallery.",
)
@gallery_option
@json_option
def verify(anchor: str | None, file: Path | None, gallery: str | None, as_json: bool) -> None:
    """Find any entry that was changed, dropped or moved; exit status 3 when there is one.

    Keep the anchor that this prints in another place, such as a letter or another machine: only
    with it can be seen that the newest entries were cut off.

    \b
    Examples:
      visavis audit verify
      visavis audit verify --anchor 1204:9f86d0...
    """
    with open_gallery(gallery) as registry:
        if file is None:
            report = registry.audit.verify(anchor)
        else:
            with click.open_file(str(file), encoding="utf-8") as lines:
                report = registry.audit.verify_lines(lines, str(file), anchor)
    if as_json:
        print_json(report.as_dict())
    else:
        _tell(report)
    sys.exit(0 if report.intact else REFUSED)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@gallery_option
@json_option
def export(file: Path, gallery: str | None, as_json: bool) -> None:
    """Write every entry to FILE as a line of JSON; to standard output unless a file is named.

    \b
    Example:
      visavis audit export audit.jsonl
    """
    if as_json and str(file) == "-":
        raise click.UsageError("every line is JSON already; with --json name a FILE for them")
    count, anchor = 0, ""
    with open_gallery(gallery) as registry, click.open_file(str(file), "w", "utf-8") as out:
        for entry in registry.audit.entries():
            out.write(json.dumps(entry.as_dict(), separators=(",", ":")) + "\n")
            count, anchor = count + 1, f"{entry.seq}:{entry.hash}"
    if as_json:
        print_json({"entries": count, "anchor": anchor, "file": str(file)})


def _tell(report: AuditReport) -> None:
    for fault in report.faults:
        click.echo(fault.message, err=True)
    if report.signed is None:
        signed = "signatures not looked at: the gallery has no keys, or they are not at hand"
    else:
        signed = f"{report.signed} signed"
    state = "intact" if report.intact else "NOT intact"
    click.echo(f"{state}: {report.entries} entries, {signed}")
    if report.anchor:
        click.echo(f"anchor {report.anchor}")


def _short(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 24 else f"{text[:21]}..."
