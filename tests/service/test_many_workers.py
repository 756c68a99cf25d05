"""Several processes over one gallery, as they are deployed: they agree, stop well, and survive."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import httpx2
import psutil
import pytest

from gallery.postgres_server import PostgresServer
from serving import Service
from visavis.gallery import Gallery
from visavis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.slow

AGREED, REVOKED = 1.0, 1.5
"""Seconds until all know of an enrolment or removal, and of a key that was revoked."""
SETTLED = 20.0
"""Seconds until what a worker claimed that was killed is done by another; far less than two
minutes, and much of it goes into the network that the new one begins with."""
ENROLLED, CAMERA = "obama.jpg", "obama2.jpg"
PAIR = ("--workers", "2", "--threads", "1")


@dataclass(frozen=True)
class Deployed:
    """Two processes over one gallery: of one service, or of two."""

    services: tuple[Service, ...]
    where: str | Path
    keys: Mapping[str, str]

    def as_(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[role]}"}

    @contextmanager
    def each(self) -> Iterator[tuple[httpx2.Client, ...]]:
        """Give a connection to each process; to be used within five seconds."""
        with ExitStack() as opened:
            found: dict[int, httpx2.Client] = {}
            for service in self.services:
                wanted = {worker.pid for worker in service.workers}
                for _ in range(300):
                    client = httpx2.Client(base_url=service.url, timeout=30)
                    opened.enter_context(client).get("/health").raise_for_status()
                    stream = client.get("/health").extensions["network_stream"]
                    found.setdefault(owner(service, stream.get_extra_info("client_addr")), client)
                    if wanted <= found.keys():
                        break
                assert wanted <= found.keys()
            assert len(found) == 2
            yield tuple(found.values())


def owner(service: Service, address: tuple[str, int]) -> int:
    """Find which process answers on a connection, by the address of this end of it."""
    for worker in service.workers:
        if any(line.raddr == tuple(address) for line in worker.net_connections("tcp4")):
            return worker.pid
    raise AssertionError(f"nobody holds {address}")


def began(where: str | Path) -> dict[str, str]:
    with Gallery.open(where, keys=Settings.read(os.environ).keys) as made:
        return {role: made.access.make_key(role, [role])[1] for role in ("identify", "admin")}


@pytest.fixture(scope="module")
def workers(data_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Two workers of one service, on a file."""
    folder = tmp_path_factory.mktemp("workers")
    where = folder / "people.db"
    keys = began(where)
    with Service(folder, where, *PAIR) as service:
        yield Deployed((service,), where, keys)


