"""What the pages of reports share: boxes, tables, numbers in words, the layout."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.evaluate import plots

if TYPE_CHECKING:
    from visavis.evaluate.intervals import Interval

GAP = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"
"""Stands where there is no number."""


@dataclass(frozen=True, slots=True)
class Run:
    """How the results came about: the command as typed, and when, in words (now, unless said)."""

    command: str = ""
    made: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


@dataclass(frozen=True, slots=True)
class Alarm:
    """What must be said first: such as whose promise was not kept, and each point in words."""

    title: str
    points: tuple[str, ...]
    advice: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what it says, what stands small beside it, and whether good or bad."""

    text: str
    fine: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row is its head."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def rendered(template: Path, **values: object) -> str:
    """Fill in a template, which may use ``page.css`` and ``parts.html.j2`` beside this file."""
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
    )
    environment.globals["series"] = plots.SERIES
    return environment.get_template(template.name).render(**values)


# Numbers to words


def told(value: float) -> bool:
    """Tell whether there is a number."""
    return math.isfinite(value)


def percent(value: float) -> str:
    """Two decimals; more where two would say 0 or 100 and it is not."""
    value *= 100
    digits = 2
    while digits < 6 and value not in {0, 100} and round(value, digits) in {0, 100}:
        digits += 1
    return f"{value:.{digits}f}{GAP}%"


def percents(found: Interval) -> str:
    """Say an interval of shares."""
    return f"{percent(found.low)} to {percent(found.high)}"


def share(found: Interval | None) -> Cell:
    """Put a share and its interval into a cell."""
    if found is None:
        return Cell(NONE)
    low, high = (percent(end).removesuffix(f"{GAP}%") for end in (found.low, found.high))
    return Cell(percent(found.value), f"[{low} to {high}]")


def rate(value: float) -> str:
    """Say 0.001 as 1e-3 and 0.00123 as 1.2e-3."""
    if value == 0:
        return "0"
    number, power = f"{value:.1e}".split("e")
    number = number.removesuffix(".0")
    return f"{number}e{int(power)}" if int(power) else number


def rates(found: Interval) -> str:
    """Say an interval of error rates."""
    return f"{rate(found.low)} to {rate(found.high)}"


def one_in(often: float) -> str:
    """Say 0.001 as one in 1,000."""
    return f"one in {round(1 / often):,}"
