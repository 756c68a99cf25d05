"""The only composer: photographs in, answers out."""

from visavis.engine.config import EngineConfig
from visavis.engine.core import Engine
from visavis.engine.folder import FolderPlan, Outcome, Status, enroll_folder, plan_folder
from visavis.engine.sight import Observed, Photograph, Ready, Sight

__all__ = [
    "Engine",
    "EngineConfig",
    "FolderPlan",
    "Observed",
    "Outcome",
    "Photograph",
    "Ready",
    "Sight",
    "Status",
    "enroll_folder",
    "plan_folder",
]
