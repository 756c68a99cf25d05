"""What a run wrote down on its way: CSV for anything, TensorBoard for looking on."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from visavis.errors import TrainingRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = (
    "step",
    "seconds",
    "rate",
    "mining",
    "loss",
    "active",
    "distance",
    "spread",
    "mated",
    "nonmated",
    "dimension",
    "gradient",
    "accuracy",
    "eer",
    "tar",
    "note",
)
"""Of ``metrics.csv``; a row has what was looked at, and nothing where nothing was."""


class Journal:
    """Appends rows to ``metrics.csv``, and the numbers to TensorBoard's event files.

    Parameters
    ----------
    folder
        The run's own.
    position
        Bytes of ``metrics.csv`` that a checkpoint vouches for; what was written after it is cut
        off, for it will be written again.
    step
        The step a resumed run goes on from.
    board
        False writes no TensorBoard events.
    """

    def __init__(
        self, folder: Path, position: int = 0, step: int = 0, *, board: bool = True
    ) -> None:
        self._path = folder / "metrics.csv"
        if position:
            with self._path.open("r+b") as file:
                file.truncate(position)
        else:
            self._path.write_text(",".join(COLUMNS) + "\n", "utf-8")
        self._board: Any = None
        if board:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._path.stat().st_size

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Write one row; numbers in full, so that two runs can be held against each other."""
        text = io.StringIO()
        row = {"step": step, **values}
        csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(row)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text.getvalue())
        except OSError as full:
            raise TrainingRefused(
                f"{self._path} cannot be written ({full}); the checkpoints are intact: make room, "
                "and go on with --resume"
            ) from full
        if self._board is None:
            return
        for name, value in values.items():
            if isinstance(value, str):
                self._board.add_text(name, value, step)
            else:
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._board is not None:
            self._board.close()


def read_journal(path: Path) -> list[dict[str, str]]:
    """Give the rows of a ``metrics.csv``."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
