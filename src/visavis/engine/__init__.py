"""The only composer: photographs in, answers out."""

from visavis.engine.config import EngineConfig
from visavis.engine.core import Engine
from visavis.engine.sight import Observed, Photograph, Ready, Sight

__all__ = ["Engine", "EngineConfig", "Observed", "Photograph", "Ready", "Sight"]
