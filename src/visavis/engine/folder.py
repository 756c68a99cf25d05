"""A folder of people to a gallery: in parallel, in order, resumable, each person whole."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from visavis.errors import DuplicatePerson, InputRefused, PersonMismatch, VisavisError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from visavis.engine.core import Engine
    from visavis.engine.enrolment import Admission
    from visavis.engine.sight import Ready
    from visavis.values import Consent

_PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}


class Status(StrEnum):
    """What became of a photograph."""

    ENROLLED = "enrolled"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One photograph of a folder; ``error`` says why it was refused."""

    person: str
    path: Path
    status: Status
    error: VisavisError | None = None


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """Who is to be enrolled from which files.

    Attributes
    ----------
    people
        (name, photographs) by name.
    ignored
        Files that are no pictures, and folders inside a person's folder.
    """

    people: tuple[tuple[str, tuple[Path, ...]], ...]
    ignored: tuple[Path, ...]

    @property
    def photographs(self) -> int:
        """Number of photographs of everybody."""
        return sum(len(paths) for _, paths in self.people)


def plan_folder(folder: Path) -> FolderPlan:
    """List the people of a folder: a folder a person, or one picture a person, named by its stem.

    Raises
    ------
    InputRefused
        When it is no folder, cannot be read, or shows nobody.
    """
    people: dict[str, list[Path]] = {}
    ignored: list[Path] = []
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                for inside in sorted(entry.iterdir()):
                    if is_picture(inside):
                        people.setdefault(entry.name, []).append(inside)
                    elif not inside.name.startswith("."):
                        ignored.append(inside)
            elif is_picture(entry):
                people.setdefault(entry.stem, []).append(entry)
            else:
                ignored.append(entry)
    except OSError as missing:
        raise InputRefused(f"{folder}: {missing.strerror}") from missing
    if not people:
        raise InputRefused(
            f"{folder}: nobody to enrol; it should hold a folder for each person with their "
            "photographs inside, or one photograph a person named after them"
        )
    ordered = sorted((name, tuple(paths)) for name, paths in people.items())
    return FolderPlan(tuple(ordered), tuple(ignored))


def enroll_folder(  # noqa: PLR0913 - named options, each with a default
    engine: Engine,
    plan: FolderPlan,
    *,
    workers: int = 1,
    force: bool = False,
    keep_photographs: bool = False,
    consent: Consent | None = None,
) -> Iterator[Outcome]:
    """Enrol everybody of a plan; each outcome is given once it is stored.

    A person's photographs are stored together, so nobody is ever half there. Photographs that
    are enrolled already are not decoded again, so an interrupted run continues where it stopped.

    Parameters
    ----------
    workers
        Photographs worked on side by side; open the engine with ``Cores(workers, workers)``.
    consent
        What everybody in the folder agreed to.

    Raises
    ------
    GalleryError
        When the gallery cannot be written; refused photographs are outcomes instead.
    """
    known = engine.gallery.enrolled_photographs()

    def attempt(name: str, path: Path) -> Ready | Status | VisavisError:
        try:
            taken = engine.read(path)
            if taken.digest in known.get(name, ()):
                return Status.KNOWN
            return engine.prepare(taken, force=force, keep=keep_photographs)
        except VisavisError as refused:
            return refused

    pool = ThreadPoolExecutor(workers)
    try:
        ahead: deque[tuple[str, Path, Future[Ready | Status | VisavisError]]] = deque()
        jobs = ((name, path) for name, paths in plan.people for path in paths)
        sizes = deque((name, len(paths)) for name, paths in plan.people)
        group = _Group(engine, force, consent)
        while sizes:
            # Enough in the queue to keep everybody busy, few enough to keep memory flat.
            while len(ahead) < max(4 * workers, sizes[0][1]):
                job = next(jobs, None)
                if job is None:
                    break
                ahead.append((*job, pool.submit(attempt, *job)))
            name, count = sizes.popleft()
            taken = [ahead.popleft() for _ in range(count)]
            yield from group.settle(name, [(path, future.result()) for _, path, future in taken])
            if len(group) >= _TOGETHER or group.waited > _PATIENCE:
                yield from group.flush()
        yield from group.flush()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_TOGETHER = 64
"""At most so many people are written in one transaction."""
_PATIENCE = 0.25
"""Seconds after which those who wait are written, few as they may be."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A person about to be written; unchecked without an admission."""

    name: str
    ready: list[tuple[Path, Ready]]
    admission: Admission | None

    @property
    def faces(self) -> list[Ready]:
        """What their photographs show."""
        return [r for _, r in self.ready]


class _Group:
    """People who wait to be written together."""

    def __init__(self, engine: Engine, force: bool, consent: Consent | None) -> None:
        self._engine = engine
        self._force = force
        self._consent = consent
        self._waiting: list[_Waiting] = []
        self._since = time.monotonic()

    @property
    def waited(self) -> float:
        """Seconds since anybody was written."""
        return time.monotonic() - self._since

    def __len__(self) -> int:
        return len(self._waiting)

    def settle(
        self, name: str, photographs: list[tuple[Path, Ready | Status | VisavisError]]
    ) -> Iterator[Outcome]:
        """Take one person's photographs, together if they are alike, else those that fit."""
        ready: list[tuple[Path, Ready]] = []
        for path, result in photographs:
            if isinstance(result, VisavisError):
                yield Outcome(name, path, Status.REFUSED, result)
            elif isinstance(result, Status):
                yield Outcome(name, path, result)
            else:
                ready.append((path, result))
        if ready:
            yield from self._admit(name, ready)

    def flush(self) -> Iterator[Outcome]:
        """Write those who wait; each outcome is given once all of them are stored."""
        waiting, self._waiting = self._waiting, []
        self._since = time.monotonic()
        if not waiting:
            return
        try:
            self._engine.commit(
                [(each.name, each.faces) for each in waiting],
                self._consent,
                [each.admission for each in waiting if each.admission is not None],
            )
        except (DuplicatePerson, PersonMismatch):
            # Another process enrolled somebody meanwhile. Nobody was written: each is checked
            # again, alone, now that the other can be seen.
            for each in waiting:
                yield from self._admit(each.name, each.ready)
                yield from self.flush()
            return
        for each in waiting:
            yield from (Outcome(each.name, path, Status.ENROLLED) for path, _ in each.ready)

    def _admit(self, name: str, ready: list[tuple[Path, Ready]]) -> Iterator[Outcome]:
        faces = [r for _, r in ready]
        if not self._force and self._resembles(faces):
            # Only what is written can be compared with: let the check name who it is.
            yield from self.flush()
        try:
            self._engine.check_name(name)
            admission = None if self._force else self._engine.admit(name, faces)
        except InputRefused as refused:
            yield from (Outcome(name, path, Status.REFUSED, refused) for path, _ in ready)
        except (DuplicatePerson, PersonMismatch) as refused:
            if len(ready) == 1:
                yield Outcome(name, ready[0][0], Status.REFUSED, refused)
            else:
                for one in ready:
                    yield from self._admit(name, [one])
                    yield from self.flush()
        else:
            self._waiting.append(_Waiting(name, ready, admission))

    def _resembles(self, faces: list[Ready]) -> bool:
        return any(self._engine.alike(faces, others.faces) for others in self._waiting)


def is_picture(path: Path) -> bool:
    """Tell whether a file is a picture by its name; hidden ones are not."""
    return path.suffix.lower() in _PICTURES and not path.name.startswith(".") and path.is_file()
