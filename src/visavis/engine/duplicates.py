"""People who are enrolled twice: found by comparing everybody with everybody, and joined."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from visavis.engine.pairs import NearPairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from visavis.engine.core import Engine
    from visavis.gallery import Merged
    from visavis.values import Consent, EncoderId, OperatingPoint, Person, PersonId


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two people who may be one.

    Attributes
    ----------
    first, second
        ``first`` was enrolled earlier.
    distance
        Between the nearest of their templates, in [0, 4].
    """

    first: Person
    second: Person
    distance: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Everybody who is so near to somebody else that enrolment would refuse them.

    Attributes
    ----------
    pairs
        The nearest first.
    tau, fpir
        ``distance <= tau``; the threshold at which a stranger is taken for one of the enrolled at
        that rate.
    fmr, fmr_upper
        The false match rate of one comparison there, and the upper end of its 95 % interval.
    extrapolated
        True when that rate is lower than the encoder's data could show.
    people, templates
        How many were compared: not those whose consent has ended.
    comparisons
        Pairs of templates of different people.
    false_pairs
        At most so many of the pairs are to be expected to be two people in truth, however many
        duplicates there are: ``comparisons * fmr_upper``.
    cut
        True when there are more pairs than asked for; then these are the nearest.
    """

    pairs: tuple[DuplicatePair, ...]
    tau: float
    fpir: float
    fmr: float
    fmr_upper: float
    extrapolated: bool
    encoder: EncoderId
    people: int
    templates: int
    comparisons: int
    false_pairs: float
    cut: bool = False


def find_duplicates(
    engine: Engine,
    *,
    fpir: float | None = None,
    most: int = 10_000,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Duplicates:
    """Compare everybody with everybody; see ``Engine.duplicates``.

    In memory are the vectors of all templates, and blocks of cosines: never a number a pair.
    """
    gallery, now = engine.gallery, datetime.now(UTC)
    rate = engine.config.fpir if fpir is None else fpir
    point = _point(engine, rate, gallery.template_count)
    people = {p.id: p for p in gallery.people() if not p.expired(now)}
    persons, owners, vectors = _everything(engine, people)
    near = NearPairs(owners, vectors, point.tau, most)
    near.run(told)
    there = gallery.people_of(persons)
    pairs = [
        _pair(there[persons[one]], there[persons[other]], distance)
        for one, other, distance in near.found()
        if persons[one] in there and persons[other] in there  # nobody was removed meanwhile
    ]
    counts = np.bincount(owners)
    comparisons = (len(owners) ** 2 - int(counts @ counts)) // 2
    return Duplicates(
        tuple(pairs),
        point.tau,
        rate,
        point.fmr,
        point.fmr_upper,
        point.extrapolated,
        engine.encoder.id,
        len(persons),
        len(owners),
        comparisons,
        comparisons * point.fmr_upper,
        near.cut,
    )


def merge_people(  # noqa: PLR0913 - named options, each with a default
    engine: Engine,
    person: str,
    into: str,
    *,
    fpir: float | None = None,
    force: bool = False,
    consent: Consent | None = None,
) -> Merged:
    """Make one person of two who look alike; see ``Engine.merge``."""
    within = None
    if not force:
        rate = engine.config.fpir if fpir is None else fpir
        within = _point(engine, rate, engine.gallery.template_count).tau
    return engine.gallery.merge(person, into, within=within, consent=consent)


def _point(engine: Engine, fpir: float, templates: int) -> OperatingPoint:
    """Give the point at which enrolment takes somebody for a duplicate."""
    return engine.curve.identification(fpir, templates)


def _everything(
    engine: Engine, people: Mapping[PersonId, Person]
) -> tuple[list[PersonId], NDArray[np.int64], NDArray[np.float32]]:
    """Give people, whose (by their place there) each template is, and its vector (N, D)."""
    places: dict[PersonId, int] = {}
    owners: list[int] = []
    parts: list[NDArray[np.float32]] = []
    since, mark = 0, ""
    while True:
        changes = engine.gallery.changes(since, mark)
        if changes.full:  # also when a backup was put in the gallery's place meanwhile
            places.clear()
            owners.clear()
            parts.clear()
        kept = [n for n, person in enumerate(changes.persons) if person in people]
        owners += [places.setdefault(changes.persons[n], len(places)) for n in kept]
        if kept:
            parts.append(changes.vectors[kept])
        if not changes.more:
            break
        since, mark = changes.sequence, changes.mark
    vectors = np.concatenate(parts) if parts else np.empty((0, 1), np.float32)
    return list(places), np.array(owners, np.int64), vectors


def _pair(one: Person, other: Person, distance: float) -> DuplicatePair:
    first, second = sorted((one, other), key=lambda person: (person.created, person.id))
    return DuplicatePair(first, second, distance)
