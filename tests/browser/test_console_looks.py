"""How the pages look and are used: axe, both colour schemes, a phone's width, screenshots."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from visavis.gallery import Gallery
from visavis.gallery.trail.audit import Deed
from visavis.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = {
    "home": "/",
    "people": "/people",
    "person": "/people/{person}",
    "verify": "/verify",
    "identify": "/identify",
    "operating-point": "/operating-point",
    "audit": "/audit",
    "keys": "/keys",
    "system": "/system",
}
SECRET = re.compile(r"vv_[0-9a-f]{32}_[\w-]{43}")


@pytest.fixture(scope="module")
def person(site, photographs):
    """Ada, among others, so that the pages have something to show."""
    consent = {"consent_reference": "form 17", "consent_purpose": "the front door"}
    ada = site.enrol(
        "Ada Lovelace", photographs["obama.jpg"], consent_expires="2031-05-04T12:00:00Z", **consent
    )
    more = {
        "Joe Biden": "biden.jpg",
        "Somebody With a Rather Long Name von und zu Hohenstauffenstein": "astronaut.png",
        "<script>alert(1)</script>": "obama3.jpg",
    }
    others = [site.enrol(name, photographs[file]) for name, file in more.items()]
    yield ada
    for each in (ada, *others):
        site.ask("DELETE", f"/v1/people/{each}")


def axe(page: Page) -> str:
    found = Axe().run(page)
    return found.generate_report() if found.violations_count else ""


def sideways(page: Page) -> int:
    """How far the page scrolls sideways, in pixels."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def looked_at(desk, shots, name: str, *, whole: bool = True) -> None:
    """Check the page as it stands in both schemes and at a phone's width; take its pictures."""
    page = desk.page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert not axe(page), f"{name}, {scheme}"
        page.screenshot(path=shots / f"{name}-1280-{scheme}.png", full_page=whole)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 360, "height": 720})
    assert sideways(page) == 0
    assert not axe(page), f"{name}, 360 pixels"
    page.screenshot(path=shots / f"{name}-360.png", full_page=whole)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_login_page(desk, shots):
    desk.go("/login")
    desk.page.get_by_label("API key").fill("x")
    desk.page.get_by_role("button", name="Log in").click()
    expect(desk.page.get_by_role("alert")).to_contain_text("begins with vv_")
    looked_at(desk, shots, "login")


def test_every_page(desk, shots, person):
    desk.log_in()
    for name, path in PAGES.items():
        desk.go(path.format(person=person))
        looked_at(desk, shots, name)


def test_answers(desk, shots, person, photographs):
    desk.log_in()
    page = desk.page
    for name, button in (("verify", "Verify"), ("identify", "Identify")):
        desk.go(f"/{name}")
        if name == "verify":
            page.get_by_label("Claimed to be").fill("Ada Lovelace")
        else:
            page.get_by_label("Nearest people to list").select_option("3")
        page.get_by_label("Ask for a live face too").check()
        page.locator("input[type=file]").set_input_files(photographs["obama2.jpg"])
        page.get_by_role("button", name=button, exact=True).click()
        page.locator("#answer h2").wait_for()
        looked_at(desk, shots, f"{name}-answer")
    desk.go("/audit")
    page.get_by_role("button", name="Verify the log").click()
    expect(page.locator("#verdict")).to_contain_text("intact")
    looked_at(desk, shots, "audit-verified")


