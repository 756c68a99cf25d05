"""How an encoder is measured by comparing: on listed pairs, or on all pairs of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visavis.errors import ProtocolRefused
from visavis.evaluate import intervals as over
from visavis.evaluate import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from visavis.decide import OperatingCurve
    from visavis.evaluate.encodings import Encoded
    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.listing import PairList

    Between = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]

FARS = (1e-2, 1e-3, 1e-4, 1e-5)
_BLOCK = 1024
_LISTED_FAR = 2.5e-3
"""All-against-all lists non-mated pairs up to the distance that this share of them has."""
_FEW = 200_000
"""Of fewer non-mated pairs all are listed."""
_WORST = 12


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What is measured, on what.

    Attributes
    ----------
    encoder, encoder_id
        Its name for people and its id.
    data
        The data set and split, for people.
    curve
        The encoder's operating points, to hold what they promise against what is measured.
    repeats
        Of the bootstrap.
    """

    encoder: str
    encoder_id: str
    data: str
    curve: OperatingCurve | None = None
    repeats: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Every comparison that was made, mated and non-mated.

    Attributes
    ----------
    names
        Photographs; the indices below point into it.
    people
        Number of people that intervals draw from.
    mated, nonmated
        Distances and whose they are; inf where a photograph showed no face. Of very many
        non-mated ones only the nearest are listed (``nonmated.ceiling``).
    mated_at, nonmated_at
        (N, 2) the photographs of each listed comparison.
    curve
        FMR and FNMR at every distance, over all of them.
    same, folds
        The pairs in the file's order, when they came from a list with folds: whether mated, which
        fold, and the distances.
    failed
        Photograph to why it could not be acquired.
    remarks
        What was odd in the data, and what was done about it.
    """

    names: list[str]
    people: int
    mated: over.ByPerson
    nonmated: over.ByPair
    mated_at: NDArray[np.int64]
    nonmated_at: NDArray[np.int64]
    curve: metrics.Curve
    failed: dict[str, str]
    quality: NDArray[np.float64]
    remarks: tuple[str, ...] = ()
    same: NDArray[np.bool_] | None = None
    folds: NDArray[np.int64] | None = None
    d: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AtPoint:
    """An operating point as it was promised and as it was measured here."""

    fmr: float
    tau: float
    promised_upper: float
    measured_fmr: Interval
    measured_fnmr: Interval
    extrapolated: bool

    @property
    def kept(self) -> bool:
        """False when the rate measured lies above the bound for sure."""
        return self.measured_fmr.low <= self.promised_upper


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What there is to say of an encoder after comparing pairs.

    ``worst_false_matches`` and ``worst_false_non_matches`` are (d, photograph, photograph).
    """

    setting: Setting
    comparisons: Comparisons
    accuracy: metrics.FoldAccuracy | None
    eer: float
    auc: float
    d_prime: float
    tar: dict[str, Interval]
    points: tuple[AtPoint, ...]
    discard: metrics.Discard
    worst_false_matches: tuple[tuple[float, str, str], ...]
    worst_false_non_matches: tuple[tuple[float, str, str], ...]


def compare_pairs(encoded: Mapping[str, Encoded], listed: PairList) -> Comparisons:
    """Compare the pairs of a list."""
    names = listed.names
    index = {name: i for i, name in enumerate(names)}
    people = {p: i for i, p in enumerate(sorted({p for q in listed.pairs for p in q.people}))}
    at = np.array([(index[p.a], index[p.b]) for p in listed.pairs], np.int64)
    who = np.array([(people[p.people[0]], people[p.people[1]]) for p in listed.pairs], np.int64)
    same = np.array([pair.same for pair in listed.pairs])
    vectors, there = matrix(encoded, names)
    d = np.full(len(at), np.inf)
    both = there[at].all(axis=1)
    apart = vectors[at[both, 0]].astype(np.float64) - vectors[at[both, 1]]
    d[both] = np.minimum(4.0, np.einsum("nd,nd->n", apart, apart))
    return Comparisons(
        names=names,
        people=len(people),
        mated=over.ByPerson(d[same], who[same, 0]),
        nonmated=over.ByPair(d[~same], who[~same, 0], who[~same, 1]),
        mated_at=at[same],
        nonmated_at=at[~same],
        curve=metrics.curve(d[same], d[~same]),
        failed=failures(encoded, names),
        quality=np.array([encoded[name].quality for name in names]),
        remarks=listed.remarks,
        same=same,
        folds=np.array([pair.fold for pair in listed.pairs], np.int64),
        d=d,
    )


