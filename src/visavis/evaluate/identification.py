"""How an encoder is measured by searching: open-set identification, against gallery size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import ProtocolRefused
from visavis.evaluate import intervals as over
from visavis.evaluate import metrics
from visavis.evaluate.protocols import failures, matrix, without_duplicates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from visavis.decide import OperatingCurve
    from visavis.evaluate.encodings import Encoded
    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.protocols import Setting


@dataclass(frozen=True, slots=True, eq=False)
class AtSize:
    """Identification with so many people enrolled.

    Attributes
    ----------
    people, templates
        Enrolled.
    rank1
        Share of mated probes whose nearest person is the right one (closed set).
    fnir
        FPIR such as "1e-2" to FNIR at it.
    curve
        FPIR (as fmr) and FNIR (as fnmr) at every tau.
    """

    people: int
    templates: int
    rank1: float
    fnir: dict[str, Interval]
    curve: metrics.Curve


@dataclass(frozen=True, slots=True, eq=False)
class OpenSet:
    """What there is to say of an encoder after searching galleries.

    Attributes
    ----------
    sizes
        By rising size of the gallery; the last is the whole.
    cmc
        (G,) closed set, of the whole gallery.
    promised
        The tau that the encoder's operating points give for each FPIR at the whole size, and the
        FPIR and FNIR measured there.
    """

    setting: Setting
    mated: int
    strangers: int
    per_person: int
    sizes: tuple[AtSize, ...]
    cmc: NDArray[np.float64]
    promised: tuple[tuple[float, float, Interval, Interval], ...]
    failed: dict[str, str]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """How the gallery and its probes are chosen.

    Attributes
    ----------
    templates
        Photographs enrolled of each person; the one after them is the probe.
    sizes
        Galleries of so many people are drawn besides the whole.
    seed
        Of the drawing.
    """

    templates: int = 1
    sizes: tuple[int, ...] = (10, 30, 100, 300, 1000)
    seed: int = 0


FPIRS = (1e-1, 1e-2, 1e-3)


def identification(
    encoded: Mapping[str, Encoded],
    people: Mapping[str, Sequence[str]],
    setting: Setting,
    search: Search | None = None,
) -> OpenSet:
    """Search the last photograph of everybody enrolled, and of people who are not.

    Everybody with more photographs than are enrolled of a person is enrolled by the first ones and
    looked for by the next; everybody with one photograph is a stranger. A photograph without a
    face enrols nobody and is found by no search: both count.
    """
    search = search or Search()
    kept, remarks = without_duplicates(encoded, people)
    enrolled = {n: photos for n, photos in kept.items() if len(photos) > search.templates}
    strangers = [photos[0] for photos in kept.values() if len(photos) == 1]
    neither = len(kept) - len(enrolled) - len(strangers)
    if neither:
        remarks += (
            f"{neither} people have {' to '.join(map(str, sorted({2, search.templates})))} "
            "photographs: too few to be looked for and too many for a stranger; left out",
        )
    if len(enrolled) < 2 or not strangers:
        raise ProtocolRefused(
            f"open-set search needs at least two people with {search.templates + 1} photographs "
            f"or more, and one with a single photograph; there are {len(enrolled)} and "
            f"{len(strangers)}"
        )
    gallery, _ = matrix(
        encoded, [p for photos in enrolled.values() for p in photos[: search.templates]]
    )
    probes, probes_there = matrix(
        encoded, [photos[search.templates] for photos in enrolled.values()]
    )
    others, others_there = matrix(encoded, strangers)
    own = _to_people(probes, probes_there, gallery, search.templates)
    foreign = _to_people(others, others_there, gallery, search.templates)
    sizes = []
    chance = np.random.default_rng(search.seed)
    weights = over.draws(len(enrolled) + len(strangers), setting.repeats)
    for size in [*(s for s in search.sizes if s < len(enrolled)), len(enrolled)]:
        chosen = np.sort(chance.permutation(len(enrolled))[:size])
        sizes.append(_at_size(own, foreign, chosen, search.templates, weights))
    rank = metrics.ranks(own, np.arange(len(enrolled)))
    names = [name for photos in kept.values() for name in photos]
    return OpenSet(
        setting=setting,
        mated=len(enrolled),
        strangers=len(strangers),
        per_person=search.templates,
        sizes=tuple(sizes),
        cmc=metrics.cmc(rank, len(enrolled)),
        promised=_promised(own, foreign, search.templates, setting.curve, weights)
        if setting.curve
        else (),
        failed=failures(encoded, names),
        remarks=remarks,
    )


def _at_size(
    own: NDArray[np.float64],
    foreign: NDArray[np.float64],
    chosen: NDArray[np.int64],
    templates: int,
    weights: NDArray[np.float32],
) -> AtSize:
    mated, strangers = _searched(own, foreign, chosen)
    fnir = {}
    for rate in FPIRS:
        if rate * len(strangers.d) >= 4:
            found = over.tar_at_far_interval(mated, strangers, rate, weights)
            fnir[f"{rate:.0e}".replace("e-0", "e-")] = over.Interval(
                1 - found.value, 1 - found.high, 1 - found.low
            )
    return AtSize(
        people=len(chosen),
        templates=len(chosen) * templates,
        rank1=float(np.isfinite(mated.d).mean()),
        fnir=fnir,
        curve=metrics.curve(mated.d, strangers.d),
    )


def _searched(
    own: NDArray[np.float64], foreign: NDArray[np.float64], chosen: NDArray[np.int64]
) -> tuple[over.ByPerson, over.ByPerson]:
    """Distances at which the mated probes are rightly named, and of strangers to their nearest."""
    among = own[np.ix_(chosen, chosen)]
    nearest = among.min(axis=1)
    right = among.argmin(axis=1) == np.arange(len(chosen))
    mated = over.ByPerson(metrics.hits(nearest, right), chosen)
    away = foreign[:, chosen].min(axis=1)
    return mated, over.ByPerson(away, len(own) + np.arange(len(foreign)))


def _promised(
    own: NDArray[np.float64],
    foreign: NDArray[np.float64],
    templates: int,
    curve: OperatingCurve,
    weights: NDArray[np.float32],
) -> tuple[tuple[float, float, Interval, Interval], ...]:
    mated, strangers = _searched(own, foreign, np.arange(len(own)))
    found = []
    for rate in FPIRS:
        tau = curve.identification(rate, len(own) * templates).tau
        found.append(
            (
                rate,
                tau,
                over.fmr_interval(strangers, tau, weights),
                over.fnmr_interval(mated, tau, weights),
            )
        )
    return tuple(found)


def _to_people(
    probes: NDArray[np.float32],
    there: NDArray[np.bool_],
    gallery: NDArray[np.float32],
    templates: int,
) -> NDArray[np.float64]:
    """(P, G) distance of each probe to each person's nearest template; inf where no face was."""
    d = np.clip(2.0 - 2.0 * (probes @ gallery.T), 0, 4).astype(np.float64)
    d[~there] = np.inf
    d[:, ~gallery.any(axis=1)] = np.inf
    return np.asarray(d.reshape(len(probes), -1, templates).min(axis=2))
