"""What both clients have of httpx2: the address and the key, a request, an answer or none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from visavis.client.steps import Lost, Reply
from visavis.errors import InputRefused, MissingExtra

if TYPE_CHECKING:
    from types import ModuleType

    import httpx2

    from visavis.client.steps import Request

_CONNECT = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service is, and what is shown to it; never printed with the key.

    Parameters
    ----------
    url, key, timeout
        As for `visavis.client.Client`.
    """

    url: str
    timeout: float
    headers: dict[str, str]

    @classmethod
    def of(cls, url: str, key: str, timeout: float) -> Address:
        """Check them.

        Raises
        ------
        InputRefused
        """
        try:
            parts = urlsplit(url)
            right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            right = False
        if not right or parts.query or parts.fragment or parts.username is not None:
            raise InputRefused(
                "the service's address is like https://faces.example or http://127.0.0.1:8000, "
                "without a name, a password or anything else"
            )
        if not re.fullmatch(r"[!-~]*", key):
            raise InputRefused("the key holds characters that no key has: it was not copied whole")
        if not timeout > 0:
            raise InputRefused("the timeout is a number of seconds above 0")
        headers = {"Accept": "application/json", "User-Agent": "visavis"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return cls(url.rstrip("/"), timeout, headers)

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    def settings(self, httpx: ModuleType) -> dict[str, Any]:
        """Give what an httpx2 client is made with."""
        patience = httpx.Timeout(self.timeout, connect=min(self.timeout, _CONNECT))
        return {"headers": self.headers, "timeout": patience, "follow_redirects": False}

    def asked(self, request: Request) -> dict[str, Any]:
        """Give what an httpx2 client's ``request`` is called with."""
        told: dict[str, Any] = {
            "method": request.method,
            "url": self.url + request.path,
            "headers": dict(request.headers),
        }
        if request.params:
            told["params"] = dict(request.params)
        if request.files:
            # Files have names of their own, and those are nobody's business.
            told["data"] = dict(request.fields)
            told["files"] = [
                (name, ("photograph", data, "application/octet-stream"))
                for name, data in request.files
            ]
        elif request.json is not None:
            told["json"] = request.json
        return told


def load_httpx() -> ModuleType:
    """Import httpx2.

    Raises
    ------
    MissingExtra
    """
    try:
        import httpx2  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise MissingExtra("the client needs httpx2: pip install 'visavis[client]'") from missing
    return httpx2


def reply_of(answer: httpx2.Response) -> Reply:
    """Give what came."""
    return Reply(answer.status_code, answer.content, answer.headers.get("retry-after", ""))


def lost_of(fault: httpx2.RequestError, httpx: ModuleType) -> Lost:
    """Say why nothing came, and whether the request may have arrived."""
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    words = str(fault).strip() or type(fault).__name__
    return Lost(words[:200], not isinstance(fault, unsent))
