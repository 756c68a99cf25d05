"""The only composer: photographs in, answers out."""

from visavis.engine.at_hand import Absent
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
from visavis.engine.reencode import Reencode, Reencoded, reencode
from visavis.engine.sight import Observed, Photograph, Ready, Sight

__all__ = [
    "Absent",
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
    "Reencode",
    "Reencoded",
    "Sight",
    "Status",
    "Unusable",
    "cluster_faces",
    "enroll_cluster",
    "enroll_folder",
    "name_cluster",
    "plan_folder",
    "reencode",
]