def squared_between(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distance of all unit rows to all others, (N, D), (M, D) to (N, M)."""
    d: NDArray[np.float32] = np.clip(2 - 2 * (a @ b.T), 0, 4)
    return d


def compare_all(
    encoded: Mapping[str, Encoded],
    people: Mapping[str, Sequence[str]],
    between: Between = squared_between,
    listed_far: float = _LISTED_FAR,
) -> Comparisons:
    """Compare every photograph with every other.

    Photographs that are byte for byte the same are compared once, and said so; of those that show
    no face all comparisons count, as never accepted. ``between`` may be another distance than the
    plain one, such as a head's; it must lie in [0, 4]. Of very many non-mated pairs the share
    ``listed_far`` is listed, the nearest.
    """
    kept, remarks = without_duplicates(encoded, people)
    names = [name for photos in kept.values() for name in photos]
    owner = np.repeat(np.arange(len(kept)), [len(photos) for photos in kept.values()])
    counts = np.bincount(owner)
    if len(kept) < 2 or not (counts > 1).any():
        raise ProtocolRefused(
            "comparing all with all needs at least two people, and one of them with two "
            f"photographs; there are {len(kept)} people with at most {counts.max(initial=0)}"
        )
    vectors, there = matrix(encoded, names)
    blocks = _Blocks(vectors, there, between)
    mated, mated_at, histogram = _counted(blocks, owner)
    nonmated, at = _nearest(blocks, owner, _ceiling(histogram, listed_far))
    return Comparisons(
        names=names,
        people=len(kept),
        mated=over.ByPerson(mated, owner[mated_at[:, 0]]),
        nonmated=nonmated,
        mated_at=mated_at,
        nonmated_at=at,
        curve=metrics.histogram_curve(metrics.Histogram.of(mated), histogram),
        failed=failures(encoded, names),
        quality=np.array([encoded[name].quality for name in names]),
        remarks=remarks,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """All distances between the photographs of some people.

    Attributes
    ----------
    counts, nearest
        Of photographs of different people: all counted, the nearest listed.
    mated
        Of photographs of one person.
    people
        How many there are with a face.
    """

    counts: metrics.Histogram
    nearest: over.ByPair
    mated: over.ByPerson
    people: int


def distances_between(
    encoded: Mapping[str, Encoded],
    people: Mapping[str, Sequence[str]],
    listed_far: float,
    between: Between = squared_between,
) -> Distances:
    """Compare all photographs of all people.

    Photographs without a face are left out: they can be matched with nobody.

    Parameters
    ----------
    listed_far
        The share of non-mated distances that is listed.
    between
        As for compare_all.
    """
    kept, _ = without_duplicates(encoded, people)
    seen = {
        person: [name for name in photos if encoded[name].vector is not None]
        for person, photos in kept.items()
    }
    seen = {person: photos for person, photos in seen.items() if photos}
    names = [name for photos in seen.values() for name in photos]
    owner = np.repeat(np.arange(len(seen)), [len(photos) for photos in seen.values()])
    vectors, there = matrix(encoded, names)
    blocks = _Blocks(vectors, there, between)
    mated, at, histogram = _counted(blocks, owner)
    nearest, _ = _nearest(blocks, owner, _ceiling(histogram, listed_far))
    return Distances(histogram, nearest, over.ByPerson(mated, owner[at[:, 0]]), len(seen))


def _counted(
    blocks: _Blocks, owner: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], metrics.Histogram]:
    """Go over all pairs once: list the mated ones, count the non-mated ones."""
    histogram = metrics.Histogram(np.zeros(metrics.BINS, np.int64))
    mated = [np.zeros(0)]
    mated_at = [np.zeros((0, 2), np.int64)]
    for start, d in blocks:
        own, other = _masks(owner, start, d.shape)
        histogram += metrics.Histogram.of(d[other])
        i, j = np.nonzero(own)
        mated.append(d[i, j].astype(np.float64))
        mated_at.append(np.column_stack([i + start, j + start]))
    return np.concatenate(mated), np.concatenate(mated_at), histogram


def _ceiling(histogram: metrics.Histogram, far: float) -> float:
    if histogram.trials < _FEW:
        return np.inf
    return max(histogram.tau_at_far(far), metrics.WIDTH)


def _nearest(
    blocks: _Blocks, owner: NDArray[np.int64], ceiling: float
) -> tuple[over.ByPair, NDArray[np.int64]]:
    """Go over all pairs again and list the non-mated ones up to a distance."""
    near: list[NDArray[np.float64]] = []
    near_at: list[NDArray[np.int64]] = []
    for start, d in blocks:
        i, j = np.nonzero(d <= ceiling)
        wanted = (j > i) & (owner[i + start] != owner[j + start])
        i, j = i[wanted], j[wanted]
        near.append(d[i, j].astype(np.float64))
        near_at.append(np.column_stack([i + start, j + start]))
    at = np.concatenate(near_at)
    counts = np.bincount(owner)
    design = over.Crossed(counts, np.zeros((0, 2), np.int64)) if np.isfinite(ceiling) else None
    whose = (owner[at[:, 0]], owner[at[:, 1]])
    listed = over.ByPair(np.concatenate(near), *whose, design=design, ceiling=float(ceiling))
    return listed, at


def verification(done: Comparisons, setting: Setting) -> Verification:
    """Measure error rates, with 95 % intervals over people."""
    weights = over.draws(done.people, setting.repeats)
    tar = {}
    trials = done.curve.nonmated
    for far in FARS:
        # A rate that not even three comparisons stand for says nothing.
        if far * trials >= 3 and far <= _reach(done):
            interval = over.tar_at_far_interval(done.mated, done.nonmated, far, weights)
            tar[f"{far:.0e}".replace("e-0", "e-")] = interval
    accuracy = None
    if done.folds is not None and len(np.unique(done.folds)) > 1:
        assert done.d is not None
        assert done.same is not None
        accuracy = metrics.fold_accuracy(done.d, done.same, done.folds)
    half = _tau_of_fnmr(done, 0.05)
    pair_quality = metrics.pair_quality(*done.quality[done.mated_at].T)
    equal = metrics.equal_error(done.curve)
    return Verification(
        setting=setting,
        comparisons=done,
        accuracy=accuracy,
        eer=equal.rate,
        auc=metrics.auc(done.curve),
        d_prime=_d_prime(done),
        tar=tar,
        points=_points(done, setting.curve, weights) if setting.curve else (),
        discard=metrics.error_versus_discard(done.mated.d, pair_quality, half),
        worst_false_matches=_worst(done.nonmated.d, done.nonmated_at, done.names, nearest=True),
        worst_false_non_matches=_worst(done.mated.d, done.mated_at, done.names, nearest=False),
    )


def _d_prime(done: Comparisons) -> float:
    """Give d', or NaN where comparisons are missing: not all are listed, or none had two faces."""
    mated, nonmated = (d[np.isfinite(d)] for d in (done.mated.d, done.nonmated.d))
    if np.isfinite(done.nonmated.ceiling) or not (len(mated) and len(nonmated)):
        return float("nan")
    return metrics.d_prime(mated, nonmated)


def _points(
    done: Comparisons, curve: OperatingCurve, weights: NDArray[np.float32]
) -> tuple[AtPoint, ...]:
    found = []
    for rate in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        if rate > curve.points[0].fmr:
            continue
        point = curve.at(rate)
        if point.tau > done.nonmated.ceiling:
            continue
        found.append(
            AtPoint(
                rate,
                point.tau,
                point.fmr_upper,
                over.fmr_interval(done.nonmated, point.tau, weights),
                over.fnmr_interval(done.mated, point.tau, weights),
                point.extrapolated,
            )
        )
    return tuple(found)


def _reach(done: Comparisons) -> float:
    """Give the largest FAR whose interval the listed comparisons can give."""
    if np.isinf(done.nonmated.ceiling):
        return np.inf
    # A repeat may need more pairs than the whole did before it has found its tau.
    return len(done.nonmated.d) / done.curve.nonmated / 2.3


def _tau_of_fnmr(done: Comparisons, rate: float) -> float:
    """Give the tau at which FNMR is about ``rate``."""
    i = int(np.searchsorted(-done.curve.fnmr, -rate))
    return float(done.curve.tau[min(i, len(done.curve.tau) - 1)])


def _worst(
    d: NDArray[np.float64], at: NDArray[np.int64], names: list[str], *, nearest: bool
) -> tuple[tuple[float, str, str], ...]:
    finite = np.flatnonzero(np.isfinite(d))
    order = finite[np.argsort(d[finite] if nearest else -d[finite], kind="stable")][:_WORST]
    return tuple((float(d[i]), names[at[i, 0]], names[at[i, 1]]) for i in order)


# What the protocols share


def matrix(
    encoded: Mapping[str, Encoded], names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, D) vectors, zero where there is none, and (N,) whether there is one."""
    length = next((len(e.vector) for e in encoded.values() if e.vector is not None), 0)
    if not length:
        raise ProtocolRefused("no photograph shows a face: nothing can be measured")
    vectors = np.zeros((len(names), length), np.float32)
    there = np.zeros(len(names), bool)
    for i, name in enumerate(names):
        vector = encoded[name].vector
        if vector is not None:
            vectors[i], there[i] = vector, True
    return vectors, there


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """Gives d of some rows to all rows from the first of them on; inf where no face was."""

    vectors: NDArray[np.float32]
    there: NDArray[np.bool_]
    between: Between

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        vectors, there = self.vectors, self.there
        for start in range(0, len(vectors), _BLOCK):
            rows = vectors[start : start + _BLOCK]
            d = self.between(rows, vectors[start:])
            d[~there[start : start + len(rows)]] = np.inf
            d[:, ~there[start:]] = np.inf
            yield start, d


def failures(encoded: Mapping[str, Encoded], names: Sequence[str]) -> dict[str, str]:
    """Say of each photograph without a face why."""
    return {name: encoded[name].failure for name in names if encoded[name].failure}


def without_duplicates(
    encoded: Mapping[str, Encoded], people: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Drop photographs that are byte for byte another one; remark on it.

    Raises
    ------
    ProtocolRefused
        When one photograph stands under two people: one of the labels is wrong.
    """
    seen: dict[str, tuple[str, str]] = {}
    kept: dict[str, list[str]] = {}
    dropped = 0
    for person, photos in people.items():
        for name in photos:
            digest = encoded[name].digest or name
            before = seen.setdefault(digest, (person, name))
            if before[1] == name:
                kept.setdefault(person, []).append(name)
            elif before[0] == person:
                dropped += 1
            else:
                raise ProtocolRefused(
                    f"{before[1]} and {name} are the same file under two people: one of the "
                    "labels is wrong"
                )
    remarks = (f"{dropped} duplicate photograph(s) left out",) if dropped else ()
    return kept, remarks


def _masks(
    owner: NDArray[np.int64], start: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which cells of a block are mated and which non-mated pairs, each pair once."""
    same = owner[start : start + shape[0], None] == owner[None, start:]
    later = np.arange(shape[1])[None] > np.arange(shape[0])[:, None]
    return same & later, ~same & later
