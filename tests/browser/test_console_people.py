"""From the first enrolment to the proof of erasure, as somebody at the desk does it."""

from __future__ import annotations

import base64
import re

from playwright.sync_api import expect


def test_a_wrong_key_is_told_and_a_right_one_leads_to_where_one_wanted_to_go(desk):
    desk.go("/people")
    assert desk.page.url.endswith("/login?next=%2Fpeople")
    desk.page.get_by_label("API key").fill("vv_" + "0" * 32 + "_" + "A" * 43)
    desk.page.get_by_role("button", name="Log in").click()
    expect(desk.page.get_by_role("alert")).to_contain_text("opens nothing")
    desk.page.get_by_label("API key").fill(desk.site.keys["admin"])
    desk.page.get_by_role("button", name="Log in").click()
    desk.page.wait_for_url("**/people")


def test_after_logging_out_nothing_is_shown(desk):
    desk.log_in()
    desk.go("/")
    desk.page.get_by_role("button", name="Log out").click()
    desk.page.wait_for_url("**/login")
    desk.go("/people")
    assert "/login" in desk.page.url


def test_another_site_is_never_gone_to_after_logging_in(desk):
    desk.go("/login?next=//example.org/people")
    desk.page.get_by_label("API key").fill(desk.site.keys["admin"])
    desk.page.get_by_role("button", name="Log in").click()
    desk.page.get_by_role("button", name="Log out").wait_for()
    assert desk.page.url == f"{desk.site.url}/"


def test_somebody_is_enrolled_by_camera_recognized_and_removed(desk, photographs):
    desk.log_in()
    page = desk.page

    desk.go("/people")
    page.get_by_role("button", name="Enrol somebody").click()
    page.get_by_label("Name", exact=True).fill("Barack Obama")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator(".advice")).to_have_text("Good.")
    take = page.get_by_role("button", name="Take the photograph")
    take.click()
    expect(page.locator(".thumbs li")).to_have_count(1)
    expect(page.locator(".thumbs .fine")).to_have_text("Good.")
    page.get_by_label("Reference").fill("form 17")
    page.get_by_role("button", name="Enrol", exact=True).click()
    expect(page.locator("#told")).to_contain_text("Enrolled: Barack Obama, 1 template added")

    desk.go("/verify")
    page.get_by_label("Claimed to be").fill("Barack Obama")
    page.locator("input[type=file]").set_input_files(photographs["obama2.jpg"])
    page.get_by_role("button", name="Verify", exact=True).click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer.get_by_role("heading").first).to_contain_text("Yes, it is Barack Obama")
    expect(answer).to_contain_text("1 in 10,000 strangers")
    expect(answer.get_by_role("img", name="Distance d is")).to_be_visible()

    page.locator("input[type=file]").set_input_files(photographs["astronaut.png"])
    page.get_by_role("button", name="Verify", exact=True).click()
    expect(answer.get_by_role("heading").first).to_contain_text("No, it is not Barack Obama")

    desk.go("/identify")
    page.locator("input[type=file]").set_input_files(photographs["obama3.jpg"])
    page.get_by_role("button", name="Identify", exact=True).click()
    expect(answer.get_by_role("heading").first).to_contain_text("Recognized: Barack Obama")
    page.locator("input[type=file]").set_input_files(photographs["astronaut.png"])
    page.get_by_role("button", name="Identify", exact=True).click()
    expect(answer.get_by_role("heading").first).to_contain_text("Not recognized")
    expect(answer).not_to_contain_text("Obama")

    desk.go("/people")
    page.get_by_role("link", name="Barack Obama").click()
    expect(page.locator("#facts")).to_contain_text("form 17")
    page.get_by_role("button", name="Remove this person").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    proof = page.get_by_role("region", name="Proof of erasure")
    expect(proof).to_contain_text("nothing is left")

    desk.go("/identify")
    page.locator("input[type=file]").set_input_files(photographs["obama3.jpg"])
    page.get_by_role("button", name="Identify", exact=True).click()
    expect(answer.get_by_role("heading").first).to_contain_text("Not recognized")


