"""When a request is sent again: told step by step, without a network."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis import errors
from visavis.client.answers import ERRORS, content
from visavis.client.calls import Calls
from visavis.client.steps import Lost, Reply, Send, Wait
from visavis.client.tries import Retrying
from visavis.errors import (
    IdempotencyConflict,
    PersonUnknown,
    ServiceBusy,
    ServiceError,
    ServiceUnreachable,
    TooManyAttempts,
    TooManyRequests,
    VisavisError,
)
from visavis.service.refusals import refusal

INFO = {
    "schema": 1,
    "id": "g",
    "schema_version": 9,
    "encoder": None,
    "encoder_name": None,
    "people": 0,
    "templates": 0,
    "photographs": 0,
    "bytes": 1,
    "created": "2026-01-01T00:00:00+00:00",
    "writable": True,
}
PERSON = {
    "id": "a" * 32,
    "name": "Ada",
    "created": "2026-01-01T00:00:00+00:00",
    "templates": 1,
    "consent": {"reference": "", "purpose": "", "expires": None, "expired": False},
}
ENROLLED = {
    "schema": 1,
    "person": PERSON,
    "added": 1,
    "template_ids": ["t"] * 1,
    "known": 0,
    "faces": [],
}
GONE = Lost("connection reset", sent=True)
UNSENT = Lost("connection refused", sent=False)


def good(said=INFO):
    return Reply(200, json.dumps(said).encode())


def refused(kind, *arguments):
    answer = refusal(kind("words", *arguments))
    return Reply(answer.status_code, answer.body, answer.headers.get("retry-after", ""))


def played(exchange, *answers):
    """Answer each request in turn; gives what was sent, the waits, and the result."""
    left, sent, waits, heard = list(answers), [], [], None
    while True:
        try:
            step = exchange.send(heard)
        except StopIteration as done:
            assert not left
            return sent, waits, done.value
        heard = None
        if isinstance(step, Wait):
            waits.append(step.seconds)
        elif isinstance(step, Send):
            sent.append(step.request)
            heard = left.pop(0)
        else:
            heard = step.source


def calls(retries=3):
    return Calls(Retrying(retries))


@pytest.mark.parametrize("first", [GONE, UNSENT, refused(ServiceBusy), refused(errors.BodyTimeout)])
def test_what_may_pass_is_asked_again(first):
    sent, waits, info = played(calls().info(), first, good())
    assert (len(sent), len(waits), info.id) == (2, 1, "g")


def test_pauses_grow_and_heed_the_service():
    _, waits, _ = played(calls().info(), GONE, GONE, GONE, good())
    for wait, most in zip(waits, (0.25, 0.5, 1.0), strict=True):
        assert most / 2 <= wait <= most
    _, (wait,), _ = played(calls().info(), refused(TooManyRequests, 7.0), good())
    assert 7.0 < wait <= 7.25
    busy = Reply(503, refused(ServiceBusy).body, "4")
    _, (wait,), _ = played(calls().info(), busy, good())
    assert 4.0 < wait <= 4.25


def test_nobody_waits_for_longer_than_is_patient():
    with pytest.raises(TooManyRequests) as told:
        played(calls().info(), refused(TooManyRequests, 31.0))
    assert told.value.seconds == 31.0
    with pytest.raises(TooManyAttempts) as told:
        played(calls().verify(b"", "Ada"), refused(TooManyAttempts, 2.0))
    assert told.value.seconds == 2.0


def test_tries_end():
    with pytest.raises(ServiceUnreachable, match="connection reset"):
        played(calls(2).info(), GONE, GONE, GONE)
    with pytest.raises(ServiceBusy):
        played(calls(0).info(), refused(ServiceBusy))
    with pytest.raises(ServiceUnreachable, match="not known"):
        played(calls(0).enroll("Ada", [b"x"]), GONE)


def test_an_enrolment_keeps_its_key_through_every_try():
    working = refused(IdempotencyConflict)
    answers = (GONE, working, refused(ServiceBusy), good(ENROLLED))
    sent, _, done = played(calls().enroll("Ada", [b"x"]), *answers)
    keys = {request.headers["Idempotency-Key"] for request in sent}
    assert (len(sent), len(keys), len(done.added)) == (4, 1, 1)
    (again,), _, _ = played(calls().enroll("Ada", [b"x"]), good(ENROLLED))
    assert again.headers["Idempotency-Key"] not in keys


def test_a_key_is_not_made_twice():
    with pytest.raises(ServiceUnreachable, match="not known"):
        played(calls().make_key("porch", ["read"]), GONE)
    with pytest.raises(ServiceBusy):
        played(calls().make_key("porch", ["read"]), refused(ServiceBusy))
    with pytest.raises(ServiceUnreachable):
        played(calls(1).make_key("porch", ["read"]), UNSENT, UNSENT)


def test_who_was_gone_before_is_not_taken_for_removed():
    found = good({"schema": 1, "person": PERSON, "templates": []})
    unknown = refused(PersonUnknown)
    with pytest.raises(PersonUnknown):
        played(calls().remove("Ada"), found, unknown)
    with pytest.raises(PersonUnknown):  # it never arrived, so somebody else removed them
        played(calls().remove("Ada"), found, UNSENT, unknown)
    left = {"where": "table x", "what": "name", "count": 1}
    report = {"schema": 1, "person": PERSON["id"], "templates": 1, "leftovers": [left]}
    report |= {"clean": False, "not_looked": ["a backup"]}
    sent, _, gone = played(calls().remove("Ada"), found, GONE, unknown, good(report))
    assert [each.method for each in sent] == ["GET", "DELETE", "DELETE", "GET"]
    assert (gone.erased, gone.remains) == (False, ("table x: name", "a backup"))


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_comes_back_as_itself(code):
    tree = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    assert sorted(ERRORS) == sorted(k.code for k in tree if issubclass(k, VisavisError))
    reply = refused(ERRORS[code])
    with pytest.raises(VisavisError) as told:
        content(reply)
    assert type(told.value) is ERRORS[code]


def test_an_error_of_a_newer_service_is_a_service_error():
    body = json.dumps({"schema": 1, "error": {"code": "moonstruck", "message": "wait"}}).encode()
    with pytest.raises(ServiceError, match="moonstruck: wait"):
        content(Reply(418, body))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b""),
        Reply(200, b"<html>"),
        Reply(502, b"Bad Gateway"),
        Reply(307, b""),
        Reply(200, b"[]"),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"schema": 2}'),
        Reply(200, b'{"schema": true}'),
        Reply(200, b'{"schema": 1}'),
        Reply(200, b'{"schema": 1, "id": NaN}'),
        Reply(404, b'{"schema": 1}'),
        Reply(404, b'{"schema": 1, "error": {"code": 4}}'),
        Reply(200, b"\xff\xfe"),
    ],
)
def test_garbage_is_not_an_answer(reply):
    with pytest.raises(ServiceUnreachable, match="same version"):
        played(calls().info(), reply)


@given(
    st.sampled_from(sorted(INFO)),
    st.none() | st.booleans() | st.text() | st.floats() | st.lists(st.integers()),
)
def test_a_field_of_another_kind_is_never_believed(name, value):
    said = {**INFO, name: value}
    try:
        _, _, info = played(calls().info(), good(said))
    except ServiceUnreachable:
        return
    kinds = {"id": str, "encoder": str | None, "encoder_name": str | None, "writable": bool}
    if name in kinds:
        assert isinstance(getattr(info, name), kinds[name])


def test_what_was_not_accepted_is_never_read_as_accepted():
    said = {"schema": 1, "decision": "different", "accepted": "no", "matched": False}
    said |= {"distance": 2.0, "tau": 1.0, "fmr": 1e-4, "fmr_upper": 1e-3, "encoder": "e"}
    said |= {"decided_by": "distance", "probability": None, "liveness": None}
    said |= {"reasons": [], "faces": []}
    with pytest.raises(ServiceUnreachable, match="accepted"):
        played(calls().compare(b"a", b"b"), good(said))
    _, _, decision = played(calls().compare(b"a", b"b"), good({**said, "accepted": False}))
    assert not decision.accepted
