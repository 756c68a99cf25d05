"""The thresholds of a liveness network: each stands for an error rate that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from visavis.errors import ModelRefused

if TYPE_CHECKING:
    from collections.abc import Mapping


class Rate(StrEnum):
    """Which error a threshold is chosen by (ISO/IEC 30107-3)."""

    BPCER = "bpcer"
    """Share of live faces taken for attacks."""
    APCER = "apcer"
    """Share of attacks taken for live, of the species that gets through most."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The error rate that a user names; the threshold follows from it."""

    rate: Rate = Rate.BPCER
    at: float = 0.01


@dataclass(frozen=True, slots=True)
class LivePoint:
    """A threshold and what was measured at it.

    Attributes
    ----------
    threshold
        Live when score >= threshold.
    bpcer, apcer
        As measured on subjects held out; APCER of the worst species, which ``worst`` names.
    """

    aim: Aim
    threshold: float
    bpcer: float
    apcer: float
    worst: str


def points_of(stored: Mapping[str, Any] | None, name: str) -> tuple[LivePoint, ...]:
    """Read the points of a liveness network.

    Raises
    ------
    ModelRefused
        When there are none, or they are damaged.
    """
    if stored is None:
        raise ModelRefused(
            f"{name} has no operating points, so nothing says which score is live; "
            f"'visavis train liveness' writes them beside the weights"
        )
    try:
        points = tuple(
            LivePoint(
                Aim(Rate(each["rate"]), float(each["at"])),
                float(each["threshold"]),
                float(each["bpcer"]["value"]),
                float(each["apcer"]["value"]),
                str(each["worst"]),
            )
            for each in stored["points"]
        )
    except (KeyError, TypeError, ValueError) as damaged:
        raise ModelRefused(f"{name}: damaged operating points: {damaged}") from None
    if not points:
        raise ModelRefused(f"{name} has no operating points")
    return points


def point_at(points: tuple[LivePoint, ...], aim: Aim, name: str) -> LivePoint:
    """Give the point measured for that rate; raises ModelRefused naming those there are."""
    for each in points:
        if each.aim.rate is aim.rate and abs(each.aim.at - aim.at) < 1e-9:
            return each
    there = ", ".join(f"{p.aim.rate.upper()} {100 * p.aim.at:g} %" for p in points)
    raise ModelRefused(
        f"{name} was not measured at {aim.rate.upper()} {100 * aim.at:g} %; it was at {there}"
    )
