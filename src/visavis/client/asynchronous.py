"""The client that awaits."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from visavis.client.calls import Calls
from visavis.client.photograph import load
from visavis.client.steps import Load, Wait
from visavis.client.tries import Retrying
from visavis.client.wire import Address, load_httpx, lost_of, reply_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from visavis.client.steps import Exchange, Heard, Step
    from visavis.values import Person

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(
    call: Callable[Concatenate[Calls, P], Exchange[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Make of a description of a call a coroutine that does it."""

    @functools.wraps(call)
    async def method(client: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client.run(call(client.calls, *args, **kwargs))

    return method


class AsyncClient:
    """Asks a visavis service what one asks an `Engine`, in one event loop of asyncio.

    Many calls may be under way at the same time. See `visavis.client.Client` for the parameters.
    """

    def __init__(self, url: str, key: str = "", *, timeout: float = 60.0, retries: int = 3) -> None:
        self._address = Address.of(url, key, timeout)
        self._httpx = load_httpx()
        self._client = self._httpx.AsyncClient(**self._address.settings(self._httpx))
        self.calls = Calls(Retrying(retries))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._address.url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    compare = _awaited(Calls.compare)
    verify = _awaited(Calls.verify)
    identify = _awaited(Calls.identify)
    enroll = _awaited(Calls.enroll)
    liveness = _awaited(Calls.liveness)
    liveness_of = _awaited(Calls.liveness_of)
    faces = _awaited(Calls.faces)
    look = _awaited(Calls.look)
    page = _awaited(Calls.page)
    person = _awaited(Calls.person)
    templates = _awaited(Calls.templates)
    rename = _awaited(Calls.rename)
    renew = _awaited(Calls.renew)
    remove = _awaited(Calls.remove)
    erasure = _awaited(Calls.erasure)
    info = _awaited(Calls.info)
    operating_points = _awaited(Calls.operating_points)
    audit = _awaited(Calls.audit)
    verify_audit = _awaited(Calls.verify_audit)
    keys = _awaited(Calls.keys)
    make_key = _awaited(Calls.make_key)
    revoke_key = _awaited(Calls.revoke_key)

    async def people(self, search: str = "") -> AsyncIterator[Person]:
        """Give everybody enrolled by name, asking for a page at a time; see ``page``."""
        after: str | None = ""
        while after is not None:
            page = await self.page(search, after=after)
            for person in page.people:
                yield person
            after = page.next

    async def run(self, exchange: Exchange[T]) -> T:
        """Do the steps of a call, one after the other."""
        heard: Heard = None
        while True:
            try:
                step = exchange.send(heard)
            except StopIteration as done:
                answer: T = done.value
                return answer
            heard = await self._do(step)

    async def _do(self, step: Step) -> Heard:
        if isinstance(step, Load):
            return await asyncio.to_thread(load, step.source)
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        asked: dict[str, Any] = self._address.asked(step.request)
        try:
            return reply_of(await self._client.request(**asked))
        except self._httpx.RequestError as fault:
            return lost_of(fault, self._httpx)
