"""Who may be enrolled: nobody twice, and nobody's face under another's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from visavis.decide import squared
from visavis.encode import embed
from visavis.engine.sight import Ready
from visavis.errors import DuplicatePerson, PersonMismatch, PersonUnknown, PoorQuality
from visavis.values import Enrolment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visavis.decide import OperatingCurve
    from visavis.engine.core import Engine
    from visavis.engine.sight import Photograph
    from visavis.gallery.records.arrivals import Arrivals, Recheck
    from visavis.values import Consent, Person, PersonId

_SAME_PERSON_FMR = 1e-2
"""A photograph added to a person must resemble those there at least so well."""


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """Faces that were found to be this person's and nobody else's, and up to when.

    Attributes
    ----------
    name, ready
        Whom and what it is of.
    since, mark
        The entry of the gallery's change log up to which everybody was looked at.
    templates
        How many those were.
    own
        The ids under which the person was found near; they must still be called so.
    alone
        True when nobody was enrolled under the name.
    """

    name: str
    ready: tuple[Ready, ...]
    since: int
    mark: str
    templates: int
    own: frozenset[PersonId]
    alone: bool


def prepared(engine: Engine, taken: Photograph, *, force: bool, keep: bool) -> Ready:
    """Encode a photograph that is to be enrolled; see ``Engine.prepare``."""
    seen = engine.sight.subject(taken)
    quality = seen.sighting.quality
    if quality.advice and not force:
        raise PoorQuality(
            f"{taken.name} would make a bad template: {'; '.join(quality.advice)} "
            "(or force the enrolment)"
        )
    (embedding,) = embed(engine.encoder, [seen.crop])
    data = taken.data if keep else None
    return Ready(taken.name, taken.digest, data, seen.sighting, embedding)


def admitted(engine: Engine, person: str, ready: Sequence[Ready]) -> Admission:
    """Hold faces against everybody enrolled; see ``Engine.admit``."""
    from visavis.gallery import clean_name  # noqa: PLC0415

    name = clean_name(person)
    searcher, since, mark = engine.lookup.standing()
    vectors = np.stack([r.embedding.vector for r in ready])
    tau = engine.curve.identification(engine.config.fpir, len(searcher)).tau
    found, people = engine.lookup.nearest(searcher, vectors, 2)
    own: set[PersonId] = set()
    for r, hits in zip(ready, found, strict=True):
        for hit in hits:
            other = people.get(hit.person)
            if other is None or hit.distance > tau:
                continue
            if name not in {other.name, other.id}:
                raise _duplicate(r, other, hit.distance, tau)
            own.add(other.id)
    known = _templates_of(engine, name)
    _require_alike(engine.curve, name, ready, known or [ready[0].embedding.vector])
    return Admission(name, tuple(ready), since, mark, len(searcher), frozenset(own), not known)


def stored(
    engine: Engine,
    people: Sequence[tuple[str, Sequence[Ready]]],
    consent: Consent | None,
    admissions: Sequence[Admission],
) -> list[Enrolment]:
    """Write people in one transaction that holds the admissions once more; see ``Engine.commit``.

    What they were checked against may have grown since; whoever came in is looked at while nobody
    else can write.
    """
    from visavis.gallery import NewTemplate  # noqa: PLC0415

    done = engine.gallery.enroll_all(
        [
            (name, [NewTemplate(r.embedding.vector, r.digest, r.data) for r in ready])
            for name, ready in people
        ],
        encoder=engine.encoder.id,
        consent=consent,
        rechecks=[_recheck(engine, admission) for admission in admissions],
    )
    return [
        Enrolment(each.person, each.added, each.known, tuple(r.sighting for r in ready))
        for each, (_, ready) in zip(done, people, strict=True)
    ]


def alike(engine: Engine, one: Sequence[Ready], other: Sequence[Ready]) -> bool:
    """Tell whether two people who are about to be enrolled may be one."""
    templates = len(engine.lookup.fresh()) + len(other)
    tau = engine.curve.identification(engine.config.fpir, templates).tau
    return any(squared(a.embedding.vector, b.embedding.vector) <= tau for a in one for b in other)


def _recheck(engine: Engine, admission: Admission) -> Recheck:
    from visavis.gallery.records.arrivals import Recheck  # noqa: PLC0415

    def look(arrivals: Arrivals) -> None:
        _hold(engine, admission, arrivals)

    return Recheck(admission.since, admission.mark, look, admission.own)


def _hold(engine: Engine, admission: Admission, arrivals: Arrivals) -> None:
    """Decide about an admission as it would have been with those who came in since."""
    name, now = admission.name, datetime.now(UTC)
    tau = engine.curve.identification(
        engine.config.fpir, admission.templates + len(arrivals.persons)
    ).tau
    for key in admission.own:
        other = arrivals.people.get(key)
        if other is not None and name not in {other.name, other.id}:
            raise _renamed(name, other)
    if not arrivals.persons:
        return
    others = [arrivals.people.get(key) for key in arrivals.persons]
    own = np.array([other is not None and name in {other.name, other.id} for other in others])
    for r in admission.ready:
        distances = _distances(r.embedding.vector, arrivals.vectors)
        for n in np.argsort(distances, kind="stable")[: np.count_nonzero(distances <= tau)]:
            other = others[n]
            if other is not None and not own[n] and not other.expired(now):
                raise _duplicate(r, other, float(distances[n]), tau)
    if admission.alone and own.any():
        _require_alike(engine.curve, name, admission.ready, list(arrivals.vectors[own]))


def _distances(vector: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared Euclidean distances of one vector (D,) and (N, D), as `squared` has them."""
    one, all_rows = vector.astype(np.float64), rows.astype(np.float64)
    lengths = np.einsum("nd,nd->n", all_rows, all_rows)
    distances: NDArray[np.float64] = one @ one + lengths - 2 * (all_rows @ one)
    return np.clip(distances, 0.0, 4.0)


def _duplicate(r: Ready, other: Person, d: float, tau: float) -> DuplicatePerson:
    return DuplicatePerson(
        f"{r.name} looks like {other.name}, who is enrolled already "
        f"(d = {d:.2f}, tau = {tau:.2f}); add it to {other.name}, or force the enrolment if they "
        "are two people"
    )


def _renamed(name: str, other: Person) -> DuplicatePerson:
    return DuplicatePerson(
        f"whom it looks like was called {name} a moment ago and is {other.name} now; add it to "
        f"{other.name}, or force the enrolment if they are two people"
    )


def _require_alike(
    curve: OperatingCurve,
    name: str,
    ready: Sequence[Ready],
    templates: Sequence[NDArray[np.float32]],
) -> None:
    """Raise PersonMismatch for a face that resembles none of a person's, nor those before it."""
    tau = curve.at(_SAME_PERSON_FMR).tau
    known = list(templates)
    for r in ready:
        d = min(squared(r.embedding.vector, vector) for vector in known)
        if d > tau:
            raise PersonMismatch(
                f"{r.name} does not look like the other photographs of {name} "
                f"(d = {d:.2f}, at most {tau:.2f}); leave it out, or force the enrolment"
            )
        known.append(r.embedding.vector)


def _templates_of(engine: Engine, name: str) -> list[NDArray[np.float32]]:
    gallery = engine.gallery
    try:
        return [t.vector for t in gallery.templates(gallery.person(name).id)]
    except PersonUnknown:
        return []
