"""Whole evaluations and calibrations: from files to results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from visavis.errors import InputRefused, NotCalibrated, ProtocolRefused
from visavis.evaluate.calibration import fit_likelihood, operating_points, promise
from visavis.evaluate.encodings import Encodings
from visavis.evaluate.findings import Calibrated, Checked, Degraded, Liveness
from visavis.evaluate.identification import OpenSet, Search, identification
from visavis.evaluate.intervals import draws
from visavis.evaluate.listing import PairList, read_pairs, read_people
from visavis.evaluate.presentation import (
    Presentations,
    at_threshold,
    separation,
    threshold_at_bpcer,
)
from visavis.evaluate.protocols import (
    Comparisons,
    Setting,
    Verification,
    compare_all,
    compare_pairs,
    distances_between,
    verification,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from visavis.decide import OperatingCurve
    from visavis.engine import Engine
    from visavis.evaluate.calibration import Calibration, Promise
    from visavis.evaluate.degrade import Step
    from visavis.evaluate.encodings import Encoded
    from visavis.evaluate.listing import Presentation
    from visavis.evaluate.protocols import Distances
    from visavis.evaluate.scoring import Scored

    Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What an evaluation reads and how.

    Attributes
    ----------
    images
        Folder that all paths are relative to.
    pairs
        Pairs files; none compares every photograph with every other of a folder a person.
    cache
        Where encodings are remembered; None remembers none.
    workers
        Photographs worked on side by side.
    """

    images: Path
    pairs: tuple[Path, ...] = ()
    cache: Path | None = None
    workers: int = 1

    @property
    def data(self) -> str:
        """What was measured on, for people."""
        lists = ", ".join(path.name for path in self.pairs)
        return f"{self.images.name}: {lists or 'all photographs against all'}"


def photographs(job: Job) -> int:
    """Count the photographs of a job; raises ProtocolRefused for lists that cannot be used."""
    return len(_names(job))


def evaluate_verification(engine: Engine, job: Job, told: Told = lambda _: None) -> Verification:
    """Embed and compare a list's pairs, or everything with everything.

    Raises
    ------
    ProtocolRefused
        See ``listing``.
    """
    done = _compared(job, _encoded(engine, job, told))
    return verification(done, _setting(engine, job))


def evaluate_degraded(
    engine: Engine, job: Job, steps: Sequence[Step], told: Told = lambda _: None
) -> list[Degraded]:
    """Measure a list's pairs again and again, their second photographs spoilt ever more.

    The first photographs stay as they are: people are enrolled well and seen badly. The first row
    is of the photographs as they are. Failures to acquire are counted among the second ones.
    """
    listed = _listed(job)
    clean = _encoded(engine, job, lambda _: None)
    seconds = sorted({pair.b for pair in listed.pairs})
    setting = replace(_setting(engine, job), curve=None, repeats=200)

    def row(done: Comparisons, seen: Mapping[str, Encoded], step: Step | None = None) -> Degraded:
        failed = sum(bool(seen[name].failure) for name in seconds)
        measured = Degraded.of(verification(done, setting), step)
        return replace(measured, photographs=len(seconds), failed=failed)

    found = [row(compare_pairs(clean, listed), clean)]
    for step in steps:
        encodings = Encodings(engine, None, job.workers)
        spoilt = encodings.of(job.images, seconds, told, step.change())
        renamed = {f"{name}\0": encoded for name, encoded in spoilt.items()}
        pairs = tuple(replace(pair, b=f"{pair.b}\0") for pair in listed.pairs)
        done = compare_pairs({**clean, **renamed}, replace(listed, pairs=pairs))
        found.append(row(done, spoilt, step))
    return found


