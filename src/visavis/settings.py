"""What the environment says, read once at the edge; the rooms below never look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.models import ModelStore

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept.

    Attributes
    ----------
    gallery
        ``VISAVIS_GALLERY``, else ``people.db`` in the user's data directory.
    cache
        ``VISAVIS_CACHE``, else the user's cache directory; may be emptied at any time.
    data
        ``VISAVIS_DATA``, else the user's data directory.
    """

    gallery: str
    cache: Path
    data: Path

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read them from an environment such as ``os.environ``; empty values count as absent."""
        import platformdirs  # noqa: PLC0415

        paths = platformdirs.PlatformDirs("visavis", appauthor=False)
        data = Path(environment.get("VISAVIS_DATA") or paths.user_data_dir)
        cache = Path(environment.get("VISAVIS_CACHE") or paths.user_cache_dir)
        gallery = environment.get("VISAVIS_GALLERY") or str(data / "people.db")
        return cls(gallery, cache, data)

    @property
    def store(self) -> ModelStore:
        """The networks that this machine knows."""
        return ModelStore(self.cache, self.data / "models")
