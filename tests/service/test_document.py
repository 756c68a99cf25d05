"""schemathesis reads the OpenAPI document and asks everything it allows, and what it does not."""

from __future__ import annotations

from collections import Counter

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
QUIET = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
)


WAYS = 25
"""Addresses and methods of the document; fewer would mean that some were not looked at."""


def test_whatever_is_asked_is_answered_as_the_document_says(served):
    document = schemathesis.openapi.from_asgi("/v1/openapi.json", served.client.app)
    ways = [found.ok() for found in document.get_all_operations()]
    assert len(ways) >= WAYS
    answered: Counter[int] = Counter()
    for way in ways:

        @QUIET
        @given(case=way.as_strategy())
        def ask(case):
            response = case.call(headers={**dict(case.headers or {}), **served.as_("admin")})
            answered[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        ask()
    assert answered[200], "some were understood"
    assert answered[422], "and some were refused"
