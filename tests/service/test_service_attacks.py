"""What is sent to break in or break it: bad pictures, bombs, slow and huge bodies, odd names."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import select
import socket
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import uvicorn
from PIL import Image
from uvicorn.server import ServerState

from visavis.gallery import Gallery
from visavis.service import live
from visavis.service.app import create
from visavis.service.config import ServiceConfig, ServiceLimits
from visavis.service.protocols import (
    LARGEST,
    LIMITS,
    MOST_ASKED,
    MOST_PIECES,
    MOST_WAITING,
    OPTIONS,
    Camera,
    Http,
)

FORM = "multipart/form-data; boundary=b"
PICTURES = ("/v1/identify", "/v1/faces")


def jpeg(pixels, **how) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **how)
    return out.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bad_pictures(portrait: bytes) -> dict[str, tuple[bytes, str]]:
    grey = np.full((300, 300), 128, np.uint8)
    return {
        "empty": (b"", "image_unreadable"),
        "text": (b"hello, I am no picture", "image_unreadable"),
        "truncated": (portrait[:200], "image_unreadable"),
        "pixel bomb": (png_that_claims(60_000, 60_000), "image_too_large"),
        "zip bomb": (zlib.compress(bytes(1 << 20)), "image_unreadable"),
        "tiny": (jpeg(np.zeros((3, 3, 3), np.uint8)), "image_too_small"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_unreadable"),
        "script": (b"<script>alert(1)</script>", "image_unreadable"),
        "no face": (jpeg(np.dstack([grey] * 3)), "no_face_found"),
    }


@pytest.fixture
def portrait(photographs):
    return photographs["obama.jpg"].read_bytes()


@pytest.mark.parametrize("kind", bad_pictures(b"\xff\xd8\xff" + bytes(500)))
def test_every_bad_picture_has_its_code_and_no_500(served, portrait, kind):
    data, code = bad_pictures(portrait)[kind]
    as_json = base64.b64encode(data).decode()
    for address in PICTURES:
        for sent in ({"files": {"image": data}}, {"json": {"image": as_json}}):
            answer = served.ask("identify", "POST", address, **sent)
            if code == "no_face_found":
                assert (answer.status_code, answer.json()["faces"]) == (200, [])
                continue
            assert answer.status_code in {413, 422}, answer.text
            assert answer.json()["error"]["code"] == code
    enrolled = served.ask(
        "enroll", "POST", "/v1/people", data={"name": "Bad"}, files={"images": data}
    )
    assert enrolled.json()["error"]["code"] == code
    assert served.ask("read", "GET", "/v1/people").json()["total"] == 0


def test_odd_pictures_are_read_all_the_same(served, portrait):
    upright = Image.open(io.BytesIO(portrait))
    odd = {}
    for name, picture, how in (
        ("cmyk", upright.convert("CMYK"), {"format": "JPEG"}),
        ("grey", upright.convert("L"), {"format": "PNG"}),
        ("palette", upright.convert("P"), {"format": "PNG"}),
        ("transparent", upright.convert("RGBA"), {"format": "PNG"}),
        ("webp", upright, {"format": "WEBP"}),
    ):
        out = io.BytesIO()
        picture.save(out, **how)
        odd[name] = out.getvalue()
    for name, data in odd.items():
        seen = served.ask("identify", "POST", "/v1/faces", files={"image": data})
        assert len(seen.json()["faces"]) == 1, name


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'{"image": 7}', "application/json", 422),
        (b'{"image": "!"}', "application/json", 422),
        (b'{"image": ["a"]}', "application/json", 422),
        (b'{"image": "AAAA", "sudo": true}', "application/json", 422),
        (b'{"image": "AAAA", "fpir": NaN}', "application/json", 422),
        (b'{"image": "AAAA", "fpir": 1e400}', "application/json", 422),
        (b"\xff\xfe\x00", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"image": ' + b'"' + b"A" * (5 << 20) + b'"}', "application/json", 413),
        (b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}", "application/json", 422),
        (
            b'{"image": {' + b",".join(b'"%d":0' % n for n in range(99)) + b"}}",
            "application/json",
            422,
        ),
        (b'{"image": "\\ud800"}', "application/json", 422),
        (b"image=x", "application/x-www-form-urlencoded", 415),
        (b"<xml/>", "application/xml", 415),
        (b"x", "", 415),
        (b"x", "multipart/form-data", 422),
        (b"x", "multipart/form-data; boundary=", 422),
        (b"--b\r\n", FORM, 422),
        (
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
            "multipart/form-data; boundary=b",
            422,
        ),
        (b"--b\r\n\xff\xfe: \x00\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b", 422),
    ],
)
def test_bodies_that_make_no_sense_are_refused_in_one_shape(served, body, kind, status):
    headers = {"Content-Type": kind} if kind else {}
    answer = served.ask("identify", "POST", "/v1/identify", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"schema", "error"}
    assert set(answer.json()["error"]) == {"code", "message"}


def test_too_many_photographs_are_refused(served, portrait):
    files = [("images", portrait[:2000])] * 6
    answer = served.ask("identify", "POST", "/v1/liveness", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    body = {"images": ["AAAA"] * 6}
    answer = served.ask("identify", "POST", "/v1/liveness", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_nobody_unknown_sends_more_than_a_key(served):
    body = {"key": "vv_" + "x" * 5000}
    answer = served.client.post("/v1/session", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


NAMES = [
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "<script>alert(1)</script>",
    "'; DROP TABLE person; --",
    "%2e%2e%2f",
    "{{7*7}}",
    "Robert/Bobby",
    "தமிழ் பெயர்",
    "a" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_look_like_paths_or_scripts_are_names(served, portrait, name):
    made = served.ask(
        "enroll", "POST", "/v1/people", data={"name": name}, files={"images": portrait}
    )
    assert made.status_code == 201, made.text
    person = made.json()["person"]
    found = served.ask("read", "GET", "/v1/people", params={"search": name}).json()
    assert [each["name"] for each in found["people"]] == [name]
    claimed = {"data": {"person": name}, "files": {"image": portrait}}
    assert served.ask("identify", "POST", "/v1/verify", **claimed).json()["accepted"]
    assert "text/html" not in made.headers["content-type"]
    assert served.ask("admin", "DELETE", f"/v1/people/{person['id']}").status_code == 200


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00b", "\u202egnp.exe", "\u200b", "b" * 201])
def test_names_that_are_none_are_refused(served, portrait, name):
    body = {"name": name, "images": [base64.b64encode(portrait).decode()]}
    answer = served.ask("enroll", "POST", "/v1/people", json=body)
    assert answer.status_code == 422
    assert served.ask("read", "GET", "/v1/people").json()["total"] == 0


@pytest.mark.parametrize(
    "address",
    [
        "/v1/people/..%2f..%2fetc%2fpasswd",
        "/v1/people/%00",
        "/v1/people/%ff",
        "/static/../app.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/v1//people",
        "/%",
        "/v1/people/" + "a" * 5000,
    ],
)
def test_odd_addresses_lead_nowhere(served, address):
    answer = served.ask("admin", "GET", address)
    assert answer.status_code in {404, 422, 400}, answer.text
    assert "import" not in answer.text


def test_nothing_internal_is_shown_when_the_database_is_gone(served, settings, tmp_path, portrait):
    base = tmp_path / "gone"
    base.mkdir()
    with Gallery.open(base / "people.db", keys=settings.keys) as gallery:
        _, key = gallery.access.make_key("k", ["admin"])
    from starlette.testclient import TestClient  # noqa: PLC0415

    app = create(ServiceConfig((str(base / "people.db"),), threads=1), settings)
    headers = {"Authorization": f"Bearer {key}"}
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/people", headers=headers).status_code == 200
        for part in base.iterdir():
            part.rename(part.with_name(f"away-{part.name}"))
        time.sleep(1.1)
        answer = client.get("/v1/people", headers=headers)
        assert answer.status_code in {500, 503}
        assert str(base) not in answer.text
        assert "Traceback" not in answer.text
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
        for part in list(base.iterdir()):
            part.rename(part.with_name(part.name.removeprefix("away-")))
        files = {"image": portrait}
        assert client.post("/v1/identify", files=files, headers=headers).status_code == 200
        assert client.get("/ready").status_code == 200


class Running(uvicorn.Server):
    """A real server on a real port, in a thread."""

    def __init__(self, app):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        super().__init__(uvicorn.Config(app, **OPTIONS))

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        while not self.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.should_exit = True
        self.thread.join()

    def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            try:
                for part in parts:
                    # Who goes on sending when the answer is there may lose it with the connection.
                    if select.select([line], [], [], pause)[0]:
                        break
                    line.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := line.recv(65536):
                    answer += chunk
            return answer


@pytest.fixture(scope="module")
def hasty(settings, tmp_path_factory):
    """A service that waits a second for a body, with room for two requests."""
    base = tmp_path_factory.mktemp("hasty")
    with Gallery.open(base / "people.db", keys=settings.keys) as gallery:
        _, key = gallery.access.make_key("k", ["admin"])
    limits = ServiceLimits(body=1 << 20, queue=1, patience=1.0, rate=0, connections=40)
    config = ServiceConfig((str(base / "people.db"),), threads=1, limits=limits)
    with Running(create(config, settings)) as server:
        server.key = key
        yield server


def head(server, length: int | None = 1000, key: str | None = None) -> bytes:
    size = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return (
        b"POST /v1/identify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer "
        + (key or server.key).encode()
        + b"\r\n"
        + size
        + b"\r\n\r\n"
    )


def test_a_slow_body_is_given_up(hasty):
    began = time.monotonic()
    answer = hasty.raw(head(hasty), b'{"', b"im", pause=0.1)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b'"timeout"' in answer
    assert time.monotonic() - began < 5


def test_a_body_without_a_length_is_cut_where_it_is_too_large(hasty):
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    answer = hasty.raw(head(hasty, None), *[chunk] * 30, pause=0.02)
    assert b" 413 " in answer.split(b"\r\n")[0]


def test_who_has_no_key_is_refused_before_the_body(hasty):
    answer = hasty.raw(head(hasty, 10**12, "vv_nobody"))
    assert b" 401 " in answer.split(b"\r\n")[0]
    answer = hasty.raw(head(hasty, 10**12))
    assert b" 413 " in answer.split(b"\r\n")[0]


def test_more_than_may_wait_are_told_to_come_again(hasty):
    answers: list[bytes] = []

    def slow() -> None:
        answers.append(hasty.raw(head(hasty), b"{", pause=0.3))

    crowd = [threading.Thread(target=slow) for _ in range(8)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    lines = [answer.split(b"\r\n")[0] for answer in answers]
    assert sum(b" 503 " in line for line in lines) >= 5
    busy = next(answer for answer in answers if b" 503 " in answer.split(b"\r\n")[0])
    assert b"retry-after: 1" in busy.lower()
    assert b'"busy"' in busy
    # And there is room again.
    assert b" 408 " in hasty.raw(head(hasty)).split(b"\r\n")[0]


def test_a_client_that_leaves_takes_nothing_along(hasty, portrait):
    body = json.dumps({"image": base64.b64encode(portrait).decode()}).encode()
    for cut in (10, len(body) // 2):
        with socket.create_connection(("127.0.0.1", hasty.port)) as line:
            line.sendall(head(hasty, len(body)) + body[:cut])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", hasty.port)) as line:
            line.sendall(head(hasty, len(body)) + body[:100])
    ends = time.monotonic() + 20
    while len(list(Path("/proc/self/fd").iterdir())) > before + 2:
        assert time.monotonic() < ends, "connections were left open"
        time.sleep(0.1)
    answer = hasty.raw(head(hasty, len(body)) + body)
    assert b" 200 " in answer.split(b"\r\n")[0]


# Connections that are held, see `visavis.service.protocols`

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
LAST = GET + b"Connection: close\r\n\r\n"


def heard(line) -> bytes:
    """Give the whole of a small answer."""
    answer = line.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += line.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536)
    return answer


def held(server, *begin: bytes, drip: bytes = b"", pause: float = 0.2) -> float:
    """Send what begins a connection, then something again and again; gives how long it was kept.

    Seconds since the last answer to it.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        for part in begin:
            line.sendall(part)
            if part.endswith(b"\r\n\r\n"):
                assert heard(line)
        since = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < since + 4:
                if select.select([line], [], [], pause)[0]:
                    assert not line.recv(65536)
                    break
                line.sendall(drip)
        return time.monotonic() - since


