"""What somebody agreed to, as options."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from visavis.values import Consent

    Command = Callable[..., Any]


def consent_options(command: Command) -> Command:
    """Add --consent, --purpose and --expires; they arrive by these names, see `agreed`."""
    for option in (
        click.option(
            "--expires",
            metavar="DATE",
            help="Last day of the consent, such as 2027-06-30, or a time with its zone; from then "
            "on nobody is recognised by it, and 'visavis gallery expire' erases them.",
        ),
        click.option("--purpose", default="", metavar="TEXT", help="What it is given for."),
        click.option(
            "--consent", default="", metavar="REFERENCE", help="Where the consent is on file."
        ),
    ):
        command = option(command)
    return command


def agreed(reference: str, purpose: str, expires: str | None) -> Consent | None:
    """Make a consent of the options; None when none was given."""
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
