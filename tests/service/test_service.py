"""The API's main job: enrol, verify, identify, erase, as over HTTP, with real photographs."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

OBAMA, OTHER_OBAMA, BIDEN = "obama.jpg", "obama3.jpg", "biden.jpg"


@pytest.fixture
def picture(photographs):
    return lambda name: photographs[name].read_bytes()


def spelt(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_person_is_enrolled_recognised_and_erased(served, picture):
    enrolled = served.ask(
        "enroll",
        "POST",
        "/v1/people",
        data={"name": "Barack", "consent_reference": "form 7", "consent_purpose": "the door"},
        files={"images": picture(OBAMA)},
    )
    assert enrolled.status_code == 201, enrolled.text
    person = enrolled.json()["person"]
    assert (person["name"], person["templates"]) == ("Barack", 1)
    assert person["consent"]["reference"] == "form 7"

    asked = {"image": spelt(picture(OTHER_OBAMA)), "person": "Barack"}
    same = served.ask("identify", "POST", "/v1/verify", json=asked).json()
    assert same["accepted"]
    assert same["distance"] <= same["tau"]
    other = served.ask(
        "identify", "POST", "/v1/verify", data={"person": "Barack"}, files={"image": picture(BIDEN)}
    ).json()
    assert (other["decision"], other["accepted"]) == ("different", False)

    who = served.ask("identify", "POST", "/v1/identify", files={"image": picture(OTHER_OBAMA)})
    assert [face["person"] for face in who.json()["faces"]] == ["Barack"]
    stranger = served.ask("identify", "POST", "/v1/identify", files={"image": picture(BIDEN)})
    assert [face["person"] for face in stranger.json()["faces"]] == [None]

    listed = served.ask("read", "GET", "/v1/people", params={"search": "baRA"}).json()
    assert [each["name"] for each in listed["people"]] == ["Barack"]
    gone = served.ask("admin", "DELETE", f"/v1/people/{person['id']}").json()
    assert gone["erased"]
    assert gone["removed"] == {"id": person["id"], "name": "Barack"}
    left = served.ask("admin", "GET", f"/v1/people/{person['id']}/erasure").json()
    assert (left["clean"], left["leftovers"]) == (True, [])
    after = served.ask("identify", "POST", "/v1/verify", json=asked)
    assert (after.status_code, after.json()["error"]["code"]) == (404, "person_unknown")

    log = served.ask("admin", "GET", "/v1/audit", params={"person": person["id"]}).json()
    did = [(entry["action"], entry["actor"]) for entry in log["entries"]]
    who = {role: f"key:{served.ids[role][:8]}" for role in served.ids}
    assert ("enroll", who["enroll"]) in did
    assert ("verify", who["identify"]) in did
    assert ("identify", who["identify"]) in did
    assert did[-1] == ("remove", who["admin"])
    assert served.ask("admin", "GET", "/v1/audit/verify").json()["intact"]


def test_two_photographs_are_compared(served, picture):
    files = {"a": picture(OBAMA), "b": picture(OTHER_OBAMA)}
    same = served.ask("identify", "POST", "/v1/compare", files=files, data={"fmr": "1e-3"}).json()
    assert (same["decision"], same["fmr"], len(same["faces"])) == ("same", 1e-3, 2)
    (noted,) = served.ask("admin", "GET", "/v1/audit?newest=1").json()["entries"]
    assert (noted["action"], noted["details"]["outcome"]) == ("compare", "same")


def test_the_same_person_under_another_name_is_refused(served, picture):
    first = served.ask(
        "enroll", "POST", "/v1/people", data={"name": "Joe"}, files={"images": picture(BIDEN)}
    )
    again = served.ask(
        "enroll", "POST", "/v1/people", data={"name": "Joseph"}, files={"images": picture(BIDEN)}
    )
    assert (again.status_code, again.json()["error"]["code"]) == (409, "duplicate_person")
    assert "Joe" in again.json()["error"]["message"]
    served.ask("admin", "DELETE", f"/v1/people/{first.json()['person']['id']}")


def test_a_request_that_is_repeated_is_done_once(served, picture):
    headers = {"Idempotency-Key": "visit-0001"}
    body = {"name": "Once", "images": [spelt(picture(BIDEN))]}
    first = served.ask("enroll", "POST", "/v1/people", json=body, headers=headers)
    again = served.ask("enroll", "POST", "/v1/people", json=body, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.json()["added"] == 1
    body["name"] = "Twice"
    other = served.ask("enroll", "POST", "/v1/people", json=body, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    everybody = served.ask("read", "GET", "/v1/people").json()["people"]
    assert [each["name"] for each in everybody] == ["Once"]
    served.ask("admin", "DELETE", "/v1/people/Once")


def test_a_refused_enrolment_may_be_tried_again_under_its_token(served, picture):
    headers = {"Idempotency-Key": "visit-0002"}
    body = {"name": "\u202eeve", "images": [spelt(picture(BIDEN))]}
    for _ in range(2):
        refused = served.ask("enroll", "POST", "/v1/people", json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "name_refused")


def test_names_consent_and_photographs_are_changed(served, picture):
    made = served.ask(
        "enroll", "POST", "/v1/people", data={"name": "Ann"}, files={"images": picture(OBAMA)}
    ).json()["person"]
    where = f"/v1/people/{made['id']}"
    change = {"name": "Añn / <b>", "consent": {"reference": "r", "expires": "2099-01-01T00:00:00Z"}}
    changed = served.ask("enroll", "PATCH", where, json=change).json()["person"]
    assert changed["name"] == "Añn / <b>"
    assert changed["consent"]["expires"] == "2099-01-01T00:00:00+00:00"
    more = served.ask(
        "enroll",
        "POST",
        f"{where}/templates",
        files=[("images", picture("obama2.jpg")), ("images", picture(OBAMA))],
        data={"force": "true"},
    )
    assert (more.status_code, more.json()["added"], more.json()["known"]) == (201, 1, 1)
    shown = served.ask("read", "GET", where).json()
    assert len(shown["templates"]) == 2
    assert not any(each["photograph_kept"] for each in shown["templates"])
    served.ask("admin", "DELETE", where)


def test_liveness_and_faces_are_told(served, picture):
    files = [("images", picture(OBAMA)), ("images", picture(OBAMA))]
    judged = served.ask("identify", "POST", "/v1/liveness", files=files).json()
    assert judged["model"] == "visavis-live"
    assert judged["threshold"] is not None
    (noted,) = served.ask("admin", "GET", "/v1/audit?newest=1").json()["entries"]
    assert noted["action"] == "liveness"
    seen = served.ask("identify", "POST", "/v1/faces", files={"image": picture(BIDEN)}).json()
    assert len(seen["faces"]) == 1
    x, y, w, h = seen["faces"][0]["box"]
    assert 0 < x < x + w < seen["width"]
    assert 0 < y < y + h < seen["height"]


def test_operating_points_follow_the_gallery_s_size(served):
    small = served.ask("read", "GET", "/v1/operating-points?gallery_size=10").json()
    large = served.ask("read", "GET", "/v1/operating-points?gallery_size=100000").json()
    assert small["mated"] > 1000
    assert 0 < small["misses"][0]["fnmr"] < small["misses"][-1]["fnmr"] < 1
    assert large["identification"][0]["fnmr"] > small["identification"][0]["fnmr"] > 0
    assert large["identification"][-1]["fnmr"] is None, "nobody measured so strict a tau"
    assert small["verification"] == large["verification"]
    for few, many in zip(small["identification"], large["identification"], strict=True):
        assert few["fpir"] == many["fpir"]
        assert few["tau"] > many["tau"]
    vast = served.ask("read", "GET", "/v1/operating-points?gallery_size=10000000000").json()
    assert len(vast["identification"]) < len(small["identification"]), "some nobody can vouch for"
    rates = [point["fmr"] for point in small["curve"]]
    assert rates == sorted(rates, reverse=True)


def test_pages_of_people_hold_everybody_once(served, picture):
    names = ["Zoë", "adam", "Eve", "eve", "தமிழ்"]
    pixels = np.asarray(Image.open(io.BytesIO(picture(OBAMA))))
    for number, name in enumerate(names):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=95 - number)
        body = {"name": name, "force": True, "images": [spelt(out.getvalue())]}
        assert served.ask("enroll", "POST", "/v1/people", json=body).status_code == 201
    found, after = [], ""
    while after is not None:
        params = {"limit": 2, "after": after}
        page = served.ask("read", "GET", "/v1/people", params=params).json()
        assert page["total"] == 5
        found += [each["name"] for each in page["people"]]
        after = page["next"]
    assert found == sorted(names)
    for name in ("ZOË", "zoë", "தமி"):
        found = served.ask("read", "GET", "/v1/people", params={"search": name}).json()
        assert found["total"] == 1, name
    for name in names:
        assert served.ask("admin", "DELETE", f"/v1/people/{name}").status_code == 200


def test_state_and_counts(served, picture):
    files = {"a": picture(OBAMA), "b": picture(OBAMA)}
    assert served.ask("identify", "POST", "/v1/compare", files=files).status_code == 200
    assert served.client.get("/health").json() == {"schema": 1, "status": "ok"}
    assert served.client.get("/ready").json() == {"schema": 1, "status": "ready"}
    assert served.client.get("/metrics").status_code == 401
    counts = served.ask("read", "GET", "/metrics").text
    assert 'visavis_decisions_total{kind="compare",outcome="same"}' in counts
    document = served.client.get("/v1/openapi.json").json()
    assert set(document["paths"]["/v1/verify"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
    }
