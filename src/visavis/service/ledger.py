"""Decisions into the audit log, many in one transaction: each waits until its own is stored."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from visavis.errors import GalleryError, GalleryReadOnly, ServiceBusy
from visavis.gallery.trail.audit import Deed

if TYPE_CHECKING:
    from typing import Any

    from visavis.gallery import Gallery

_TOGETHER = 256


class Ledger:
    """One thread that writes for all others; a write to a disk is waited for once, not by each."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._waiting: queue.SimpleQueue[tuple[str, Deed, Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._write, name="visavis-ledger", daemon=True)
        self._thread.start()

    def put(self, actor: str, action: str, subject: str = "", **details: Any) -> Future[None]:  # noqa: ANN401
        """Have an entry added; the future is done when it is stored, see ``AuditLog.record``.

        A gallery that may only be read has no log to write.
        """
        done: Future[None] = Future()
        if self._gallery.writable and self._thread.is_alive():
            self._waiting.put((actor, Deed(action, subject, details), done))
        elif self._gallery.writable:
            done.set_exception(ServiceBusy("the service is being stopped; ask again in a moment"))
        else:
            done.set_result(None)
        return done

    def record(self, actor: str, action: str, subject: str = "", **details: Any) -> None:  # noqa: ANN401
        """Add an entry and wait until it is stored; see ``put``.

        Raises
        ------
        GalleryError
        """
        self.put(actor, action, subject, **details).result()

    async def recorded(self, actor: str, action: str, subject: str = "", **details: Any) -> None:  # noqa: ANN401
        """Do the same where waiting must not keep a thread from its next request."""
        await asyncio.wrap_future(self.put(actor, action, subject, **details))

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            some, last = [first], False
            while len(some) < _TOGETHER and not last:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    some.append(more)
            self._store(some)
            if last:
                return

    def _store(self, some: list[tuple[str, Deed, Future[None]]]) -> None:
        # Who does not wait any more, such as a request that was broken off, is written down too.
        waited = [done for _, _, done in some if done.set_running_or_notify_cancel()]
        try:
            self._gallery.audit.record_all([(actor, deed) for actor, deed, _ in some])
        except GalleryReadOnly:
            fault: BaseException | None = None
        except GalleryError as refused:
            fault = refused
        except Exception as unforeseen:  # noqa: BLE001 - told to everybody who waits
            fault = unforeseen
        else:
            fault = None
        for done in waited:
            if fault is None:
                done.set_result(None)
            else:
                done.set_exception(fault)
