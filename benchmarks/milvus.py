"""Search in Milvus beside brute force: recall, latency, how fast rows go in and are seen.

A gallery in SQLite is filled with synthetic encodings, a person a template; the searcher that
``--search`` opens sends them to a Milvus server and is then asked for enrolled people and for
strangers. Without ``--url`` a server is started from ``.milvus-venv`` (``make milvus``), with the
settings it comes with.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.search.searchers import catch_up, open_searcher
from visavis.values import EncoderId

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visavis.gallery.search.milvus import MilvusSearcher

ENCODER = EncoderId("synthetic")
SECRET = b"the secret of a synthetic gallery"
BATCH = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--index", nargs="+", default=["flat", "hnsw"])
    parser.add_argument("--probes", type=int, default=1000, help="of each kind")
    parser.add_argument("--timed", type=int, default=200, help="searches of one face")
    parser.add_argument("--url", help="a Milvus that runs, milvus://host:port")
    parser.add_argument("--folder", type=Path, help="for the gallery and the server's data")
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        url = args.url or started(folder / "server", stack)
        for dimension in args.dimension:
            known, probes, strangers = encodings(args.people, dimension, args.probes)
            truth = nearest_rows(known, np.concatenate([probes, strangers]))
            with Gallery.open(folder / f"people-{dimension}.db") as gallery:
                fill(gallery, known)
                order = {person.name: person.id for person in gallery.people()}
                ids = [order[f"person {row}"] for row in truth.tolist()]
                for index in args.index:
                    measure(
                        gallery, f"{url}?index={index}&timeout=120", probes, strangers, ids, args
                    )


def started(folder: Path, stack: ExitStack) -> str:
    from gallery.milvus_server import MilvusServer

    server = MilvusServer(folder, settings={})
    server.start()
    stack.callback(server.kill)
    url: str = server.url
    return url


def encodings(
    people: int, dimension: int, probes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Make unit rows of people, of as many probes of some of them, and of strangers.

    With the spread that SFace's encodings of LFW have: a mean of length 0.30, as much variance as
    0.81 D equal directions hold, and a cosine of 0.65 between two photographs of one person.
    """
    rng = np.random.default_rng(dimension)
    spread = np.exp(-0.85 * np.arange(dimension) / dimension)
    mean = unit(rng.normal(size=dimension)) * 0.30

    def rows(count: int) -> NDArray[np.float32]:
        free = unit(rng.normal(size=(count, dimension)) * spread)
        return unit(mean + np.sqrt(1 - 0.30**2) * free).astype(np.float32)

    known, strangers = rows(people), rows(probes)
    some = known[rng.choice(people, probes, replace=False)]
    free = unit(rng.normal(size=some.shape) * spread)
    seen = unit(0.65 * some + np.sqrt(1 - 0.65**2) * free).astype(np.float32)
    return known, seen, strangers


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)  # type: ignore[no-any-return]


