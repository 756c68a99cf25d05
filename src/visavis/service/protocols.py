"""How connections are read: uvicorn's own protocols, with the limits that they lack.

uvicorn limits how long a connection may be idle between two requests, and nothing else: a head that
comes a byte at a time, a body that still trickles after it was answered, or an answer that nobody
takes would each hold a connection for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from visavis.service.config import ServiceLimits

if TYPE_CHECKING:
    from websockets.frames import Frame

LIMITS = "visavis.limits"
"""Where the lifespan's state holds the ServiceLimits."""
LARGEST = (2 << 20) + (64 << 10)
"""Bytes of a camera's message: a frame's 2 MiB, and room to answer in words to one just above."""
MOST_WAITING = 64
"""Messages of one camera that wait to be looked at. One is read after the other, so more than one
waits only when several came in a single read of the socket: 256 KiB together."""
MOST_PIECES = 1024
"""Fragments of a message; none holds fewer than 2 KiB where they are not meant to cost memory."""

MOST_ASKED = 16
"""Requests that may wait on one connection for those before them: uvicorn keeps all of a read."""

_DEFAULT = ServiceLimits()
_HEAD = 1 << 16
"""Bytes of a head, beside one read of the socket; httptools knows no limit."""


class Patient(asyncio.Protocol):
    """Breaks a connection off whose client does not take what was written to it.

    Closed in good order it would be kept until the last byte is taken.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    app_state: dict[str, Any]
    _taking: asyncio.TimerHandle | None = None

    @property
    def limits(self) -> ServiceLimits:
        """What the service was told."""
        told: ServiceLimits = self.app_state.get(LIMITS, _DEFAULT)
        return told

    def pause_writing(self) -> None:
        """Wait for the client to take what was written."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.limits.patience, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no longer: it is taken."""
        self.taken()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.taken()
        super().connection_lost(exc)

    def taken(self) -> None:
        """Break nothing off."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None


class Http(Patient, HttpToolsProtocol):
    """Ends a connection whose request's head takes too long, or too much."""

    _arriving: asyncio.TimerHandle | None = None
    _heads, _head = 0, 0
    """How many have begun, and bytes of the last one that came after those it began with."""
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head from now on."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()  # the gallery needs files too
            return
        # Whatever the kernel does not take is waited for; of less than 64 KiB one would not hear.
        transport.set_write_buffer_limits(high=0)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._arrived()

    def data_received(self, data: bytes) -> None:
        """Wait for the end of a head from its first byte on.

        So too from the first byte of what else comes when nothing is asked for any more, such as
        the rest of a body that was refused: uvicorn then no longer counts the time.
        """
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        before = self._heads
        super().data_received(data)
        if self._in_head and self._heads == before:
            self._head += len(data)
            if self._head > _HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the head of a request that comes while another is answered, too."""
        super().on_message_begin()
        self._heads, self._head, self._in_head = self._heads + 1, 0, True
        self._await_head()

    def on_headers_complete(self) -> None:
        """Wait no longer: the body has a limit of its own."""
        self._in_head = False
        self._arrived()
        if len(self.pipeline) >= MOST_ASKED:
            raise ConnectionError  # ends the parsing, and uvicorn then ends the connection
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to a camera's protocol."""
        self.taken()
        super().handle_websocket_upgrade()

    def _await_head(self) -> None:
        if self._arriving is None:
            self._arriving = self.loop.call_later(self.limits.patience, self._too_late)

    def _arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _too_late(self) -> None:
        self._arriving = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # what is answered on this connection is not cut off
        else:
            self.transport.close()


class Camera(Patient, WebSocketsSansIOProtocol):
    """Ends a line that sends faster than it is heard; a camera waits for each answer."""

    _pieces = 0

    def handle_cont(self, event: Frame) -> None:
        """Take in a fragment."""
        if self.close_sent:
            return
        self._pieces += 1
        super().handle_cont(event)
        if self._pieces > MOST_PIECES:
            self._flooded()

    def send_receive_event_to_app(self) -> None:
        """Take in a message."""
        self._pieces = 0
        super().send_receive_event_to_app()
        if self.queue.qsize() > MOST_WAITING and not self.close_sent:
            self._flooded()

    def _flooded(self) -> None:
        self.conn.fail(1008, "send a frame, wait for the answer, send the next")
        self.handle_parser_exception()


OPTIONS: dict[str, Any] = {
    "http": Http,
    "ws": Camera,
    "ws_max_size": LARGEST,
    # A compressed message of 4 KiB holds one of 4 MiB, and a JPEG cannot be compressed.
    "ws_per_message_deflate": False,
    "access_log": False,
    "server_header": False,
    "log_config": None,
}
"""What uvicorn is told wherever the service runs."""
