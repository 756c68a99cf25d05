"""JSON to values: `visavis.spelling` the other way round, and what the service says besides."""

from __future__ import annotations

from datetime import MINYEAR, UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from visavis.values import (
    Advice,
    Candidate,
    Consent,
    DecideBy,
    Decision,
    EncoderId,
    Enrolment,
    Face,
    Identification,
    Identified,
    Liveness,
    Looked,
    Person,
    PersonId,
    Quality,
    Ruling,
    Sighting,
    TemplateId,
)

if TYPE_CHECKING:
    from visavis.client.parts import Part

_UNKNOWN = datetime(MINYEAR, 1, 1, tzinfo=UTC)


def sighting(said: Part) -> Sighting:
    """Read a face and its quality."""
    x, y, width, height = said.numbers("box", 4)
    points = np.array(said.points("landmarks", 5), np.float32)
    score = said.number("score")
    return Sighting(Face((x, y, width, height), points, score), _quality(said, score))


def _quality(face: Part, score: float) -> Quality:
    said = face.part("quality")
    try:
        advice = tuple(Advice(each) for each in said.texts("advice"))
    except ValueError:
        said.strange("advice")
    return Quality(
        eyes=said.number("eyes"),
        yaw=said.number("yaw"),
        pitch=said.number("pitch"),
        roll=said.number("roll"),
        sharpness=said.number("sharpness"),
        brightness=said.number("brightness"),
        contrast=said.number("contrast"),
        score=score,
        inside=said.number("inside"),
        advice=advice,
    )


def looked(said: Part) -> Looked:
    """Read what is to be seen in a picture."""
    return Looked(said.count("width"), said.count("height"), _sightings(said))


def _sightings(said: Part) -> tuple[Sighting, ...]:
    return tuple(sighting(face) for face in said.parts("faces"))


def decision(said: Part) -> Decision:
    """Read the answer of compare and verify."""
    try:
        decided_by = DecideBy(said.text("decided_by"))
    except ValueError:
        said.strange("decided_by")
    return Decision(
        accepted=said.flag("accepted"),
        distance=said.number("distance"),
        tau=said.number("tau"),
        fmr=said.number("fmr"),
        fmr_upper=said.number("fmr_upper"),
        encoder=EncoderId(said.text("encoder")),
        reasons=said.texts("reasons"),
        faces=_sightings(said),
        decided_by=decided_by,
        probability=_perhaps(said, "probability"),
        liveness=_ruling(said),
    )


def liveness(said: Part) -> Liveness:
    """Read what one kind of liveness answered."""
    return Liveness(
        live=said.flag("live") if said.has("live") else None,
        score=_perhaps(said, "score"),
        threshold=_perhaps(said, "threshold"),
        bpcer=_perhaps(said, "bpcer"),
        apcer=_perhaps(said, "apcer"),
        model=said.text("model"),
        reasons=said.texts("reasons"),
    )


def _ruling(face: Part) -> Ruling | None:
    if not face.has("liveness"):
        return None
    said = face.part("liveness")
    return Ruling(
        policy=said.text("policy"),
        satisfied=said.flag("satisfied"),
        passive=liveness(said.part("passive")) if said.has("passive") else None,
        active=liveness(said.part("active")) if said.has("active") else None,
        bpcer=_perhaps(said, "bpcer"),
        apcer=_perhaps(said, "apcer"),
        reasons=said.texts("reasons"),
    )


def _perhaps(said: Part, name: str) -> float | None:
    return said.number(name) if said.has(name) else None


def identification(said: Part) -> Identification:
    """Read who is in a picture."""
    return Identification(
        faces=tuple(_identified(face) for face in said.parts("faces")),
        tau=said.number("tau"),
        fpir=said.number("fpir"),
        gallery_size=said.count("gallery_size"),
        encoder=EncoderId(said.text("encoder")),
        extrapolated=said.flag("extrapolated"),
    )


def _identified(said: Part) -> Identified:
    near = said.parts("candidates")
    return Identified(
        person=_somebody(said, "person"),
        distance=_perhaps(said, "distance"),
        sighting=sighting(said),
        candidates=tuple(
            Candidate(_named(each.text("person"), each.text("id")), each.number("distance"))
            for each in near
        ),
        liveness=_ruling(said),
        matched=_somebody(said, "matched"),
    )


def _somebody(said: Part, name: str) -> Person | None:
    return _named(said.text(name), said.text(f"{name}_id")) if said.has(name) else None


def _named(name: str, key: str) -> Person:
    """Make somebody of whom nothing else is told."""
    return Person(PersonId(key), name, _UNKNOWN, 0)


def person(said: Part) -> Person:
    """Read somebody enrolled."""
    consent = said.part("consent")
    expires = consent.moment("expires") if consent.has("expires") else None
    return Person(
        PersonId(said.text("id")),
        said.text("name"),
        said.moment("created"),
        said.count("templates"),
        Consent(consent.text("reference"), consent.text("purpose"), expires),
    )


def enrolment(said: Part) -> Enrolment:
    """Read what an enrolment did."""
    added, who = tuple(map(TemplateId, said.texts("template_ids"))), person(said.part("person"))
    return Enrolment(who, added, said.count("known"), _sightings(said))