def nearest_rows(known: NDArray[np.float32], probes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Row of the nearest by brute force in float32, ties settled in float64."""
    found = []
    for begin in range(0, len(probes), 100):
        some = probes[begin : begin + 100]
        first = np.argpartition(-(some @ known.T), 8, axis=1)[:, :8]
        exact = known[first].astype(np.float64) - some[:, None].astype(np.float64)
        best = np.einsum("pnd,pnd->pn", exact, exact).argmin(axis=1)
        found.append(first[np.arange(len(some)), best])
    return np.concatenate(found)


def fill(gallery: Gallery, known: NDArray[np.float32]) -> None:
    gallery.bind(ENCODER, "synthetic")
    have = gallery.size
    for begin in range(have, len(known), BATCH):
        rows = range(begin, min(begin + BATCH, len(known)))
        gallery.enroll_all(
            [(f"person {n}", [NewTemplate(known[n], "")]) for n in rows], encoder=ENCODER
        )


def measure(  # noqa: PLR0917
    gallery: Gallery,
    url: str,
    probes: NDArray[np.float32],
    strangers: NDArray[np.float32],
    truth: list[str],
    args: argparse.Namespace,
) -> None:
    searcher: MilvusSearcher = open_searcher(url, gallery, secret=SECRET)  # type: ignore[assignment]
    searcher.drop()
    begin = time.perf_counter()
    catch_up(searcher, gallery)
    filled = time.perf_counter() - begin
    told: dict[str, Any] = {
        "index": url.partition("index=")[2].partition("&")[0],
        "dimension": probes.shape[1],
        "rows": len(searcher),
        "rows_a_second": round(len(searcher) / filled),
    }
    told["just_filled"] = asked(searcher, probes, strangers, truth, args.timed)
    begin = time.perf_counter()
    settle(searcher)
    told["seconds_to_index"] = round(time.perf_counter() - begin, 1)
    told["indexed"] = asked(searcher, probes, strangers, truth, args.timed)
    told["changes"] = changed(searcher, gallery, strangers)
    searcher.drop()
    searcher.close()
    print(json.dumps(told), flush=True)


def asked(
    searcher: MilvusSearcher,
    probes: NDArray[np.float32],
    strangers: NDArray[np.float32],
    truth: list[str],
    timed: int,
) -> dict[str, Any]:
    begin = time.perf_counter()
    everyone = searcher.nearest(np.concatenate([probes, strangers]), 1)
    batch = (time.perf_counter() - begin) / len(everyone)
    right = [hits[0].person == true for hits, true in zip(everyone, truth, strict=True)]
    taken = []
    for probe in probes[:timed]:
        begin = time.perf_counter()
        searcher.nearest(probe[None], 1)
        taken.append(1000 * (time.perf_counter() - begin))
    return {
        "recall_enrolled": round(float(np.mean(right[: len(probes)])), 5),
        "recall_strangers": round(float(np.mean(right[len(probes) :])), 5),
        "one_ms_p50": round(float(np.percentile(taken, 50)), 1),
        "one_ms_p95": round(float(np.percentile(taken, 95)), 1),
        "in_a_batch_ms": round(1000 * batch, 2),
    }


def settle(searcher: MilvusSearcher, patience: float = 1800.0) -> None:
    """Have everything written out, and wait until it is indexed and loaded so."""
    client, name = searcher._collection._client(120), searcher.name
    client.flush(name, timeout=120)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        told = client.describe_index(name, client.list_indexes(name)[0])
        if told.get("total_rows", 0) and told["indexed_rows"] >= told["total_rows"]:
            break
        time.sleep(0.5)
    # The nodes change over from the rows as they came to the indexed ones some seconds later.
    time.sleep(15)


def changed(
    searcher: MilvusSearcher, gallery: Gallery, strangers: NDArray[np.float32]
) -> dict[str, float]:
    """Milliseconds from an enrolment or removal to a search that knows of it."""
    taken: dict[str, list[float]] = {"enrolled_ms_p50": [], "removed_ms_p50": []}
    for number, vector in enumerate(strangers[:20]):
        new = [NewTemplate(vector, "")]
        person = gallery.enroll(f"new {number}", new, encoder=ENCODER).person.id
        begin = time.perf_counter()
        catch_up(searcher, gallery)
        assert searcher.nearest(vector[None], 1)[0][0].person == person
        taken["enrolled_ms_p50"].append(1000 * (time.perf_counter() - begin))
    names = [f"new {number}" for number in range(len(taken["enrolled_ms_p50"]))]
    for number, name in enumerate(names):
        if number < 3:  # each rewrites the gallery's file
            gallery.remove(name)
            begin = time.perf_counter()
            catch_up(searcher, gallery)
            assert searcher.nearest(strangers[number][None], 1)[0][0].distance > 0
            taken["removed_ms_p50"].append(1000 * (time.perf_counter() - begin))
    gallery.remove(*names[3:])
    return {name: round(float(np.median(values)), 1) for name, values in taken.items()}


if __name__ == "__main__":
    main()
