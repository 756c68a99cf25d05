"""Checkpoints: written whole or not at all, read without running what is in them."""

from __future__ import annotations

import contextlib
import os
import pickle
from typing import TYPE_CHECKING, Any

import torch

from visavis.errors import CheckpointRefused, TrainingRefused

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
"""Raised when a checkpoint's parts change their meaning."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; whoever is killed meanwhile still has the one before.

    Raises
    ------
    TrainingRefused
        When the disk is full or cannot be written; the checkpoint before is untouched.
    """
    staged = path.with_name(f".{path.name}.part")
    try:
        with staged.open("wb") as file:
            torch.save({"schema": SCHEMA, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        _settle(path.parent)
    except (OSError, RuntimeError) as full:  # torch turns a short write into a RuntimeError
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        raise TrainingRefused(
            f"{path} cannot be written ({full}); what was there before is intact: make room, and "
            "go on with --resume"
        ) from full


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote.

    Raises
    ------
    CheckpointRefused
        When there is none, or it is damaged, or another version's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointRefused(f"{path}: there is no checkpoint to go on from") from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
    ) as broken:
        first = str(broken).strip().splitlines()[:1] or [type(broken).__name__]
        raise CheckpointRefused(f"{path}: not a checkpoint, or damaged: {first[0]}") from broken
    found = state.get("schema") if isinstance(state, dict) else None
    if found != SCHEMA:
        raise CheckpointRefused(
            f"{path}: a checkpoint of schema {found}, and this visavis reads {SCHEMA}: go on with "
            "the version that wrote it, or start anew in another folder"
        )
    return dict(state)


def _settle(folder: Path) -> None:
    """Make a rename durable where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
