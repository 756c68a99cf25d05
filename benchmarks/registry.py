"""What the registry costs: enrolling, loading, changes, removal, turning the key; sealed and not.

    python benchmarks/registry.py --people 100000 --length 128             # a SQLite file
    python benchmarks/registry.py --people 100000 --length 128 --postgres  # the server of the tests

The server of the tests runs with ``fsync = off``, so its writes are quicker than a real one's.
Vectors are random unit rows: what they say does not matter here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.secrets.protection import Keys
from visavis.values import EncoderId

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ENCODER = EncoderId("a-benchmark's-encoder-0123456789")
AT_ONCE = 5000


def seconds(work: Callable[[], object], times: int = 1) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times


def enrolled(gallery: Gallery, vectors: NDArray[np.float32]) -> None:
    for start in range(0, len(vectors), AT_ONCE):
        some = vectors[start : start + AT_ONCE]
        people = [(f"person {start + n}", [NewTemplate(v)]) for n, v in enumerate(some)]
        gallery.enroll_all(people, encoder=ENCODER)


def loaded(gallery: Gallery) -> tuple[int, str]:
    since, mark, more = 0, "", True
    while more:
        changes = gallery.changes(since, mark)
        since, mark, more = changes.sequence, changes.mark, changes.more
    return since, mark


def measure(where: str, keys: Keys | bytes, vectors: NDArray[np.float32]) -> dict[str, object]:
    with Gallery.open(where, keys=keys) as gallery:
        gallery.bind(ENCODER, "benchmark")
        found: dict[str, object] = {"enrol all, s": seconds(lambda: enrolled(gallery, vectors))}
        found["load all, s"] = min(seconds(lambda: loaded(gallery)) for _ in range(3))
        since, mark = loaded(gallery)
        found["nothing new, ms"] = 1e3 * seconds(lambda: gallery.changes(since, mark), 300)
        one = iter(range(50))
        found["enrol one more, ms"] = 1e3 * seconds(
            lambda: gallery.enroll(
                f"another {next(one)}", [NewTemplate(vectors[0])], encoder=ENCODER
            ),
            50,
        )
        found["remove one, s"] = seconds(lambda: gallery.remove("person 7"))
        if isinstance(keys, bytes):
            found["turn the key, s"] = seconds(gallery.rotate_key)
        found["MB"] = gallery.info().bytes_on_disk / 1e6
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--postgres", action="store_true")
    args = parser.parse_args()
    vectors = np.random.default_rng(0).normal(size=(args.people, args.length)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None
        if args.postgres:
            sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
            from tests.gallery.postgres_server import PostgresServer

            server = PostgresServer()
            stack.callback(server.close)
        for name, keys in (("sealed", bytes(range(32))), ("clear", Keys.none())):
            where = str(folder / f"{name}.db") if server is None else server.url(name)
            print(name, measure(where, keys, vectors), flush=True)


if __name__ == "__main__":
    main()