REFUSED = b"POST /v1/identify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
HELD = {
    "nothing": ((), b""),
    "empty lines": ((), b"\r\n"),
    "a head": ((GET,), b"X: y\r\n"),
    "a header": ((GET + b"X: ",), b"y"),
    "a second head": ((GET + b"\r\n", GET), b"X: y\r\n"),
    "a body that was refused": ((REFUSED,), b"{"),
    "a body after which it goes on": ((REFUSED, bytes(99_990)), b"{"),
}


def test_nobody_holds_a_connection_by_sending_slowly(hasty):
    kept: dict[str, float] = {}

    def hold(name: str) -> None:
        begin, drip = HELD[name]
        kept[name] = held(hasty, *begin, drip=drip)

    crowd = [threading.Thread(target=hold, args=(name,)) for name in HELD]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert kept.keys() == HELD.keys()
    assert {name: seconds for name, seconds in kept.items() if not 0.7 < seconds < 3} == {}


def test_a_connection_may_be_idle_between_requests_as_before(hasty):
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as line:
        for pause in (0.0, 1.5, 0.0):  # longer than a head may take
            time.sleep(pause)
            line.sendall(GET + b"\r\n")
            assert b" 200 " in heard(line).split(b"\r\n")[0]


def test_a_head_has_an_end(hasty):
    answer = hasty.raw(GET, *[b"X: " + b"y" * 30_000 + b"\r\n"] * 5, b"\r\n", pause=0.05)
    assert answer == b""
    fits = b"X: " + b"y" * 30_000 + b"\r\nConnection: close\r\n\r\n"
    assert b" 200 " in hasty.raw(GET, fits).split(b"\r\n")[0]


