"""The sockets that cameras talk to, in the whole application: /v1/door and /v1/challenge."""

from __future__ import annotations

import json
import struct
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from visitors import CAMERA, ENROLLED, STRANGER, empty, jpeg, live, on_paper, performer

from visavis.engine import Engine, EngineConfig
from visavis.engine.door import Door, Outcome
from visavis.errors import GalleryFull
from visavis.gallery import Gallery
from visavis.liveness import challenge as challenges
from visavis.liveness.answer import Guidance, Phrase
from visavis.models import Cores
from visavis.service import live as sockets
from visavis.service import live_challenge
from visavis.service.app import create
from visavis.service.config import ServiceConfig, ServiceLimits
from visavis.service.limiting import CHALLENGES
from visavis.service.live import converse
from visavis.service.live_line import DEFAULT_LINE
from visavis.settings import Settings
from visavis.spelling import SCHEMA

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def keys(photographs, store, tmp_path_factory):
    """A gallery with Ada, and a key for each role by its name."""
    path = tmp_path_factory.mktemp("service") / "people.db"
    with Engine.open(path, EngineConfig(store=store, cores=Cores(threads=1))) as engine:
        engine.enroll("Ada", [photographs[ENROLLED]])
        made = {
            role: engine.gallery.access.make_key(role, [role])
            for role in ("identify", "read", "admin")
        }
    return path, {role: secret for role, (_, secret) in made.items()}


@pytest.fixture(scope="module")
def base(keys):
    return ServiceConfig((str(keys[0]),), threads=1, live="passive", door="front")


@pytest.fixture(scope="module")
def client(base):
    with TestClient(create(base, Settings.read({}))) as client:
        yield client


@pytest.fixture
def bearer(keys):
    return {"Authorization": f"Bearer {keys[1]['identify']}"}


@pytest.fixture(scope="module")
def ada(photographs):
    return live(photographs[CAMERA])


class Tablet:
    """The client's side of a socket."""

    def __init__(self, socket) -> None:
        self.socket, self.now = socket, 100.0

    def send(self, frame: bytes, now: float | None = None) -> dict:
        self.now = self.now + 0.2 if now is None else now
        self.socket.send_bytes(struct.pack("<d", self.now) + frame)
        return self.hear()

    def hear(self) -> dict:
        told = json.loads(self.socket.receive_text())
        assert told.pop("schema") == SCHEMA
        return told


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """A test shows frames faster than a camera does."""
    monkeypatch.setattr(sockets, "converse", quick(rate=1e6))