def likelihood_on(engine: Engine, job: Job, result: Verification) -> Calibrated | None:
    """Calibrate d to a likelihood ratio on half of a list's folds and hold it against the rest.

    None when the list has no folds, for then no people are apart; and when a half cannot tell:
    it lacks mated or non-mated pairs with two faces, or its mated pairs are not the nearer ones.
    """
    if not job.pairs or result.accuracy is None:
        return None
    encoded = _encoded(engine, job, lambda _: None)
    listed = _listed(job)
    folds = sorted({pair.fold for pair in listed.pairs})
    chosen = [[p for p in listed.pairs if p.fold in folds[half::2]] for half in (0, 1)]
    try:
        halves = [compare_pairs(encoded, replace(listed, pairs=tuple(some))) for some in chosen]
        mated, nonmated = halves[0].mated.d, halves[0].nonmated.d
        likelihood = fit_likelihood(mated[np.isfinite(mated)], nonmated[np.isfinite(nonmated)])
        other = replace(result, comparisons=halves[1])
        return Calibrated.of(other, likelihood, "every second fold")
    except InputRefused:
        return None


def evaluate_identification(
    engine: Engine, job: Job, search: Search, told: Told = lambda _: None
) -> OpenSet:
    """Embed a folder a person and search it; see ``identification.identification``."""
    people = read_people(job.images)
    return identification(_encoded(engine, job, told), people, _setting(engine, job), search)


@dataclass(frozen=True, slots=True, eq=False)
class NewPoints:
    """New operating points, and whether such points keep their promise.

    Attributes
    ----------
    calibration
        Measured on everybody.
    checked
        Points measured on one half of the people, held against the other half.
    stored
        What is written: see ``decide.curve_of``.
    """

    calibration: Calibration
    checked: Checked
    stored: dict[str, Any]


def calibrate(
    engine: Engine, job: Job, tuned_on: str, told: Told = lambda _: None, repeats: int = 500
) -> NewPoints:
    """Measure an encoder's operating points on the user's own folder a person.

    Raises
    ------
    ProtocolRefused
        With fewer than sixty people: half of them must do for points, and half for the check.
    """
    people = read_people(job.images)
    if len(people) < _FEWEST:
        raise ProtocolRefused(
            f"{job.images}: {len(people)} people; calibrating needs at least {_FEWEST}, and a "
            "false match rate of 1e-4 some hundreds"
        )
    encoded = _encoded(engine, job, told)
    everybody = calibrated_on(encoded, people, repeats)
    names = sorted(people)
    first, second = ({name: people[name] for name in names[i::2]} for i in range(2))
    remarks = [f"at most {PER_PERSON} photographs a person, so that nobody weighs too much"]
    try:
        promises = promises_between(encoded, first, second, repeats)
    except InputRefused as few:
        promises = ()
        remarks.append(f"the promise could not be checked on the other half of the people: {few}")
    checked = Checked(
        setting=replace(_setting(engine, job), data=f"every second person of {tuned_on}"),
        tuned_on=f"the others of {tuned_on}",
        promises=promises,
        failed={name: e.failure for name, e in encoded.items() if e.failure},
        remarks=tuple(remarks),
    )
    stored = everybody.as_json(engine.encoder.id, engine.encoder.name, tuned_on)
    return NewPoints(everybody, checked, {**stored, "photographs_a_person": PER_PERSON})


_FEWEST = 60

PER_PERSON = 5
"""Of one person so many photographs are calibrated on. With all of them the rate of a data set
like LFW hangs on the few people who have hundreds: its interval is ten times as wide."""


def calibrated_on(
    encoded: Mapping[str, Encoded], people: Mapping[str, Sequence[str]], repeats: int = 500
) -> Calibration:
    """Find operating points from all pairs of photographs."""
    found = _distances(encoded, people)
    weights = draws(found.people, repeats)
    return operating_points(found.counts, found.nearest, weights, mated=found.mated)


def promises_between(
    encoded: Mapping[str, Encoded],
    tuned: Mapping[str, Sequence[str]],
    checked: Mapping[str, Sequence[str]],
    repeats: int = 500,
) -> tuple[Promise, ...]:
    """Tune on some people and check on others, at 1e-2 to 1e-5."""
    points = calibrated_on(encoded, tuned, repeats)
    found = _distances(encoded, checked)
    asked = [points.at(rate) for rate in (1e-2, 1e-3, 1e-4, 1e-5) if rate <= points.points[0].fmr]
    return promise(asked, found.nearest, draws(found.people, repeats))


