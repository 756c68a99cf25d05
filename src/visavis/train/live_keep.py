"""Presentations on disk: rendered once a run, mapped into memory, used again when it goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import TrainingRefused
from visavis.train.live_bank import Bank

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ("learn", "choose", "measure")
RENDERED = ("seed", "attacks", "close", "rounds", "real", "held_out")
"""What of a configuration decides what is rendered."""
_DONE = "asked.json"


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A part of the presentations, and what is said of it in model cards."""

    bank: Bank
    said: str


@dataclass(frozen=True, slots=True)
class Keep:
    """A folder of presentations.

    Attributes
    ----------
    asked
        What they were rendered from; a folder of another run is refused.
    """

    folder: Path
    asked: dict[str, Any]

    def whole(self) -> bool:
        """Say whether everything was rendered before.

        Raises TrainingRefused when it was, from something else.
        """
        try:
            before = json.loads((self.folder / _DONE).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        if before != self.asked:
            raise TrainingRefused(
                f"{self.folder} holds presentations of a run that was asked for something else: "
                "ask for the same, or name another folder"
            )
        return True

    def file(self, part: str) -> Path:
        """Give the file that a part's crops go to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{part}.npy"

    def labelled(self, part: str, bank: Bank, said: str) -> None:
        """Write what a part's crops are of."""
        told = {"species": bank.species.tolist(), "subject": bank.subject.tolist(), "said": said}
        (self.folder / f"{part}.json").write_text(json.dumps(told), "utf-8")

    def finished(self) -> None:
        """Say that all parts are whole."""
        (self.folder / _DONE).write_text(json.dumps(self.asked), "utf-8")

    def opened(self, part: str) -> Kept:
        """Map a part into memory."""
        crops = np.load(self.folder / f"{part}.npy", mmap_mode="r")
        told = json.loads((self.folder / f"{part}.json").read_text("utf-8"))
        species = np.array(told["species"])
        bank = Bank(crops, species == "live", species, np.array(told["subject"]))
        return Kept(bank, told["said"])