def code_of(client, path, headers) -> tuple[int, str]:
    """Give the close code of a connection that is not welcome, and the error it was told."""
    with client.websocket_connect(path, headers=headers) as socket:
        told = Tablet(socket).hear()["error"]["code"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    return closed.value.code, told


def entries(client, action: str) -> list:
    house = client.app.state.service.houses[0]
    return [e for e in house.gallery.audit.entries() if e.action == action]


# Who may connect


@pytest.mark.parametrize("path", ["/v1/door", "/v1/challenge"])
def test_without_a_key_nobody_is_let_on(client, path):
    assert code_of(client, path, {}) == (4401, "unauthenticated")


def test_a_wrong_key_is_none(client):
    wrong = {"Authorization": f"Bearer vv_{'0' * 32}_{'a' * 43}"}
    assert code_of(client, "/v1/door", wrong) == (4401, "unauthenticated")


def test_a_key_of_another_role_may_not(client, keys):
    reader = {"Authorization": f"Bearer {keys[1]['read']}"}
    assert code_of(client, "/v1/door", reader) == (4403, "forbidden")


@pytest.fixture
def browser(base, keys):
    with TestClient(create(base, Settings.read({}))) as client:
        client.post("/v1/session", json={"key": keys[1]["identify"]}).raise_for_status()
        yield client


def test_a_browser_s_session_may(browser):
    with browser.websocket_connect("/v1/door", headers={"Origin": "http://testserver"}) as socket:
        assert Tablet(socket).send(empty())["state"] == "waiting"


def test_a_page_of_another_site_may_not_use_the_session(browser):
    evil = {"Origin": "http://evil.example"}
    assert code_of(browser, "/v1/door", evil) == (4403, "forbidden")


def test_a_key_that_is_revoked_ends_the_line(client, keys, monkeypatch, ada):
    monkeypatch.setattr(sockets, "converse", quick(again=0.0))
    with Gallery.open(keys[0]) as gallery:
        key, secret = gallery.access.make_key("tablet", ["identify"])
    headers = {"Authorization": f"Bearer {secret}"}
    with client.websocket_connect("/v1/door", headers=headers) as socket:
        tablet = Tablet(socket)
        assert tablet.send(ada[0])["state"] == "looking"
        with Gallery.open(keys[0]) as gallery:
            gallery.access.revoke_key(key.id)
        time.sleep(1.1)  # for as long a key is believed
        told = tablet.send(ada[1])
        while "error" not in told:
            told = tablet.send(ada[1])
        assert told["error"]["code"] == "unauthenticated"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 4401


def test_no_more_cameras_than_there_may_be(base, bearer):
    few = replace(base, limits=ServiceLimits(sockets=1))
    with (
        TestClient(create(few, Settings.read({}))) as client,
        client.websocket_connect("/v1/door", headers=bearer) as first,
    ):
        assert Tablet(first).send(empty())["state"] == "waiting"
        assert code_of(client, "/v1/door", bearer) == (4429, "too_many_requests")


# The door


def test_somebody_enrolled_is_let_in(client, bearer, ada):
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        assert tablet.send(empty()) == {
            "state": "waiting",
            "phrase": "step up to the camera",
            "action": None,
            "done": 0,
            "of": 0,
            "remaining": 0,
            "name": None,
            "decision": None,
        }
        views = [tablet.send(frame) for frame in ada]
    assert [view["state"] for view in views] == ["looking", "looking", "open"]
    assert [view["name"] for view in views] == [None, None, "Ada"]
    written = entries(client, "door")[-1]
    assert written.details == {
        "decision": views[-1]["decision"],
        "door": "front",
        "frames": 3,
        "outcome": "open",
        "sequence": written.details["sequence"],
    }
    assert written.actor.startswith("key:")
    assert written.subject == client.app.state.service.houses[0].gallery.person("Ada").id


def test_a_print_and_a_stranger_are_told_the_same(client, bearer, photographs):
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        printed = [tablet.send(frame) for frame in on_paper(photographs[CAMERA]) * 2][-1]
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        stranger = [tablet.send(frame) for frame in live(photographs[STRANGER], 6)][-1]
    assert printed.pop("decision") != stranger.pop("decision")
    assert printed == stranger
    assert printed["state"] == "closed"
    assert [e.details["outcome"] for e in entries(client, "door")][-2:] == [
        "not-live",
        "not-recognized",
    ]
    assert entries(client, "door")[-1].subject == ""


def test_each_decision_is_written_once(client, bearer, ada):
    before = len(entries(client, "door"))
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        for number in range(20):
            tablet.send(ada[number % 3])
    assert len(entries(client, "door")) == before + 1


BAD = {
    "empty": b"",
    "half a head": b"\0\0\0\0",
    "no picture": struct.pack("<d", 200.0),
    "not a JPEG": struct.pack("<d", 200.0) + b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    "a JPEG's beginning": struct.pack("<d", 200.0) + b"\xff\xd8\xff\xe0",
    "no time": struct.pack("<d", float("nan")) + b"\xff\xd8\xff\xe0",
    "a huge one": struct.pack("<d", 200.0) + b"\xff\xd8\xff\xe0" + b"\0" * (2 << 20),
    "a bomb": struct.pack("<d", 200.0) + jpeg(np.zeros((9000, 9000, 3), np.uint8)),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_frame_is_answered_and_the_door_goes_on(client, bearer, ada, kind):
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        assert tablet.send(ada[0])["state"] == "looking"
        socket.send_bytes(BAD[kind])
        refused = tablet.hear()["error"]
        assert refused["code"] in {
            "image_unreadable", "image_too_large", "image_too_small", "input_refused",
        }  # fmt: skip
        assert tablet.send(ada[1])["state"] == "looking"


def test_text_is_no_frame(client, bearer):
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        socket.send_text('{"open": true}')
        assert Tablet(socket).hear()["error"]["code"] == "input_refused"


def test_nothing_but_bad_frames_ends_it(client, bearer):
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        for _ in range(DEFAULT_LINE.bad):
            socket.send_bytes(b"nonsense")
            assert "error" in Tablet(socket).hear()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 1003


def quick(**limits: float):
    """The conversation, with other limits."""
    chosen = replace(DEFAULT_LINE, **limits)
    return lambda websocket, role, talk: converse(websocket, role, talk, chosen)


def test_frames_that_come_too_fast_are_turned_away(client, bearer, monkeypatch):
    monkeypatch.setattr(sockets, "converse", quick(rate=1.0))
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        told = [tablet.send(empty()) for _ in range(10)]
    assert told[-1]["error"]["code"] == "too_many_requests"
    assert "error" not in told[0]


def test_a_camera_that_sends_nothing_is_let_go(client, bearer, monkeypatch):
    monkeypatch.setattr(sockets, "converse", quick(idle=0.2))
    with (
        client.websocket_connect("/v1/door", headers=bearer) as socket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        socket.receive_text()
    assert closed.value.code == 4408


def test_a_service_that_stops_says_so(base, bearer):
    with TestClient(create(base, Settings.read({}))) as client:
        with client.websocket_connect("/v1/door", headers=bearer) as socket:
            assert Tablet(socket).send(empty())["state"] == "waiting"
            client.app.state.service.stopping.set()
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_text()
        assert closed.value.code == 1001
        assert not client.app.state.service.sockets


def test_an_opened_door_tells_the_gate_once(base, bearer, ada, gate):
    config = replace(base, webhook=gate.url)
    with TestClient(create(config, Settings.read({}), secret=SECRET)) as client:
        with client.websocket_connect("/v1/door", headers=bearer) as socket:
            tablet = Tablet(socket)
            views = [tablet.send(ada[number % 3]) for number in range(12)]
        until = time.monotonic() + 5
        while not entries(client, "gate") and time.monotonic() < until:
            time.sleep(0.05)
        (told,) = entries(client, "gate")[-1:]
    assert [each["id"] for each in gate.opened] == [views[2]["decision"]]
    assert gate.opened[0]["person"]["name"] == "Ada"
    assert (gate.opened[0]["gallery"], gate.opened[0]["door"]) == ("people", "front")
    assert told.details["outcome"] == "told"
    assert told.details["decision"] == views[2]["decision"]
    assert len(gate.came) == 1


def test_a_closed_door_tells_it_nothing(base, bearer, photographs, gate):
    config = replace(base, webhook=gate.url)
    with (
        TestClient(create(config, Settings.read({}), secret=SECRET)) as client,
        client.websocket_connect("/v1/door", headers=bearer) as socket,
    ):
        tablet = Tablet(socket)
        for frame in live(photographs[STRANGER], 6):
            last = tablet.send(frame)
    assert last["state"] == "closed"
    assert not gate.came


@pytest.fixture
def gate():
    from test_webhook import Gate  # noqa: PLC0415

    made = Gate()
    yield made
    made.close()


# The challenge


@pytest.fixture
def short(monkeypatch):
    """Challenges of two turns."""
    config = challenges.ChallengeConfig(steps=2, short=(0.4, 0.5), longs=0)
    monkeypatch.setattr(live_challenge, "issue", lambda who: challenges.issue(who, config))


def answered(tablet: Tablet, someone) -> dict:
    """Do what is asked until there is a verdict; gives the last answer."""
    for timestamp, frame in someone.frames():
        told = tablet.send(jpeg(frame, 95), timestamp + 1)
        if "finished" not in told:
            return told
        if told["finished"]:
            return told
        someone.hear(
            Guidance(Phrase(told["phrase"]), None, told["done"], told["of"], told["remaining"])
        )
    raise AssertionError("no verdict")


@pytest.mark.usefixtures("short")
def test_a_challenge_that_is_answered_verifies(client, bearer, photographs):
    someone = performer(client.app.state.service.houses[0].engine, photographs[ENROLLED])
    with client.websocket_connect("/v1/challenge", headers=bearer) as socket:
        tablet = Tablet(socket)
        first = tablet.hear()
        assert set(first) == {"nonce", "of", "phrase", "expires"}
        assert first["of"] == 2
        assert first["expires"] > time.time()
        told = answered(tablet, someone)
        verdict = told["verdict"]
        assert verdict["passed"], verdict
        assert len(verdict["performed"]) == 2
        assert (verdict["failure"], verdict["reasons"]) == (None, [])
        socket.send_text(json.dumps({"verify": "Ada"}))
        decision = tablet.hear()
        assert (decision["decision"], decision["accepted"]) == ("same", True)
        assert decision["liveness"]["policy"] == "active"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 1000
    assert entries(client, "verify")[-1].details["outcome"] == "same"


@pytest.mark.usefixtures("short")
def test_who_answered_can_be_asked_too(client, bearer, photographs):
    someone = performer(client.app.state.service.houses[0].engine, photographs[ENROLLED], seed=3)
    with client.websocket_connect("/v1/challenge", headers=bearer) as socket:
        tablet = Tablet(socket)
        tablet.hear()
        assert answered(tablet, someone)["verdict"]["passed"]
        socket.send_text(json.dumps({"identify": True, "fpir": 1e-2}))
        told = tablet.hear()
    assert told["fpir"] == 1e-2
    assert [face["person"] for face in told["faces"]] == ["Ada"]


@pytest.mark.usefixtures("short")
def test_a_stranger_s_answer_says_that_it_is_not_ada(client, bearer, photographs):
    someone = performer(client.app.state.service.houses[0].engine, photographs[STRANGER])
    with client.websocket_connect("/v1/challenge", headers=bearer) as socket:
        tablet = Tablet(socket)
        tablet.hear()
        assert answered(tablet, someone)["verdict"]["passed"]
        socket.send_text(json.dumps({"verify": "Ada"}))
        assert tablet.hear()["decision"] == "different"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "question",
    [
        "{}",
        "nonsense",
        "[1]",
        '{"verify": "Ada", "identify": true}',
        '{"verify": ""}',
        '{"verify": "Ada", "live": "off"}',
        '{"verify": "Ada", "live": "passive"}',
        '{"verify": "Ada", "fmr": 2}',
        '{"verify": "Ada", "fmr": NaN}',
        '{"identify": false}',
        '{"verify": "' + "a" * 5000 + '"}',
        "[" * 2000,
    ],
)
def test_a_question_that_makes_no_sense_is_refused(client, bearer, photographs, question):
    with client.websocket_connect("/v1/challenge", headers=bearer) as socket:
        tablet = Tablet(socket)
        tablet.hear()
        # A clock that leaps ends the session without a verdict of anybody's.
        tablet.send(live(photographs[CAMERA], 1)[0], 1.0)
        told = tablet.send(empty(), 0.5)
        assert told["verdict"]["failure"] == "time-went-back"
        socket.send_text(question)
        assert tablet.hear()["error"]["code"] == "input_refused"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 4422


def test_a_question_before_the_verdict_is_no_frame(client, bearer):
    with client.websocket_connect("/v1/challenge", headers=bearer) as socket:
        tablet = Tablet(socket)
        tablet.hear()
        socket.send_text('{"verify": "Ada"}')
        assert tablet.hear()["error"]["code"] == "input_refused"
        assert tablet.send(empty())["phrase"] == "show your face to the camera"


def test_whoever_leaves_challenges_until_one_fits_has_to_wait_at_every_worker(base, keys):
    with Gallery.open(keys[0]) as gallery:
        _, secret = gallery.access.make_key("impatient", ["identify"])
    headers = {"Authorization": f"Bearer {secret}"}
    app = create(base, Settings.read({})), create(base, Settings.read({}))
    with TestClient(app[0]) as one, TestClient(app[1]) as other:
        for number in range(CHALLENGES.failures):
            client = (one, other)[number % 2]
            with client.websocket_connect("/v1/challenge", headers=headers) as socket:
                assert "nonce" in Tablet(socket).hear()
        for client in (one, other):
            assert code_of(client, "/v1/challenge", headers) == (4429, "too_many_attempts")


# The page


def test_the_page_holds_nothing_inline(client):
    page = client.get("/door")
    assert page.status_code == 200
    assert "<style" not in page.text
    assert " style=" not in page.text
    assert "onclick" not in page.text
    assert page.text.count("<script") == page.text.count('<script type="module" src="/static/')


# What goes wrong inside


def test_a_service_that_is_busy_says_so_and_the_door_goes_on(client, bearer, ada, monkeypatch):
    work = client.app.state.service.work
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        monkeypatch.setattr(work, "most", 0)
        assert tablet.send(ada[0])["error"]["code"] == "busy"
        monkeypatch.undo()
        assert tablet.send(ada[1])["state"] == "looking"


def test_a_decision_that_cannot_be_written_opens_nothing(base, bearer, ada, gate, monkeypatch):
    config = replace(base, webhook=gate.url)
    with TestClient(create(config, Settings.read({}), secret=SECRET)) as client:

        def full(*_: object, **__: object) -> None:
            raise GalleryFull("no room in /var/lib/people.db")

        monkeypatch.setattr(client.app.state.service.houses[0].ledger, "record", full)
        with client.websocket_connect("/v1/door", headers=bearer) as socket:
            tablet = Tablet(socket)
            told = [tablet.send(frame) for frame in ada]
            assert told[-1]["error"]["code"] == "gallery_full"
            assert "/var/lib" not in told[-1]["error"]["message"]
            shown = tablet.send(ada[0])
        assert (shown["state"], shown["name"]) == ("closed", None)
    assert not gate.came


class SlowDoor(Door):
    """Lets Ada in at its first frame, as slowly as a test wants."""

    before, after = threading.Event(), threading.Event()

    def update(self, frame, timestamp):
        if self._decision is not None:
            return super().update(frame, timestamp)
        self.before.wait(20)
        view = self._decide(Outcome.OPEN, self._engine.gallery.person("Ada"), timestamp)
        self.after.wait(20)
        return view


@pytest.fixture
def slow(base, gate, monkeypatch):
    """A service with a slow door and little patience."""
    monkeypatch.setattr(SlowDoor, "before", threading.Event())
    monkeypatch.setattr(SlowDoor, "after", threading.Event())
    monkeypatch.setattr(sockets, "Door", SlowDoor)
    config = replace(base, webhook=gate.url, limits=ServiceLimits(patience=0.5))
    with TestClient(create(config, Settings.read({}), secret=SECRET)) as client:
        yield client
        SlowDoor.before.set()
        SlowDoor.after.set()


def at_rest(client) -> None:
    """Wait until no thread is at work any more."""
    until = time.monotonic() + 10
    while client.app.state.service.work._inside:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_frame_that_was_given_up_opens_nothing_any_more(slow, bearer, gate):
    before = len(entries(slow, "door"))
    with slow.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        assert tablet.send(empty())["error"]["code"] == "busy"
        SlowDoor.before.set()
        SlowDoor.after.set()
        at_rest(slow)
        shown = tablet.send(empty())
    assert (shown["state"], shown["name"]) == ("closed", None)
    assert len(entries(slow, "door")) == before, "nothing says that it opened"
    assert not gate.came


def test_a_gate_hears_once_of_a_decision_whose_frame_was_given_up_after_it(slow, bearer, gate):
    before = len(entries(slow, "door"))
    SlowDoor.before.set()
    with slow.websocket_connect("/v1/door", headers=bearer) as socket:
        tablet = Tablet(socket)
        assert tablet.send(empty())["error"]["code"] == "busy"
        SlowDoor.after.set()
        at_rest(slow)
        shown = [tablet.send(empty()) for _ in range(3)]
    assert {(each["state"], each["name"]) for each in shown} == {("open", "Ada")}
    (written,) = entries(slow, "door")[before:]
    until = time.monotonic() + 10
    while not gate.opened and time.monotonic() < until:
        time.sleep(0.01)
    assert [each["id"] for each in gate.opened] == [written.details["decision"]]
    assert written.details["outcome"] == "open"


def test_a_service_that_stops_still_tells_the_gate_what_was_decided(
    base, bearer, gate, monkeypatch
):
    monkeypatch.setattr(SlowDoor, "before", threading.Event())
    monkeypatch.setattr(SlowDoor, "after", threading.Event())
    monkeypatch.setattr(sockets, "Door", SlowDoor)
    SlowDoor.before.set()
    config = replace(base, webhook=gate.url, limits=ServiceLimits(patience=0.5))
    with (
        TestClient(create(config, Settings.read({}), secret=SECRET)) as client,
        client.websocket_connect("/v1/door", headers=bearer) as socket,
    ):
        assert Tablet(socket).send(empty())["error"]["code"] == "busy"
        threading.Timer(0.5, SlowDoor.after.set).start()
    assert len(gate.opened) == 1


def test_a_fault_of_ours_shows_nothing_internal(client, bearer, ada, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(sockets.Post, "look", broken)
    with client.websocket_connect("/v1/door", headers=bearer) as socket:
        socket.send_bytes(struct.pack("<d", 1.0) + ada[0])
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1011, "")


def test_open_to_this_machine_is_not_open_to_names_that_lead_here(opened):
    with opened.websocket_connect("/v1/door", headers={"Host": "localhost"}) as socket:
        assert Tablet(socket).send(empty())["state"] == "waiting"
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert code_of(opened, "/v1/door", evil) == (4403, "forbidden")
