"""The service beside the engine it calls, on the same cores, and under ten thousand requests.

``throughput``: verify a 640x480 JPEG, closed loop. The engine alone, with as many threads as cores,
and the service with 1 to 64 clients take turns, so that other work on the machine falls on both.
``soak``: requests of every kind with bad ones among them; memory, files and threads of the server.
``batches``: what forming batches across requests could save.

    python benchmarks/service.py throughput --seconds 8 --rounds 3
    python benchmarks/service.py soak --requests 10000
    python benchmarks/service.py batches
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import platformdirs
import psutil
from PIL import Image

from visavis.cli.portraits import portraits
from visavis.engine import Engine, EngineConfig
from visavis.gallery import Gallery
from visavis.models import Cores, ModelStore
from visavis.models.runtime import openvino_core
from visavis.settings import Settings

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
BOUNDARY = b"----visavis"


def frame(picture: Path, seed: int = 0) -> bytes:
    """Put a portrait into a 640x480 picture, as a camera at a door sees it."""
    face = Image.open(picture).convert("RGB")
    face.thumbnail((400, 400))
    grain = np.random.default_rng(seed).integers(90, 130, (480, 640, 3), np.uint8)
    scene = Image.fromarray(grain)
    scene.paste(face, ((640 - face.width) // 2, (480 - face.height) // 2))
    out = io.BytesIO()
    scene.save(out, "JPEG", quality=90)
    return out.getvalue()


def form(fields: dict[str, bytes | tuple[str, bytes]]) -> bytes:
    parts = []
    for name, given in fields.items():
        kind, value = b"", given
        if isinstance(given, tuple):
            kind, value = b'; filename="' + given[0].encode() + b'"', given[1]
        head = b'Content-Disposition: form-data; name="' + name.encode() + b'"' + kind
        parts.append(b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n")
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def request(method: str, path: str, key: str, body: bytes = b"", kind: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    if body or kind:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def posted(path: str, key: str, fields: dict[str, bytes | tuple[str, bytes]]) -> bytes:
    kind = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    return request("POST", path, key, form(fields), kind)


async def asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes
) -> tuple[int, bytes]:
    """Send a request over a connection that stays, and read the answer."""
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"),
        0,
    )
    return status, await reader.readexactly(length)


class Server:
    """``visavis serve`` in a process of its own."""

    def __init__(self, base: Path, queue: int = 64, workers: int = 1, threads: int = 0) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.base = base
        words = [str(Path(sys.executable).with_name("visavis")), "serve"]
        words += ["--gallery", str(base / "people.db")]
        words += ["--port", str(self.port), "--rate", "0", "--queue", str(queue)]
        words += ["--workers", str(workers), "--threads", str(threads)]
        told = {**os.environ, "VISAVIS_DATA": str(base)}
        self.log = (base / "log").open("wb")
        self.process = subprocess.Popen(words, env=told, stderr=self.log)

    def __enter__(self) -> Server:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise SystemExit("the server did not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def prepared(base: Path) -> tuple[str, bytes, dict[str, Path]]:
    """Enrol somebody, make a key, and give a picture of them."""
    pictures = portraits(Path(platformdirs.user_cache_dir("visavis", appauthor=False)))
    settings = Settings.read({"VISAVIS_DATA": str(base)})
    with Gallery.open(base / "people.db", keys=settings.keys) as gallery:
        _, key = gallery.access.make_key("benchmark", ["admin"])
    with Engine.open(base / "people.db", EngineConfig(keys=settings.keys)) as engine:
        engine.enroll("Ada", [pictures["obama.jpg"]])
    return key, frame(pictures["obama3.jpg"]), pictures


def engine_alone(engine: Engine, picture: bytes, seconds: float, threads: int) -> float:
    """Verifications a second of the engine's own, with so many threads."""
    done, stop = [0] * threads, time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < stop:
            assert engine.verify(picture, "Ada").accepted
            done[number] += 1

    began = time.perf_counter()
    crowd = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    return sum(done) / (time.perf_counter() - began)


async def over_http(
    port: int, sent: bytes, seconds: float, clients: int
) -> tuple[float, list[float], Counter[int]]:
    """Verifications a second, their times, and every status."""
    times: list[float] = []
    statuses: Counter[int] = Counter()
    stop = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < stop:
            began = time.perf_counter()
            status, body = await asked(reader, writer, sent)
            statuses[status] += 1
            if status == 200:
                assert json.loads(body)["accepted"]
                times.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*[client() for _ in range(clients)])
    return len(times) / (time.perf_counter() - began), times, statuses


def throughput(seconds: float, rounds: int, workers: int, threads: int) -> None:
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        key, picture, _ = prepared(base)
        sent = posted("/v1/verify", key, {"person": b"Ada", "image": ("a.jpg", picture)})
        settings = Settings.read({"VISAVIS_DATA": str(base)})
        config = EngineConfig(keys=settings.keys, cores=Cores(cores, cores))
        print(f"{len(picture)} bytes of JPEG, {cores} cores, best and median of {rounds} rounds")
        served = Server(base, workers=workers, threads=threads)
        with Engine.open(base / "people.db", config) as engine, served as server:
            asyncio.run(over_http(server.port, sent, 1, 2))
            engine_alone(engine, picture, 1, cores)
            print("clients  engine/s  service/s  share  p50 ms  p99 ms  statuses")
            for clients in CLIENTS:
                shares, rates, own, times = [], [], [], []
                statuses: Counter[int] = Counter()
                for _ in range(rounds):
                    alone = engine_alone(engine, picture, seconds, min(clients, cores))
                    found = asyncio.run(over_http(server.port, sent, seconds, clients))
                    own.append(alone)
                    rates.append(found[0])
                    shares.append(found[0] / alone)
                    times += found[1]
                    statuses += found[2]
                p50, p99 = np.percentile(times, [50, 99]) * 1000
                print(
                    f"{clients:7d}  {statistics.median(own):8.1f}  {statistics.median(rates):9.1f}"
                    f"  {statistics.median(shares):5.3f}  {p50:6.1f}  {p99:6.1f}  {dict(statuses)}"
                    f"  (share best {max(shares):.3f})",
                    flush=True,
                )


