"""Around every request: its number, its time, what browsers are told, and what went wrong."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection

from visavis.errors import Forbidden, VisavisError
from visavis.service.log import say
from visavis.service.refusals import refusal, status_of
from visavis.service.state import state_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; font-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_BY_TLS = {**_HEADERS, "strict-transport-security": "max-age=31536000"}
"""Behind a proxy, whose name is this service's alone. A certificate of our own may be on a host
that has other services, by http, which a browser would then no longer reach."""
_LOCAL = {"localhost", "127.0.0.1", "::1"}


class Around:
    """The outermost layer; what escapes the routes ends here and not in a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, began = uuid.uuid4().hex[:16], time.perf_counter()
        status = 0
        told = _BY_TLS if state_of(HTTPConnection(scope)).config.proxied else _HEADERS

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in told.items():
                    headers.setdefault(name, value)
                headers["x-request-id"] = number
                if scope["path"].startswith("/v1"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        scope["state"] = {**scope.get("state", {}), "request": number}
        try:
            if from_elsewhere(scope):
                raise Forbidden("this service answers to localhost only")  # noqa: TRY301
            await self._app(scope, receive, answered)
        except VisavisError as refused:
            if not status:
                await refusal(refused)(scope, receive, answered)
        except Exception:  # noqa: BLE001 - whatever it is, it is answered and logged
            say("unforeseen", logging.ERROR, trace=True, request=number)
            if not status:
                await refusal(VisavisError(""))(scope, receive, answered)
        finally:
            self._count(scope, status or 500, time.perf_counter() - began, number)

    def _count(self, scope: Scope, status: int, seconds: float, number: str) -> None:
        route = _route(scope)
        metrics = state_of(HTTPConnection(scope)).metrics
        metrics.requests.labels(route, scope["method"][:10], status).inc()
        metrics.seconds.labels(route).observe(seconds)
        say(
            "request",
            request=number,
            method=scope["method"][:10],
            route=route,
            status=status,
            ms=round(1000 * seconds, 1),
        )


def log_refusal(connection: HTTPConnection, refused: VisavisError) -> None:
    """Write down what was refused; what is not the client's fault with its place."""
    status = status_of(refused)
    number = connection.scope.get("state", {}).get("request")
    level = logging.ERROR if status == 500 else logging.INFO
    own = status >= 500
    # Messages about the client's own mistakes may hold names.
    words = {"message": str(refused)} if own else {}
    say("refused", level, trace=status == 500, request=number, code=refused.code, **words)


def _route(scope: Scope) -> str:
    """Name a route as the API's document spells it; newer FastAPI leaves out the prefix here."""
    path: str = getattr(scope.get("route"), "path", "none")
    within = path.startswith("/") and scope["path"].startswith("/v1/")
    return f"/v1{path}" if within and not path.startswith("/v1/") else path


def from_elsewhere(scope: Scope) -> bool:
    """Tell whether a name that leads here from elsewhere was used, where nobody needs a key."""
    connection = HTTPConnection(scope)
    if not state_of(connection).config.open:
        return False
    host = connection.headers.get("host", "")
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return name not in _LOCAL
