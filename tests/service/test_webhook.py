"""The message that opens a gate: signed, once a decision, soon or not at all."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from visavis.errors import InputRefused
from visavis.service.webhook import (
    DELIVERY,
    SIGNATURE,
    Opening,
    Seen,
    Webhook,
    WebhookConfig,
    check_signature,
    received,
    sign,
)

SECRET = b"0123456789abcdef0123456789abcdef"


class Gate:
    """A receiver here: answers as it is told to, keeps what came, opens by the book."""

    def __init__(self) -> None:
        self.answers: list[int | float | None] = []  # a status; seconds of silence; None hangs up
        self.came: list[tuple[str, str, bytes]] = []
        self.opened: list[dict] = []
        self.redirect = ""
        seen, gate = Seen(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                gate.came.append((self.headers[SIGNATURE], self.headers[DELIVERY], body))
                told = received(SECRET, self.headers[SIGNATURE], body, seen)
                if told is not None:
                    gate.opened.append(told)
                answer = gate.answers.pop(0) if gate.answers else 200
                if isinstance(answer, float):
                    time.sleep(answer)
                    answer = 200
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer)
                if gate.redirect:
                    self.send_header("Location", gate.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/gate"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.close()


def opening(**changed: object) -> Opening:
    given = {
        "id": "d1",
        "gallery": "people",
        "door": "front",
        "person": "p1",
        "name": "Ada Lovelace ✓",
        "decided_at": datetime.now(UTC),
    }
    return Opening(**{**given, **changed})


def deliver(url: str, what: Opening | None = None, **config: float):
    async def going():
        webhook = Webhook(WebhookConfig(url, **{"pause": 0.02, **config}), SECRET)
        try:
            return await webhook.deliver(what or opening())
        finally:
            await webhook.close()

    return asyncio.run(going())


def test_a_decision_opens_the_gate_once(gate):
    delivery = deliver(gate.url)
    assert (delivery.delivered, delivery.status, delivery.tries) == (True, 200, 1)
    ((header, ident, body),) = gate.came
    assert ident == "d1"
    assert header.startswith(f"t={int(time.time()) // 100}")
    assert header == sign(SECRET, body, float(header[2:].split(",")[0]))
    told = json.loads(body)
    assert told.pop("decided_at") < told.pop("valid_until")
    assert told == {
        "schema": 1,
        "id": "d1",
        "event": "door.open",
        "gallery": "people",
        "door": "front",
        "person": {"id": "p1", "name": "Ada Lovelace ✓"},
    }
    assert [each["id"] for each in gate.opened] == ["d1"]


@pytest.mark.parametrize("trouble", [[500], [503, 429], [None], [502, None, 408]])
def test_trouble_is_tried_again_under_the_same_id_and_the_gate_opens_once(gate, trouble):
    gate.answers = list(trouble)
    delivery = deliver(gate.url)
    assert (delivery.delivered, delivery.tries) == (True, len(trouble) + 1)
    assert {ident for _, ident, _ in gate.came} == {"d1"}
    assert len({body for *_, body in gate.came}) == 1
    assert len(gate.opened) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_what_is_refused_is_not_tried_again(gate, status):
    gate.answers = [status]
    delivery = deliver(gate.url)
    assert (delivery.delivered, delivery.status, delivery.tries) == (False, status, 1)


def test_it_does_not_follow_to_another_place(gate):
    gate.answers, gate.redirect = [307], gate.url
    assert deliver(gate.url).status == 307
    assert len(gate.came) == 1


def test_a_slow_answer_is_given_up_and_tried_again(gate):
    gate.answers = [0.6]
    delivery = deliver(gate.url, answer=0.2)
    assert (delivery.delivered, delivery.tries) == (True, 2)
    assert len(gate.opened) == 1


def test_after_its_time_nothing_is_sent(gate):
    gate.answers = [500] * 100
    delivery = deliver(gate.url, patience=0.5)
    assert not delivery.delivered
    assert 0.4 < delivery.seconds < 0.8
    assert 2 <= delivery.tries <= 6
    late = opening(decided_at=datetime.now(UTC) - timedelta(seconds=11))
    assert deliver(gate.url, late).tries == 0


def test_nobody_there_is_an_answer_too(gate):
    gate.close()
    delivery = deliver(gate.url, patience=0.3)
    assert (delivery.delivered, delivery.status) == (False, None)
    gate.__init__()  # for the fixture to close


def test_sending_does_not_wait_and_the_same_decision_is_not_sent_twice(gate):
    gate.answers = [0.3]
    told = []

    async def going():
        webhook = Webhook(WebhookConfig(gate.url), SECRET)

        async def tell(delivery):
            told.append(delivery)

        began = time.monotonic()
        assert webhook.send(opening(), tell)
        assert not webhook.send(opening(), tell)
        assert time.monotonic() - began < 0.1
        await webhook.close()

    asyncio.run(going())
    assert [(each.id, each.delivered) for each in told] == [("d1", True)]
    assert len(gate.came) == 1


def test_too_many_at_once_are_not_taken(gate):
    gate.answers = [0.3] * 3

    async def going():
        webhook = Webhook(WebhookConfig(gate.url, most=2), SECRET)
        taken = [webhook.send(opening(id=f"d{n}")) for n in range(3)]
        await webhook.close()
        return taken

    assert asyncio.run(going()) == [True, True, False]


def test_stopping_does_not_wait_for_ever(gate):
    gate.answers = [500] * 1000

    async def going():
        webhook = Webhook(WebhookConfig(gate.url), SECRET)
        webhook.send(opening())
        began = time.monotonic()
        await webhook.close(patience=0.2)
        return time.monotonic() - began

    assert asyncio.run(going()) < 1


@pytest.mark.parametrize("url", ["", "gate", "ftp://gate/x", "file:///etc/passwd", "https://"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InputRefused):
        WebhookConfig(url)


def test_a_short_secret_is_refused():
    with pytest.raises(InputRefused):
        Webhook(WebhookConfig("https://gate"), b"secret")


# Receivers

BODY = opening().body(10)


def test_a_signature_holds_for_its_body_its_secret_and_half_a_minute():
    header = sign(SECRET, BODY, 1000.0)
    assert check_signature(SECRET, header, BODY, 1000)
    assert check_signature(SECRET, header, BODY, 1030)
    assert check_signature(SECRET, header, BODY, 970)
    assert not check_signature(SECRET, header, BODY, 1031)
    assert not check_signature(SECRET, header, BODY, 969)
    assert not check_signature(SECRET, header, BODY + b" ", 1000)
    assert not check_signature(b"another secret, as long", header, BODY, 1000)


def test_a_known_signature():
    """Computed with: printf '1000.{}' | openssl dgst -sha256 -hmac secret."""
    assert sign(b"secret", b"{}", 1000.9) == (
        "t=1000,v1=026360fb6284f077f1148b1ae7c62679730497810a6a0321574de01e8b009e7a"
    )


def test_the_time_is_signed_too():
    header = sign(SECRET, BODY, 1000.0).replace("t=1000", "t=2000")
    assert not check_signature(SECRET, header, BODY, 2000)


@pytest.mark.parametrize(
    "header",
    ["", "t=", "v1=", "t=1000", "t=1000,v1=", "t=-1,v1=00", "t=1e3,v1=00", "t=\u0661,v1=00",
     "t=1,v1=é", "t=" + "9" * 400, ",,,,", "=,=", "t=1000,v1=" + "0" * 64],
)  # fmt: skip
def test_what_is_no_signature_is_none(header):
    assert not check_signature(SECRET, header, BODY, 1000)


def test_a_message_that_comes_again_does_not_open_again():
    seen, now, body = Seen(), time.time(), opening().body(10)
    header = sign(SECRET, body, now)
    assert received(SECRET, header, body, seen, now=now)["person"]["id"] == "p1"
    assert received(SECRET, header, body, seen, now=now) is None
    again = sign(SECRET, body, now + 5)  # sent again, freshly signed
    assert received(SECRET, again, body, seen, now=now + 5) is None
    assert received(SECRET, header, body, seen, now=now + 1000) is None


def test_a_message_signed_late_does_not_open():
    late = time.time() + 60
    assert received(SECRET, sign(SECRET, BODY, late), BODY, Seen(), now=late) is None


def test_an_id_is_forgotten_when_it_can_no_longer_come():
    seen = Seen(most=2)
    assert seen.first("a", 10, now=0)
    assert not seen.first("a", 10, now=5)
    assert seen.first("b", 20, now=5)
    assert seen.first("c", 30, now=11)
    assert not seen.first("b", 20, now=11)
    assert seen.first("a", 40, now=11)
