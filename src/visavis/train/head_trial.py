"""From a pack to a pair head that has been tried: learnt, calibrated and measured on others.

Three groups of people, none in two: on the first the weights are learnt, on the second the logit
and the operating points are calibrated, on the third the head and the plain distance are measured
side by side. What is said of the head comes from the third alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from visavis.decide import curve_of
from visavis.errors import InputRefused, PackRefused, ProtocolRefused
from visavis.evaluate import intervals as over
from visavis.evaluate.calibration import operating_points
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.findings import verification_json
from visavis.evaluate.protocols import (
    Setting,
    Verification,
    compare_all,
    distances_between,
    squared_between,
    verification,
)
from visavis.train.pair_head import HeadConfig, Learnt, calibrated_head, learn_head
from visavis.train.sampler import split_people
from visavis.values import EncoderId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from visavis.encode import Encoder
    from visavis.evaluate.calibration import Calibration
    from visavis.evaluate.protocols import Between
    from visavis.head import PairHead

    Told = Callable[[int], None]

SCHEMA = 1
"""Of the report's JSON."""

_BATCH = 64
_LISTED = 0.12
"""Of the calibrating people's non-mated pairs: enough for a false match rate of 1e-1."""
_LISTED_TESTED = 0.025
"""Of the tested people's: enough for TAR at FAR 1e-2 with its interval."""