def test_no_more_connections_are_kept_than_there_may_be(hasty):
    with contextlib.ExitStack() as lines:
        address = ("127.0.0.1", hasty.port)
        many = [lines.enter_context(socket.create_connection(address)) for _ in range(60)]
        gone, _, _ = select.select(many, [], [], 0.5)
        until = time.monotonic() + 0.5
        while len(gone) < 20 and time.monotonic() < until:
            gone, _, _ = select.select(many, [], [], 0.1)
        assert len(gone) == 20
        kept = next(line for line in many if line not in gone)
        kept.sendall(GET + b"\r\n")
        assert b" 200 " in heard(kept).split(b"\r\n")[0]
    until = time.monotonic() + 5
    while not hasty.raw(LAST):
        assert time.monotonic() < until, "there is room again"


def test_who_takes_no_answers_is_let_go(hasty):
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", hasty.port))
        with contextlib.suppress(ConnectionError):
            for _ in range(150):
                line.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.005)
        reset = select.poll()
        reset.register(line, 0)
        assert reset.poll(6000), "its connection is kept"


@pytest.mark.parametrize("kind", [Http, Camera])
def test_what_is_not_taken_is_broken_off_and_what_is_taken_late_is_not(kind):
    class Line(asyncio.Transport):
        aborted, high = False, 1 << 16

        def set_write_buffer_limits(self, high):
            self.high = high

        def abort(self):
            self.aborted = True

    async def story(*, taken: bool) -> bool:
        state = {LIMITS: ServiceLimits(patience=0.05)}
        protocol, line = kind(uvicorn.Config(None, **OPTIONS), ServerState(), state), Line()
        protocol.connection_made(line)
        protocol.pause_writing()
        if taken:
            protocol.resume_writing()
        await asyncio.sleep(0.15)
        assert line.high == 0 or kind is Camera, "a camera's line was a request first"
        return line.aborted

    assert asyncio.run(story(taken=False))
    assert not asyncio.run(story(taken=True))


