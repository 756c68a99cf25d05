"""visavis keys create, list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from visavis.cli.answers import print_json
from visavis.cli.options import gallery_option, json_option, open_gallery


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that 'visavis serve' wants.

    \b
    Example:
      visavis keys create desk --role admin
    """


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(["read", "identify", "enroll", "admin"]),
    help="read: see who is enrolled. identify: compare, verify, identify, the door. enroll: both, "
    "and enrol. admin: everything. May be given several times.",
)
@click.option("--days", type=click.IntRange(1, 36500), help="The key is good for so many days.")
@gallery_option
@json_option
def create(
    name: str, roles: tuple[str, ...], days: int | None, gallery: str | None, as_json: bool
) -> None:
    """Make a key called NAME for one gallery; its secret is shown once, here.

    \b
    Examples:
      visavis keys create desk --role admin
      visavis keys create "front door" --role identify --days 365
    """
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_gallery(gallery, create=True) as registry:
        key, secret = registry.access.make_key(name, roles, expires)
    if as_json:
        print_json({"key": key.as_dict(), "secret": secret})
        return
    click.echo(secret)
    click.echo(
        f"{key.name}: {', '.join(sorted(key.roles))}. Keep it; it is not shown again.", err=True
    )


@keys.command("list")
@gallery_option
@json_option
def list_(gallery: str | None, as_json: bool) -> None:
    """List the keys of a gallery, without their secrets.

    \b
    Example:
      visavis keys list
    """
    with open_gallery(gallery) as registry:
        found = registry.access.keys()
    if as_json:
        print_json({"keys": [key.as_dict() for key in found]})
        return
    now = datetime.now(UTC)
    for key in found:
        state = "good" if key.good(now) else "revoked" if key.revoked else "expired"
        used = f"used {key.last_used:%Y-%m-%d}" if key.last_used else "never used"
        click.echo(
            f"{key.id[:8]}  {state:<7}  {','.join(sorted(key.roles)):<14}  {key.name}, {used}"
        )


@keys.command()
@click.argument("key")
@gallery_option
@json_option
def revoke(key: str, gallery: str | None, as_json: bool) -> None:
    """Let KEY (its id, or eight digits of it) open nothing from now on.

    \b
    Example:
      visavis keys revoke 0123abcd
    """
    with open_gallery(gallery) as registry:
        gone = registry.access.revoke_key(key)
    if as_json:
        print_json({"key": gone.as_dict()})
    else:
        click.echo(f"{gone.name} opens nothing any more")
