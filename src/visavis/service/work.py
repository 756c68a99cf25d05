"""Blocking work off the event loop: so many threads, so many waiting, and no more."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from visavis.errors import ServiceBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")


class Work:
    """Threads that requests share.

    Parameters
    ----------
    threads
        Calls worked on side by side.
    queue
        Requests admitted beside those.
    patience
        Seconds until a call that is not done is given up; its thread finishes it all the same.
    """

    def __init__(self, threads: int, queue: int, patience: float) -> None:
        self.threads = threads
        self.most = threads + queue
        self.admitted = 0
        self._patience = patience
        self._pool = ThreadPoolExecutor(threads, "visavis-work")
        self._open = True

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Take a request in, before its body is read.

        Raises
        ------
        ServiceBusy
            When as many are in as there may be.
        """
        if not self._open:
            raise ServiceBusy("the service is being stopped; ask again in a moment")
        if self.admitted >= self.most:
            raise ServiceBusy(f"{self.admitted} requests wait already; ask again in a second")
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in one of the threads, with the context of the caller.

        Raises
        ------
        ServiceBusy
            When it is not done in time.
        """
        loop = asyncio.get_running_loop()
        bound = partial(contextvars.copy_context().run, partial(call, *args, **kwargs))
        doing = loop.run_in_executor(self._pool, bound)
        try:
            return await asyncio.wait_for(doing, self._patience)
        except TimeoutError:
            raise ServiceBusy(
                f"not answered within {self._patience:g} seconds; ask again later"
            ) from None

    def refuse(self) -> None:
        """Take nothing in any more."""
        self._open = False

    def close(self) -> None:
        """Wait for the threads."""
        self.refuse()
        self._pool.shutdown(wait=True, cancel_futures=True)