@pytest.fixture(scope="module")
def machines(data_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Two services, as on two machines, on a PostgreSQL server."""
    folder = tmp_path_factory.mktemp("machines")
    server = PostgresServer()
    try:
        where = server.url("shared")
        keys = began(where)
        with (
            Service(folder, where, "--threads", "1") as one,
            Service(folder, where, "--threads", "1") as other,
        ):
            yield Deployed((one, other), where, keys)
    finally:
        server.close()


@pytest.fixture(params=["workers", "machines"])
def deployed(request: pytest.FixtureRequest) -> Deployed:
    return request.getfixturevalue(request.param)


def soon(seconds: float, true: Callable[[], bool]) -> None:
    """Ask again and again; a question begun after so many seconds must be answered with yes."""
    since = time.monotonic()
    while True:
        begun = time.monotonic()
        if true():
            return
        assert begun - since < seconds


# They agree


def test_what_one_does_the_other_knows_within_a_second(deployed, photographs):
    seen, photograph = photographs[CAMERA].read_bytes(), photographs[ENROLLED].read_bytes()

    def named(by: httpx2.Client) -> str | None:
        answer = by.post(
            "/v1/identify", headers=deployed.as_("identify"), files={"image": seen}
        ).raise_for_status()
        return answer.json()["faces"][0]["person"]

    def works(doer: httpx2.Client, other: httpx2.Client) -> None:
        assert (named(doer), named(other)) == (None, None)
        sent = {"data": {"name": "Ada"}, "files": {"images": photograph}}
        enrolled = doer.post("/v1/people", headers=deployed.as_("admin"), **sent)
        soon(AGREED, lambda: named(other) == "Ada")
        person = enrolled.raise_for_status().json()["person"]["id"]
        gone = other.delete(f"/v1/people/{person}", headers=deployed.as_("admin"))
        gone.raise_for_status()
        soon(AGREED, lambda: named(doer) is None)

    with deployed.each() as (one, other):
        works(one, other)
    with deployed.each() as (one, other):
        works(other, one)


def test_a_revoked_key_opens_nothing_anywhere(deployed):
    asked = {"name": "lost", "roles": ["read"]}

    def works(doer: httpx2.Client, other: httpx2.Client) -> None:
        made = doer.post("/v1/keys", headers=deployed.as_("admin"), json=asked).json()
        lost = {"Authorization": f"Bearer {made['secret']}"}

        def status(by: httpx2.Client) -> int:
            return by.get("/v1/people", headers=lost).status_code

        # Each remembers for a second that it is good.
        assert (status(doer), status(other)) == (200, 200)
        gone = doer.delete(f"/v1/keys/{made['key']['id']}", headers=deployed.as_("admin"))
        assert gone.status_code == 200
        assert status(doer) == 401
        soon(REVOKED, lambda: status(other) == 401)
        assert (status(doer), status(other)) == (401, 401)

    with deployed.each() as (one, other):
        works(one, other)
    with deployed.each() as (one, other):
        works(other, one)


def test_the_counts_are_those_of_all_workers_together(workers):
    def counted(by: httpx2.Client) -> int:
        text = by.get("/metrics", headers=workers.as_("admin")).raise_for_status().text
        told = re.findall(r"^visavis_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE)
        return int(sum(float(n) for labels, n in told if 'route="/v1/people"' in labels))

    with workers.each() as (one, other):
        before = counted(one)
        for each, times in ((one, 3), (other, 4)):
            for _ in range(times):
                assert each.get("/v1/people", headers=workers.as_("admin")).is_success
        assert counted(one) == counted(other) == before + 7


# They stop well


class Halfway:
    """A request of which a half was sent."""

    def __init__(self, service: Service, key: dict[str, str], picture: bytes) -> None:
        body, kind = httpx_body(picture)
        head = f"POST /v1/identify HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        head += f"Content-Length: {len(body)}\r\nAuthorization: {key['Authorization']}\r\n\r\n"
        self._rest = body[len(body) // 2 :]
        self._line = socket.create_connection(("127.0.0.1", service.port), timeout=30)
        self._line.sendall(head.encode() + body[: len(body) // 2])
        self.address = self._line.getsockname()

    def finish(self) -> tuple[int, dict]:
        """Send the other half; gives the answer."""
        with self._line as line:
            line.sendall(self._rest)
            answer = b"".join(iter(lambda: line.recv(1 << 16), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def broken(self) -> bool:
        with self._line as line:
            try:
                return line.recv(1) == b""
            except ConnectionResetError:
                return True


def httpx_body(picture: bytes) -> tuple[bytes, str]:
    request = httpx2.Request("POST", "http://x", files={"image": picture})
    return request.read(), request.headers["Content-Type"]


@pytest.mark.parametrize("number", ["1", "2"])
def test_what_is_under_way_is_answered_before_it_stops(number, data_home, photographs, tmp_path):
    keys = began(tmp_path / "people.db")
    (tmp_path / "tmp").mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp")}
    more = ("--workers", number, "--threads", "1")
    with Service(tmp_path, tmp_path / "people.db", *more, environment=environment) as service:
        key = {"Authorization": f"Bearer {keys['identify']}"}
        halfway = Halfway(service, key, photographs[CAMERA].read_bytes())
        wait_until(lambda: owner(service, halfway.address))
        time.sleep(0.3)  # it was read, not only accepted
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(service.port))
        status, answer = halfway.finish()
        assert (status, answer["faces"][0]["person"]) == (200, None)
        assert service.process.wait(30) == 0, service.told
    assert '"stopped"' in service.told
    assert "rror" not in service.told
    lines = [json.loads(line) for line in service.told.splitlines()]
    assert {"listening", "started", "request", "stopped"} <= {line["event"] for line in lines}
    assert not list((tmp_path / "tmp").iterdir())


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except AssertionError:
            pass
        assert time.monotonic() < until
        time.sleep(0.05)


def refused(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            # Taken by the kernel, but will anybody answer?
            line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            line.settimeout(1)
            return not line.recv(1)
    except OSError:
        return True


# They survive


def test_a_worker_killed_in_mid_request_is_replaced_and_nothing_told_is_lost(
    data_home, photographs, tmp_path
):
    where = tmp_path / "people.db"
    keys = began(where)
    with Service(tmp_path, where, *PAIR) as service:
        deployed = Deployed((service,), where, keys)
        before = {worker.pid for worker in service.workers}
        halfway = Halfway(service, deployed.as_("identify"), photographs[CAMERA].read_bytes())
        wait_until(lambda: owner(service, halfway.address))
        victim = owner(service, halfway.address)
        with Desk(deployed, photographs[ENROLLED].read_bytes()) as desk:
            wait_until(lambda: len(desk.told) >= 5)
            killed = time.monotonic()
            replaced(service, victim)
            assert halfway.broken()
            assert len(pids(service) - before) == 1
            for _ in range(10):
                if desk.cut:
                    break
                # Everybody was at the other one: once more, until somebody is in the middle of it.
                killed = time.monotonic()
                replaced(service, min(pids(service)))
            wait_until(lambda: any(at > killed for at in desk.told.values()))
        wait_until(lambda: reached(deployed))
        counted = service_people(deployed)
    assert desk.cut, "nobody was being enrolled when it died"
    assert desk.told.keys() <= counted <= desk.told.keys() | desk.cut
    with Gallery.open(where, keys=Settings.read(os.environ).keys) as gallery:
        assert not gallery.check().problems
        assert {(p.name, p.templates) for p in gallery.people()} == {(n, 1) for n in counted}
        assert gallery.audit.verify().intact


def replaced(service: Service, victim: int) -> None:
    """Kill a worker, and wait for the one that takes its place."""
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(service.workers) == 2 and victim not in pids(service))


class Desk:
    """Four people who enrol one after another, and ask again when no answer came.

    Attributes
    ----------
    told
        Whose enrolment was acknowledged, and when.
    cut
        Those whose request died with the worker; it may have been done or not.
    """

    def __init__(self, deployed: Deployed, photograph: bytes) -> None:
        self._deployed, self._photograph = deployed, photograph
        self.told: dict[str, float] = {}
        self.cut: set[str] = set()
        self.faults: list[str] = []
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._sit, args=(n,)) for n in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        assert not self.faults

    def _sit(self, seat: int) -> None:
        for number in itertools.count():
            if self._ends.is_set() or self.faults:
                return
            self._enrol(f"seat-{seat}-{number:04}")

    def _enrol(self, name: str) -> None:
        headers = {**self._deployed.as_("admin"), "Idempotency-Key": name}
        sent = {"data": {"name": name, "force": "true"}, "files": {"images": self._photograph}}
        address = f"{self._deployed.services[0].url}/v1/people"
        until = time.monotonic() + SETTLED
        while True:
            try:
                answer = httpx2.post(address, headers=headers, timeout=30, **sent)
            except httpx2.TransportError:
                self.cut.add(name)
                if self._ends.is_set():
                    return
                continue
            if answer.status_code == 201:
                self.told[name] = time.monotonic()
                return
            # The dead worker's claim is free as soon as it is seen to be dead.
            claimed = answer.json()["error"]["code"] == "idempotency_conflict"
            if not (claimed and name in self.cut and time.monotonic() < until):
                self.faults.append(answer.text)
                return
            time.sleep(0.1)


def pids(service: Service) -> set[int]:
    return {worker.pid for worker in service.workers}


def reached(deployed: Deployed) -> bool:
    """Tell whether each process answers."""
    try:
        with deployed.each() as both:
            return len(both) == 2
    except (httpx2.TransportError, psutil.Error):
        return False


def service_people(deployed: Deployed) -> set[str]:
    answer = httpx2.get(
        f"{deployed.services[0].url}/v1/people",
        headers=deployed.as_("admin"),
        params={"limit": 500},
        timeout=30,
    )
    return {person["name"] for person in answer.raise_for_status().json()["people"]}
