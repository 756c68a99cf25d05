"""The shapes of the answers, for the OpenAPI document; `visavis.spelling` fills them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Every answer names the version of its shape."""

    model_config = ConfigDict(extra="forbid")
    schema_: Literal[1] = Field(alias="schema")


class QualityAnswer(BaseModel):
    """How good a template a face would make."""

    eyes: float
    yaw: float
    pitch: float
    roll: float
    sharpness: float
    brightness: float
    contrast: float
    inside: float
    advice: list[str]


class FaceAnswer(BaseModel):
    """A face in a picture; pixels of the picture that was sent, upright."""

    box: tuple[float, float, float, float]
    landmarks: list[tuple[float, float]]
    score: float
    quality: QualityAnswer


class LivenessPart(BaseModel):
    """What one kind of liveness answered; ``live`` is null where it cannot be told."""

    live: bool | None
    score: float | None
    threshold: float | None
    bpcer: float | None
    apcer: float | None
    model: str
    reasons: list[str]


class RulingAnswer(BaseModel):
    """What a policy on liveness says."""

    policy: str
    satisfied: bool
    bpcer: float | None
    apcer: float | None
    passive: LivenessPart | None
    active: LivenessPart | None
    reasons: list[str]


class DecisionAnswer(Answer):
    """The same person, or not; ``accepted`` holds liveness too where it was asked for."""

    decision: Literal["same", "different", "not live"]
    accepted: bool
    matched: bool
    distance: float
    tau: float
    fmr: float
    fmr_upper: float
    encoder: str
    decided_by: str
    probability: float | None
    liveness: RulingAnswer | None
    reasons: list[str]
    faces: list[FaceAnswer]


class VerifyAnswer(DecisionAnswer):
    """A decision on a claim."""

    person: str


class CandidateAnswer(BaseModel):
    """Somebody near."""

    person: str
    id: str
    distance: float


class IdentifiedAnswer(FaceAnswer):
    """Who one face is."""

    person: str | None
    person_id: str | None
    decision: Literal["recognized", "not recognized", "not live"]
    matched: str | None
    matched_id: str | None
    distance: float | None
    candidates: list[CandidateAnswer]
    liveness: RulingAnswer | None


class IdentifyAnswer(Answer):
    """Who is in a picture."""

    gallery_size: int
    tau: float
    fpir: float
    extrapolated: bool
    encoder: str
    faces: list[IdentifiedAnswer]


class LivenessAnswer(Answer, LivenessPart):
    """Whether a live human was before the camera."""


class FacesAnswer(Answer):
    """The faces of a picture."""

    width: int
    height: int
    faces: list[FaceAnswer]


class ConsentAnswer(BaseModel):
    """What somebody agreed to."""

    reference: str
    purpose: str
    expires: str | None
    expired: bool


class PersonAnswer(BaseModel):
    """Somebody enrolled."""

    id: str
    name: str
    created: str
    templates: int
    consent: ConsentAnswer


class PeopleAnswer(Answer):
    """A page of people, by name; ``next`` is what to ask for after it."""

    people: list[PersonAnswer]
    total: int
    next: str | None


class TemplateAnswer(BaseModel):
    """A template; never its numbers."""

    id: str
    created: str
    photograph_kept: bool


class OnePersonAnswer(Answer):
    """Somebody, and their templates."""

    person: PersonAnswer
    templates: list[TemplateAnswer]


class ChangedPersonAnswer(Answer):
    """Somebody after a change."""

    person: PersonAnswer


class EnrolmentAnswer(Answer):
    """What an enrolment added, and what was known already."""

    person: PersonAnswer
    added: int
    template_ids: list[str]
    known: int
    faces: list[FaceAnswer]


class RemovedPerson(BaseModel):
    """Who was removed."""

    id: str
    name: str


class RemovalAnswer(Answer):
    """What a removal erased, and where bytes may still lie."""

    removed: RemovedPerson
    templates: int
    erased: bool
    remains: list[str]


class ErasureAnswer(Answer):
    """What is left of somebody who was removed."""

    model_config = ConfigDict(extra="allow")
    clean: bool


class PointAnswer(BaseModel):
    """What a false match rate takes."""

    fmr: float
    fmr_upper: float
    fnmr: float | None
    tau: float
    extrapolated: bool


class IdentificationPoint(BaseModel):
    """What a false positive identification rate takes, at a gallery's size."""

    fpir: float
    fnmr: float | None
    tau: float
    extrapolated: bool


class CurvePoint(BaseModel):
    """A measured point, with its 95 % interval."""

    fmr: float
    tau: float
    lower: float
    upper: float


class MissedPoint(BaseModel):
    """What a tau turns away of those who are whom they claim to be, with its 95 % interval."""

    fnmr: float
    tau: float
    lower: float
    upper: float


class PointsAnswer(Answer):
    """Operating points of the encoder."""

    encoder: str
    encoder_name: str
    tuned_on: str
    pairs: int
    gallery_size: int
    defaults: dict[str, float]
    verification: list[PointAnswer]
    identification: list[IdentificationPoint]
    curve: list[CurvePoint]
    mated: int
    misses: list[MissedPoint]


class GalleryAnswer(Answer):
    """What the gallery holds."""

    id: str
    schema_version: int
    encoder: str | None
    encoder_name: str | None
    people: int
    templates: int
    photographs: int
    bytes: int
    created: str
    writable: bool


class AuditEntries(Answer):
    """Entries of the audit log, the oldest first; ``next`` is what to ask for before them."""

    entries: list[dict[str, Any]]
    next: int | None


class AuditVerified(Answer):
    """Whether the audit log is whole."""

    intact: bool
    entries: int
    signed: int | None
    anchor: str
    faults: list[dict[str, Any]]


class KeyAnswer(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    roles: list[str]
    created: str
    expires: str | None
    last_used: str | None
    revoked: str | None


class KeysAnswer(Answer):
    """Every API key."""

    keys: list[KeyAnswer]


class OneKeyAnswer(Answer):
    """One API key."""

    key: KeyAnswer


class NewKeyAnswer(OneKeyAnswer):
    """A new API key; its secret is said once, here."""

    secret: str


class SessionAnswer(Answer):
    """Who a browser is, and what it sends along with changes."""

    roles: list[str]
    gallery: str
    csrf: str
    open: bool


class StatusAnswer(Answer):
    """How the service is."""

    status: str
