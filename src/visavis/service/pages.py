"""The console's pages: one shell for everybody, which the browser fills from ``/v1``."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from starlette.requests import Request  # noqa: TC002 (FastAPI reads the signatures)

from visavis.errors import NothingThere

if TYPE_CHECKING:
    import jinja2

_CONSOLE = Path(__file__).parent / "console"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_NO_COPY = {"Cache-Control": "no-store"}
_ASK_AGAIN = {"Cache-Control": "no-cache"}

router = APIRouter(include_in_schema=False)


def page(request: Request, name: str, **values: object) -> HTMLResponse:
    """Fill in ``templates/NAME.html.j2``; its script is ``static/NAME.js``.

    Nothing in it depends on who asks: what they may see comes through ``/v1`` afterwards.
    """
    template = _templates().get_template(f"{name}.html.j2")
    html = template.render(name=name, path=request.url.path, **values)
    return HTMLResponse(html, headers=_NO_COPY)


def same_site(target: str) -> str:
    r"""Give the path to go on to after logging in; ``/`` for whatever is not a path of this site.

    A browser reads ``//elsewhere`` and, as it takes a backslash for a slash and drops control
    characters, ``/\\elsewhere`` as another site.
    """
    plain = target.isprintable() and "\\" not in target
    if not (plain and re.match(r"/(?!/)", target)):
        return "/"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or parts.path == "/login" else target


@router.get("/")
def home(request: Request) -> HTMLResponse:
    """Show what there is to do."""
    return page(request, "home")


@router.get("/login")
def login(request: Request, next: str = "/") -> HTMLResponse:  # noqa: A002 (the name in the URL)
    """Where a key becomes a session."""
    return page(request, "login", target=same_site(next))


@router.get("/people")
def people(request: Request) -> HTMLResponse:
    """Everybody, and enrolment."""
    return page(request, "people")


@router.get("/people/{person}")
def person(request: Request, person: str) -> HTMLResponse:  # noqa: ARG001 (the script reads it)
    """Somebody; the same page for every id, known or not."""
    return page(request, "person")


@router.get("/verify")
def verify(request: Request) -> HTMLResponse:
    """Ask whether somebody is who they claim to be."""
    return page(request, "verify")


@router.get("/identify")
def identify(request: Request) -> HTMLResponse:
    """Ask who somebody is."""
    return page(request, "identify")


@router.get("/operating-point")
def operating_point(request: Request) -> HTMLResponse:
    """How often strangers pass, and what follows from it."""
    return page(request, "operating-point")


@router.get("/audit")
def audit(request: Request) -> HTMLResponse:
    """Who did what to whom."""
    return page(request, "audit")


@router.get("/keys")
def keys(request: Request) -> HTMLResponse:
    """Who may use the service."""
    return page(request, "keys")


@router.get("/system")
def system(request: Request) -> HTMLResponse:
    """Whether the service is well, and what the gallery holds."""
    return page(request, "system")


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """Give a script, style sheet or picture of the pages; nothing that is not one of them."""
    try:
        path = _statics()[name]
    except KeyError:
        raise NothingThere("there is no such file") from None
    data = path.read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {**_ASK_AGAIN, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=_TYPES[path.suffix], headers=headers)


@cache
def _statics() -> dict[str, Path]:
    return {p.name: p for p in (_CONSOLE / "static").iterdir() if p.suffix in _TYPES}


@cache
def _templates() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415

    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(_CONSOLE / "templates"),
    )
