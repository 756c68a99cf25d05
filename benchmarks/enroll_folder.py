"""``enroll --folder``: photographs a second on one core and on two, and memory over 10,000.

::

    python benchmarks/enroll_folder.py --images LFW/images --photographs 2000
    python benchmarks/enroll_folder.py --images LFW/images --photographs 10000 --cores 2

Every photograph below ``--images`` becomes a person of its own (with --force, since one person
would be a duplicate of another). Each run is the command itself in a process of its own, bound to
so many cores, into a new gallery. Memory is the process's resident set, sampled as it works.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil


def laid_out(images: Path, count: int, folder: Path) -> None:
    """Link ``count`` photographs into a folder, one a person."""
    found = sorted(images.rglob("*.jpg"))[:count]
    if len(found) < count:
        raise SystemExit(f"{images} holds {len(found)} photographs, {count} are wanted")
    for photo in found:
        (folder / photo.name).symlink_to(photo.resolve())


def run(folder: Path, cores: int, count: int) -> dict[str, Any]:
    """Enrol the folder on so many cores; gives rate and memory."""
    command = Path(sys.executable).with_name("visavis")
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    with (
        tempfile.TemporaryDirectory() as passing,
        open(os.devnull, "w") as nowhere,  # noqa: PTH123
        (Path(passing) / "answer.json").open("w+") as told,
    ):
        gallery = Path(passing) / "people.db"
        words = ["enroll", "--folder", folder, "--gallery", gallery, "--force", "--json"]
        start = time.perf_counter()
        child = subprocess.Popen(
            [*map(str, [command, *words, "--workers", cores])],
            stdout=told,
            stderr=nowhere,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),  # noqa: PLW1509 - no threads yet
        )
        process = psutil.Process(child.pid)
        memory = []
        while child.poll() is None:
            try:
                memory.append(process.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.25)
        seconds = time.perf_counter() - start
        told.seek(0)
        answer = json.loads(told.read())
    half = len(memory) // 2
    return {
        "cores": cores,
        "seconds": round(seconds, 2),
        "photographs a second": round(count / seconds, 1),
        "enrolled": answer["enrolled"],
        "refused": answer["refused"],
        "peak MB": round(max(memory)),
        "MB half-way": round(memory[half]),
        "MB at the end": round(memory[-2] if len(memory) > 1 else memory[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=2000)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 1, 2])
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        laid_out(wanted.images, wanted.photographs, Path(folder))
        rows = [run(Path(folder), cores, wanted.photographs) for cores in wanted.cores]
    rates: dict[int, list[float]] = {}
    for row in rows:
        rates.setdefault(row["cores"], []).append(row["photographs a second"])
    best = {cores: max(rate) for cores, rate in rates.items()}
    result: dict[str, Any] = {"runs": rows}
    if 1 in best and 2 in best:
        result["two cores / one core"] = round(best[2] / best[1], 2)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
