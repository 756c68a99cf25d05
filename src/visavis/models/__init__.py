"""What the networks are, where they are found, and how they run."""

from visavis.models.manifest import (
    Carrier,
    Channels,
    Kind,
    Manifest,
    Precision,
    Preprocessing,
    manifest_of,
    read_manifest,
    write_manifest,
)
from visavis.models.runtime import Cores, RuntimeName, Session
from visavis.models.store import ModelStore, check_digest

__all__ = [
    "Carrier",
    "Channels",
    "Cores",
    "Kind",
    "Manifest",
    "ModelStore",
    "Precision",
    "Preprocessing",
    "RuntimeName",
    "Session",
    "check_digest",
    "manifest_of",
    "read_manifest",
    "write_manifest",
]
