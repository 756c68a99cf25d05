"""What the environment says, read once at the edge; the rooms below never look."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.models import ModelStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visavis.gallery.secrets.protection import Keys


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
    key
        ``VISAVIS_KEY``: the master key itself, in hexadecimal or base64.
    key_file
        ``VISAVIS_KEY_FILE``: where the master key lies; ``VISAVIS_KEY`` goes before it.
    search
        ``VISAVIS_SEARCH``: the URL of a Milvus to search in, else None.
    search_token
        ``VISAVIS_SEARCH_TOKEN``: its ``user:password`` or API key.
    """

    gallery: str
    cache: Path
    data: Path
    key: str = field(default="", repr=False)
    key_file: Path | None = None
    search: str | None = None
    search_token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read them from an environment such as ``os.environ``; empty values count as absent."""
        import platformdirs  # noqa: PLC0415

        paths = platformdirs.PlatformDirs("visavis", appauthor=False)
        data = Path(environment.get("VISAVIS_DATA") or paths.user_data_dir)
        cache = Path(environment.get("VISAVIS_CACHE") or paths.user_cache_dir)
        gallery = environment.get("VISAVIS_GALLERY") or str(data / "people.db")
        key, key_file = environment.get("VISAVIS_KEY", ""), environment.get("VISAVIS_KEY_FILE")
        return cls(
            gallery,
            cache,
            data,
            key.strip(),
            Path(key_file) if key_file else None,
            environment.get("VISAVIS_SEARCH") or None,
            environment.get("VISAVIS_SEARCH_TOKEN") or None,
        )

    @property
    def store(self) -> ModelStore:
        """The networks that this machine knows."""
        return ModelStore(self.cache, self.data / "models")

    @property
    def keys(self) -> Keys:
        """Where the master key of galleries comes from; nothing is read or made yet."""
        from visavis.gallery.secrets.protection import Keys  # noqa: PLC0415 - SQLAlchemy takes 0.2 s

        if self.key:
            return Keys(text=self.key, source="VISAVIS_KEY")
        return Keys(file=self.key_file) if self.key_file else Keys.default(self.data)
