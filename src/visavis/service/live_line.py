"""A camera's WebSocket: who it is, what it may send, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from starlette.websockets import WebSocketDisconnect

from visavis.errors import (
    GalleryError,
    ImageTooLarge,
    ImageUnreadable,
    InputRefused,
    ServiceBusy,
    TooManyRequests,
    VisavisError,
)
from visavis.service.log import say
from visavis.service.refusals import said, spelt
from visavis.service.state import state_of
from visavis.service.who import caller_of
from visavis.spelling import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.websockets import WebSocket

    from visavis.gallery.access import Role
    from visavis.service.state import State
    from visavis.service.who import Caller

P = ParamSpec("P")
T = TypeVar("T")

GOING_AWAY, UNSUPPORTED = 1001, 1003
IDLE = 4408
"""Close codes of our own are 4000 and the status that HTTP would have."""

_HEAD = struct.Struct("<d")
_JPEG = b"\xff\xd8\xff"
_LOOK_UP = 0.25
"""Seconds between two looks at whether the service is being stopped."""


@dataclass(frozen=True, slots=True)
class LineLimits:
    """What a camera may send.

    Attributes
    ----------
    frame
        Bytes of a frame.
    text
        Characters of any other message.
    rate
        Frames a second.
    idle
        Seconds without any.
    bad
        So many messages in a row that cannot be used, and the line is closed.
    again
        Seconds after which the key or session is looked at again: one that was revoked ends.
    """

    frame: int = 2 * 1024 * 1024
    text: int = 4096
    rate: float = 30.0
    idle: float = 30.0
    bad: int = 20
    again: float = 1.0


DEFAULT_LINE = LineLimits()


class Frame(NamedTuple):
    """A JPEG, and when the camera took it, in seconds of its own clock."""

    timestamp: float
    jpeg: bytes


class Ended(Exception):
    """Ends a line from within, with a close code."""

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(why)
        self.code = code


class Line:
    """One connected camera."""

    def __init__(
        self, websocket: WebSocket, caller: Caller, role: Role, limits: LineLimits
    ) -> None:
        self.caller = caller
        self.state: State = state_of(websocket)
        self.limits = limits
        self._websocket, self._role = websocket, role
        self._receiving: asyncio.Task[Any] | None = None
        self._checked = time.monotonic()
        self._earliest = -1.0
        self._bad = 0

    async def frames(self) -> AsyncIterator[Frame]:
        """Give frame after frame; what is none is answered with an error and left out.

        Raises
        ------
        Ended
        Unauthenticated, Forbidden
            When the key was revoked.
        """
        while True:
            message = await self.message()
            try:
                frame = self._frame(message)
            except VisavisError as refused:
                await self.refuse(refused)
                continue
            yield frame

    async def message(self) -> str | bytes:
        """Wait for what comes next."""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._websocket.receive())
        until = time.monotonic() + self.limits.idle
        while not self._receiving.done():
            if self.state.stopping.is_set():
                raise Ended(GOING_AWAY, "the service is being stopped")
            if time.monotonic() > until:
                raise Ended(IDLE, f"nothing came for {self.limits.idle:g} seconds")
            await asyncio.wait({self._receiving}, timeout=_LOOK_UP)
            await self._still_may()
        received, self._receiving = self._receiving.result(), None
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code") or 1005)
        content: str | bytes | None = received.get("bytes")
        return received.get("text") or "" if content is None else content

    async def say(self, told: dict[str, Any]) -> None:
        """Send an object."""
        self._bad = 0
        await self._send({"schema": SCHEMA, **told})

    async def refuse(self, refused: VisavisError) -> None:
        """Say what was wrong with a message, and end a line that brings nothing else.

        Raises
        ------
        Ended
        """
        await self._send(spelt(refused.code, said(refused)))
        self._bad += 1
        if self._bad >= self.limits.bad:
            raise Ended(UNSUPPORTED, "too many messages that cannot be used")

    async def work(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in one of the service's threads; raises ServiceBusy too."""
        with self.state.work.admit():
            return await self.state.work.run(call, *args, **kwargs)

    async def last(self, call: Callable[[], None]) -> None:
        """Run what ends a conversation, also while the service is being stopped.

        ``call`` may be called twice.
        """
        try:
            await self.state.work.run(call)
        except asyncio.CancelledError:
            call()  # a thread may not have begun with it
            raise
        except ServiceBusy:
            say("camera_ends_late", logging.WARNING)
        except RuntimeError:  # the threads are gone
            call()

    def let_go(self) -> None:
        """Wait for nothing any more."""
        if self._receiving is not None:
            self._receiving.cancel()

    def _frame(self, message: str | bytes) -> Frame:
        if isinstance(message, str):
            raise InputRefused("frames are expected: 8 bytes of seconds, then a JPEG")
        if len(message) > self.limits.frame:
            raise ImageTooLarge(
                f"a frame of {len(message)} bytes; at most {self.limits.frame} are taken"
            )
        jpeg = message[_HEAD.size :]
        if not jpeg.startswith(_JPEG):
            raise ImageUnreadable("a frame is 8 bytes of seconds (float64), then a JPEG")
        now = time.monotonic()
        if now < self._earliest:
            raise TooManyRequests(
                f"frames come faster than {self.limits.rate:g} a second", self._earliest - now
            )
        # A frame may be as early as the one before it was late: clocks of cameras are not even.
        step = 1 / self.limits.rate
        self._earliest = max(self._earliest + step, now - 5 * step)
        return Frame(_HEAD.unpack_from(message)[0], jpeg)

    async def _still_may(self) -> None:
        now = time.monotonic()
        if now - self._checked < self.limits.again:
            return
        self._checked = now
        try:
            await caller_of(self._websocket, self._role)
        except (GalleryError, TooManyRequests):
            return  # not known now; the next look will tell

    async def _send(self, told: dict[str, Any]) -> None:
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        await self._websocket.send_text(text)