def test_older_entries_of_the_audit_log_are_shown_by_keyboard(desk, shots):
    with Gallery.open(desk.site.gallery, keys=Settings.read(os.environ).keys) as gallery:
        gallery.audit.record_all([("tests", Deed("backup", details={"n": n})) for n in range(120)])
        newest = max(entry.seq for entry in gallery.audit.entries())
    desk.log_in()
    desk.go("/audit")
    page = desk.page
    first = page.locator("#entries tbody th")
    expect(page.locator("#count")).to_have_text("50 entries, the newest first.")
    page.get_by_role("button", name="Older entries").press("Enter")
    expect(page.locator("#count")).to_have_text("100 entries, the newest first.")
    # One goes on where the new ones begin.
    expect(first.nth(50)).to_be_focused()
    numbers = [int(text.replace(",", "")) for text in first.all_text_contents()]
    assert numbers == list(range(newest, newest - 100, -1))
    page.set_viewport_size({"width": 360, "height": 720})
    assert sideways(page) == 0
    assert not axe(page)
    page.screenshot(path=shots / "audit-older-360.png")
    while page.locator("#older").is_visible():
        before = first.count()
        page.get_by_role("button", name="Older entries").press("Enter")
        expect(first.nth(before)).to_be_focused()
    expect(page.locator("#count")).to_contain_text("there are no older ones")
    assert first.last.inner_text() == "1"
    page.get_by_label("At a time").select_option("200")
    page.get_by_role("button", name="Show", exact=True).press("Enter")
    expect(page.locator("#count")).to_contain_text("the newest first")
    assert first.first.inner_text().replace(",", "") == str(newest)


def test_dialogs(desk, shots, person):
    desk.log_in()
    page = desk.page
    desk.go("/people")
    page.get_by_role("button", name="Enrol somebody").click()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator(".advice")).to_have_text("Good.")
    page.get_by_role("button", name="Take the photograph").click()
    expect(page.locator(".thumbs .fine")).to_have_text("Good.")
    looked_at(desk, shots, "enrol", whole=False)
    page.keyboard.press("Escape")
    expect(page.locator("#enrol")).to_be_hidden()
    expect(page.locator("video")).to_have_count(0)

    desk.go("/keys")
    page.get_by_label("Whose it is").fill("front desk")
    page.get_by_label("identify").check()
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_label("Key", exact=True)).to_have_value(SECRET)
    looked_at(desk, shots, "secret", whole=False)
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Revoke front desk").click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.locator("#done")).to_contain_text("is revoked")


def test_removal(desk, shots, photographs):
    person = desk.site.enrol("Grace", photographs["obama2.jpg"])
    desk.log_in()
    desk.go(f"/people/{person}")
    desk.page.get_by_role("button", name="Remove this person").click()
    looked_at(desk, shots, "remove", whole=False)
    desk.page.get_by_role("button", name="Remove", exact=True).click()
    expect(desk.page.locator("#proof")).to_contain_text("nothing is left")
    looked_at(desk, shots, "removed")
    desk.go(f"/people/{person}")
    expect(desk.page.locator("#told")).to_contain_text(person)
    expect(desk.page.locator("#proof")).to_contain_text("nothing is left")


def test_the_operating_point_is_moved_by_keyboard(desk):
    desk.log_in()
    desk.go("/operating-point")
    page = desk.page
    slider = page.get_by_label("False match rate (FMR)")
    expect(page.locator("#fmr-told")).to_contain_text("1 in 10,000")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.locator("#fmr-told")).to_contain_text("1 in 100,000")
    expect(page.locator("#fmr-told")).to_contain_text("turned away (FNMR)")
    expect(page.locator("#curve figcaption")).to_contain_text("people turned away")
    page.get_by_label("Size of the gallery").press("End")
    expect(page.locator("#fpir-told")).to_contain_text("1,000,000 templates")
    page.get_by_role("link", name="Verify at this point").click()
    expect(page.get_by_label("Strangers who would pass")).to_have_value("0.00001")


def test_the_navigation_shows_what_the_key_may_do(desk):
    desk.log_in("identify")
    desk.go("/")
    shown = desk.page.get_by_role("navigation").get_by_role("link").all_text_contents()
    assert shown == ["Verify", "Identify", "Door"]
    desk.go("/keys")
    expect(desk.page.locator("#told")).to_contain_text("takes the role admin")
    desk.log_in("read")
    desk.go("/people")
    expect(desk.page.get_by_role("button", name="Enrol somebody")).to_be_hidden()


def test_one_gets_to_the_content_and_the_menu_without_a_mouse(desk):
    desk.log_in()
    page = desk.page
    desk.go("/people")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.set_viewport_size({"width": 360, "height": 720})
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.get_by_role("button", name="Menu").press("Enter")
    assert not axe(page)
    page.get_by_role("link", name="Identify").press("Enter")
    page.wait_for_url("**/identify")
