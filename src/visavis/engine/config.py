"""What an engine is made of, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visavis.detect import DetectorConfig
from visavis.image import Limits
from visavis.liveness.passive import SHIPPED
from visavis.liveness.points import Aim
from visavis.liveness.policy import Policy
from visavis.models import Cores, ModelStore, Precision, RuntimeName
from visavis.quality import QualityLimits
from visavis.values import DecideBy, Pick

if TYPE_CHECKING:
    from visavis.gallery.secrets.protection import Keys


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Which networks, on what, and how sure.

    Attributes
    ----------
    encoder, detector
        Names of models, as ``visavis models list`` shows them.
    precision
        None takes the one the encoder prefers: int8 where its ranges are known and OpenVINO runs
        it, else fp32.
    fmr
        False match rate of compare and verify, unless a call names another (NIST SP 800-63-4).
    fpir
        False positive identification rate of identify: how often a stranger is taken for
        somebody enrolled.
    pick
        Whom compare, verify and enroll take a photograph with several faces to be of.
    clear_subject
        With that pick, the largest face is taken as the subject only when it is this many times
        as wide as the next.
    decide_by
        What compare and verify decide by, unless a call says otherwise: the plain distance, or
        the head that ``visavis train pair-head`` made for the encoder.
    live
        What verify and identify ask of a face's liveness, unless a call names another policy.
    liveness
        Name of the model that judges pictures; it is opened when it is first asked for.
    live_at
        The error rate that it decides at.
    search
        Where people are looked for: None is exactly, in this process's memory; or the URL of a
        Milvus, see `gallery.searchers.open_searcher`.
    search_token
        ``user:password`` or an API key of that Milvus.
    store
        Where models are kept; None is the user's own cache and data directories.
    keys
        The master key of a gallery that ``Engine.open`` opens by its path; None takes the one in
        the user's data directory.
    actor
        Who acts, as that gallery's audit log will name them.
    """

    encoder: str = "sface"
    detector: str = "yunet"
    precision: Precision | None = None
    runtime: RuntimeName = RuntimeName.OPENVINO
    cores: Cores = field(default_factory=Cores)
    fmr: float = 1e-4
    fpir: float = 1e-3
    pick: Pick = Pick.CLEAR_SUBJECT
    clear_subject: float = 1.5
    limits: Limits = field(default_factory=Limits)
    detection: DetectorConfig = field(default_factory=DetectorConfig)
    quality: QualityLimits = field(default_factory=QualityLimits)
    decide_by: DecideBy = DecideBy.DISTANCE
    live: Policy = Policy.OFF
    liveness: str = SHIPPED
    live_at: Aim = field(default_factory=Aim)
    search: str | None = None
    search_token: str | None = field(default=None, repr=False)
    store: ModelStore | None = None
    keys: Keys | None = None
    actor: str = "python"
