"""Only one process of a machine does something at a time, such as filling a searcher."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.errors import GalleryBusy

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def held(path: Path, patience: float) -> Iterator[None]:
    """Hold the lease that an empty file stands for; it ends with the process, however that ends.

    SQLite's file lock is taken, which every platform has.

    Parameters
    ----------
    path
        Made when it is not there; in the folder for temporary files when it cannot be made.
    patience
        Seconds to wait for another process.

    Raises
    ------
    GalleryBusy
        When another process holds it for longer.
    """
    try:
        connection = _locked(path, patience)
    except sqlite3.OperationalError as fault:
        if fault.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise still_held(patience) from fault
        try:
            connection = _locked(Path(tempfile.gettempdir()) / path.name, patience)
        except sqlite3.OperationalError as again:
            raise still_held(patience) from again
    with closing(connection):
        yield


def _locked(path: Path, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        connection.close()
        raise
    return connection


def still_held(patience: float) -> GalleryBusy:
    """Say that another process took too long."""
    return GalleryBusy(
        f"another process is still filling the searcher after {patience:.0f} s; try again, or see "
        "what it does"
    )
