"""Compare, verify, identify, liveness, faces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request

from visavis.errors import ConsentExpired, Forbidden, PersonUnknown
from visavis.gallery.access import Role
from visavis.liveness.policy import Policy
from visavis.service import answers, bodies
from visavis.service.bodies import admitted, described
from visavis.service.state import state_of
from visavis.service.who import Caller, needs
from visavis.spelling import (
    SCHEMA,
    decision_json,
    identification_json,
    identified_json,
    liveness_json,
    sighting_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from visavis.service.state import State
    from visavis.values import Decision, Identification, PersonId

T = TypeVar("T")
Entries = Sequence[tuple[str, dict[str, Any]]]
"""For the audit log: whom each is about ("": nobody enrolled), and its details."""

router = APIRouter(tags=["decide"])
_IDENTIFY = needs(Role.IDENTIFY)
_LIVE = {True: "live", False: "not live", None: "untold"}


@router.post(
    "/compare",
    response_model=answers.DecisionAnswer,
    openapi_extra=described(bodies.CompareBody),
)
async def compare(request: Request, caller: Caller = _IDENTIFY) -> Any:  # noqa: ANN401
    """Say whether two photographs show the same person."""
    state = state_of(request)
    async with admitted(request, bodies.CompareBody) as asked:
        engine = caller.house.engine
        decision = await _written(
            state,
            caller,
            "compare",
            partial(engine.compare, asked.a, asked.b, fmr=asked.fmr),
            lambda decision: [("", {"outcome": _outcome(decision)})],
        )
    state.metrics.decisions.labels("compare", _outcome(decision)).inc()
    return {"schema": SCHEMA, **decision_json(decision)}


@router.post(
    "/verify", response_model=answers.VerifyAnswer, openapi_extra=described(bodies.VerifyBody)
)
async def verify(request: Request, caller: Caller = _IDENTIFY) -> Any:  # noqa: ANN401
    """Say whether a photograph shows the person it is claimed to show."""
    state = state_of(request)
    async with admitted(request, bodies.VerifyBody) as asked:
        decision, _ = await _written(
            state,
            caller,
            "verify",
            partial(verified, caller, asked),
            lambda found: [(found[1], {"outcome": _outcome(found[0])})],
        )
    state.metrics.decisions.labels("verify", _outcome(decision)).inc()
    return {"schema": SCHEMA, "person": asked.person, **decision_json(decision)}


@router.post(
    "/identify",
    response_model=answers.IdentifyAnswer,
    openapi_extra=described(bodies.IdentifyBody),
)
async def identify(request: Request, caller: Caller = _IDENTIFY) -> Any:  # noqa: ANN401
    """Say for every face in a photograph who it is, or that it is not recognized."""
    state = state_of(request)
    async with admitted(request, bodies.IdentifyBody) as asked:
        answer = await _written(
            state, caller, "identify", partial(identified, caller, asked), _who_was_recognised
        )
    outcome = "recognized" if any(face.person for face in answer.faces) else "not recognized"
    state.metrics.decisions.labels("identify", outcome).inc()
    faces = [identified_json(face) for face in answer.faces]
    return {"schema": SCHEMA, **identification_json(answer), "faces": faces}


@router.post(
    "/liveness", response_model=answers.LivenessAnswer, openapi_extra=described(bodies.Pictures)
)
async def liveness(request: Request, caller: Caller = _IDENTIFY) -> Any:  # noqa: ANN401
    """Say whether a live human was before the camera; several pictures are of one presentation."""
    state = state_of(request)
    async with admitted(request, bodies.Pictures) as asked:
        engine, some = caller.house.engine, asked.images
        judge = (
            partial(engine.liveness, some[0])
            if len(some) == 1
            else partial(engine.liveness_of, some)
        )
        judged = await _written(
            state,
            caller,
            "liveness",
            judge,
            lambda judged: [("", {"outcome": _LIVE[judged.live]})],
        )
    state.metrics.decisions.labels("liveness", _LIVE[judged.live]).inc()
    return {"schema": SCHEMA, **liveness_json(judged)}


@router.post(
    "/faces", response_model=answers.FacesAnswer, openapi_extra=described(bodies.OnePicture)
)
async def faces(request: Request, caller: Caller = _IDENTIFY) -> Any:  # noqa: ANN401
    """Find and assess faces: what guides somebody who is about to be enrolled."""
    state = state_of(request)
    async with admitted(request, bodies.OnePicture) as asked:
        looked = await state.work.run(caller.house.engine.look, asked.image)
    found = [sighting_json(seen) for seen in looked.faces]
    return {"schema": SCHEMA, "width": looked.width, "height": looked.height, "faces": found}


def verified(caller: Caller, asked: bodies.VerifyBody) -> tuple[Decision, PersonId]:
    """Verify in one of the threads: counted and decided; says who was claimed, too."""
    house = caller.house
    try:
        person = house.gallery.person(asked.person)
    except PersonUnknown:
        if caller.may(Role.READ):
            raise
        # Who may not list people learns no names that are spelled alike.
        raise PersonUnknown("nobody of that name or id is enrolled") from None
    with house.lockout.attempt(caller.id, person.id) as attempt:
        policy = Policy(asked.live)
        try:
            decision = house.engine.verify(asked.image, person, fmr=asked.fmr, live=policy)
        except ConsentExpired:
            if caller.may(Role.READ):
                raise
            raise ConsentExpired("the consent of whom this claims has ended") from None
        if decision.accepted:
            attempt.succeeded()
        else:
            attempt.failed()
    return decision, person.id


def identified(caller: Caller, asked: bodies.IdentifyBody) -> Identification:
    """Identify in one of the threads."""
    house = caller.house
    easier = asked.fpir is not None and asked.fpir > house.engine.config.fpir
    if (asked.candidates or easier) and not caller.may(Role.READ):
        raise Forbidden(
            "candidates, and a rate above the service's own, name people who were not recognised: "
            "they take the role read too"
        )
    with house.attempts.asked_by(caller.id):
        return house.engine.identify(
            asked.image, fpir=asked.fpir, candidates=asked.candidates, live=Policy(asked.live)
        )


async def _written(
    state: State,
    caller: Caller,
    action: str,
    decide: Callable[[], T],
    told: Callable[[T], Entries],
) -> T:
    """Have something decided in one of the threads, and answer once its entries are stored.

    The thread that decides hands them over itself: nobody waits for the event loop in between, and
    what was decided for somebody who does not wait any more is written down too.
    """
    ledger = caller.house.ledger

    def work() -> tuple[T, list[Future[None]]]:
        found = decide()
        return found, [ledger.put(caller.actor, action, who, **said) for who, said in told(found)]

    found, stored = await state.work.run(work)
    await asyncio.gather(*map(asyncio.wrap_future, stored))
    return found


def _who_was_recognised(answer: Identification) -> Entries:
    people: list[str] = [face.person.id for face in answer.faces if face.person]
    outcome = "recognized" if people else "not recognized"
    said = {"outcome": outcome, "faces": len(answer.faces)}
    return [(person, said) for person in people or [""]]


def _outcome(decision: Decision) -> str:
    if decision.accepted:
        return "same"
    return "not live" if decision.matched else "different"
