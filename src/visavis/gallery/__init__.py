"""The people: a registry in SQL, which is the truth, and searchers derived from it."""

from .backup import Backup
from .changes import Changes
from .contents import Contents
from .copies import Copy, CopyKind
from .moving import Move, Way
from .names import clean_name
from .outcomes import Enrolled, GalleryInfo, Merged, Removal
from .people import NewTemplate
from .registry import Gallery
from .restoring import Restoration, Returned, restore
from .search import ExactSearcher, Hit, Searcher
from .vetting import RestoreConfig

__all__ = [
    "Backup",
    "Changes",
    "Contents",
    "Copy",
    "CopyKind",
    "Enrolled",
    "ExactSearcher",
    "Gallery",
    "GalleryInfo",
    "Hit",
    "Merged",
    "Move",
    "NewTemplate",
    "Removal",
    "Restoration",
    "RestoreConfig",
    "Returned",
    "Searcher",
    "Way",
    "clean_name",
    "restore",
]
