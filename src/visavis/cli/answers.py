"""Values to JSON and to words: the one place that spells what the command line prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from visavis.errors import VisavisError
    from visavis.values import Decision, Identification, Identified, Quality, Sighting

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
    """Spell the answer of compare and verify."""
    return {
        "decision": "same" if decision.accepted else "different",
        "distance": round(decision.distance, 6),
        "tau": round(decision.tau, 6),
        "fmr": decision.fmr,
        "fmr_upper": decision.fmr_upper,
        "encoder": decision.encoder,
        "decided_by": str(decision.decided_by),
        "probability": _rounded(decision.probability),
        "liveness": None,
        "reasons": list(decision.reasons),
        "faces": [sighting_json(seen) for seen in decision.faces],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def identified_json(face: Identified) -> dict[str, Any]:
    """Spell who one face is."""
    return {
        **sighting_json(face.sighting),
        "person": face.person.name if face.person else None,
        "decision": "recognized" if face.person else "not recognized",
        "distance": None if face.distance is None else round(face.distance, 6),
        "candidates": [
            {"person": c.person.name, "distance": round(c.distance, 6)} for c in face.candidates
        ],
    }


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
        elif face.distance is None:
            who, why = click.style("not recognized", fg="yellow"), "nobody is enrolled"
        else:
            who = click.style("not recognized", fg="yellow")
            why = f"nearest d = {face.distance:.3f}, tau = {answer.tau:.3f} at FPIR {answer.fpir:g}"
        lines.append(f"{name}:{which} {who} ({why})")
        lines += [f"    {c.person.name}: d = {c.distance:.3f}" for c in face.candidates]
    return "\n".join(lines)
