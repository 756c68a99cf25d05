"""What a camera talks to: the door, and the challenge alone."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse  # noqa: TC002 - FastAPI reads the signatures
from starlette.requests import Request  # noqa: TC002
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from visavis.engine.door import Door, DoorConfig
from visavis.errors import Forbidden, ServiceBusy, TooManyRequests, VisavisError
from visavis.gallery.access import Role
from visavis.liveness.policy import Policy
from visavis.service.live_challenge import Dialogue
from visavis.service.live_line import DEFAULT_LINE, Ended, Line
from visavis.service.log import say
from visavis.service.middleware import from_elsewhere
from visavis.service.pages import page
from visavis.service.refusals import said, spelt, status_of
from visavis.service.state import state_of
from visavis.service.webhook import Opening
from visavis.service.who import caller_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from visavis.engine.door import DoorDecision, DoorView
    from visavis.service.live_line import Frame, LineLimits
    from visavis.service.webhook import Delivery
    from visavis.service.who import Caller

router = APIRouter()

_FAULT = 1011


@router.get("/door", include_in_schema=False)
def door_page(request: Request) -> HTMLResponse:
    """Show the page for a tablet beside a door."""
    return page(request, "door")


@router.websocket("/v1/door")
async def door(websocket: WebSocket) -> None:
    """Frames in, guidance and decisions out; see ``docs/door.md``."""
    await converse(websocket, Role.IDENTIFY, _at_the_door)


@router.websocket("/v1/challenge")
async def challenge(websocket: WebSocket) -> None:
    """Frames against a challenge, then one question about whoever answered it."""
    await converse(websocket, Role.IDENTIFY, _challenged)


async def converse(
    websocket: WebSocket,
    role: Role,
    talk: Callable[[Line], Awaitable[None]],
    limits: LineLimits = DEFAULT_LINE,
) -> None:
    """Let in whom the role allows, talk, and close with a code that says why.

    It is accepted before anything else, since a browser tells its page no reason for a connection
    that was never made.
    """
    await websocket.accept()
    state, line = state_of(websocket), None
    try:
        caller = await _admitted(websocket, role)
        line = Line(websocket, caller, role, limits)
        state.sockets.add(line)
        await talk(line)
        await _close(websocket, 1000)
    except WebSocketDisconnect:
        pass
    except Ended as ended:
        await _close(websocket, ended.code, str(ended))
    except VisavisError as refused:
        await _refused(websocket, refused)
    except Exception:  # noqa: BLE001 - whatever it is, it is answered and logged
        say("unforeseen", logging.ERROR, trace=True, route=websocket.url.path)
        await _close(websocket, _FAULT)
    finally:
        if line is not None:
            line.let_go()
            state.sockets.discard(line)


async def _admitted(websocket: WebSocket, role: Role) -> Caller:
    state = state_of(websocket)
    if from_elsewhere(websocket.scope):
        raise Forbidden("this service answers to localhost only")
    caller = await caller_of(websocket, role)
    if len(state.sockets) >= state.config.limits.sockets:
        raise TooManyRequests("as many cameras are connected as may be; try again later", 5.0)
    return caller


async def _refused(websocket: WebSocket, refused: VisavisError) -> None:
    say("refused", route=websocket.url.path, code=refused.code)
    try:
        await websocket.send_text(json.dumps(spelt(refused.code, said(refused))))
    except (RuntimeError, WebSocketDisconnect):
        return
    status = status_of(refused)
    await _close(websocket, _FAULT if status == 500 else 4000 + status, refused.code)


async def _close(websocket: WebSocket, code: int, why: str = "") -> None:
    if WebSocketState.DISCONNECTED in {websocket.client_state, websocket.application_state}:
        return
    try:
        await websocket.close(code, why[:100])
    except RuntimeError:
        return  # it was gone already


async def _at_the_door(line: Line) -> None:
    post = Post(line)
    try:
        async for frame in line.frames():
            chance = Chance()
            try:
                view = await line.work(post.look, frame, chance)
            except VisavisError as refused:
                await line.refuse(refused)
                continue
            finally:
                chance.take()
            await line.say(view_json(view))
    finally:
        await line.last(post.close)


async def _challenged(line: Line) -> None:
    dialogue = await line.work(Dialogue, line)
    try:
        await dialogue.run()
    finally:
        await line.last(dialogue.close)


class Chance:
    """Of a frame to open the door: taken once, by the door or by whoever gave the frame up.

    A frame that is not answered in time is given up, and its thread goes on with it. Whoever stood
    there may have left by the time it decides, so then it must not open; but what it decided before
    is in the log, and the gate has to hear of it.
    """

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(self) -> bool:
        """Take it; False when it was taken before."""
        return self._taken.acquire(blocking=False)


class Post:
    """A door with its record and its gate; ``look`` and ``close`` are run in threads."""

    def __init__(self, line: Line) -> None:
        self._line, self._caller = line, line.caller
        self._house, self._config = line.caller.house, line.state.config
        self._loop = asyncio.get_running_loop()
        self._turn = threading.Lock()
        self._chance = Chance()
        self._door = Door(
            self._house.engine,
            Policy(self._config.live),
            DoorConfig(fpir=self._config.fpir),
            self._record,
            lambda person: self._house.lockout.attempt(self._caller.id, person.id),
        )

    def look(self, frame: Frame, chance: Chance) -> DoorView:
        """Show a frame to the door.

        Raises
        ------
        ServiceBusy
            When it would open, but the frame was given up.
        """
        with self._turn:  # one that was given up as too slow may still be at work
            self._chance = chance
            return self._door.update(frame.jpeg, frame.timestamp)

    def close(self) -> None:
        """End a visit that was not decided."""
        with self._turn:
            try:
                self._door.close()
            except VisavisError as fault:
                say("door_unrecorded", logging.WARNING, code=fault.code)

    def announce(self, decision: DoorDecision) -> None:
        """Tell the gate of a decision that opens."""
        webhook = self._line.state.webhook
        if webhook is None or decision.person is None:
            return
        person = decision.person
        opening = Opening(
            id=decision.id,
            gallery=self._house.name,
            door=self._config.door,
            person=person.id,
            name=person.name,
            decided_at=decision.decided_at,
        )

        async def told(delivery: Delivery) -> None:
            await self._told(person.id, delivery)

        if not webhook.send(opening, told):
            self._line.state.metrics.decisions.labels("gate", "not-told").inc()
            say("gate_not_told", logging.WARNING, decision=decision.id)

    async def _told(self, person: str, delivery: Delivery) -> None:
        outcome = "told" if delivery.delivered else "not-told"
        self._line.state.metrics.decisions.labels("gate", outcome).inc()
        details: dict[str, Any] = {"decision": delivery.id, "outcome": outcome}
        details |= {"tries": delivery.tries, "status": delivery.status or 0}
        try:
            await self._house.ledger.recorded(self._caller.actor, "gate", person, **details)
        except VisavisError as fault:
            say("gate_unrecorded", logging.WARNING, code=fault.code)

    def _record(self, decision: DoorDecision) -> None:
        if decision.opens and not self._chance.take():
            say("door_too_late", logging.WARNING, decision=decision.id)
            raise ServiceBusy("the door had decided too late to open")
        self._house.ledger.record(
            self._caller.actor,
            "door",
            decision.subject or "",
            outcome=str(decision.outcome),
            decision=decision.id,
            door=self._config.door,
            frames=decision.frames,
        )
        self._line.state.metrics.decisions.labels("door", str(decision.outcome)).inc()
        if decision.opens:
            # From here, since nobody may wait for the frame any more. The loop outlives the
            # threads; see the end of the application's life.
            self._loop.call_soon_threadsafe(self.announce, decision)


def view_json(view: DoorView) -> dict[str, Any]:
    """Spell what a door shows."""
    return {
        "state": str(view.state),
        "phrase": str(view.phrase),
        "action": None if view.action is None else str(view.action),
        "done": view.done,
        "of": view.of,
        "remaining": round(view.remaining, 2),
        "name": view.name,
        "decision": view.decision,
    }
