"""Exact search in memory: speed beside others, recall, changes, memory, up to 10 million.

::

    export OPENBLAS_NUM_THREADS=1
    python benchmarks/search.py speed
    python benchmarks/search.py recall
    python benchmarks/search.py changes
    python benchmarks/search.py curve
    python benchmarks/search.py gallery --folder /tmp/galleries    # the next run opens them again
    python benchmarks/search.py curve --lengths 512 --templates 10000000    # 20 GB of disk

Each prints a JSON line a measurement, on one core and one thread. Times are the best of several
rounds in which all take turns, so that a busy machine treats all alike; processor time stands
beside the wall's. Memory is the growth of the process's resident set: as it is after the load, and
once freed memory was given back. What the first search loads (Numba, OpenVINO) is not among it and
is told by itself; it is the same for every gallery.
"pass" is the time of one read of the same codes (NumPy's maximum over them as 64-bit numbers), so
the bandwidth is that of the same moment.

The vectors are made up with the spread of SFace's. There, strangers' squared distances fall below
1.593, 1.406 and 1.266 at false match rates of 1e-1, 1e-2 and 1e-3 (``sface.fp32.points.json``),
which is a cosine of mean 0.088 and deviation 0.090. Here a vector is a direction common to all, a
direction of its person and one of its photograph. The latter two have a falling spectrum, in axes
turned at random, so that strangers deviate as much in 512 dimensions as in 128. Two photographs of
one person have a cosine of 0.65 in the mean, which is a choice. "speed" prints what came out.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import mmap
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from timing import one_core
from visavis.gallery import Changes, ExactSearcher, Gallery, NewTemplate
from visavis.gallery.records.changes import PORTION, Owned
from visavis.gallery.search.searchers import catch_up
from visavis.values import EncoderId, PersonId, TemplateId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

STRETCH = 65_536
"""Vectors made at a time."""
PER_PERSON = 3
ENCODER = EncoderId("made-up")
COMMON, DEVIATION, MATED = 0.088, 0.0904, 0.65


class Faces:
    """Makes vectors of people; person n of a seed is always the same."""

    def __init__(self, length: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.length, self.seed = length, seed
        spectrum = _spectrum(length, ((1 - COMMON) / DEVIATION) ** 2)
        turn = np.linalg.qr(rng.normal(size=(length, length)))[0]
        self._turn = (np.sqrt(spectrum)[:, None] * turn).astype(np.float32)
        common = rng.normal(size=length)
        self._common = (np.sqrt(COMMON) * common / np.linalg.norm(common)).astype(np.float32)

    def of(self, first: int, people: int, photographs: int, take: int = 0) -> NDArray[np.float32]:
        """Photographs of people first, first + 1, ...; another ``take`` gives other ones."""
        persons = self._directions((self.seed, first, people), people).repeat(photographs, axis=0)
        noise = self._directions((self.seed, first, people, 1 + take), len(persons))
        own = np.float32(np.sqrt(MATED - COMMON))
        rows = self._common + own * persons + np.float32(np.sqrt(1 - MATED)) * noise
        rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
        return rows

    def _directions(self, seed: tuple[int, ...], count: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        return rng.standard_normal((count, self.length), np.float32) @ self._turn


def _spectrum(length: int, dimensions: float) -> NDArray[np.float64]:
    """Falling variances, of sum 1, that are worth so many equal ones."""
    low, high = 1.0, 1e6
    for _ in range(100):
        decay = np.sqrt(low * high)
        variances = np.exp(-np.arange(length) / decay)
        if variances.sum() ** 2 / (variances**2).sum() < dimensions:
            low = decay
        else:
            high = decay
    return variances / variances.sum()


@dataclass
class Made:
    """A searcher that was filled, and where its float32 vectors lie."""

    searcher: ExactSearcher
    rows: NDArray[np.float32]
    seconds: float
    grown: tuple[float, float]
    """Megabytes: as it is, and once freed memory was given back."""


def ident(number: int) -> str:
    """Spell an id that looks like any other, and from which the row's number is told."""
    return f"{(number * 0xD6E8FEB86659FD93) % 2**64:016x}{number:016x}"


