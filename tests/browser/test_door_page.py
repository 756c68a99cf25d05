"""The door as people meet it: a tablet's browser, its camera, the service, and the gate."""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from films import before_the_camera, filmed, held_up_on_paper, nobody, sitting_still
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect, sync_playwright

from serving import Service, Site
from visavis.gallery import Gallery
from visavis.liveness.answer import ASKED
from visavis.service.webhook import DELIVERY, SIGNATURE, check_signature
from visavis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

ENROLLED, CAMERA, STRANGER, OTHER = "obama.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"
ADA, GRACE = "Ada Lovelace", "Grace Hopper"
SECRET = "0123456789abcdef" * 2
REFUSED = "Not recognized: please try again, or ask somebody for help"
SIZES = {"tablet": (1024, 768), "phone": (360, 780), "tablet-upright": (768, 1024)}
SOON = 20_000


class Gate:
    """What opens the door: keeps each message, with the time at which it came."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str, bytes, float]] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed, delivery = self.headers[SIGNATURE], self.headers[DELIVERY]
                gate.came.append((signed, delivery, body, time.time()))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/open"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def service(gate: Gate, data_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("door")
    more = ("--live", "passive", "--door", "front door", "--webhook", gate.url)
    secret = {"VISAVIS_WEBHOOK_SECRET": SECRET}
    return Service(folder, folder / "people.db", *more, environment=secret)


@pytest.fixture(scope="module")
def site(service: Service, photographs: dict[str, Path]) -> Iterator[Site]:
    gallery = service.log.parent / "people.db"
    with Gallery.open(gallery, keys=Settings.read(os.environ).keys) as made:
        roles = ("identify", "read", "admin")
        keys = {role: made.access.make_key(role, [role])[1] for role in roles}
    with service:
        site = Site(service.url, keys, gallery)
        site.enrol(ADA, photographs[ENROLLED])
        site.enrol(GRACE, photographs[OTHER])
        yield site


@pytest.fixture(scope="module")
def films(
    photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    shown = {
        "ada": before_the_camera(photographs[CAMERA]),
        "stranger": before_the_camera(photographs[STRANGER]),
        "paper": held_up_on_paper(photographs[ENROLLED]),
        "nobody": nobody(),
        "still": sitting_still(photographs[ENROLLED]),
    }
    return {name: filmed(frames, folder / f"{name}.mjpeg") for name, frames in shown.items()}


@pytest.fixture
def film(request: pytest.FixtureRequest, films: dict[str, Path]) -> Path:
    return films[getattr(request, "param", "nobody")]


@pytest.fixture
def browser(film: Path, launched) -> Iterator[Browser]:
    """Of a test: each sees another film."""
    with sync_playwright() as playwright:
        browser = launched(playwright, film)
        yield browser
        browser.close()


def sees(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("film", [name], indirect=True)


class Tablet:
    """The page beside the door, and what it was told."""

    def __init__(self, desk, role: str = "identify") -> None:
        self.desk, self.page = desk, desk.page
        self.told: list[dict] = []
        self.page.set_viewport_size({"width": 1024, "height": 768})
        self.page.on("websocket", self._listen)
        desk.log_in(role)

    def _listen(self, line) -> None:
        line.on("framereceived", lambda text: self.told.append(json.loads(text)))

    def begin(self) -> None:
        self.page.goto(f"{self.desk.site.url}/door")

    def comes_to(self, *states: str) -> None:
        either = ", ".join(f'body[data-state="{state}"]' for state in states)
        try:
            self.page.locator(either).first.wait_for(timeout=SOON)
        except PlaywrightError as late:
            late.add_note(f"decided: {outcomes(self.desk.site)}; told at the end: {self.told[-1:]}")
            raise

    @property
    def words(self):
        return self.page.locator("#words")

    def names(self, *names: str) -> list[str]:
        """Those that the page holds anywhere, or was ever told."""
        known = self.page.content() + json.dumps(self.told, ensure_ascii=False)
        return [name for name in names if name in known or name.split()[0] in known]

    def still(self) -> None:
        """Have nothing new shown: a page in the background sends no frames."""
        self.page.evaluate(HIDDEN, arg=True)

    def seen(self) -> None:
        """Have it go on."""
        self.page.evaluate(HIDDEN, arg=False)


def axe(page: Page) -> str:
    found = Axe().run(page)
    return found.generate_report() if found.violations_count else ""


def looked_at(tablet: Tablet, shots: Path, name: str) -> None:
    """Check the page in both schemes; take its picture as tablets and phones show it."""
    tablet.still()
    page = tablet.page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert not axe(page), f"{name}, {scheme}"
    for device, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if device == "phone" else "light")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        outside = page.evaluate(OUTSIDE)
        assert not outside, f"{name}, {device}"
        assert device != "phone" or not axe(page), f"{name}, {device}"
        page.screenshot(path=shots / f"door-{name}-{device}.png")
    page.set_viewport_size({"width": 1024, "height": 768})


HIDDEN = "(value) => Object.defineProperty(document, 'hidden', {value, configurable: true})"

OUTSIDE = """() => [...document.querySelectorAll('#words, #name, #steps, button, .panel .sign')]
  .filter((node) => {
    const { left, top, right, bottom, width } = node.getBoundingClientRect();
    return width && (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight);
  }).map((node) => node.id || node.getAttribute('class'))"""
"""What of the words is cut off."""


@sees("ada")
def test_somebody_enrolled_is_let_in_and_the_gate_is_told_once(desk, gate, shots):
    tablet = Tablet(desk)
    gate.came.clear()
    tablet.begin()
    tablet.comes_to("open")
    expect(tablet.page.locator("#name")).to_have_text(ADA)
    expect(tablet.words).to_have_text("Welcome")
    looked_at(tablet, shots, "open")
    assert not tablet.names(GRACE)
    ((signed, delivery, body, at),) = gate.came
    assert check_signature(SECRET.encode(), signed, body, at)
    assert not check_signature(b"another secret!!", signed, body, at)
    told = json.loads(body)
    assert (told["id"], told["event"], told["door"]) == (delivery, "door.open", "front door")
    assert told["person"]["name"] == ADA


@sees("stranger")
def test_a_stranger_is_not_and_nobody_is_named(desk, gate, shots):
    tablet = Tablet(desk)
    gate.came.clear()
    tablet.begin()
    tablet.comes_to("closed")
    expect(tablet.words).to_have_text(REFUSED)
    assert not tablet.names(ADA, GRACE)
    looked_at(tablet, shots, "closed")
    assert not gate.came


@sees("paper")
def test_a_printed_photograph_is_not_and_hears_what_a_stranger_hears(desk, gate, shots):
    tablet = Tablet(desk)
    gate.came.clear()
    tablet.begin()
    tablet.comes_to("closed")
    expect(tablet.words).to_have_text(REFUSED)
    assert not tablet.names(ADA, GRACE)
    assert not gate.came
    assert outcomes(desk.site)[-1] == "not-live"
    tablet.still()
    tablet.page.screenshot(path=shots / "door-paper.png")


@sees("nobody")
def test_who_has_no_session_logs_in_first(desk, shots):
    page = desk.page
    page.goto(f"{desk.site.url}/door")
    page.wait_for_url("**/login?next=%2Fdoor")
    page.get_by_label("API key").fill(desk.site.keys["identify"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/door")
    page.locator('body[data-state="waiting"]').wait_for()
    expect(page.locator("#words")).to_have_text("Step up to the camera")
    looked_at(Tablet(desk), shots, "waiting")


@sees("nobody")
def test_a_key_that_may_not_is_told_which_may(desk):
    tablet = Tablet(desk, "read")
    tablet.begin()
    expect(tablet.words).to_contain_text("make one with the role identify", timeout=SOON)


@sees("ada")
def test_it_connects_again_by_itself(desk, service, shots):
    tablet = Tablet(desk)
    tablet.begin()
    tablet.comes_to("open")
    tablet.page.emulate_media(reduced_motion="reduce")
    service.kill()
    tablet.comes_to("offline")
    expect(tablet.page.locator("#name")).to_be_empty()
    expect(tablet.words).to_have_text("One moment: connecting again")
    looked_at(tablet, shots, "offline")
    tablet.seen()
    service.start()
    service.wait()
    tablet.comes_to("open")
    expect(tablet.page.locator("#name")).to_have_text(ADA)
    refused = [fault for fault in desk.faults if "ERR_CONNECTION" in fault or "WebSocket" in fault]
    desk.faults[:] = [fault for fault in desk.faults if fault not in refused]


@pytest.fixture
def active(site, service, tmp_path):
    """Another door of the same gallery, which asks for a challenge."""
    with Service(tmp_path, site.gallery, "--live", "active") as other:
        yield Site(other.url, site.keys, site.gallery)


@sees("still")
def test_a_film_does_not_answer_a_challenge(active, desk, shots):
    desk.site = active
    tablet = Tablet(desk)
    tablet.begin()
    tablet.comes_to("challenge")
    tablet.page.locator('body:not([data-action=""])').wait_for()
    words = {asked[0].upper() + asked[1:] for asked in ASKED.values()}
    assert tablet.words.inner_text() in words
    expect(tablet.page.locator("#steps")).to_have_text("1 of 4")
    tablet.comes_to("closed")
    expect(tablet.words).to_have_text(REFUSED)
    assert not tablet.names(ADA, GRACE)
    assert outcomes(active)[-1] == "not-live"
    tablet.begin()  # a challenge that is looked at for so long is not answered any more
    tablet.comes_to("challenge")
    tablet.page.locator('body:not([data-action=""])').wait_for()
    looked_at(tablet, shots, "challenge")


@sees("ada")
def test_somebody_removed_is_refused(desk, gate):
    (ada,) = desk.site.ask("GET", "/v1/people", params={"search": ADA}).json()["people"]
    desk.site.ask("DELETE", f"/v1/people/{ada['id']}")
    tablet = Tablet(desk)
    gate.came.clear()
    tablet.begin()
    tablet.comes_to("closed")
    expect(tablet.words).to_have_text(REFUSED)
    assert not tablet.names(ADA, GRACE)
    assert not gate.came
    assert outcomes(desk.site)[-1] == "not-recognized"


def outcomes(site: Site) -> list[str]:
    """What the audit log says of the door, newest last."""
    entries = site.ask("GET", "/v1/audit").json()["entries"]
    return [entry["details"]["outcome"] for entry in entries if entry["action"] == "door"]
