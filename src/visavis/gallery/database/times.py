"""Times as they are stored: text, ISO 8601, UTC, microseconds; such texts sort as times do."""

from __future__ import annotations

from datetime import UTC, datetime

from .faults import damaged


def now() -> str:
    """Give the time as it is stored."""
    return spelled(datetime.now(UTC))


def spelled(moment: datetime) -> str:
    """Write a time as it is stored."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def when(stored: str, where: str) -> datetime:
    """Read a stored time; GalleryUnusable when it is none."""
    try:
        return datetime.fromisoformat(stored)
    except (TypeError, ValueError) as fault:
        raise damaged(where, "a time cannot be read") from fault
