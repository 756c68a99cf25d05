"""The client against a real service: the engine's answers, and nothing done twice."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wires import running

from visavis import AsyncClient, Client, Policy
from visavis.client.calls import Calls
from visavis.errors import (
    ApiKeyUnknown,
    BodyTooLarge,
    ConsentRefused,
    Forbidden,
    ImageNotFound,
    ImageUnreadable,
    InputRefused,
    MissingExtra,
    NoFaceFound,
    NothingThere,
    OperatingPointRefused,
    PersonExists,
    PersonUnknown,
    ServiceUnreachable,
    Unauthenticated,
)
from visavis.values import Consent

OBAMA, OTHER_OBAMA, BIDEN = "obama.jpg", "obama3.jpg", "biden.jpg"


@pytest.fixture
def client(house):
    with Client(house.url, house.keys["admin"]) as client:
        yield client
        for person in list(client.people()):
            client.remove(person.id)


def test_a_person_is_enrolled_recognised_and_erased(client, photographs):
    consent = Consent("form 7", "the door", datetime(2099, 1, 1, tzinfo=UTC))
    done = client.enroll("Barack", [photographs[OBAMA]], consent=consent)
    assert (done.person.name, done.person.consent) == ("Barack", consent)
    assert (len(done.added), done.known, len(done.sightings)) == (1, 0, 1)
    assert client.enroll("Barack", [photographs[OBAMA].read_bytes()]).known == 1
    assert client.person("Barack") == client.person(done.person.id) == next(client.people("bARA"))
    assert [t.photograph_kept for t in client.templates("Barack")] == [False]

    assert client.verify(photographs[OTHER_OBAMA], "Barack").accepted
    assert not client.verify(photographs[BIDEN], done.person.id).accepted
    (face,) = client.identify(str(photographs[OTHER_OBAMA]), candidates=3).faces
    assert (face.person.name, face.candidates[0].person.name) == ("Barack", "Barack")
    (stranger,) = client.identify(photographs[BIDEN]).faces
    assert stranger.person is stranger.matched is None

    gone = client.remove("Barack")
    assert (gone.id, gone.name, gone.templates, gone.erased) == (done.person.id, "Barack", 1, True)
    assert client.erasure(gone.id, "Barack").clean
    with pytest.raises(PersonUnknown):
        client.verify(photographs[OTHER_OBAMA], "Barack")
    entries = client.audit(gone.id)
    assert (entries[0].action, entries[-1].action) == ("enroll", "remove")
    older = client.audit(newest=1, before=entries[-1].seq)
    assert [entry.seq for entry in older] == [entries[-1].seq - 1]
    report = client.verify_audit()
    assert (report.intact, report.entries) == (True, entries[-1].seq)


def test_answers_are_the_engine_s_own(client, house, photographs):
    client.enroll("Barack", [photographs[OBAMA]])
    engine, picture = house.engine, photographs[OTHER_OBAMA]
    for near, far in (
        (engine.compare(picture, photographs[BIDEN]), client.compare(picture, photographs[BIDEN])),
        (engine.verify(picture, "Barack", fmr=1e-3), client.verify(picture, "Barack", fmr=1e-3)),
        (
            engine.verify(picture, "Barack", live=Policy.PASSIVE),
            client.verify(picture, "Barack", live=Policy.PASSIVE),
        ),
    ):
        assert far.distance == pytest.approx(near.distance, abs=1e-6)
        assert far.tau == pytest.approx(near.tau, abs=1e-6)
        plain = {"distance": 0.0, "tau": 0.0, "faces": (), "liveness": None}
        assert _same(replace(far, **plain), replace(near, **plain))
        for seen, told in zip(near.faces, far.faces, strict=True):
            assert _alike(seen, told)
        assert (near.liveness is None) == (far.liveness is None)
        if near.liveness:
            assert far.liveness.satisfied == near.liveness.satisfied
            assert far.liveness.passive.score == pytest.approx(
                near.liveness.passive.score, abs=1e-6
            )
    near, far = engine.identify(picture, candidates=1), client.identify(picture, candidates=1)
    assert far.faces[0].distance == pytest.approx(near.faces[0].distance, abs=1e-6)
    assert (far.fpir, far.gallery_size, far.encoder) == (near.fpir, 1, near.encoder)
    assert client.liveness(picture) == client.liveness_of([picture])
    assert client.liveness(picture).score == pytest.approx(engine.liveness(picture).score, abs=1e-6)
    judged = engine.liveness_of([picture, picture]).score
    assert client.liveness_of([picture, picture]).score == pytest.approx(judged, abs=1e-6)
    assert all(map(_alike, engine.faces(picture), client.faces(picture)))
    assert client.look(picture).width == engine.look(picture).width


def _same(a, b):
    return all(getattr(a, name) == getattr(b, name) for name in type(a).__slots__)


def _alike(near, far):
    return (
        near.face.box == pytest.approx(far.face.box, abs=0.051)
        and np.abs(near.face.landmarks - far.face.landmarks).max() < 0.051
        and near.quality.advice == far.quality.advice
        and near.quality.score == pytest.approx(far.quality.score, abs=1e-4)
        and near.quality.yaw == pytest.approx(far.quality.yaw, abs=1e-4)
    )


def test_an_array_loses_nothing_on_its_way(client, house, photographs):
    with Image.open(photographs[OBAMA]) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    grey = pixels.mean(axis=2).astype(np.uint8)
    for array in (pixels, pixels[:, ::-1], grey):
        near = house.engine.compare(array, photographs[BIDEN])
        far = client.compare(array, photographs[BIDEN])
        assert far.distance == pytest.approx(near.distance, abs=1e-6)


@pytest.mark.parametrize("cuts", [1, 2])
def test_an_enrolment_whose_answer_is_cut_off_is_done_once(client, house, photographs, cuts):
    house.wire.cuts = cuts
    with Client(house.wire.url, house.keys["enroll"]) as unlucky:
        done = unlucky.enroll("Once", [photographs[OBAMA]], keep_photographs=True)
    assert house.wire.cuts == 0
    # A second enrolment would know the photograph and add nothing.
    assert (len(done.added), done.known, done.person.templates) == (1, 0, 1)
    assert len(client.templates("Once")) == 1
    assert [entry.action for entry in client.audit(done.person.id)] == ["enroll"]


def test_a_removal_whose_answer_is_cut_off_is_looked_for(client, house, photographs):
    who = client.enroll("Gone", [photographs[OBAMA]]).person
    with Client(house.wire.url, house.keys["admin"]) as unlucky:
        calls = unlucky.calls.remove(who.id)
        heard = None
        while True:  # the answer to DELETE is cut, and no other
            step = calls.send(heard)
            if getattr(getattr(step, "request", None), "method", "") == "DELETE":
                break
            heard = unlucky._do(step)
        house.wire.cuts = 1
        heard = unlucky._do(step)
        try:
            while True:
                heard = unlucky._do(calls.send(heard))
        except StopIteration as done:
            gone = done.value
    assert (gone.id, gone.name, gone.templates, gone.erased) == (who.id, "Gone", 1, True)
    with pytest.raises(PersonUnknown):
        client.remove(who.id)


def test_names_and_consent_are_changed(client, photographs):
    who = client.enroll("Ann", [photographs[OBAMA]]).person
    assert client.rename("Ann", "Añn / <b>?#%2F").id == who.id
    assert client.person(" Añn / <b>?#%2F ").name == "Añn / <b>?#%2F"
    for name in (".", "..", "%2e%2e", "a?b#c"):
        client.rename(who.id, name)
        assert client.person(name).id == who.id
    consent = Consent("r", "p", datetime(2099, 5, 1, tzinfo=UTC))
    assert client.renew(who.id, consent).consent == consent
    assert client.renew(who.id, Consent()).consent == Consent()
    with pytest.raises(ConsentRefused):
        client.renew(who.id, Consent(expires=datetime(2000, 1, 1, tzinfo=UTC)))
    client.enroll("Joe", [photographs[BIDEN]])
    with pytest.raises(PersonExists):
        client.rename(who.id, "Joe")


def test_everybody_is_listed_over_several_pages(client, photographs, monkeypatch):
    names = ["Zoë", "adam", "eve"]
    for name in names:
        client.enroll(name, [photographs[OBAMA]], force=True)
    monkeypatch.setitem(Calls.page.__kwdefaults__, "limit", 2)
    assert [each.name for each in client.people()] == sorted(names)
    page = client.page(limit=2)
    assert (len(page.people), page.total, page.next) == (2, 3, page.people[-1].name)
    assert [each.name for each in client.page(after=page.next, limit=2).people] == [max(names)]


def test_the_gallery_is_told(client, house, photographs):
    client.enroll("Barack", [photographs[OBAMA]])
    info = client.info()
    near = house.engine.gallery.info()
    assert (info.id, info.people, info.encoder) == (near.id, 1, near.encoder)
    points = client.operating_points(gallery_size=1000)
    assert points.gallery_size == 1000
    at = next(point for point in points.verification if point.fmr == 1e-4)
    assert at.tau == pytest.approx(house.engine.curve.verification(1e-4).tau, abs=1e-6)
    assert at.encoder == points.encoder == house.engine.encoder.id
    curve = house.engine.curve
    assert points.mated == curve.mated > 1000
    told = [(each.fnmr, each.tau, each.lower, each.upper) for each in points.misses]
    own = [(miss.fnmr, round(miss.tau, 6), miss.lower, miss.upper) for miss in curve.misses]
    assert told == own


def test_keys_are_made_listed_and_revoked(client, house):
    key, secret = client.make_key("porch", ["identify"])
    assert key.roles == {"identify"}
    listed = client.keys()
    assert key in listed
    with Client(house.url, secret) as porch, pytest.raises(Forbidden):
        porch.info()
    assert client.revoke_key(key.id).revoked is not None
    with Client(house.url, secret) as porch, pytest.raises(Unauthenticated):
        porch.info()


def test_refusals_are_the_errors_that_the_engine_raises(client, house, photographs, tmp_path):
    with pytest.raises(PersonUnknown):
        client.verify(photographs[OBAMA], "Nobody")
    for nobody in ("Nobody", "", "a/b", "\u202eeve"):
        with pytest.raises(PersonUnknown):
            client.remove(nobody)
        with pytest.raises(PersonUnknown):
            client.erasure(nobody)
    for nothing in ("", "..", "a/b", "0" * 32):
        with pytest.raises(ApiKeyUnknown):
            client.revoke_key(nothing)
    with pytest.raises(InputRefused):
        client.person("\ud800")
    with pytest.raises(InputRefused):
        client.enroll("\ud800", [photographs[OBAMA]])
    empty = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(NoFaceFound):
        client.compare(empty, photographs[OBAMA])
    with pytest.raises(OperatingPointRefused):
        client.compare(photographs[OBAMA], photographs[OBAMA], fmr=0.99)
    with pytest.raises(ImageUnreadable):
        client.compare(b"no picture", photographs[OBAMA])
    with pytest.raises(ImageUnreadable, match="float64"):
        client.faces(np.zeros((3, 3, 3)))
    with pytest.raises(ImageNotFound, match="directory"):
        client.faces(tmp_path)
    with pytest.raises(ImageNotFound):
        client.faces(tmp_path / "none.jpg")
    with pytest.raises(BodyTooLarge):
        client.liveness_of([photographs[OBAMA]] * 11)
    with pytest.raises(InputRefused):
        client.enroll("Nothing", [])
    with pytest.raises(TypeError):
        client.enroll("Ada", str(photographs[OBAMA]))
    with Client(house.url, "vv_wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.info()


def test_the_key_is_shown_to_the_service_and_to_nobody_else(house, caplog):
    caplog.set_level(logging.DEBUG)
    secret = house.keys["read"]
    with Client(house.url, secret) as client:
        client.info()
        assert secret not in repr(client)
        assert secret not in repr(client._address)
    assert secret not in caplog.text
    with pytest.raises(InputRefused) as refused:
        Client(house.url, secret + "\n")
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "faces.example",
        "ftp://a",
        "http://",
        "http://a:b@c",
        "http://a/?b",
        "http://[:",
        "http://a:x",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InputRefused, match="is like https://faces"):
        Client(url)


def test_a_service_that_is_gone_is_told_plainly(house):
    with (
        Client("http://127.0.0.1:9", "vv_x", retries=1) as client,
        pytest.raises(ServiceUnreachable, match="visavis serve"),
    ):
        client.info()
    with (
        Client(house.url + "/elsewhere") as client,
        pytest.raises(NothingThere, match="nothing at this address"),
    ):
        client.info()


class Strange:
    """A service that first answers as it is told, and then well."""

    def __init__(self, *answers: tuple[int, list[tuple[bytes, bytes]], bytes]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, scope, _receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        self.asked += 1
        good = (200, [], json.dumps({"schema": 1, "keys": []}).encode())
        status, headers, body = self.answers.pop(0) if self.answers else good
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def asked_of(port: int, kind: str, **told) -> list[object]:
    url = f"http://127.0.0.1:{port}"
    if kind == "waits":
        with Client(url, **told) as client:
            return client.keys()

    async def awaited() -> list[object]:
        async with AsyncClient(url, **told) as client:
            return await client.keys()

    return asyncio.run(awaited())


@pytest.mark.parametrize("kind", ["waits", "awaits"])
def test_a_busy_service_is_asked_again_when_it_says(kind):
    busy = json.dumps({"schema": 1, "error": {"code": "busy", "message": "wait"}}).encode()
    service = Strange((503, [(b"retry-after", b"1")], busy))
    with running(service) as port:
        began = time.monotonic()
        assert asked_of(port, kind) == []
        assert (service.asked, time.monotonic() - began >= 1.0) == (2, True)


@pytest.mark.parametrize("kind", ["waits", "awaits"])
def test_garbage_is_no_answer(kind):
    garbled = (200, [(b"content-encoding", b"gzip")], b"this is not gzip")
    page = (200, [(b"content-type", b"text/html")], b"<html>welcome to the hotel's network</html>")
    away = (307, [(b"location", b"http://127.0.0.1:9/")], b"")
    for answer in (garbled, page, away):
        with running(Strange(answer)) as port, pytest.raises(ServiceUnreachable):
            asked_of(port, kind, retries=0)


@pytest.mark.parametrize("kind", ["waits", "awaits"])
def test_a_service_that_never_answers_is_given_up(kind):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ServiceUnreachable, match="no answer"),
    ):
        asked_of(silent.getsockname()[1], kind, retries=1, timeout=0.2)


def test_the_page_s_code_does_what_it_says(client, house, photographs, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "python.md"
    section = page.read_text("utf-8").partition("## Over the network")[2].partition("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    monkeypatch.chdir(photographs[OBAMA].parent)
    names: dict[str, object] = {}
    exec(compile(code, "python.md", "exec"), names)
    assert names["at_the_desk"](house.url, house.keys["admin"])
    who = asyncio.run(names["at_the_door"](house.url, house.keys["identify"]))
    assert who == ["Ada", None]


def test_one_client_serves_several_threads(client, photographs):
    client.enroll("Barack", [photographs[OBAMA]])
    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(client.verify, photographs[OTHER_OBAMA], "Barack") for _ in "12345678"
        ]
        assert len({each.result().distance for each in asked}) == 1


def test_the_same_is_awaited(client, house, photographs):
    async def visit() -> None:
        async with AsyncClient(house.wire.url, house.keys["admin"]) as far:
            house.wire.cuts = 1
            done = await far.enroll("Barack", [photographs[OBAMA]])
            assert (len(done.added), done.person.templates) == (1, 1)
            several = [far.verify(photographs[OTHER_OBAMA], "Barack") for _ in range(4)]
            answers = await asyncio.gather(*several)
            assert all(answer.accepted for answer in answers)
            assert answers[0].distance == client.verify(photographs[OTHER_OBAMA], "Barack").distance
            assert [each.name async for each in far.people()] == ["Barack"]
            with pytest.raises(PersonUnknown):
                await far.person("Nobody")
            assert (await far.remove("Barack")).erased
        async with AsyncClient("http://127.0.0.1:9", retries=1) as nowhere:
            with pytest.raises(ServiceUnreachable):
                await nowhere.info()

    asyncio.run(visit())


def test_both_clients_have_every_call_with_its_words():
    calls = {name for name, _ in inspect.getmembers(Calls, inspect.isfunction)} - {"ask"}
    public = {name for name in calls if not name.startswith("_")}
    for kind in (Client, AsyncClient):
        assert public <= set(dir(kind))
        for name in public:
            call, told = getattr(kind, name), getattr(Calls, name)
            assert (call.__doc__, inspect.signature(call)) == (
                told.__doc__,
                inspect.signature(told),
            )


def test_importing_the_client_loads_nothing_that_recognises():
    heavy = ["cv2", "openvino", "onnxruntime", "sqlalchemy", "httpx2", "PIL"]
    program = f"import sys, visavis.client; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert told.strip() == "[]"


def test_without_httpx2_the_command_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'visavis\[client\]'"):
        Client("http://127.0.0.1:8000")
