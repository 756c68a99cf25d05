"""What copies of a gallery cost: backup, restoration, migration either way, and once more.

    python benchmarks/copies.py --people 100000 --length 128

The server of the tests runs with ``fsync = off``, so its writes are quicker than a real one's.
MB are those of the gallery's file. Vectors are random unit rows, sealed.
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

from visavis.gallery import Gallery, NewTemplate, RestoreConfig, restore
from visavis.gallery.secrets.protection import Keys
from visavis.values import EncoderId

if TYPE_CHECKING:
    from collections.abc import Callable

ENCODER = EncoderId("a-benchmark's-encoder-0123456789")
KEY = bytes(range(32))
AT_ONCE = 5000


def filled(where: Path, people: int, length: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(people, length)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with Gallery.open(where, keys=KEY) as gallery:
        gallery.bind(ENCODER, "benchmark")
        for start in range(0, people, AT_ONCE):
            some = vectors[start : start + AT_ONCE]
            crowd = [(f"person {start + n}", [NewTemplate(v)]) for n, v in enumerate(some)]
            gallery.enroll_all(crowd, encoder=ENCODER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=128)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.gallery.postgres_server import PostgresServer

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = PostgresServer()
        stack.callback(server.close)
        first, url = folder / "people.db", server.url("moved")
        filled(first, args.people, args.length)
        size = first.stat().st_size / 1e6
        print(f"{args.people} people, {args.length} numbers: {size:.1f} MB", flush=True)

        def told(what: str, work: Callable[[], object]) -> None:
            begun = time.perf_counter()
            work()
            seconds = time.perf_counter() - begun
            print(f"{what}: {seconds:.2f} s, {size / seconds:.1f} MB/s", flush=True)

        gallery = stack.enter_context(Gallery.open(first, keys=KEY))
        told("backup of the file", lambda: gallery.backup(folder / "kept.db"))
        config = RestoreConfig(Keys.of(KEY), force=True)
        told("restoration", lambda: restore(folder / "kept.db", folder / "again.db", config))
        told("file to PostgreSQL", lambda: gallery.migrate(url))
        told("the same once more", lambda: gallery.migrate(url))
        moved = stack.enter_context(Gallery.open(url, keys=KEY))
        told("backup of PostgreSQL", lambda: moved.backup(folder / "other.db"))
        told("PostgreSQL to a file", lambda: moved.migrate(folder / "back.db"))


if __name__ == "__main__":
    main()