class Crops(Protocol):
    """What is read of a training set; ``train.pack.Pack`` is one."""

    @property
    def path(self) -> Path:
        """Its folder."""

    @property
    def digest(self) -> str:
        """Names the content."""

    @property
    def alignment(self) -> str:
        """Name of the template that the crops are cut to."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(people + 1,) rows of each person."""

    def source(self, row: int) -> str:
        """Give the photograph of a row."""

    def read(self, rows: NDArray[np.int64], workers: int = 1) -> NDArray[np.uint8]:
        """(N, side, side, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial takes of the data.

    Attributes
    ----------
    shares
        Of the people: those it is tested on, and those it is calibrated on.
    per_person
        Photographs of one person that are calibrated and tested on; that are learnt from, four
        times as many.
    most
        Photographs of each group, so that a large pack takes minutes, not hours.
    cache
        Folder in which encodings are remembered; None remembers none. They are biometric data.
    repeats
        Of the bootstrap.
    """

    config: HeadConfig = field(default_factory=HeadConfig)
    shares: tuple[float, float] = (0.2, 0.2)
    per_person: int = 5
    most: int = 8_000
    cache: Path | None = None
    workers: int = 1
    repeats: int = 500


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A head with what was measured of it and of the plain distance, on the same people.

    Attributes
    ----------
    head
        Calibrated.
    points
        Its operating points, as ``decide.curve_of`` reads them.
    plain, learnt
        The plain distance and the head, on the people who are tested.
    right
        Of both, the share of right decisions on pairs of the tested people, mated and non-mated
        ones counting alike, at the threshold that errs least on the calibrated ones.
    people
        Learnt from, calibrated on, tested on.
    """

    head: PairHead
    points: dict[str, Any]
    learning: Learnt
    plain: Verification
    learnt: Verification
    right: tuple[float, float]
    people: tuple[int, int, int]

    @property
    def verdict(self) -> str:
        """Say in words whether the head is worth its use."""
        fars = [far for far in ("1e-3", "1e-2") if far in self.plain.tar and far in self.learnt.tar]
        if not fars:
            return "too few people are tested to tell the head from the distance"
        old, new = self.plain.tar[fars[0]], self.learnt.tar[fars[0]]
        said = (
            f"TAR at FAR {fars[0]} is {100 * new.value:.2f} % with the head and "
            f"{100 * old.value:.2f} % with the distance"
        )
        if new.low > old.high:
            return f"the head is better: {said}"
        if new.high < old.low:
            return f"the head is worse, decide by the distance: {said}"
        return f"no difference that these people could show: {said}"

    def as_json(self) -> dict[str, Any]:
        """Give the report as ``--json`` prints it."""
        return {
            "schema": SCHEMA,
            "head": self.head.id,
            "encoder": self.head.encoder,
            "form": str(self.head.form),
            "trained_on": self.head.trained_on,
            "strength": self.learning.strength,
            "losses": {f"{c:g}": loss for c, loss in self.learning.losses.items()},
            "spread": self.learning.spread,
            "pairs": self.learning.pairs,
            "people": dict(zip(("learnt", "calibrated", "tested"), self.people, strict=True)),
            "verdict": self.verdict,
            "distance": {"right": self.right[0], **verification_json(self.plain)},
            "learnt": {"right": self.right[1], **verification_json(self.learnt)},
        }


def try_pair_head(
    pack: Crops, encoder: Encoder, trial: Trial | None = None, told: Told = lambda _: None
) -> Tried:
    """Learn a head for an encoder from a pack, calibrate it, and measure it.

    Parameters
    ----------
    told
        Called with the number of crops encoded since the last call; `photographs` says how many
        there will be.

    Raises
    ------
    PackRefused
        When the pack's crops are not cut as the encoder wants them.
    ProtocolRefused
        With too few people: false match rates cannot be measured then.
    InputRefused, MissingExtra
        See ``pair_head.learn_head``.
    """
    trial = trial or Trial()
    groups = _groups(pack, trial)
    encoded = encode_rows(pack, encoder, np.concatenate(groups), trial, told)
    name = f"{pack.path.name} ({pack.digest[:8]})"
    learn, calibrate, test = np.split(encoded, np.cumsum([len(g) for g in groups])[:2])
    owner = _owners(pack, groups[0])
    learning = learn_head(learn, owner, encoder.id, f"{name}, learning people", trial.config)
    tuned, tested = (
        _Seen.of(pack, rows, vectors)
        for rows, vectors in ((groups[1], calibrate), (groups[2], test))
    )
    head, points, plain_points = _calibrated(
        learning.head, encoder.name, tuned, name, trial.repeats
    )
    settings = (
        Setting(
            f"{encoder.name} by {what}",
            identity,
            f"{name}, tested people",
            curve_of(stored, EncoderId(identity), encoder.name),
            trial.repeats,
        )
        for what, identity, stored in (
            ("distance", encoder.id, plain_points),
            (f"{head.form} head", head.id, points),
        )
    )
    (plain, old), (learnt, new) = (
        _measured(tuned, tested, between, setting)
        for between, setting in zip((squared_between, head.between), settings, strict=True)
    )
    people = (len(np.unique(owner)), len(tuned.people), len(tested.people))
    return Tried(head, points, learning, plain, learnt, (old, new), people)


def photographs(pack: Crops, trial: Trial | None = None) -> int:
    """Count the crops that a trial encodes."""
    return sum(len(rows) for rows in _groups(pack, trial or Trial()))


def encode_rows(
    pack: Crops,
    encoder: Encoder,
    rows: NDArray[np.int64],
    trial: Trial | None = None,
    told: Told = lambda _: None,
) -> NDArray[np.float32]:
    """Encode rows of a pack, (N,) to (N, D) unit rows; once, when the trial has a cache.

    Raises
    ------
    PackRefused
        When the pack's crops are not cut as the encoder wants them.
    """
    wanted = [alignment.name for alignment in encoder.alignments]
    if wanted != [pack.alignment]:
        raise PackRefused(
            f"{pack.path}: its faces are cut to {pack.alignment}, and {encoder.name} wants "
            f"{' and '.join(wanted)}: pack again for it, or take another encoder"
        )
    trial = trial or Trial()
    kept = _cache_file(pack, encoder, rows, trial.cache)
    if kept is not None and (before := _remembered(kept, len(rows))) is not None:
        told(len(rows))
        return before
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]

    def work(part: NDArray[np.int64]) -> NDArray[np.float32]:
        return encoder.encode(pack.read(part))

    found = []
    with ThreadPoolExecutor(trial.workers) as pool:
        for vectors in pool.map(work, parts):
            found.append(vectors)
            told(len(vectors))
    encoded = np.concatenate(found)
    if kept is not None:
        _remember(kept, encoded)
    return encoded


# Who, and which photographs of them


def _groups(pack: Crops, trial: Trial) -> list[NDArray[np.int64]]:
    """Give the rows to learn from, to calibrate on and to test on; sorted, by person."""
    split = split_people(pack.offsets, trial.shares, trial.config.seed)
    chance = np.random.default_rng(trial.config.seed)
    each = ((split.train, 4), (split.calibration, 1), (split.validation, 1))
    return [
        _rows(pack.offsets, chance.permutation(people), times * trial.per_person, trial.most)
        for people, times in each
    ]


def _rows(
    offsets: NDArray[np.int64], people: NDArray[np.int64], each: int, most: int
) -> NDArray[np.int64]:
    starts, counts = offsets[people], np.minimum(np.diff(offsets)[people], each)
    fit = np.cumsum(counts) <= most
    some = [
        np.arange(start, start + count)
        for start, count in zip(starts[fit], counts[fit], strict=True)
    ]
    return np.sort(np.concatenate(some)) if some else np.zeros(0, np.int64)


def _owners(pack: Crops, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(pack.offsets, rows, side="right") - 1


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Encodings and people as ``evaluate`` takes them."""

    encoded: dict[str, Encoded]
    people: dict[str, Sequence[str]]

    @classmethod
    def of(cls, pack: Crops, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> _Seen:
        names = [pack.source(int(row)) for row in rows]
        # Crops that were packed were found good enough: there is no quality to tell them apart.
        encoded = {
            name: Encoded("", vector, "", 1.0) for name, vector in zip(names, vectors, strict=True)
        }
        people: dict[str, Sequence[str]] = {}
        for person, name in zip(_owners(pack, rows).tolist(), names, strict=True):
            people[str(person)] = [*people.get(str(person), ()), name]
        return cls(encoded, people)


# Calibrating and measuring


def _calibrated(
    head: PairHead, encoder: str, tuned: _Seen, name: str, repeats: int
) -> tuple[PairHead, dict[str, Any], dict[str, Any]]:
    """Calibrate the logit, then measure operating points of the head and of the distance."""
    found = distances_between(tuned.encoded, tuned.people, _LISTED, head.between)
    head = calibrated_head(head, found.mated.d, found.counts)
    people = f"{name}, calibrating people"
    return (
        head,
        _points(tuned, head.between, repeats).as_json(head.id, f"{encoder}'s head", people),
        _points(tuned, squared_between, repeats).as_json(head.encoder, encoder, people),
    )


def _points(tuned: _Seen, between: Between, repeats: int) -> Calibration:
    found = distances_between(tuned.encoded, tuned.people, _LISTED, between)
    weights = over.draws(found.people, repeats)
    try:
        return operating_points(found.counts, found.nearest, weights, mated=found.mated)
    except InputRefused as few:
        raise ProtocolRefused(
            f"{found.people} people are left to calibrate on, and that is too few for operating "
            f"points ({few}); pack more people"
        ) from few


def _measured(
    tuned: _Seen, tested: _Seen, between: Between, setting: Setting
) -> tuple[Verification, float]:
    """Compare all tested people; also give the share of right decisions at the tuned threshold."""
    line = compare_all(tuned.encoded, tuned.people, between).curve
    tau = float(line.tau[int((line.fmr + line.fnmr).argmin())])
    done = compare_all(tested.encoded, tested.people, between, _LISTED_TESTED)
    fmr, fnmr = done.curve.at(tau)
    return verification(done, setting), 1 - (fmr + fnmr) / 2


# What is remembered


def _cache_file(
    pack: Crops, encoder: Encoder, rows: NDArray[np.int64], cache: Path | None
) -> Path | None:
    if cache is None:
        return None
    told = f"{pack.digest}:{encoder.id}:{hashlib.sha256(rows.tobytes()).hexdigest()}"
    return cache / "encodings" / f"pack-{hashlib.sha256(told.encode()).hexdigest()[:24]}.npy"


def _remembered(path: Path, count: int) -> NDArray[np.float32] | None:
    """Read encodings; what is damaged or cut short is as good as not there."""
    try:
        found: NDArray[np.float32] = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    whole = found.ndim == 2 and len(found) == count and found.dtype == np.float32
    return found if whole and np.allclose((found * found).sum(1), 1, atol=1e-3) else None


def _remember(path: Path, encoded: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    with contextlib.suppress(FileNotFoundError):
        staged.unlink()
    with os.fdopen(os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        np.save(file, encoded)
    staged.replace(path)
