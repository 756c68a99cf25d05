"""The console's pages without a browser: what is sent, and what must never stand in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from visavis.service import pages

CONSOLE = Path(pages.__file__).parent / "console"
PAGES = (
    "/",
    "/login",
    "/people",
    "/people/0123456789abcdef0123456789abcdef",
    "/verify",
    "/identify",
    "/operating-point",
    "/audit",
    "/keys",
    "/system",
)
TEMPLATES = sorted((CONSOLE / "templates").iterdir())
STATICS = sorted((CONSOLE / "static").iterdir())
by_name = pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_the_same_for_everybody_and_kept_by_nobody(served, path):
    bare = served.client.get(path)
    assert bare.status_code == 200
    assert bare.headers["content-type"] == "text/html; charset=utf-8"
    assert bare.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in bare.headers["content-security-policy"]
    assert "camera=(self)" in bare.headers["permissions-policy"]
    assert served.ask("admin", "GET", path).text == bare.text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_a_title_landmarks_a_skip_link_and_one_heading(served, path):
    text = served.client.get(path).text
    assert re.search(r"<title>[\w ]+ - visavis</title>", text)
    assert text.count("<h1") == text.count("<main") == text.count("<header") == 1
    assert 'class="skip" href="#main"' in text
    assert '<html lang="en">' in text


@pytest.mark.parametrize("path", PAGES)
def test_what_a_page_asks_for_is_there(served, path):
    text = served.client.get(path).text
    for target in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
        assert served.client.get(target).status_code == 200, target


@by_name
def test_nothing_is_inline_for_the_policy_would_refuse_it(file):
    text = file.read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    assert "|safe" not in text.replace(" ", "")


@by_name
def test_nothing_is_fetched_from_elsewhere(file):
    assert not re.search(r"\s(src|href|action)=\"(?!/|#|\{\{)", file.read_text("utf-8"))


@by_name
def test_every_field_has_a_label(file):
    text = file.read_text("utf-8")
    for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", text):
        id_ = re.search(r'\bid="([\w-]+)"', field)
        labelled = bool(id_) and f'for="{id_[1]}"' in text
        assert labelled or re.search(rf"<label[^>]*>\s*{re.escape(field)}", text), field


@pytest.mark.parametrize("file", [f for f in STATICS if f.suffix == ".js"], ids=lambda f: f.name)
def test_no_script_turns_data_into_markup(file):
    text = file.read_text("utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not re.search(forbidden, text)
    assert not re.search(r"""from ["'](?!\./)""", text), "only our own modules"
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


@pytest.mark.parametrize("file", STATICS, ids=lambda file: file.name)
def test_a_static_file_has_its_type_and_is_not_sent_twice(served, file):
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    first = served.client.get(f"/static/{file.name}")
    assert first.content == file.read_bytes()
    assert first.headers["content-type"].split(";")[0] == kinds[file.suffix]
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["x-content-type-options"] == "nosniff"
    again = served.client.get(
        f"/static/{file.name}", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    [
        "absent.js",
        "..%2Fpages.py",
        "%2e%2e%2f%2e%2e%2fpages.py",
        "..\\pages.py",
        "frame.html.j2",
    ],
)
def test_no_other_file_is_given(served, name):
    refused = served.client.get(f"/static/{name}")
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "target",
    ["/", "/people", "/people/0123?x=1&y=//z", "/verify?fmr=1e-05", "/audit?person=%C3%85sa"],
)
def test_after_logging_in_one_goes_on_within_the_site(target):
    assert pages.same_site(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "people",
        "//example.org",
        "///example.org",
        "/\\example.org",
        "\\\\example.org",
        "https://example.org/",
        "javascript:alert(1)",
        "/\t/example.org",
        "/\n/example.org",
        "\t//example.org",
        " //example.org",
        "/\u200b/example.org",
        "//[",
        "/login",
        "/login?next=/login",
    ],
)
def test_after_logging_in_one_never_goes_elsewhere(served, target):
    assert pages.same_site(target) == "/"
    text = served.client.get("/login", params={"next": target}).text
    assert 'data-next="/"' in text


def test_markup_in_the_address_stays_text(served):
    evil = '/"><script>alert(1)</script>'
    text = served.client.get("/login", params={"next": evil}).text
    assert "<script>alert" not in text
    assert "&#34;&gt;&lt;script&gt;" in text
    assert "<script>" not in served.client.get("/people/<script>").text