def _distances(encoded: Mapping[str, Encoded], people: Mapping[str, Sequence[str]]) -> Distances:
    some = {name: photos[:PER_PERSON] for name, photos in people.items()}
    return distances_between(encoded, some, listed_far=0.12)


def evaluate_liveness(
    rows: Sequence[Presentation] | Scored,
    data: str,
    bpcers: Sequence[float] = (0.01, 0.05),
    repeats: int = 1000,
) -> Liveness:
    """Measure presentation attack detection on scored presentations (ISO/IEC 30107-3).

    Parameters
    ----------
    rows
        With anybody's scores, or as ``scoring.scored`` judged them: then the first point is at
        the network's own threshold.
    bpcers
        Each gives a point, at the largest threshold with that BPCER here.

    Raises
    ------
    ProtocolRefused
        When a presentation has no score.
    """
    judged = None if isinstance(rows, Sequence) else rows
    rows = rows if isinstance(rows, Sequence) else rows.rows
    scores = [row.score for row in rows if row.score is not None]
    if len(scores) < len(rows):
        raise ProtocolRefused(
            "every presentation needs a score in [0, 1], higher for live: fill the column 'score', "
            "or leave it out and visavis judges the pictures itself"
        )
    subjects = {subject: i for i, subject in enumerate(sorted({row.subject for row in rows}))}
    weights = draws(len(subjects), repeats)
    score = np.array(scores, np.float64)
    subject = np.array([subjects[row.subject] for row in rows], np.int64)
    live = np.array([row.live for row in rows])
    species = np.array([row.species for row in rows])
    alive = Presentations(score[live], subject[live])
    attacks = {
        str(kind): Presentations(score[chosen], subject[chosen])
        for kind in np.unique(species[~live])
        for chosen in [~live & (species == kind)]
    }
    thresholds = [threshold_at_bpcer(alive.score, rate) for rate in bpcers]
    if judged is not None and judged.threshold is not None:
        thresholds.insert(0, judged.threshold)
    return Liveness(
        setting=Setting(judged.model if judged else "scores as given", "", data),
        live=alive,
        attacks=attacks,
        separation=separation(alive, attacks, weights),
        points=tuple(at_threshold(alive, attacks, t, weights) for t in thresholds),
        failed=judged.failed if judged else {},
        remarks=judged.remarks if judged else (),
    )


def _names(job: Job) -> list[str]:
    if job.pairs:
        return _listed(job).names
    return [name for photos in read_people(job.images).values() for name in photos]


def _listed(job: Job) -> PairList:
    """Read the pairs files as one list, their folds numbered on."""
    if not job.pairs:
        raise ProtocolRefused("this needs a list of pairs: name one with --pairs")
    lists = [read_pairs(path, job.images) for path in job.pairs]
    pairs, start = [], 0
    for some in lists:
        pairs += [replace(pair, fold=pair.fold + start) for pair in some.pairs]
        start += 1 + max(pair.fold for pair in some.pairs)
    said: dict[frozenset[str], bool] = {}
    for pair in pairs:
        if said.setdefault(frozenset((pair.a, pair.b)), pair.same) != pair.same:
            raise ProtocolRefused(
                f"{pair.a} and {pair.b} are called the same in one list and different in another"
            )
    return PairList(tuple(pairs), tuple(remark for some in lists for remark in some.remarks))


def _encoded(engine: Engine, job: Job, told: Told) -> dict[str, Encoded]:
    return Encodings(engine, job.cache, job.workers).of(job.images, _names(job), told)


def _compared(job: Job, encoded: Mapping[str, Encoded]) -> Comparisons:
    if job.pairs:
        return compare_pairs(encoded, _listed(job))
    return compare_all(encoded, read_people(job.images))


def _setting(engine: Engine, job: Job) -> Setting:
    return Setting(engine.encoder.name, engine.encoder.id, job.data, _curve(engine))


def _curve(engine: Engine) -> OperatingCurve | None:
    try:
        return engine.curve
    except NotCalibrated:
        return None
