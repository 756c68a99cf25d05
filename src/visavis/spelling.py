"""Values to JSON: how the command line and the service spell what they answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visavis.values import (
        Decision,
        Identification,
        Identified,
        Liveness,
        Person,
        Quality,
        Ruling,
        Sighting,
    )

SCHEMA = 1
"""Of every JSON object; raised when a field changes its meaning or goes."""


def quality_json(quality: Quality) -> dict[str, Any]:
    """Spell a face's quality."""
    numbers = ("eyes", "yaw", "pitch", "roll", "sharpness", "brightness", "contrast", "inside")
    return {
        **{name: round(getattr(quality, name), 4) for name in numbers},
        "advice": list(quality.advice),
    }


def sighting_json(seen: Sighting) -> dict[str, Any]:
    """Spell a face: box, landmarks, score, quality."""
    return {
        "box": [round(v, 1) for v in seen.face.box],
        "landmarks": [[round(float(v), 1) for v in point] for point in seen.face.landmarks],
        "score": round(seen.face.score, 4),
        "quality": quality_json(seen.quality),
    }


def decision_json(decision: Decision) -> dict[str, Any]:
    """Spell the answer of compare and verify.

    ``decision`` is ``same`` only when everything asked for is satisfied, so that a script which
    looks at nothing else is safe; what recognition says alone is ``matched``.
    """
    return {
        "decision": _decided(decision),
        "accepted": decision.accepted,
        "matched": decision.matched,
        "distance": round(decision.distance, 6),
        "tau": round(decision.tau, 6),
        "fmr": decision.fmr,
        "fmr_upper": decision.fmr_upper,
        "encoder": decision.encoder,
        "decided_by": str(decision.decided_by),
        "probability": _rounded(decision.probability),
        "liveness": ruling_json(decision.liveness),
        "reasons": list(decision.reasons),
        "faces": [sighting_json(seen) for seen in decision.faces],
    }


def _decided(decision: Decision) -> str:
    if decision.accepted:
        return "same"
    return "not live" if decision.matched else "different"


def liveness_json(judged: Liveness) -> dict[str, Any]:
    """Spell what one kind of liveness answered."""
    return {
        "live": judged.live,
        "score": _rounded(judged.score),
        "threshold": _rounded(judged.threshold),
        "bpcer": judged.bpcer,
        "apcer": judged.apcer,
        "model": judged.model,
        "reasons": list(judged.reasons),
    }


def ruling_json(ruling: Ruling | None) -> dict[str, Any] | None:
    """Spell what a policy says; null when none was asked for."""
    if ruling is None:
        return None
    parts = {"passive": ruling.passive, "active": ruling.active}
    return {
        "policy": ruling.policy,
        "satisfied": ruling.satisfied,
        "bpcer": ruling.bpcer,
        "apcer": ruling.apcer,
        **{name: liveness_json(part) if part else None for name, part in parts.items()},
        "reasons": list(ruling.reasons),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def identified_json(face: Identified) -> dict[str, Any]:
    """Spell who one face is."""
    return {
        **sighting_json(face.sighting),
        "person": face.person.name if face.person else None,
        "person_id": face.person.id if face.person else None,
        "decision": _recognised(face),
        "matched": face.matched.name if face.matched else None,
        "matched_id": face.matched.id if face.matched else None,
        "distance": None if face.distance is None else round(face.distance, 6),
        "candidates": [
            {"person": c.person.name, "id": c.person.id, "distance": round(c.distance, 6)}
            for c in face.candidates
        ],
        "liveness": ruling_json(face.liveness),
    }


def _recognised(face: Identified) -> str:
    if face.person:
        return "recognized"
    return "not live" if face.matched else "not recognized"


def identification_json(answer: Identification) -> dict[str, Any]:
    """Spell what is said of a picture beside its faces."""
    return {
        "gallery_size": answer.gallery_size,
        "tau": round(answer.tau, 6),
        "fpir": answer.fpir,
        "extrapolated": answer.extrapolated,
        "encoder": answer.encoder,
    }


def person_json(person: Person) -> dict[str, Any]:
    """Spell somebody enrolled."""
    consent = person.consent
    expires = consent.expires and consent.expires.isoformat()
    return {
        "id": person.id,
        "name": person.name,
        "created": person.created.isoformat(),
        "templates": person.templates,
        "consent": {
            "reference": consent.reference,
            "purpose": consent.purpose,
            "expires": expires,
            "expired": person.expired(datetime.now(UTC)),
        },
    }
