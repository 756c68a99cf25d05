"""What reads a whole log or database: one at a time, in a thread that nobody else waits for."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from visavis.errors import ServiceBusy

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Searches:
    """Keeps long searches from the threads that doors and desks wait for.

    Parameters
    ----------
    patience
        Seconds until one that is not done is given up. Its thread finishes it all the same, and
        the next one is refused until then.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._pool = ThreadPoolExecutor(1, "visavis-search")
        self._last: Future[Any] | None = None

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call, with the context of the caller.

        Raises
        ------
        ServiceBusy
            When another one is under way, or it is not done in time.
        """
        if self._last is not None and not self._last.done():
            raise ServiceBusy("the whole gallery is being searched already; ask again soon")
        bound = partial(contextvars.copy_context().run, partial(call, *args, **kwargs))
        try:
            doing = self._last = self._pool.submit(bound)
        except RuntimeError:
            raise ServiceBusy("the service is being stopped; ask again in a moment") from None
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.wrap_future(doing)
        except TimeoutError:
            raise ServiceBusy(
                f"the search was not done within {self._patience:g} seconds; ask again later, or "
                "on the command line"
            ) from None

    def close(self) -> None:
        """Wait for the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
