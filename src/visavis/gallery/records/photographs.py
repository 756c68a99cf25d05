"""Which photographs somebody was enrolled from, without telling which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visavis.gallery.secrets.protection import keyed_digest

if TYPE_CHECKING:
    from collections.abc import Container


@dataclass(frozen=True, slots=True)
class EnrolledPhotographs:
    """Holds digests as they are stored, and is asked for a photograph's own.

    Attributes
    ----------
    stored
        Keyed ones, and in a gallery of before plain ones.
    secret
        What they are keyed with; empty when the gallery is not sealed.
    """

    stored: Container[str]
    secret: bytes

    def __contains__(self, digest: str) -> bool:
        """Tell whether a photograph (SHA-256 in hexadecimal) is among them."""
        if digest in self.stored:
            return True
        return bool(self.secret) and keyed_digest(self.secret, digest) in self.stored
