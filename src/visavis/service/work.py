"""Blocking work off the event loop: so many threads, so many waiting, and no more."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
        Seconds until a call that is not done is given up. Its thread finishes it all the same, and
        takes part in nothing else until then.
    """

    def __init__(self, threads: int, queue: int, patience: float) -> None:
        self.threads = threads
        self.most = threads + queue
        self.admitted = 0
        self._inside = 0
        self._patience = patience
        self._pool = ThreadPoolExecutor(threads, "visavis-work")
        self._free = asyncio.Semaphore(threads)
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
        if max(self.admitted, self._inside) >= self.most:
            raise _busy(self.most)
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
            When it is not done in time, or as many wait as may wait.
        """
        if self._inside >= self.most:
            raise _busy(self.most)
        loop, begun = asyncio.get_running_loop(), False
        bound = partial(contextvars.copy_context().run, partial(call, *args, **kwargs))
        self._inside += 1

        def over(_: object) -> None:
            with suppress(RuntimeError):  # the loop is gone, and nobody waits
                loop.call_soon_threadsafe(self._done)

        try:
            async with asyncio.timeout(self._patience):
                # What waits, waits here: a call that is given up leaves nothing in the pool.
                await self._free.acquire()
                begun = True
                doing = self._pool.submit(bound)
                doing.add_done_callback(over)
                return await asyncio.wrap_future(doing)
        except TimeoutError:
            raise ServiceBusy(
                f"not answered within {self._patience:g} seconds; ask again later"
            ) from None
        finally:
            if not begun:
                self._inside -= 1

    def refuse(self) -> None:
        """Take nothing in any more; what is in goes on."""
        self._open = False

    def close(self) -> None:
        """Wait for the threads."""
        self.refuse()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self) -> None:
        self._inside -= 1
        self._free.release()


def _busy(most: int) -> ServiceBusy:
    return ServiceBusy(f"{most} requests wait already; ask again in a second")
