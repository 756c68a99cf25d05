"""Who gets in: keys by role and gallery, sessions, pages of other sites, and how often."""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from visavis.errors import IdempotencyConflict, ServiceUnprotected, TooManyRequests
from visavis.gallery import Gallery, access
from visavis.gallery.access import DoneRequest
from visavis.gallery.database import processes
from visavis.gallery.trail.audit_log import AuditLog
from visavis.service.app import create
from visavis.service.config import ServiceConfig
from visavis.service.limiting import RateLimit

ROUTES = {
    "read": [
        ("GET", "/v1/people"),
        ("GET", "/v1/people/nobody"),
        ("GET", "/v1/gallery"),
        ("GET", "/v1/operating-points"),
        ("GET", "/metrics"),
    ],
    "identify": [
        ("POST", "/v1/compare"),
        ("POST", "/v1/verify"),
        ("POST", "/v1/identify"),
        ("POST", "/v1/liveness"),
        ("POST", "/v1/faces"),
    ],
    "enroll": [
        ("POST", "/v1/people"),
        ("PATCH", "/v1/people/nobody"),
        ("POST", "/v1/people/nobody/templates"),
    ],
    "admin": [
        ("DELETE", "/v1/people/nobody"),
        ("GET", "/v1/people/nobody/erasure"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/audit/verify"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("DELETE", "/v1/keys/12345678"),
    ],
}
MAY = {
    "read": {"read"},
    "identify": {"identify"},
    "enroll": {"read", "identify", "enroll"},
    "admin": {"read", "identify", "enroll", "admin"},
}
EVERY = [(role, *route) for role, routes in ROUTES.items() for route in routes]


@pytest.mark.parametrize(("wanted", "method", "address"), EVERY)
def test_each_address_takes_its_role_and_no_other(served, wanted, method, address):
    for role, may in MAY.items():
        status = served.ask(role, method, address).status_code
        assert (status == 403) == (wanted not in may), (role, status)
        assert status not in {401, 500}
    for stranger in ("other", "revoked"):
        assert served.ask(stranger, method, address).status_code == 401
    for header in ("", "Bearer", "Bearer vv_x", f"Basic {served.keys['admin']}"):
        answer = served.client.request(method, address, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthenticated"


def test_every_address_of_the_document_is_in_the_table(served):
    paths = served.client.get("/v1/openapi.json").json()["paths"]
    free = {"/health", "/ready", "/v1/session"}
    documented = {(m.upper(), p) for p, ways in paths.items() for m in ways if p not in free}
    in_table = {
        (m, a.replace("nobody", "{person}").replace("12345678", "{key}")) for _, m, a in EVERY
    }
    assert {each for each in documented if each[1].startswith(("/v1", "/metrics"))} == in_table


def test_a_key_is_made_listed_and_revoked(served):
    made = served.ask("admin", "POST", "/v1/keys", json={"name": "gate", "roles": ["identify"]})
    assert made.status_code == 201
    key, secret = made.json()["key"], made.json()["secret"]
    as_it = {"Authorization": f"Bearer {secret}"}
    assert served.client.get("/v1/people", headers=as_it).status_code == 403
    listed = served.ask("admin", "GET", "/v1/keys").text
    assert key["id"] in listed
    assert secret.rpartition("_")[2] not in listed
    assert secret.rpartition("_")[2].encode() not in served.gallery.read_bytes()
    gone = served.ask("admin", "DELETE", f"/v1/keys/{key['id']}").json()["key"]
    assert gone["revoked"]
    assert served.client.get("/v1/people", headers=as_it).status_code == 401
    assert served.ask("admin", "DELETE", f"/v1/keys/{'0' * 32}").status_code == 404


def test_a_key_that_expires_opens_nothing_more(served, settings):
    past = {"name": "old", "roles": ["read"], "expires": "2001-01-01T00:00:00Z"}
    assert served.ask("admin", "POST", "/v1/keys", json=past).status_code == 422
    with Gallery.open(served.gallery, keys=settings.keys) as gallery:
        soon = datetime.now(UTC) + timedelta(milliseconds=50)
        _, secret = gallery.access.make_key("soon over", ["read"], soon)
        time.sleep(0.1)
        assert gallery.access.key_of(secret) is None


class Browser:
    """A browser that logged in."""

    def __init__(self, served, role):
        self.client = TestClient(served.client.app, base_url="http://localhost")
        answer = self.client.post("/v1/session", json={"key": served.keys[role]})
        assert answer.status_code == 200, answer.text
        self.cookie = answer.headers["set-cookie"]
        self.csrf = answer.json()["csrf"]


@pytest.fixture
def desk(served):
    return Browser(served, "admin")


def test_a_session_s_cookie_is_out_of_reach_of_scripts_and_other_sites(desk):
    assert "HttpOnly" in desk.cookie
    assert "SameSite=strict" in desk.cookie
    assert "Path=/" in desk.cookie


def test_by_https_the_cookie_is_this_host_s_alone_and_browsers_come_by_https_only(served, settings):
    config = ServiceConfig((str(served.gallery),), threads=1, proxied=True)
    with TestClient(create(config, settings), base_url="https://localhost") as client:
        answer = client.post("/v1/session", json={"key": served.keys["admin"]})
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "__Host-visavis_session"
        said = set(rest.split("; ")[1:])
        assert said == {"HttpOnly", "Path=/", "SameSite=strict", "Secure"}, "and no Domain"
        for address in ("/", "/health", "/v1/people", "/nowhere"):
            told = client.get(address).headers["strict-transport-security"]
            assert told == "max-age=31536000"
        assert client.get("/v1/people").status_code == 200
        gone = client.delete("/v1/session", headers={"X-CSRF-Token": answer.json()["csrf"]})
        # Said otherwise, a browser would keep it.
        assert {"Path=/", "Secure"} <= set(gone.headers["set-cookie"].split("; ")[1:])
        planted = {"Cookie": f"visavis_session={rest.partition(';')[0]}"}
        assert client.get("/v1/people", headers=planted).status_code == 401


def test_without_https_nothing_promises_it(served, desk):
    assert desk.cookie.startswith("visavis_session=")
    assert "Secure" not in desk.cookie
    assert "strict-transport-security" not in served.client.get("/").headers


def test_a_session_changes_nothing_without_the_page_s_token(desk):
    body = {"name": "by a form", "roles": ["read"]}
    assert desk.client.get("/v1/keys").status_code == 200
    for headers in ({}, {"X-CSRF-Token": "wrong"}):
        refused = desk.client.post("/v1/keys", json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    headers = {"X-CSRF-Token": desk.csrf}
    assert desk.client.post("/v1/keys", json=body, headers=headers).status_code == 201
    for evil in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert desk.client.get("/v1/keys", headers=evil).status_code == 403
        refused = desk.client.post("/v1/keys", json=body, headers={**headers, **evil})
        assert refused.status_code == 403
    own = {**headers, "Origin": "http://localhost"}
    assert desk.client.post("/v1/keys", json=body, headers=own).status_code == 201


def test_a_session_ends_when_it_is_told_to_and_when_its_key_is_revoked(served, desk):
    headers = {"X-CSRF-Token": desk.csrf}
    assert desk.client.get("/v1/session").json()["roles"] == ["read", "identify", "enroll", "admin"]
    secret = desk.client.cookies["visavis_session"]
    assert desk.client.delete("/v1/session", headers=headers).status_code == 204
    desk.client.cookies.set("visavis_session", secret)
    assert desk.client.get("/v1/session").status_code == 401
    made = served.ask("admin", "POST", "/v1/keys", json={"name": "t", "roles": ["admin"]}).json()
    served.keys["temporary"] = made["secret"]
    other = Browser(served, "temporary")
    assert other.client.get("/v1/people").status_code == 200
    served.ask("admin", "DELETE", f"/v1/keys/{made['key']['id']}")
    assert other.client.get("/v1/people").status_code == 401


def test_every_role_may_log_out(served):
    for role in MAY:
        browser = Browser(served, role)
        assert browser.client.get("/v1/session").status_code == 200
        token = {"X-CSRF-Token": browser.csrf}
        assert browser.client.delete("/v1/session", headers=token).status_code == 204


def test_a_wrong_key_begins_no_session(served):
    for key in ("", "vv_", served.keys["other"], served.keys["revoked"], served.keys["read"][:-1]):
        assert served.client.post("/v1/session", json={"key": key}).status_code == 401
    evil = {"Origin": "http://evil.example"}
    body = {"key": served.keys["read"]}
    assert served.client.post("/v1/session", json=body, headers=evil).status_code == 403


def test_without_keys_only_this_machine_s_own_pages_are_answered(opened):
    assert opened.get("/v1/people").status_code == 200
    for evil in ({"Host": "rebound.example"}, {"Origin": "http://evil.example"}):
        assert opened.get("/v1/people", headers=evil).status_code == 403
        assert opened.delete("/v1/people/x", headers=evil).status_code == 403
    session = opened.get("/v1/session").json()
    assert session["open"]
    assert opened.delete("/v1/people/x").status_code == 403, "a page must send its token"
    token = {"X-CSRF-Token": session["csrf"]}
    assert opened.delete("/v1/people/x", headers=token).status_code == 404


@pytest.mark.parametrize(
    "unsafe",
    [
        {"host": "0.0.0.0", "open": True},
        {"host": "0.0.0.0"},
        {"host": "door.example"},
        {"host": "::", "open": True, "tls_certificate": "c", "tls_key": "k"},
        {"open": True, "proxied": True},
    ],
)
def test_it_does_not_start_unprotected(unsafe):
    with pytest.raises(ServiceUnprotected):
        ServiceConfig(("people.db",), **unsafe)


def test_it_does_not_start_where_nobody_has_a_key(settings, tmp_path):
    app = create(ServiceConfig((str(tmp_path / "new.db"),), threads=1), settings)
    with pytest.raises(ServiceUnprotected, match="keys create"), TestClient(app):
        pass


def test_somebody_is_tried_five_times_and_then_one_waits(served, photographs):
    body = {"name": "Tried", "images": [base64.b64encode(photographs["obama.jpg"].read_bytes())]}
    body["images"] = [each.decode() for each in body["images"]]
    made = served.ask("enroll", "POST", "/v1/people", json=body).json()["person"]
    wrong = base64.b64encode(photographs["biden.jpg"].read_bytes()).decode()
    right = body["images"][0]
    ask = lambda role, image: served.ask(  # noqa: E731
        role, "POST", "/v1/verify", json={"person": made["id"], "image": image}
    )
    for _ in range(5):
        assert ask("identify", wrong).json()["accepted"] is False
    waits = ask("identify", right)
    assert (waits.status_code, waits.json()["error"]["code"]) == (429, "too_many_attempts")
    assert 100 < int(waits.headers["retry-after"]) <= 180
    assert ask("enroll", right).json()["accepted"], "another key's tries are its own"
    served.ask("admin", "DELETE", f"/v1/people/{made['id']}")
    left = served.ask("admin", "GET", f"/v1/people/{made['id']}/erasure").json()
    assert left["leftovers"] == []


def test_an_easier_question_takes_no_failure_back(served, photographs):
    pictures = {name: photographs[f"{name}.jpg"].read_bytes() for name in ("obama", "biden")}
    made = served.ask(
        "enroll", "POST", "/v1/people", data={"name": "T"}, files={"images": pictures["obama"]}
    ).json()["person"]

    def ask(name, **more):
        data = {"person": made["id"], **more}
        return served.ask(
            "enroll", "POST", "/v1/verify", data=data, files={"image": pictures[name]}
        ).status_code

    assert [ask("biden", fmr="1e-6") for _ in range(4)] == [200] * 4
    assert ask("obama", fmr="0.05") == 200
    assert [ask("biden"), ask("obama")] == [200, 429]
    served.ask("admin", "DELETE", f"/v1/people/{made['id']}")


def test_one_key_s_failures_with_liveness_lock_no_other_key_out(served, photographs):
    right, wrong = (photographs[name].read_bytes() for name in ("obama.jpg", "biden.jpg"))
    served.ask("enroll", "POST", "/v1/people", data={"name": "L"}, files={"images": right})
    live = {"data": {"person": "L", "live": "passive"}}
    for _ in range(5):
        served.ask("identify", "POST", "/v1/verify", **live, files={"image": wrong})
    mine = served.ask("identify", "POST", "/v1/verify", **live, files={"image": right})
    others = served.ask("enroll", "POST", "/v1/verify", **live, files={"image": right})
    assert (mine.status_code, others.status_code) == (429, 200)
    served.ask("admin", "DELETE", "/v1/people/L")


def test_who_may_not_list_people_asks_for_no_candidates(served, photographs):
    image = {"image": photographs["biden.jpg"].read_bytes()}
    for more in ({"candidates": "5"}, {"fpir": "0.5"}):
        refused = served.ask("identify", "POST", "/v1/identify", data=more, files=image)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        assert (
            served.ask("enroll", "POST", "/v1/identify", data=more, files=image).status_code == 200
        )


@pytest.mark.parametrize("end", ["2030-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "soon"])
def test_dates_that_say_nothing_are_refused(served, end):
    body = {"name": "k", "roles": ["read"], "expires": end}
    assert served.ask("admin", "POST", "/v1/keys", json=body).status_code == 422


def test_a_gallery_that_is_away_takes_no_other_along(settings, tmp_path):
    keys = {}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with Gallery.open(tmp_path / name / "people.db", keys=settings.keys) as gallery:
            keys[name] = gallery.access.make_key("k", ["read"])[1]
    paths = tuple(str(tmp_path / name / "people.db") for name in keys)
    with TestClient(create(ServiceConfig(paths, threads=1), settings)) as client:
        (tmp_path / "first").rename(tmp_path / "away")

        def ask(name):
            headers = {"Authorization": f"Bearer {keys[name]}"}
            return client.get("/v1/people", headers=headers).status_code

        assert ask("second") == 200
        assert ask("first") in {500, 503}
        (tmp_path / "away").rename(tmp_path / "first")
        assert ask("first") == 200


def test_who_may_not_list_people_learns_no_names(served, photographs):
    image = photographs["obama.jpg"].read_bytes()
    served.ask("enroll", "POST", "/v1/people", data={"name": "Ottoline"}, files={"images": image})
    asked = {"data": {"person": "Otoline"}, "files": {"image": image}}
    blind = served.ask("identify", "POST", "/v1/verify", **asked)
    assert "Ottoline" not in blind.text
    assert "Ottoline" in served.ask("enroll", "POST", "/v1/verify", **asked).text
    served.ask("admin", "DELETE", "/v1/people/Ottoline")


def test_a_rate_is_kept_and_refills():
    now = 0.0
    limit = RateLimit(60, lambda: now)
    for _ in range(15):
        limit.take("a")
    with pytest.raises(TooManyRequests) as refused:
        limit.take("a")
    assert 0 < refused.value.seconds <= 1
    limit.take("b")
    now = 1.0
    limit.take("a")
    with pytest.raises(TooManyRequests):
        limit.take("a")


# Requests that are repeated


@pytest.fixture
def gallery(tmp_path, settings):
    with Gallery.open(tmp_path / "people.db", keys=settings.keys) as opened:
        yield opened


@pytest.fixture
def worker():
    """A process, and how it is named while it lives."""
    process = subprocess.Popen(["sleep", "60"])
    here = processes.this_process().rsplit(":", 2)[0]
    yield process, f"{here}:{process.pid}:{processes._stat(process.pid)[processes._BEGAN]}"
    process.kill()
    process.wait()


def claimed(gallery, monkeypatch, by: str) -> bool:
    """Tell whether a request that somebody claimed may be claimed anew."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(access, "this_process", lambda: by)
        assert gallery.access.claim("k", "visit-1", "digest") is None
    try:
        return gallery.access.claim("k", "visit-1", "digest") is None
    except IdempotencyConflict:
        return False


def test_a_claim_of_a_worker_that_died_is_free_at_once(gallery, worker, monkeypatch):
    process, name = worker
    assert not claimed(gallery, monkeypatch, name), "it is at work"
    gallery.access.settle("k", "visit-1", None)
    process.kill()
    process.wait()
    assert claimed(gallery, monkeypatch, name)
    gallery.access.settle("k", "visit-1", DoneRequest(201, {"added": 1}))
    assert gallery.access.claim("k", "visit-1", "digest").answer == {"added": 1}


def test_a_worker_that_nobody_has_buried_is_dead_too(gallery, worker, monkeypatch):
    process, name = worker
    process.kill()
    until = time.monotonic() + 10
    while processes._stat(process.pid)[0] != "Z":
        assert time.monotonic() < until
    assert claimed(gallery, monkeypatch, name)


def test_another_process_of_the_same_number_does_not_keep_a_claim(gallery, worker, monkeypatch):
    _, name = worker
    assert claimed(gallery, monkeypatch, f"{name}0")


@pytest.mark.parametrize("changed", [("pid:[", "pid:[9"), ("-", "f-"), ("", "")])
def test_a_process_of_another_machine_or_container_is_given_two_minutes(
    gallery, worker, monkeypatch, changed
):
    process, name = worker
    process.kill()
    process.wait()
    other = name.replace(*changed) if changed[0] else ""
    assert not claimed(gallery, monkeypatch, other)


# The audit log


def test_older_entries_are_a_page_further(gallery, settings, tmp_path):
    key = gallery.access.make_key("k", ["admin"])[1]
    for number in range(7):
        gallery.audit.record("backup", f"{number % 2:032x}", number=number)
    config = ServiceConfig((str(tmp_path / "people.db"),), threads=1)
    with TestClient(create(config, settings)) as client:

        def pages(**more):
            before, found = None, []
            while True:
                params = {"newest": 3, **more, **({"before": before} if before else {})}
                page = client.get(
                    "/v1/audit", params=params, headers={"Authorization": f"Bearer {key}"}
                ).json()
                found.append([entry["seq"] for entry in page["entries"]])
                before = page["next"]
                if before is None:
                    return found

        numbers = [entry.seq for entry in gallery.audit.entries()]
        shown = pages()
        assert [len(page) for page in shown[:-1]] == [3] * (len(shown) - 1)
        assert [seq for page in reversed(shown) for seq in page] == numbers
        odd = [len(page) for page in pages(person=f"{1:032x}")]
        assert odd == [3], "as many as a page holds, and none after it"
        assert [len(page) for page in pages(person=f"{0:032x}")] == [3, 1]
        for wrong in ("0", "-1", "x", str(1 << 63)):
            refused = client.get(
                f"/v1/audit?before={wrong}", headers={"Authorization": f"Bearer {key}"}
            )
            assert refused.status_code == 422


def test_one_search_of_the_whole_gallery_goes_on_at_a_time_and_keeps_nobody_else(
    served, monkeypatch
):
    begun, may_end, verify = threading.Event(), threading.Event(), AuditLog.verify

    def slow(log, anchor=None):
        begun.set()
        may_end.wait(20)
        return verify(log, anchor)

    monkeypatch.setattr(AuditLog, "verify", slow)
    first = []
    asking = threading.Thread(
        target=lambda: first.append(served.ask("admin", "GET", "/v1/audit/verify"))
    )
    asking.start()
    assert begun.wait(20)
    for address in ("/v1/audit/verify", f"/v1/people/{'0' * 32}/erasure"):
        busy = served.ask("admin", "GET", address)
        assert (busy.status_code, busy.json()["error"]["code"]) == (503, "busy")
        assert int(busy.headers["retry-after"]) >= 1
    assert served.client.app.state.service.work.admitted == 0
    assert served.ask("admin", "GET", "/v1/audit").status_code == 200
    may_end.set()
    asking.join()
    assert first[0].json()["intact"]
    assert served.ask("admin", "GET", "/v1/audit/verify").status_code == 200
