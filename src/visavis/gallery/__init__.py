"""The people: a registry in SQL, which is the truth, and searchers derived from it."""

from .changes import Changes
from .names import clean_name
from .outcomes import Enrolled, GalleryInfo, Removal
from .people import NewTemplate
from .registry import Gallery
from .search import ExactSearcher, Hit, Searcher

__all__ = [
    "Changes",
    "Enrolled",
    "ExactSearcher",
    "Gallery",
    "GalleryInfo",
    "Hit",
    "NewTemplate",
    "Removal",
    "Searcher",
    "clean_name",
]
