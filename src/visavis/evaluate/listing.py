"""What is to be compared: pairs files, folders of people, lists of presentations."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from visavis.errors import ProtocolRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs by their paths below the images' folder, and what the list says of them.

    ``people`` are the names of the two, for intervals over people; ``fold`` counts from 0.
    """

    a: str
    b: str
    same: bool
    fold: int
    people: tuple[str, str]


@dataclass(frozen=True, slots=True)
class PairList:
    """Pairs in the order of the file, and remarks about what was odd in it."""

    pairs: tuple[Pair, ...]
    remarks: tuple[str, ...] = ()

    @property
    def folds(self) -> int:
        """Number of folds; 1 when the file names none."""
        return len({pair.fold for pair in self.pairs})

    @property
    def names(self) -> list[str]:
        """Every photograph once, sorted."""
        return sorted({name for pair in self.pairs for name in (pair.a, pair.b)})


@dataclass(frozen=True, slots=True)
class Presentation:
    """One picture shown to a camera: alive or an attack, of which kind, by whom."""

    path: str
    live: bool
    species: str
    subject: str
    score: float | None = None


def read_pairs(path: Path, images: Path) -> PairList:
    """Read a list of pairs: one of LFW's own files, or CSV with a header ``a,b,same[,fold]``.

    Raises
    ------
    ProtocolRefused
        For a file that is neither, a photograph that does not exist, a pair named both mated and
        non-mated, or a list without mated or without non-mated pairs.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise ProtocolRefused(f"{path}: cannot be read: {fault}") from fault
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ProtocolRefused(f"{path}: the list is empty")
    remarks: tuple[str, ...] = ()
    if all(word.isdecimal() for word in lines[0][1].split()):
        pairs = _lfw(path, lines)
    else:
        pairs, remarks = _csv(path)
    return PairList(tuple(pairs), (*remarks, *_checked(path, pairs, images)))


def read_people(images: Path) -> dict[str, list[str]]:
    """List the photographs of everybody in a folder a person, by paths below ``images``.

    Raises
    ------
    ProtocolRefused
        When there are no folders with pictures in them: pictures lie at the top, or too deep.
    """
    try:
        entries = sorted(images.iterdir())
        people = {
            entry.name: sorted(
                f"{entry.name}/{photo.name}" for photo in entry.iterdir() if _picture(photo)
            )
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        }
    except OSError as fault:
        raise ProtocolRefused(f"{images}: {fault.strerror or fault}") from fault
    people = {name: photos for name, photos in people.items() if photos}
    if not people:
        loose = sum(_picture(entry) for entry in entries)
        deep = next((entry for entry in images.rglob("*") if _picture(entry)), None)
        why = (
            f"{loose} pictures lie at the top of it"
            if loose
            else f"pictures lie deeper ({deep.relative_to(images)})"
            if deep
            else "it holds no pictures"
        )
        raise ProtocolRefused(
            f"{images}: it should hold a folder for each person with their photographs inside, "
            f"but {why}"
        )
    return people


def read_presentations(path: Path) -> list[Presentation]:
    """Read CSV ``path,live[,species,subject,score]``, or a folder a class (live, and attacks).

    Raises
    ------
    ProtocolRefused
        For another form, or when live or attack presentations are missing.
    """
    if path.is_dir():
        people = read_people(path)
        rows = [
            Presentation(photo, name.lower() in _ALIVE, name, photo)
            for name, photos in people.items()
            for photo in photos
        ]
    else:
        rows = [_presentation(at, row) for at, row in _rows(path, {"path", "live"})]
        both = {r.path for r in rows if r.live} & {r.path for r in rows if not r.live}
        if both:
            raise ProtocolRefused(f"{path}: {min(both)} is called live and an attack")
    missing = "live" if not any(r.live for r in rows) else "attack"
    if missing == "live" or all(r.live for r in rows):
        raise ProtocolRefused(
            f"{path}: no {missing} presentations; both classes are needed (live is 1 or 0, or a "
            f"folder called live, bonafide or genuine)"
        )
    return rows


_ALIVE = {"live", "bonafide", "bona fide", "bona-fide", "genuine", "real"}


def _presentation(at: str, row: dict[str, str]) -> Presentation:
    if row["live"] not in {"0", "1"}:
        raise ProtocolRefused(f"{at}: live must be 1 or 0, not {row['live']!r}")
    live = row["live"] == "1"
    try:
        score = float(row["score"]) if row.get("score") else None
    except ValueError as fault:
        raise ProtocolRefused(f"{at}: score {row['score']!r} is no number") from fault
    species = row.get("species") or ("live" if live else "attack")
    return Presentation(row["path"], live, species, row.get("subject") or row["path"], score)


def _lfw(path: Path, lines: list[tuple[int, str]]) -> list[Pair]:
    """Read LFW's pairs.txt (ten folds) or one of View 1's files (one)."""
    head = [int(word) for word in lines[0][1].split()]
    folds, half = (head[0], head[1]) if len(head) > 1 else (1, head[0])
    rows = [(n, line.split("\t") if "\t" in line else line.split()) for n, line in lines[1:]]
    if len(rows) != 2 * half * folds:
        raise ProtocolRefused(
            f"{path}: its first line promises {2 * half * folds} pairs, it holds {len(rows)}"
        )
    pairs = []
    for number, (line, row) in enumerate(rows):
        if len(row) not in {3, 4}:
            raise ProtocolRefused(f"{path}, line {line}: {' '.join(row)!r} is no pair")
        same = len(row) == 3
        other = row[0] if same else row[2]
        try:
            a, b = _lfw_photo(row[0], row[1]), _lfw_photo(other, row[-1])
        except ValueError as fault:
            raise ProtocolRefused(f"{path}, line {line}: {fault}") from fault
        pairs.append(Pair(a, b, same, number // (2 * half), (row[0], other)))
    return pairs


def _lfw_photo(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def _csv(path: Path) -> tuple[list[Pair], tuple[str, ...]]:
    """Read pairs from CSV; folders are the people unless that makes strangers one person."""
    pairs, named = [], True
    for at, row in _rows(path, {"a", "b", "same"}):
        if row["same"] not in {"0", "1"}:
            raise ProtocolRefused(f"{at}: same must be 1 or 0, not {row['same']!r}")
        fold = row.get("fold") or "0"
        if not fold.isdecimal():
            raise ProtocolRefused(f"{at}: fold {fold!r} is no number")
        given = (row.get("person_a", ""), row.get("person_b", ""))
        if all(given) and (given[0] == given[1]) != (row["same"] == "1"):
            raise ProtocolRefused(f"{at}: same is {row['same']}, yet people {' and '.join(given)}")
        named = named and all(given)
        people = (given[0] or _person(row["a"]), given[1] or _person(row["b"]))
        pairs.append(Pair(row["a"], row["b"], row["same"] == "1", int(fold), people))
    if not pairs:
        raise ProtocolRefused(f"{path}: it names columns, but no pair")
    if named or all(pair.same or pair.people[0] != pair.people[1] for pair in pairs):
        return pairs, ()
    # An interval over people would take everybody in that folder for one.
    alone = [replace(pair, people=(pair.a, pair.b)) for pair in pairs]
    return alone, (
        "non-mated pairs lie within one folder, so folders are not taken for people: intervals "
        "are over photographs (name people in columns person_a and person_b)",
    )


def _person(photo: str) -> str:
    """Take the folder as the person; a picture without a folder stands for itself."""
    parent = PurePosixPath(photo).parent
    return photo if parent == PurePosixPath() else str(parent)


def _rows(path: Path, needed: set[str]) -> list[tuple[str, dict[str, str]]]:
    """Give each row of a CSV file, with its place for messages."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            fields = {name.strip() for name in reader.fieldnames or []}
            if not needed <= fields:
                raise ProtocolRefused(
                    f"{path}: its first line must name the columns {', '.join(sorted(needed))}; "
                    f"{', '.join(sorted(needed - fields))} missing"
                )
            return [
                (
                    f"{path}, line {reader.line_num}",
                    {k.strip(): (v or "").strip() for k, v in row.items() if k is not None},
                )
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise ProtocolRefused(f"{path}: cannot be read as CSV: {fault}") from fault


def _checked(path: Path, pairs: list[Pair], images: Path) -> tuple[str, ...]:
    """Refuse what would make the numbers mean something else; remark on the rest."""
    labels: defaultdict[frozenset[str], set[bool]] = defaultdict(set)
    for pair in pairs:
        labels[frozenset((pair.a, pair.b))].add(pair.same)
    torn = next((pair for pair, said in labels.items() if len(said) > 1), None)
    if torn:
        raise ProtocolRefused(
            f"{path}: {' and '.join(sorted(torn))} are called the same and different"
        )
    for same in (True, False):
        if not any(pair.same is same for pair in pairs):
            raise ProtocolRefused(
                f"{path}: no {'mated' if same else 'non-mated'} pairs; an error rate needs both"
            )
    missing = _missing(images, {name for pair in pairs for name in (pair.a, pair.b)})
    if missing:
        raise ProtocolRefused(
            f"{path}: {len(missing)} photograph(s) are not below {images}, such as {missing[0]}"
        )
    remarks = []
    if len(labels) < len(pairs):
        remarks.append(f"{len(pairs) - len(labels)} pair(s) occur more than once")
    itself = sum(pair.a == pair.b for pair in pairs)
    if itself:
        remarks.append(f"{itself} pair(s) compare a photograph with itself")
    return tuple(remarks)


def _missing(images: Path, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not (images / name).is_file())


def _picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()
