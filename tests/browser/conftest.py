"""A browser with a camera before the real service: Debian's Chromium, driven by Playwright.

The camera plays a film made of the demo's portraits. Screenshots go to the folder of VISAVIS_SHOTS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from serving import Service, Site
from visavis.gallery import Gallery
from visavis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 15_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if not CHROMIUM.exists():
                why = f"there is no {CHROMIUM}: apt-get install chromium"
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def site(data_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    gallery = folder / "people.db"
    with Gallery.open(gallery, keys=Settings.read(os.environ).keys) as made:
        roles = ("identify", "read", "admin")
        keys = {role: made.access.make_key(role, [role])[1] for role in roles}
    with Service(folder, gallery) as service:
        yield Site(service.url, keys, gallery)


def filmed(portrait: Path, film: Path) -> Path:
    """Write a film of somebody who sits before a camera, nearly still, as MJPEG."""
    pixels = cv2.imread(str(portrait))
    side = min(pixels.shape[0], pixels.shape[1] * 3 // 4)
    shown = cv2.resize(pixels[:side, : side * 4 // 3], (640, 480), interpolation=cv2.INTER_AREA)
    with film.open("wb") as file:
        for step in range(30):
            angle = 2 * np.pi * step / 30
            moved = np.float32([[1, 0, 3 * np.cos(angle)], [0, 1, 2 * np.sin(angle)]])
            frame = cv2.warpAffine(shown, moved, (640, 480), borderMode=cv2.BORDER_REPLICATE)
            file.write(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return film


@pytest.fixture(scope="session")
def film(photographs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(photographs["obama.jpg"], tmp_path_factory.mktemp("film") / "obama.mjpeg")


def launch(playwright: Playwright, film: Path) -> Browser:
    """Start Chromium before a camera that plays a film, again and again."""
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    return playwright.chromium.launch(
        executable_path=str(CHROMIUM),
        args=[*flags, f"--use-file-for-fake-video-capture={film}"],
    )


@pytest.fixture(scope="session")
def launched() -> Callable[[Playwright, Path], Browser]:
    """For tests that each show another film."""
    return launch


@pytest.fixture(scope="module")
def browser(film: Path) -> Iterator[Browser]:
    """Of a module: while Playwright runs, nothing else in this process may run asyncio."""
    with sync_playwright() as playwright:
        browser = launch(playwright, film)
        yield browser
        browser.close()


@dataclass
class Desk:
    """Somebody who sits at the console.

    Attributes
    ----------
    faults
        What the browser complained of: broken scripts, refused resources, dialogs of scripts.
    """

    site: Site
    context: BrowserContext
    page: Page
    faults: list[str] = field(default_factory=list)

    def log_in(self, role: str = "admin") -> None:
        """Begin a session; the page to log in at has tests of its own."""
        answer = self.context.request.post(
            f"{self.site.url}/v1/session", data={"key": self.site.keys[role]}
        )
        assert answer.ok, answer.text()

    def go(self, path: str) -> None:
        self.page.goto(self.site.url + path)
        self.page.locator("main:not([aria-busy])").wait_for()


@pytest.fixture
def desk(site: Site, browser: Browser) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    sitting = Desk(site, context, page)
    page.on("pageerror", lambda error: sitting.faults.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (sitting.faults.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda said: heard(said, sitting.faults))
    yield sitting
    context.close()
    assert not sitting.faults


def heard(said, faults: list[str]) -> None:
    """Keep what is wrong with the page; an answer that refuses is no fault of it."""
    if (
        said.type in {"error", "warning"}
        and "the server responded with a status of 4" not in said.text
    ):
        faults.append(said.text)


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are put."""
    told = os.environ.get("VISAVIS_SHOTS")
    folder = Path(told) if told else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
