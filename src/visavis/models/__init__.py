"""What the networks are, where they are found, and how they run."""

from visavis.models.alignment import ALIGNMENTS, ARCFACE_112, DLIB_150, Alignment
from visavis.models.manifest import (
    Carrier,
    Channels,
    Format,
    Kind,
    Manifest,
    Member,
    Precision,
    Preprocessing,
    Surroundings,
    manifest_of,
    read_manifest,
    write_manifest,
)
from visavis.models.runtime import Cores, RuntimeName, Session
from visavis.models.store import ModelStore, check_digest

__all__ = [
    "ALIGNMENTS",
    "ARCFACE_112",
    "DLIB_150",
    "Alignment",
    "Carrier",
    "Channels",
    "Cores",
    "Format",
    "Kind",
    "Manifest",
    "Member",
    "ModelStore",
    "Precision",
    "Preprocessing",
    "RuntimeName",
    "Session",
    "Surroundings",
    "check_digest",
    "manifest_of",
    "read_manifest",
    "write_manifest",
]