def test_a_duplicate_is_refused_by_name_and_forced_only_after_that(desk, photographs):
    known = desk.site.enrol("Joe Biden", photographs["biden.jpg"])
    desk.log_in()
    page = desk.page
    desk.go("/people")
    page.get_by_role("button", name="Enrol somebody").click()
    page.get_by_label("Name", exact=True).fill("Somebody else")
    force = page.get_by_role("button", name="Enrol all the same")
    expect(force).to_be_hidden()
    page.locator("#enrol input[type=file]").set_input_files(photographs["biden.jpg"])
    page.get_by_role("button", name="Enrol", exact=True).click()
    expect(page.locator("#enrol-told")).to_contain_text("Joe Biden, who is enrolled already")
    force.click()
    expect(page.locator("#told")).to_contain_text("Enrolled: Somebody else")
    page.get_by_label("Search by name").fill("somebody e")
    expect(page.locator("#count")).to_have_text("1 person found.")
    page.locator("#people").get_by_role("link").click()
    page.wait_for_url("**/people/*")
    other = re.search(r"/people/(\w+)$", page.url)[1]
    for person in (known, other):
        desk.site.ask("DELETE", f"/v1/people/{person}")


def test_photographs_are_dropped_judged_and_left_out(desk, photographs):
    desk.log_in()
    page = desk.page
    desk.go("/people")
    page.get_by_role("button", name="Enrol somebody").click()
    page.locator("#enrol input[type=file]").set_input_files(photographs["obama_partial_face.jpg"])
    expect(page.locator(".thumbs .fine")).to_have_text("Move the whole face into the picture.")
    page.get_by_role("button", name="Leave out").click()
    expect(page.locator(".thumbs li")).to_have_count(0)
    dropped(page, "note.txt", "text/plain", b"no picture")
    expect(page.locator("#enrol-pictures")).to_contain_text("note.txt is not a picture.")
    dropped(page, "biden.jpg", "image/jpeg", photographs["biden.jpg"].read_bytes())
    expect(page.locator(".thumbs .fine")).to_have_text("Good.")


def dropped(page, name, kind, data):
    files = page.evaluate_handle(
        """([name, kind, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: kind }));
            return transfer;
        }""",
        [name, kind, base64.b64encode(data).decode()],
    )
    page.locator("#enrol .drop").dispatch_event("drop", {"dataTransfer": files})


def test_person_is_renamed_gets_consent_and_another_photograph(desk, photographs):
    person = desk.site.enrol("Eileen", photographs["astronaut.png"])
    desk.log_in()
    page = desk.page
    desk.go(f"/people/{person}")
    page.get_by_label("New name").fill("Eileen Collins")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Eileen Collins")
    page.get_by_label("Ends after").fill("2031-05-04")
    page.get_by_role("button", name="Save the consent").click()
    expect(page.locator("#facts")).to_contain_text("2031-05-04")
    page.locator("#add input[type=file]").set_input_files(photographs["biden.jpg"])
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#add-told")).to_contain_text("does not look like the other photographs")
    expect(page.get_by_role("button", name="Add all the same")).to_be_visible()
    desk.site.ask("DELETE", f"/v1/people/{person}")


def test_a_name_that_is_markup_stays_a_name(desk, photographs):
    name = "<img src=x onerror=alert(1)>"
    person = desk.site.enrol(name, photographs["astronaut.png"], consent_reference="<b>17</b>")
    desk.log_in()
    page = desk.page
    desk.go("/people")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.locator("#facts")).to_contain_text("<b>17</b>")
    for path, button in (("/identify", "Identify"), ("/verify", "Verify")):
        desk.go(path)
        if path == "/verify":
            page.get_by_label("Claimed to be").fill(name)
        page.locator("input[type=file]").set_input_files(photographs["astronaut.png"])
        page.get_by_role("button", name=button, exact=True).click()
        expect(
            page.get_by_role("region", name="Answer").get_by_role("heading").first
        ).to_contain_text(name)
    assert page.locator("img[src=x]").count() == 0
    desk.site.ask("DELETE", f"/v1/people/{person}")
