"""What a run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visavis.train.health import Vitals
    from visavis.train.watch import Check


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; told after every step, now and then with more.

    Attributes
    ----------
    loss
        Of the last batch; NaN where no batch was seen.
    vitals, check, note
        The run's health, a look at held-out people, and what was done about a collapse.
    """

    step: int
    steps: int
    loss: float = float("nan")
    images_a_second: float = 0.0
    vitals: Vitals | None = None
    check: Check | None = None
    note: str = ""
