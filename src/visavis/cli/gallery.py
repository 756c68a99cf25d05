"""visavis gallery info."""

from __future__ import annotations

import click

from visavis.cli.answers import print_json
from visavis.cli.options import gallery_option, json_option, open_gallery


@click.group()
def gallery() -> None:
    """Say what a gallery holds.

    \b
    Example:
      visavis gallery info
    """


@gallery.command()
@gallery_option
@json_option
def info(gallery: str | None, as_json: bool) -> None:
    """Show file, encoder, and numbers of people, templates and photographs.

    \b
    Example:
      visavis gallery info --gallery people.db --json
    """
    with open_gallery(gallery) as registry:
        found = registry.info()
    row = {
        "path": str(found.path),
        "id": found.id,
        "schema_version": found.schema_version,
        "encoder": found.encoder,
        "encoder_name": found.encoder_name,
        "people": found.people,
        "templates": found.templates,
        "photographs": found.photographs,
        "bytes": found.bytes_on_disk,
        "created": found.created.isoformat(),
        "writable": found.writable,
    }
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        click.echo(f"{key.replace('_', ' '):<14} {'none yet' if value is None else value}")
