"""The people: a registry in SQL, which is the truth, and searchers derived from it."""

from .records.changes import Changes
from .records.copies import Copy, CopyKind
from .records.names import clean_name
from .records.outcomes import Enrolled, GalleryInfo, Merged, Removal
from .records.people import NewTemplate
from .registry import Gallery
from .search.exact import ExactSearcher, Hit, Searcher
from .transfer.backup import Backup
from .transfer.contents import Contents
from .transfer.moving import Move, Way
from .transfer.restoring import Restoration, Returned, restore
from .transfer.vetting import RestoreConfig

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