def owned(rows: NDArray[np.float32], number: int) -> Owned:
    return Owned(PersonId(ident(number // PER_PERSON)), rows[number])


def resident() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)


def memory() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def filled(faces: Faces, count: int, folder: Path) -> Made:
    """Fill a searcher in portions, with the vectors in a file, as they lie in a database."""
    path = folder / f"{faces.length}-{count}.f32"
    people = STRETCH // PER_PERSON
    with path.open("wb") as file:  # not through the mapping: what is written there stays resident
        for first in range(0, -(-count // PER_PERSON), people):
            faces.of(first, people, PER_PERSON)[: count - first * PER_PERSON].tofile(file)
    rows = np.memmap(path, np.float32, "r", shape=(count, faces.length))

    def fetch(ids: Sequence[TemplateId]) -> Mapping[TemplateId, Owned]:
        return {each: owned(rows, int(each[16:], 16)) for each in ids}

    searcher = ExactSearcher(fetch, keep=0)
    rows._mmap.madvise(mmap.MADV_DONTNEED)  # the file is not the searcher's memory
    before, seconds = memory(), 0.0
    for start in range(0, count, PORTION):
        part = range(start, min(count, start + PORTION))
        vectors = np.array(rows[part.start : part.stop])
        ids = tuple(TemplateId(ident(n)) for n in part)
        persons = tuple(PersonId(ident(n // PER_PERSON)) for n in part)
        told = _changes(part.start, part.stop, ids, persons, vectors, more=part.stop < count)
        at = time.perf_counter()
        searcher.update(told)
        seconds += time.perf_counter() - at
        rows._mmap.madvise(mmap.MADV_DONTNEED)
    del vectors, ids, persons, told
    rows._mmap.madvise(mmap.MADV_DONTNEED)
    as_it_is = resident()
    return Made(searcher, rows, seconds, (as_it_is - before, memory() - before))


def growth(grown: tuple[float, float], codes: int) -> dict[str, float]:
    """Tell how the process grew by so many bytes of codes and what belongs to them."""
    as_it_is, given_back = grown
    return {
        "MB grown": round(given_back, 1),
        "of the codes": round(1e6 * given_back / codes, 3),
        "of the codes, as it is": round(1e6 * as_it_is / codes, 3),
    }


def _changes(
    since: int,
    sequence: int,
    ids: tuple[TemplateId, ...],
    persons: tuple[PersonId, ...],
    vectors: NDArray[np.float32],
    *,
    removed: tuple[TemplateId, ...] = (),
    more: bool = False,
) -> Changes:
    rest = (ENCODER, ids, persons, vectors, removed)
    return Changes(since, sequence, str(sequence), since == 0, more, *rest)


def best(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Least milliseconds of each, of the wall's clock and of the processor."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            took[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: {"ms": round(1e3 * min(t)[0], 3), "cpu_ms": round(1e3 * min(c for _, c in t), 3)}
        for name, t in took.items()
    }


def one_pass(searcher: ExactSearcher) -> Callable[[], object]:
    """Give the work of reading the codes once."""
    blocks = [block.codes[: block.count] for block in searcher._shelf._blocks]
    words = [codes.reshape(-1).view(np.uint64) for codes in blocks]
    return lambda: max(some.max() for some in words)


def others(rows: NDArray[np.float32]) -> dict[str, Callable[[NDArray[np.float32]], object]]:
    """Give the exact searches of others over the same vectors."""
    import faiss
    from usearch.index import MetricKind, search

    faiss.omp_set_num_threads(1)
    length = rows.shape[1]
    flat = faiss.IndexFlatIP(length)
    coarse = faiss.IndexScalarQuantizer(
        length, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    coarse.train(rows[:STRETCH])
    codes = np.empty(rows.shape, np.int8)
    for start in range(0, len(rows), STRETCH):
        some = np.array(rows[start : start + STRETCH])
        flat.add(some)
        coarse.add(some)
        codes[start : start + STRETCH] = np.rint(some * 127)

    def by_usearch(probes: NDArray[np.float32]) -> object:
        asked = np.rint(probes * 127).astype(np.int8)
        return search(codes, asked, 1, MetricKind.IP, exact=True, threads=1)

    def by_numpy(probes: NDArray[np.float32]) -> object:
        held = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * length).reshape(-1, length)
        steps = range(0, len(held), 16_384)
        return [(probes @ held[start : start + 16_384].T).max(axis=1) for start in steps]

    return {
        "faiss flat": lambda probes: flat.search(probes, 1),
        "faiss int8, best 16 rescored": lambda probes: _rescored(coarse, flat, probes),
        "usearch exact i8": by_usearch,
        "numpy fp32": by_numpy,
    }


def _rescored(coarse: Any, flat: Any, probes: NDArray[np.float32]) -> object:  # noqa: ANN401
    _, near = coarse.search(probes, 16)
    return [
        [flat.reconstruct(int(n)) @ probe for n in some]
        for some, probe in zip(near, probes, strict=True)
    ]


def speed(faces: Faces, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    length = faces.length
    made = filled(faces, count, folder)
    strangers, mated = faces.of(10**8, 64, 1), faces.of(0, STRETCH // PER_PERSON, 1, 1)[:64]
    yield {"length": length, **spread(faces)}
    works: dict[str, Callable[[NDArray[np.float32]], object]] = {
        "visavis": lambda probes: made.searcher.nearest(probes, 1),
        **others(made.rows),
    }
    reading = one_pass(made.searcher)
    for kind, probes in (("a stranger", strangers[:1]), ("an enrolled person", mated[:1])):
        todo = {"pass": reading} | {n: _bound(w, probes) for n, w in works.items()}
        yield from _told(best(todo, 15), length, f"one query, {kind}", 1)
    for kind, probes in (("strangers", strangers), ("enrolled people", mated)):
        todo = {"pass": reading} | {n: _bound(w, probes) for n, w in works.items()}
        yield from _told(best(todo, 3), length, f"64 queries, {kind}", 64)
        todo = {"pass": reading, "visavis": _bound(works["visavis"], probes)}
        todo |= {"visavis, one": _bound(works["visavis"], probes[:1])}
        yield from _told(best(todo, 15), length, f"64 queries, {kind}, again", 64)


def _bound(work: Callable[[NDArray[np.float32]], object], probes: NDArray[np.float32]) -> Any:  # noqa: ANN401
    return lambda: work(probes)


def _told(
    took: dict[str, dict[str, float]], length: int, what: str, queries: int
) -> Iterator[dict[str, Any]]:
    once = took["pass"]["ms"]
    for name, times in took.items():
        each = times["ms"] / (1 if name in {"pass", "visavis, one"} else queries)
        share = {"ms a query": round(each, 3), "of a pass": round(each / once, 3)}
        yield {"length": length, "what": what, "who": name, **times, **share}


def spread(faces: Faces) -> dict[str, Any]:
    """Say how far strangers and mates are."""
    two = faces.of(0, 2000, 2)
    d = 2 - 2 * two[::2] @ two[::2].T
    mates = 2 - 2 * np.einsum("nd,nd->n", two[::2], two[1::2])
    strangers = np.quantile(d[np.triu_indices(2000, 1)], [0.1, 0.01, 0.001, 0.5])
    return {
        "strangers' d at FMR 1e-1, 1e-2, 1e-3, median": np.round(strangers, 3).tolist(),
        "mates' d, quantiles 5, 50, 95 %": np.round(
            np.quantile(mates, [0.05, 0.5, 0.95]), 3
        ).tolist(),
    }


def recall(faces: Faces, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Compare with fp32 brute force on 10,000 enrolled probes and 10,000 strangers."""
    length = faces.length
    made = filled(faces, count, folder)
    people = STRETCH // PER_PERSON
    probes = {
        "enrolled": faces.of(0, people, 1, 1)[:10_000],
        "strangers": faces.of(10**8, 10_000, 1),
    }
    for kind, some in probes.items():
        at = time.process_time()
        hits = [
            hits[0]
            for start in range(0, len(some), 64)
            for hits in made.searcher.nearest(some[start : start + 64], 1)
        ]
        took = time.process_time() - at
        found = np.array([int(hit.template[16:], 16) for hit in hits])
        at = time.process_time()
        truth = brute_force(made.rows, some)
        same = found == truth
        # Where fp32 cannot tell two apart, float64 does.
        nearer = _exact(made.rows, found, some) <= _exact(made.rows, truth, some)
        yield {
            "length": length,
            "templates": count,
            "probes": kind,
            "recall@1": float(np.mean(same | nearer)),
            "the same row": float(np.mean(same)),
            "d of the found, median": round(float(np.median([hit.distance for hit in hits])), 3),
            "cpu_s": round(took, 1),
            "cpu_s of brute force": round(time.process_time() - at, 1),
        }


def brute_force(rows: NDArray[np.float32], probes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Give the row of the largest fp32 cosine, for each probe."""
    largest = np.full(len(probes), -np.inf, np.float32)
    where = np.zeros(len(probes), np.int64)
    for start in range(0, len(rows), 8192):
        some = np.array(rows[start : start + 8192])
        for first in range(0, len(probes), 1000):
            part = slice(first, first + 1000)
            cosines = probes[part] @ some.T
            at = cosines.argmax(axis=1)
            value = cosines[np.arange(len(at)), at]
            better = value > largest[part]
            largest[part][better] = value[better]
            where[part][better] = at[better] + start
    return where


def _exact(
    rows: NDArray[np.float32], at: NDArray[np.int64], probes: NDArray[np.float32]
) -> NDArray[np.float64]:
    unit = probes.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distances: NDArray[np.float64] = ((rows[at].astype(np.float64) - unit) ** 2).sum(axis=1)
    return distances


def changes(faces: Faces, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Enrol and remove one at a time; what the next search sees is checked each time."""
    length = faces.length
    made = filled(faces, count, folder)
    searcher, fresh = made.searcher, faces.of(10**8, 1000, 1)
    people = searcher.people
    yield {
        "length": length,
        "templates": count,
        "people": people,
        "seconds to fill": round(made.seconds, 2),
        **growth(made.grown, count * length),
        "of the codes, by count": round(searcher.bytes_held / (count * length), 3),
    }
    nothing = np.empty((0, 0), np.float32)
    inserts, removals, sequence = [], [], searcher.sequence
    for n, vector in enumerate(fresh):
        new = (TemplateId(ident(count + n)),)
        told = _changes(sequence, sequence + 1, new, (PersonId(new[0]),), vector[None])
        at = time.perf_counter()
        searcher.update(told)
        inserts.append(time.perf_counter() - at)
        sequence += 1
        old = (TemplateId(ident(n * 7)),)
        told = _changes(sequence, sequence + 1, (), (), nothing, removed=old)
        at = time.perf_counter()
        searcher.update(told)
        removals.append(time.perf_counter() - at)
        sequence += 1
        if n % 100 == 0:
            made.searcher._fetch = lambda ids, new=new, vector=vector: {
                each: Owned(PersonId(each), vector)
                if each == new[0]
                else owned(made.rows, int(each[16:], 16))
                for each in ids
            }
            assert searcher.nearest(vector[None], 1)[0][0].template == new[0]
            gone = np.array(made.rows[n * 7])
            assert searcher.nearest(gone[None], 1)[0][0].template != old[0]
    for what, took in (("insert", inserts), ("removal", removals)):
        ms = np.quantile(took, [0.5, 0.99, 1]) * 1e3
        yield {
            "length": length,
            "what": what,
            "ms, median": round(ms[0], 3),
            "ms, 99 %": round(ms[1], 3),
            "ms, slowest of 1000": round(ms[2], 3),
        }


def curve(faces: Faces, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Time and memory by the gallery's size."""
    length = faces.length
    made = filled(faces, count, folder)
    probes = faces.of(10**8, 64, 1)
    works = {
        "pass": one_pass(made.searcher),
        "one": lambda: made.searcher.nearest(probes[:1], 1),
        "64": lambda: made.searcher.nearest(probes, 1),
    }
    before, more = resident(), {}
    for what in ("one", "64"):
        works[what]()
        made.rows._mmap.madvise(mmap.MADV_DONTNEED)
        more[what] = round(resident() - before, 1)
    took = best(works, 10 if count <= 10**6 else 4)
    yield {
        "length": length,
        "templates": count,
        "ms, pass": took["pass"]["ms"],
        "ms, one query": took["one"]["ms"],
        "ms a query, 64 together": round(took["64"]["ms"] / 64, 4),
        **growth(made.grown, count * length),
        "of the codes, by count": round(made.searcher.bytes_held / (count * length), 3),
        "MB more after one query, after 64": list(more.values()),
        "seconds to fill": round(made.seconds, 2),
    }


MASTER, BATCH = b"0" * 32, 5000


def enrol(length: int, count: int, path: Path) -> None:
    faces = Faces(length)
    with Gallery.open(path, keys=MASTER) as made:
        made.bind(ENCODER, "made up")
        for first in range(0, -(-count // PER_PERSON), BATCH):
            rows = faces.of(first, BATCH, PER_PERSON)
            made.enroll_all(
                [
                    (f"person {first + n}", [NewTemplate(row) for row in some])
                    for n, some in enumerate(rows.reshape(BATCH, PER_PERSON, length))
                ],
                encoder=ENCODER,
            )


def opened(path: Path) -> tuple[Gallery, ExactSearcher]:
    made = Gallery.open(path, keys=MASTER)
    searcher = ExactSearcher(made.owned_vectors_of)
    catch_up(searcher, made)
    return made, searcher


def gallery(faces: Faces, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Do it with a real gallery: an encrypted SQLite file, from which the best are fetched."""
    length = faces.length
    few, path = folder / f"few-{length}.db", folder / f"people-{length}-{count}.db"
    # In another process: what enrolling leaves behind is none of the opening's.
    for file, templates in ((few, 1), (path, count)):
        if not file.exists():
            at = time.perf_counter()
            enroller = multiprocessing.get_context("spawn").Process(
                target=enrol, args=(length, templates, file)
            )
            enroller.start()
            enroller.join()
            assert enroller.exitcode == 0
            yield {"length": length, "seconds to enrol": round(time.perf_counter() - at)}
    opened(few)[0].close()  # modules are loaded
    before, at, cpu = memory(), time.perf_counter(), time.process_time()
    made, searcher = opened(path)
    with made:
        took, cpu = time.perf_counter() - at, time.process_time() - cpu
        grown = (resident() - before, memory() - before)
        enrolled, strangers = faces.of(0, BATCH, 1, 1)[:64], faces.of(10**8, 64, 1)
        works = {"pass": one_pass(searcher)}
        for kind, probes in (("enrolled", enrolled), ("strangers", strangers)):
            works |= {
                f"one, {kind}": _bound(lambda p: searcher.nearest(p, 1), probes[:1]),
                f"64, {kind}": _bound(lambda p: searcher.nearest(p, 1), probes),
            }
        each = best(works, 10)
        yield {
            "length": length,
            "templates": len(searcher),
            "seconds to open": round(took, 2),
            "cpu_s to open": round(cpu, 2),
            **growth(grown, len(searcher) * length),
            **{f"ms, {name}": times["ms"] for name, times in each.items()},
        }
        late = []
        for n in range(50):
            vector = faces.of(2 * 10**8 + n, 1, 1)
            made.enroll(f"late {time.time_ns()}", [NewTemplate(vector[0])], encoder=ENCODER)
            at = time.perf_counter()
            catch_up(searcher, made)
            late.append(time.perf_counter() - at)
            assert searcher.nearest(vector, 1)[0][0].distance == 0
        yield {
            "length": length,
            "ms to see an enrolment": round(1e3 * float(np.median(late)), 3),
        }


MODES = {
    "speed": (speed, [10**6]),
    "recall": (recall, [10**5, 10**6]),
    "changes": (changes, [10**6]),
    "curve": (curve, [10**3, 10**4, 10**5, 10**6, 10**7]),
    "gallery": (gallery, [10**6]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=MODES)
    parser.add_argument("--templates", type=int, nargs="*", help="sizes of the gallery")
    parser.add_argument("--lengths", type=int, nargs="*", default=[128, 512])
    parser.add_argument(
        "--folder", type=Path, help="where vectors are written meanwhile, and galleries for good"
    )
    wanted = parser.parse_args()
    one_core()
    measure, usual = MODES[wanted.what]
    for length in wanted.lengths:
        faces = Faces(length)
        for count in wanted.templates or usual:
            with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
                stays = measure is gallery and wanted.folder
                for line in measure(faces, count, wanted.folder if stays else Path(folder)):
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
