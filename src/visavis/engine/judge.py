"""What compare and verify decide by: a distance, and the operating points measured with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visavis.decide import OperatingCurve, curve_of, distance
from visavis.errors import NotCalibrated
from visavis.head import PairHead, head_of, how_to_make
from visavis.values import DecideBy, Decision, EncoderId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visavis.encode import Encoder
    from visavis.engine.sight import Observed
    from visavis.models import ModelStore
    from visavis.values import Embedding, OperatingPoint, Template


@dataclass(frozen=True, slots=True)
class Judge:
    """The plain distance with the encoder's curve, or a head with its own."""

    curve: OperatingCurve
    head: PairHead | None = None

    @property
    def by(self) -> DecideBy:
        """What the decisions say that they were made by."""
        return DecideBy.DISTANCE if self.head is None else DecideBy.HEAD

    def distance(self, a: Embedding | Template, b: Embedding | Template) -> float:
        """Give d in [0, 4], lower is more alike; raises EncoderMismatch."""
        return distance(a, b) if self.head is None else self.head.distance(a, b)

    def decision(
        self, d: float, point: OperatingPoint, encoder: EncoderId, seen: Sequence[Observed]
    ) -> Decision:
        """Hold d against an operating point of ``curve`` and say why in words."""
        accepted = d <= point.tau
        reasons = [
            f"d = {d:.3f} is {'within' if accepted else 'beyond'} tau = {point.tau:.3f}, where "
            f"{point.fmr:g} of all pairs of different people would be accepted"
        ]
        if self.head is not None:
            reasons.append(f"d is that of the head trained on {self.head.trained_on}")
        if point.extrapolated:
            reasons.append("that rate is lower than the data could show; tau was extrapolated")
        for number, face in enumerate(seen, 1):
            advice = "; ".join(face.sighting.quality.advice)
            if advice:
                which = f"photograph {number}" if len(seen) > 1 else "the photograph"
                reasons.append(f"{which} is weak evidence: {advice}")
        return Decision(
            accepted,
            d,
            point.tau,
            point.fmr,
            point.fmr_upper,
            encoder,
            tuple(reasons),
            tuple(face.sighting for face in seen),
            self.by,
            None if self.head is None else self.head.probability_at(d),
        )


def head_judge(store: ModelStore | None, encoder: Encoder) -> Judge:
    """Read the head that was trained for an encoder, and what was measured with it.

    Raises
    ------
    HeadMissing, EncoderMismatch, ModelRefused
        See ``head.head_of``.
    NotCalibrated
        When the operating points are missing or belong to another head.
    """
    stored = store.head(encoder.id) if store else None
    head = head_of(stored, encoder.id, encoder.name)
    points = store.head_points(encoder.id) if store else None
    try:
        # Named by the head's own id: points of another head are not taken for its own.
        curve = curve_of(points, EncoderId(head.id), encoder.name)
    except NotCalibrated as missing:
        raise NotCalibrated(
            f"the head for {encoder.name} has no sound operating points of its own; make both "
            f"again: {how_to_make(encoder.name)}"
        ) from missing
    return Judge(curve, head)
