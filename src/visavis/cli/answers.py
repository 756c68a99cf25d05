"""Values to JSON and to words: the one place that spells what the command line prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from visavis.errors import VisavisError
    from visavis.values import (
        Decision,
        Identification,
        Identified,
        Liveness,
        Quality,
        Ruling,
        Sighting,
    )

SCHEMA = 1
"""Of every JSON object printed; raised when a field changes its meaning or goes."""

REFUSED = 3
"""Exit status when an input or the gallery was refused."""


def print_json(answer: dict[str, Any]) -> None:
    """Print one object, and nothing else, on standard output."""
    plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    click.echo(json.dumps({"schema": SCHEMA, **answer}, ensure_ascii=plain, allow_nan=False))


def report(refused: VisavisError, as_json: bool) -> int:
    """Say what was refused, on standard error and in JSON; gives the exit status."""
    if as_json:
        print_json({"error": {"code": refused.code, "message": str(refused)}})
    click.echo(f"{refused.code}: {refused}", err=True)
    return REFUSED


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


def liveness_text(name: str, judged: Liveness) -> str:
    """Say in a few lines whether something was live."""
    words = {
        True: ("live", "green"),
        False: ("not live", "red"),
        None: ("cannot be told", "yellow"),
    }
    word, colour = words[judged.live]
    why = ""
    if judged.score is not None and judged.threshold is not None:
        why = f" (score {judged.score:.3f}, live from {judged.threshold:.3f}"
        if judged.bpcer is not None and judged.apcer is not None:
            why += f", where BPCER {100 * judged.bpcer:.2g} % and APCER {100 * judged.apcer:.2g} %"
            why += " were measured"
        why += ")"
    head = f"{name}: {click.style(word, fg=colour)}{why}"
    return "\n".join([head, *(f"  {reason}" for reason in judged.reasons)])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def identified_json(face: Identified) -> dict[str, Any]:
    """Spell who one face is."""
    return {
        **sighting_json(face.sighting),
        "person": face.person.name if face.person else None,
        "decision": _recognised(face),
        "matched": face.matched.name if face.matched else None,
        "distance": None if face.distance is None else round(face.distance, 6),
        "candidates": [
            {"person": c.person.name, "distance": round(c.distance, 6)} for c in face.candidates
        ],
        "liveness": ruling_json(face.liveness),
    }


def _recognised(face: Identified) -> str:
    if face.person:
        return "recognized"
    return "not live" if face.matched else "not recognized"


def decision_text(decision: Decision, yes: str, no: str) -> str:
    """Say the answer and why in a few lines."""
    head = click.style(yes, fg="green") if decision.accepted else click.style(no, fg="red")
    return "\n".join([head, *(f"  {reason}" for reason in decision.reasons)])


def identification_text(name: str, answer: Identification) -> str:
    """Say who is in a picture, a line a face."""
    if not answer.faces:
        return f"{name}: no face found"
    lines = []
    for number, face in enumerate(answer.faces, 1):
        which = f" face {number}" if len(answer.faces) > 1 else ""
        if face.person:
            who = click.style(face.person.name, fg="green")
            why = f"d = {face.distance:.3f}, tau = {answer.tau:.3f} at FPIR {answer.fpir:g}"
        elif face.matched and face.liveness:
            who = click.style("not accepted", fg="red")
            why = f"looks like {face.matched.name}; the policy {face.liveness.policy} is not met"
        elif face.distance is None:
            who, why = click.style("not recognized", fg="yellow"), "nobody is enrolled"
        else:
            who = click.style("not recognized", fg="yellow")
            why = f"nearest d = {face.distance:.3f}, tau = {answer.tau:.3f} at FPIR {answer.fpir:g}"
        lines.append(f"{name}:{which} {who} ({why})")
        lines += [f"    {c.person.name}: d = {c.distance:.3f}" for c in face.candidates]
        lines += [f"    {reason}" for reason in (face.liveness.reasons if face.liveness else ())]
    return "\n".join(lines)