def test_who_asks_without_waiting_may_ask_so_often(hasty):
    assert hasty.raw((GET + b"\r\n") * MOST_ASKED + LAST).count(b" 200 OK") == MOST_ASKED + 1
    assert hasty.raw((GET + b"\r\n") * 5000 + LAST).count(b" 200 OK") <= 1


# Floods of frames

UPGRADE = (
    b"GET /v1/door HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nAuthorization: Bearer "
)
JPEG = struct.pack("<d", 1.0) + b"\xff\xd8\xff\xe0"
BINARY, FIN = 2, 128


def framed(content: bytes, first: int = FIN | BINARY) -> bytes:
    """A client's frame; its mask of zeros changes nothing."""
    return struct.pack(">BBQ", first, 128 | 127, len(content)) + bytes(4) + content


@contextlib.contextmanager
def camera(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(UPGRADE + server.key.encode() + b"\r\n\r\n")
        answer = line.recv(65536)
        assert b" 101 " in answer.split(b"\r\n")[0]
        assert b"deflate" not in answer, "a few bytes would become millions"
        yield line


def close_code(line) -> int:
    said = b""
    with contextlib.suppress(ConnectionError):
        while chunk := line.recv(65536):
            said += chunk
    at = said.rindex(b"\x88")
    return struct.unpack(">H", said[at + 2 : at + 4])[0]


@pytest.fixture
def busy_door(monkeypatch):
    """A door that looks at its first frame for as long as the test lasts."""
    over = threading.Event()

    def look(post, frame, chance):
        over.wait(20)
        raise RuntimeError

    monkeypatch.setattr(live.Post, "look", look)
    yield
    over.set()


def test_a_flood_of_frames_waits_at_the_sender(hasty, busy_door):
    frame, process = framed(JPEG + bytes((2 << 20) - 12)), psutil.Process()
    with camera(hasty) as line:
        before, sent, until = process.memory_info().rss, 0, time.monotonic() + 0.8
        line.setblocking(False)
        while time.monotonic() < until:
            if select.select([], [line], [], 0.05)[1]:
                sent += line.send(frame[sent % len(frame) :])
        grown = process.memory_info().rss - before
    # Two frames and what the kernel holds of a connection.
    assert 4 << 20 < sent < 24 << 20
    assert grown < 24 << 20


def test_a_flood_of_tiny_messages_ends_the_line(hasty, busy_door):
    with camera(hasty) as line:
        line.sendall(framed(JPEG))
        time.sleep(0.2)  # it is being looked at
        line.sendall(framed(b"") * (20 * MOST_WAITING))
        assert close_code(line) == 1008


def test_a_message_in_endless_pieces_ends_the_line(hasty):
    with camera(hasty) as line:
        line.sendall(framed(b"", BINARY) + framed(b"", 0) * (2 * MOST_PIECES))
        assert close_code(line) == 1008


def test_a_message_larger_than_any_frame_ends_the_line(hasty):
    with camera(hasty) as line:
        line.sendall(struct.pack(">BBQ", FIN | BINARY, 128 | 127, LARGEST + 1) + bytes(4))
        assert close_code(line) == 1009
