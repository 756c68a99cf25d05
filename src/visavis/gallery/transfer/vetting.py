"""A backup looked through before it is restored: whether it is what it was, and whole."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.errors import CopyDiffers, GalleryUnusable
from visavis.gallery.database import migrations
from visavis.gallery.database.faults import explained
from visavis.gallery.database.sqlite import open_file
from visavis.gallery.database.store import Store
from visavis.gallery.secrets.protection import Keys
from visavis.gallery.secrets.vault import Vault
from visavis.gallery.upkeep.inspection import inspect

from .backup import Mark, read_mark
from .contents import contents_of

if TYPE_CHECKING:
    from contextlib import ExitStack

    from visavis.gallery.upkeep.inspection import Problem


@dataclass(frozen=True, slots=True)
class RestoreConfig:
    """How a restoration is asked for.

    Attributes
    ----------
    keys
        The master key, see `Gallery.open`: every row is opened before anything is replaced.
    actor
        Who acts, as the audit log will name them.
    force
        Replace what the gallery holds.
    digest
        What the file must digest to, as its backup was told; None takes the file's word.
    damaged
        Restore also what `Gallery.check` finds fault with.
    patience
        Seconds to wait for locks.
    """

    keys: Keys | None = None
    actor: str = "python"
    force: bool = False
    digest: str | None = None
    damaged: bool = False
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Vetted:
    """A backup that may be restored, open for reading.

    ``mark`` is what it says of itself; None for a plain gallery.
    """

    store: Store
    file: Path
    mark: Mark | None
    problems: tuple[Problem, ...]


def vetted(file: Path, config: RestoreConfig, stack: ExitStack) -> Vetted:
    """Open a backup for reading and see that it is whole."""
    database = open_file(file, create=False, reading=True)
    store = stack.enter_context(closing(Store(database, database.connect(config.patience))))
    with store.read() as db:
        version = migrations.version_of(db)
        if not version:
            raise GalleryUnusable(f"{file} is empty: there is nothing to restore from it")
        migrations.refuse_newer(version, str(file))
        mark = read_mark(db)
        wanted = config.digest or (mark.digest if mark else None)
        found = contents_of(db, str(file)).digest if wanted else None
    if wanted != found:
        raise CopyDiffers(
            f"{file} digests to {found} and not to {wanted}: it was changed after it was made, or "
            "the disk failed. Use another backup; if you know what was written into it, give "
            "--digest with the first of the two"
        )
    if version < len(migrations.MIGRATIONS):
        store = _brought_up_to_date(file, config, stack)
    vault = Vault(Keys.of(config.keys), str(file))
    with store.read() as db:
        vault.unlock(db)  # a wrong key is told as such
        problems = inspect(db, vault).problems
    if problems and not config.damaged:
        raise GalleryUnusable(
            f"the backup {file} is not whole, and nothing was restored from it: "
            f"{problems[0].message} ({len(problems)} such in all, see 'visavis gallery check "
            f"--gallery {file}'); use another, or --damaged to have what there is"
        )
    return Vetted(store, file, mark, tuple(problems))


def _brought_up_to_date(file: Path, config: RestoreConfig, stack: ExitStack) -> Store:
    """Migrate a copy of a backup that an earlier visavis made; the file itself stays as it is."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="visavis-restore-"))
    other = Path(folder) / "people.db"
    with (
        explained(str(file)),
        closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(other)) as new,
    ):
        old.backup(new)
    store = Store.open(other, create=False, patience=config.patience)
    return stack.enter_context(closing(store))
