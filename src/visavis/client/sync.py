"""The client that waits."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from visavis.client.calls import Calls
from visavis.client.photograph import load
from visavis.client.steps import Load, Wait
from visavis.client.tries import Retrying
from visavis.client.wire import Address, load_httpx, lost_of, reply_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visavis.client.steps import Exchange, Heard, Step
    from visavis.values import Person

P = ParamSpec("P")
T = TypeVar("T")


def _waited(
    call: Callable[Concatenate[Calls, P], Exchange[T]],
) -> Callable[Concatenate[Client, P], T]:
    """Make of a description of a call a method that does it."""

    @functools.wraps(call)
    def method(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client.run(call(client.calls, *args, **kwargs))

    return method


class Client:
    """Asks a visavis service what one asks an `Engine`; may be used from several threads.

    Parameters
    ----------
    url
        Where the service is, such as ``https://faces.example``; over http the key travels in the
        clear, so use that on this machine only.
    key
        An API key; its roles say what may be asked. Empty for ``visavis serve --open``.
    timeout
        Seconds to wait for an answer, at each try.
    retries
        How often to ask again when the service does not answer or says that it is busy.

    Raises
    ------
    InputRefused
        For what is no address or no key.
    MissingExtra
    """

    def __init__(self, url: str, key: str = "", *, timeout: float = 60.0, retries: int = 3) -> None:
        self._address = Address.of(url, key, timeout)
        self._httpx = load_httpx()
        self._client = self._httpx.Client(**self._address.settings(self._httpx))
        self.calls = Calls(Retrying(retries))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._address.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    compare = _waited(Calls.compare)
    verify = _waited(Calls.verify)
    identify = _waited(Calls.identify)
    enroll = _waited(Calls.enroll)
    liveness = _waited(Calls.liveness)
    liveness_of = _waited(Calls.liveness_of)
    faces = _waited(Calls.faces)
    look = _waited(Calls.look)
    page = _waited(Calls.page)
    person = _waited(Calls.person)
    templates = _waited(Calls.templates)
    rename = _waited(Calls.rename)
    renew = _waited(Calls.renew)
    remove = _waited(Calls.remove)
    erasure = _waited(Calls.erasure)
    info = _waited(Calls.info)
    operating_points = _waited(Calls.operating_points)
    audit = _waited(Calls.audit)
    verify_audit = _waited(Calls.verify_audit)
    keys = _waited(Calls.keys)
    make_key = _waited(Calls.make_key)
    revoke_key = _waited(Calls.revoke_key)

    def people(self, search: str = "") -> Iterator[Person]:
        """Give everybody enrolled by name, asking for a page at a time; see ``page``."""
        after: str | None = ""
        while after is not None:
            page = self.page(search, after=after)
            yield from page.people
            after = page.next

    def run(self, exchange: Exchange[T]) -> T:
        """Do the steps of a call, one after the other."""
        heard: Heard = None
        while True:
            try:
                step = exchange.send(heard)
            except StopIteration as done:
                answer: T = done.value
                return answer
            heard = self._do(step)

    def _do(self, step: Step) -> Heard:
        if isinstance(step, Load):
            return load(step.source)
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        asked: dict[str, Any] = self._address.asked(step.request)
        try:
            return reply_of(self._client.request(**asked))
        except self._httpx.RequestError as fault:
            return lost_of(fault, self._httpx)
