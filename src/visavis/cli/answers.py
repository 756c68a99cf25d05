"""Values to JSON and to words: the one place that spells what the command line prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from visavis.spelling import SCHEMA

if TYPE_CHECKING:
    from visavis.errors import VisavisError
    from visavis.values import (
        Decision,
        Identification,
        Liveness,
    )

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
