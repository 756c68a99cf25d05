"""The only composer: photographs in, answers out."""

from visavis.engine.clustering import (
    Cluster,
    ClusterConfig,
    Clusters,
    Found,
    Unusable,
    cluster_faces,
    enroll_cluster,
    name_cluster,
)
from visavis.engine.config import EngineConfig
from visavis.engine.core import Engine
from visavis.engine.duplicates import DuplicatePair, Duplicates
from visavis.engine.folder import FolderPlan, Outcome, Status, enroll_folder, plan_folder
from visavis.engine.sight import Observed, Photograph, Ready, Sight

__all__ = [
    "Cluster",
    "ClusterConfig",
    "Clusters",
    "DuplicatePair",
    "Duplicates",
    "Engine",
    "EngineConfig",
    "FolderPlan",
    "Found",
    "Observed",
    "Outcome",
    "Photograph",
    "Ready",
    "Sight",
    "Status",
    "Unusable",
    "cluster_faces",
    "enroll_cluster",
    "enroll_folder",
    "name_cluster",
    "plan_folder",
]
