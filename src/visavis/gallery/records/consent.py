"""Consent as it is checked and stored: a reference, a purpose and an end."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from visavis.errors import ConsentRefused, NameRefused
from visavis.gallery.database.times import spelled
from visavis.values import Consent

from .names import clean_name

if TYPE_CHECKING:
    from datetime import datetime


def clean_consent(consent: Consent, now: datetime) -> Consent:
    """Bring a consent into the form it is stored in.

    Raises
    ------
    ConsentRefused
        A text that is longer than 200 characters or breaks its line; an end without a time zone,
        or one that is past already.
    """
    texts = {"reference": consent.reference, "purpose": consent.purpose}
    for what, text in texts.items():
        try:
            texts[what] = clean_name(text) if text.strip() else ""
        except NameRefused as refused:
            said = str(refused).replace("the name", "it")
            raise ConsentRefused(f"the consent's {what} cannot be kept: {said}") from refused
    expires = consent.expires
    if expires is not None:
        if expires.tzinfo is None:
            raise ConsentRefused(
                f"the consent ends at {expires}, and nobody knows in which time zone; add one, "
                "such as +00:00"
            )
        if expires <= now:
            raise ConsentRefused(
                f"the consent ended at {expires}, before the enrolment; ask for a new one"
            )
        try:
            expires = expires.astimezone(UTC)
        except OverflowError:
            raise ConsentRefused(f"{expires} lies outside the calendar") from None
    return Consent(texts["reference"], texts["purpose"], expires)


def columns_of(consent: Consent) -> dict[str, object]:
    """Spell a consent as the columns of a person's row."""
    return {
        "consent": consent.reference or None,
        "purpose": consent.purpose or None,
        "expires": None if consent.expires is None else spelled(consent.expires),
    }
