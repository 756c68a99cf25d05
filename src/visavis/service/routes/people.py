"""People and their templates."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query, Request

from visavis.errors import GalleryError, InputRefused, PersonUnknown, SearchUnavailable
from visavis.gallery.access import DoneRequest, Role
from visavis.service import answers, bodies
from visavis.service.bodies import admitted, described
from visavis.service.state import state_of
from visavis.service.who import Caller, needs
from visavis.spelling import SCHEMA, person_json, sighting_json
from visavis.values import Consent, PersonId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from visavis.values import Person

router = APIRouter(tags=["people"])
_READ, _ENROLL, _ADMIN = needs(Role.READ), needs(Role.ENROLL), needs(Role.ADMIN)
Token = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=100,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Your name for this request; asked again with it, nothing is done twice.",
    ),
]


@router.get("/people", response_model=answers.PeopleAnswer)
async def people(
    request: Request,
    caller: Caller = _READ,
    search: Annotated[str, Query(max_length=400)] = "",
    after: Annotated[str, Query(max_length=400)] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:  # noqa: ANN401
    """List people by name, a page at a time."""
    gallery = caller.house.gallery
    found, total = await state_of(request).work.run(
        gallery.page, _stored(search), after=_stored(after), limit=limit
    )
    more = found[-1].name if len(found) == limit else None
    listed = [person_json(person) for person in found]
    return {"schema": SCHEMA, "people": listed, "total": total, "next": more}


@router.post(
    "/people",
    status_code=201,
    response_model=answers.EnrolmentAnswer,
    openapi_extra=described(bodies.EnrolBody),
)
async def enrol(request: Request, caller: Caller = _ENROLL, token: Token = None) -> Any:  # noqa: ANN401
    """Enrol somebody; one photograph is enough. The same name again adds photographs."""
    async with admitted(request, bodies.EnrolBody) as asked:
        said = (asked.consent_reference, asked.consent_purpose, asked.consent_expires)
        consent = Consent(*said) if any(said) else None
        return await state_of(request).work.run(
            _enrolled, caller, token, asked.name, asked, consent
        )


@router.get("/people/{person}", response_model=answers.OnePersonAnswer)
async def one(request: Request, person: str, caller: Caller = _READ) -> Any:  # noqa: ANN401
    """Show what is stored of somebody, by id or name; never a photograph."""
    return await state_of(request).work.run(_shown, caller, person)


@router.patch(
    "/people/{person}",
    response_model=answers.ChangedPersonAnswer,
    openapi_extra=described(bodies.PersonBody),
)
async def change(request: Request, person: str, caller: Caller = _ENROLL) -> Any:  # noqa: ANN401
    """Give somebody another name, or write down another consent."""
    async with admitted(request, bodies.PersonBody) as asked:
        changed = await state_of(request).work.run(_changed, caller, person, asked)
    return {"schema": SCHEMA, "person": person_json(changed)}


@router.post(
    "/people/{person}/templates",
    status_code=201,
    response_model=answers.EnrolmentAnswer,
    openapi_extra=described(bodies.PhotographsBody),
)
async def add(
    request: Request,
    person: str,
    caller: Caller = _ENROLL,
    token: Token = None,
) -> Any:  # noqa: ANN401
    """Add photographs to somebody enrolled."""
    async with admitted(request, bodies.PhotographsBody) as asked:
        run = state_of(request).work.run
        name = (await run(caller.house.gallery.person, person)).name
        return await run(_enrolled, caller, token, name, asked, None)


@router.delete("/people/{person}", response_model=answers.RemovalAnswer)
async def remove(request: Request, person: str, caller: Caller = _ADMIN) -> Any:  # noqa: ANN401
    """Erase somebody: name, templates, photographs, and their bytes in the database."""
    return await state_of(request).work.run(_removed, caller, person)


@router.get("/people/{person}/erasure", response_model=answers.ErasureAnswer)
async def erasure(
    request: Request,
    person: str,
    caller: Caller = _ADMIN,
    name: Annotated[str, Query(max_length=400)] = "",
) -> Any:  # noqa: ANN401
    """Look for what is left of somebody who was removed, by id, in every table and raw byte.

    The name they had is looked for too, when it is given: it is known nowhere else any more.
    """
    report = await state_of(request).searches.run(_left, caller, person, _stored(name))
    return {"schema": SCHEMA, **report}


def _stored(text: str) -> str:
    """Refuse what no database stores as text."""
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise InputRefused("the text holds characters that cannot be stored")
    return text


def _shown(caller: Caller, name: str) -> dict[str, Any]:
    gallery = caller.house.gallery
    person = gallery.person(name)
    stored = [
        {
            "id": template.id,
            "created": template.created.isoformat(),
            "photograph_kept": gallery.keeps_photograph(template.id),
        }
        for template in gallery.templates(person.id)
    ]
    return {"schema": SCHEMA, "person": person_json(person), "templates": stored}


def _changed(caller: Caller, name: str, asked: bodies.PersonBody) -> Person:
    gallery = caller.house.gallery
    with caller.acting():
        person = gallery.person(name)
        if asked.consent is not None:
            stated = asked.consent
            consent = Consent(stated.reference, stated.purpose, stated.expires)
            person = gallery.renew(person.id, consent)
        if asked.name is not None:
            person = gallery.rename(person.id, asked.name)
    return person


def _removed(caller: Caller, name: str) -> dict[str, Any]:
    house = caller.house
    with caller.acting():
        gone = house.gallery.remove(house.gallery.person(name).id)
    person, remains = gone.persons[0], list(gone.remains)
    try:
        house.engine.lookup.fresh()  # where it is searched outside, erased there too
    except SearchUnavailable:
        remains.append("the search engine outside, which cannot be told now: at the next search")
    return {
        "schema": SCHEMA,
        "removed": {"id": person.id, "name": person.name},
        "templates": len(gone.templates),
        "erased": gone.erased,
        "remains": remains,
    }


def _left(caller: Caller, person: str, name: str) -> dict[str, Any]:
    from visavis.gallery.upkeep.leftovers import Holder, is_id  # noqa: PLC0415

    if not is_id(person):
        raise PersonUnknown("name somebody who was removed by the id that the removal answered")
    searcher = caller.house.engine.lookup.fresh()
    holders = [searcher] if isinstance(searcher, Holder) else []
    report = caller.house.gallery.check_erased(person, name, holders=holders)
    return {"clean": not report.leftovers, **report.as_dict()}


def _enrolled(
    caller: Caller,
    token: str | None,
    name: str,
    asked: bodies.PhotographsBody,
    consent: Consent | None,
) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        with caller.acting():
            done = caller.house.engine.enroll(
                name,
                asked.images,
                force=asked.force,
                keep_photographs=asked.keep_photographs,
                consent=consent,
            )
        return {
            "person": done.person.id,
            "added": len(done.added),
            "template_ids": list(done.added),
            "known": done.known,
            "faces": [sighting_json(seen) for seen in done.sightings],
        }

    said = [name.encode(), repr((asked.force, asked.keep_photographs, consent)).encode()]
    answer = _once(caller, token, [*said, *asked.images], work)
    person = caller.house.gallery.person(answer["person"])
    return {"schema": SCHEMA, **answer, "person": person_json(person)}


def _once(
    caller: Caller,
    token: str | None,
    parts: Sequence[bytes],
    work: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """Do what a request asks for, unless it was done before under the same token."""
    if token is None:
        return work()
    digests = [hashlib.sha256(part).digest() for part in parts]
    digest = hashlib.sha256(b"".join(digests)).hexdigest()
    access = caller.house.gallery.access
    before = access.claim(caller.id, token, digest)
    if before is not None:
        return {**before.answer, "person": PersonId(before.answer["person"])}
    try:
        answer = work()
    except BaseException:
        access.settle(caller.id, token, None)
        raise
    # It is done and stored; that the answer could not be kept is not to be told as a failure.
    for pause in (0.0, 0.2, 1.0):
        time.sleep(pause)
        with suppress(GalleryError):
            access.settle(caller.id, token, DoneRequest(201, answer))
            break
    return answer