def mixed(key: str, picture: bytes, pictures: dict[str, Path]) -> list[bytes]:
    """Make requests of every kind, good and bad."""
    image = ("a.jpg", picture)
    other = ("b.jpg", frame(pictures["biden.jpg"]))
    bad = ("c.jpg", picture[:3000])
    as_json = "application/json"
    return [
        *[posted("/v1/verify", key, {"person": b"Ada", "image": image})] * 4,
        *[posted("/v1/identify", key, {"image": image})] * 4,
        posted("/v1/identify", key, {"image": other}),
        posted("/v1/compare", key, {"a": image, "b": other}),
        posted("/v1/faces", key, {"image": image}),
        posted("/v1/liveness", key, {"images": image}),
        posted("/v1/people", key, {"name": b"Bob", "images": other}),
        request("DELETE", "/v1/people/Bob", key),
        request("GET", "/v1/people", key),
        request("GET", "/v1/people/Ada", key),
        request("GET", "/v1/operating-points", key),
        request("GET", "/metrics", key),
        posted("/v1/identify", key, {"image": bad}),
        posted("/v1/verify", key, {"person": b"Nobody", "image": image}),
        posted("/v1/verify", "vv_wrong", {"person": b"Ada", "image": image}),
        request("POST", "/v1/identify", key, b"{", as_json),
        request("POST", "/v1/identify", key, b"x", "text/plain"),
        request("GET", "/v1/nothing", key),
    ]


def soak(requests: int, clients: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        key, picture, pictures = prepared(base)
        kinds = mixed(key, picture, pictures)
        with Server(base) as server:
            of = psutil.Process(server.process.pid)
            seen: list[tuple[float, int, int]] = []
            statuses: Counter[int] = Counter()
            dice = random.Random(1)

            async def client(share: int) -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                for _ in range(share):
                    status, _ = await asked(reader, writer, dice.choice(kinds))
                    statuses[status] += 1
                    if sum(statuses.values()) % 50 == 0:
                        seen.append((of.memory_info().rss / 2**20, of.num_fds(), of.num_threads()))
                writer.close()

            async def everybody() -> None:
                await asyncio.gather(*[client(requests // clients) for _ in range(clients)])

            began = time.perf_counter()
            asyncio.run(everybody())
            took = time.perf_counter() - began
            time.sleep(1)
            idle = (of.memory_info().rss / 2**20, of.num_fds(), of.num_threads())
        quarters = [seen[i * len(seen) // 4 : (i + 1) * len(seen) // 4] for i in range(4)]
        print(f"{sum(statuses.values())} requests in {took:.0f} s, {clients} clients")
        print("statuses", dict(sorted(statuses.items())))
        for number, some in enumerate(quarters, 1):
            rss = statistics.median(each[0] for each in some)
            files, threads = max(each[1] for each in some), max(each[2] for each in some)
            print(f"quarter {number}: {rss:.1f} MiB, at most {files} files, {threads} threads")
        print(f"idle after it: {idle[0]:.1f} MiB, {idle[1]} files, {idle[2]} threads")
        second, last = (statistics.median(e[0] for e in quarters[n]) for n in (1, 3))
        print(f"last quarter / second: {last / second:.4f}")


def batches() -> None:
    """Print what a face costs the encoder alone and in a batch of eight, on one thread."""
    store = ModelStore.default()
    with Engine.open(config=EngineConfig(store=store)) as engine:
        name = engine.encoder.name
    core = openvino_core()
    graphs = sorted(store.cache.glob("graphs/sface-*/graph.xml"))
    for graph in graphs:
        costs = {}
        for size in (1, 8):
            model = core.read_model(graph)
            model.reshape([size, 112, 112, 3])
            only = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
            run = core.compile_model(model, "CPU", only)
            faces = np.random.default_rng(0).integers(0, 256, (size, 112, 112, 3), np.uint8)
            for _ in range(5):
                run(faces)
            began, rounds = time.process_time(), 200 // size
            for _ in range(rounds):
                run(faces)
            costs[size] = (time.process_time() - began) / rounds / size * 1000
        share = costs[8] / costs[1]
        print(f"{name}, {graph.parent.name}: alone {costs[1]:.2f} ms of processor time a face,")
        print(f"  in a batch of eight {costs[8]:.2f} ms, {share:.3f} of it")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("throughput")
    fast.add_argument("--seconds", type=float, default=8)
    fast.add_argument("--rounds", type=int, default=3)
    fast.add_argument("--workers", type=int, default=1, help="processes of the service")
    fast.add_argument("--threads", type=int, default=0, help="of each; 0: one a core")
    long = commands.add_parser("soak")
    long.add_argument("--requests", type=int, default=10_000)
    long.add_argument("--clients", type=int, default=8)
    commands.add_parser("batches")
    asked_for = parser.parse_args()
    if asked_for.command == "throughput":
        throughput(asked_for.seconds, asked_for.rounds, asked_for.workers, asked_for.threads)
    elif asked_for.command == "batches":
        batches()
    else:
        soak(asked_for.requests, asked_for.clients)
