"""The door: from a frame arriving to the answer, on one core, with passive liveness.

Frames are 640 x 480 JPEGs made from the demo's portraits. First the whole service over a
WebSocket, held to one core and asked from another; then the engine alone, by the clock and by
processor time, which other work on the machine does not lengthen.

    python benchmarks/door.py --visits 100
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs
from PIL import Image
from websockets.sync.client import connect

from timing import one_core
from visavis.cli.portraits import portraits
from visavis.engine import Engine, EngineConfig
from visavis.engine.door import Door
from visavis.gallery import NewTemplate
from visavis.liveness.policy import Policy
from visavis.models import Cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENROLLED, CAMERA, STRANGER = "obama.jpg", "obama2.jpg", "astronaut.png"
STEP = 0.15
Frames = dict[str, list[bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=100)
    parser.add_argument("--people", type=int, default=1000, help="enrolled beside who comes")
    asked = parser.parse_args()
    photographs = portraits(Path(platformdirs.user_cache_dir("visavis", appauthor=False)))
    frames = {name: filmed(photographs[name]) for name in (CAMERA, STRANGER)}
    frames["nobody"] = [jpeg(np.full((480, 640, 3), 120, np.uint8))]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        path = Path(folder) / "people.db"
        key = enrolled(path, photographs[ENROLLED], asked.people)
        sizes = [len(frame) // 1024 for frame in frames[CAMERA]]
        print(f"{asked.people + 1} people, {asked.visits} visits, frames of {max(sizes)} KiB\n")
        with served(path) as port, talking(port, key) as show:
            table("over a WebSocket, the service on one core", visits(show, frames, asked.visits))
        one_core()
        with Engine.open(path, EngineConfig(cores=Cores(threads=1))) as engine:
            door = Door(engine, Policy.PASSIVE)
            show = told(door)
            table("the engine alone, on one core", visits(show, frames, asked.visits))
            again = told(Door(engine, Policy.PASSIVE))
            taken = visits(again, frames, asked.visits, time.process_time)
            table("the same, processor time", taken)


def filmed(path: Path) -> list[bytes]:
    """Six frames of somebody, each with the noise of its own."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((640, 480))
    scene = Image.new("RGB", (640, 480), (120, 125, 130))
    scene.paste(picture, ((640 - picture.width) // 2, (480 - picture.height) // 2))
    pixels, dice = np.asarray(scene, np.int16), np.random.default_rng(0)
    return [
        jpeg(np.clip(pixels + dice.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8))
        for _ in range(6)
    ]


def jpeg(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def enrolled(path: Path, photograph: Path, people: int) -> str:
    """Make a gallery with somebody, and others at random; gives a key."""
    dice = np.random.default_rng(1)
    with Engine.open(path) as engine:
        engine.enroll("Ada", [photograph])
        size = engine.embedding(photograph).vector.size
        others = dice.normal(size=(people, size)).astype(np.float32)
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        engine.gallery.enroll_all(
            [(f"person {n}", [NewTemplate(v, f"{n}", None)]) for n, v in enumerate(others)],
            encoder=engine.encoder.id,
        )
        return engine.gallery.access.make_key("tablet", ["identify"])[1]


@contextmanager
def served(path: Path) -> Iterator[int]:
    """Run the service on one core, and this process on the others."""
    cores = sorted(os.sched_getaffinity(0))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("visavis")), "serve", "--gallery", str(path)]
    command += ["--port", str(port), "--threads", "1", "--live", "passive"]
    pinned = [shutil.which("taskset") or "taskset", "-c", str(cores[0]), *command]
    with subprocess.Popen(pinned, stderr=subprocess.DEVNULL) as process:
        try:
            os.sched_setaffinity(0, set(cores[1:]) or set(cores))
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ready").close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            os.sched_setaffinity(0, set(cores))


@contextmanager
def talking(port: int, key: str) -> Iterator[Callable[[bytes, float], str]]:
    """Give what shows a frame and waits for the answer."""
    headers = {"Authorization": f"Bearer {key}"}
    with connect(f"ws://127.0.0.1:{port}/v1/door", additional_headers=headers) as line:

        def show(frame: bytes, seconds: float) -> str:
            line.send(struct.pack("<d", seconds) + frame)
            answer = json.loads(line.recv())
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return str(answer["state"])

        yield show


def told(door: Door) -> Callable[[bytes, float], str]:
    return lambda frame, seconds: str(door.update(frame, seconds).state)


def visits(
    show: Callable[[bytes, float], str],
    frames: Frames,
    number: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Let somebody enrolled and a stranger come in turn; gives milliseconds by kind of frame."""
    taken: dict[str, list[float]] = {}
    now = 0.0
    for visit in range(number + 5):
        who = (CAMERA, STRANGER)[visit % 2]
        plan = [("nobody", 0)] * 8 + [(who, n) for n in range(6)] + [(who, 0)] * 3
        decided = False
        for name, each in plan:
            now += STEP
            time.sleep(0.02)  # so that the service's limit of frames a second is kept
            began = clock()
            state = show(frames[name][each % len(frames[name])], now)
            spent = (clock() - began) * 1000
            kind = {"waiting": "nobody there", "looking": "a good face, not enough yet"}.get(state)
            if kind is None:
                kind = "answer is shown" if decided else f"the frame that decides: {state}"
                decided = True
            if visit >= 5:
                taken.setdefault(kind, []).append(spent)
        expected = "open" if who == CAMERA else "closed"
        if state != expected:
            raise RuntimeError(f"{who} was {state}")
        now += 30
    taken["every frame"] = [ms for some in taken.values() for ms in some]
    return taken


def table(title: str, taken: dict[str, list[float]]) -> None:
    print(f"{title:<42}{'frames':>8}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}  ms")
    for kind, some in taken.items():
        p50, p95, p99 = np.percentile(some, [50, 95, 99])
        print(f"  {kind:<40}{len(some):>8}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}{max(some):>9.1f}")
    print()


if __name__ == "__main__":
    main()
