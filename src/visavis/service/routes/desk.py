"""What the person at the desk looks at: gallery, operating points, audit, keys, the session."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from visavis.errors import Forbidden, OperatingPointRefused, Unauthenticated
from visavis.gallery.access import Role
from visavis.service import answers, bodies
from visavis.service.bodies import admitted, described
from visavis.service.state import House, State, state_of
from visavis.service.who import Caller, Doorkeeper, needs, own_origin
from visavis.spelling import SCHEMA

if TYPE_CHECKING:
    from visavis.decide import OperatingCurve
    from visavis.gallery.access import ApiKey, ConsoleSession
    from visavis.values import OperatingPoint

router = APIRouter()
_READ, _ADMIN, _ANYBODY = needs(Role.READ), needs(Role.ADMIN), needs(None)
_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@router.get("/gallery", response_model=answers.GalleryAnswer, tags=["gallery"])
async def gallery(request: Request, caller: Caller = _READ) -> Any:  # noqa: ANN401
    """Say what the gallery holds."""
    info = await state_of(request).work.run(caller.house.gallery.info)
    told = info.as_dict()
    # Where it lies and what seals it is the house's own affair.
    return {
        "schema": SCHEMA,
        **{k: told[k] for k in answers.GalleryAnswer.model_fields if k in told},
    }


@router.get("/operating-points", response_model=answers.PointsAnswer, tags=["gallery"])
async def points(
    request: Request,
    caller: Caller = _READ,
    gallery_size: Annotated[int | None, Query(ge=1, le=10**10)] = None,
) -> Any:  # noqa: ANN401
    """Say what each error rate takes: tau, for a claim and for a gallery of a size."""
    return await state_of(request).work.run(_points, caller.house, gallery_size)


@router.get("/audit", response_model=answers.AuditEntries, tags=["audit"])
async def audit(
    request: Request,
    caller: Caller = _ADMIN,
    person: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
    newest: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, lt=1 << 63)] = None,
) -> Any:  # noqa: ANN401
    """Show the newest entries of the audit log; of one person, by id, or of all.

    ``next`` is what to give as ``before`` for those that are older, and null when there are none.
    """

    def read() -> list[dict[str, Any]]:
        log = caller.house.gallery.audit
        found = log.entries(subject=person, newest=newest + 1, before=before)
        return [entry.as_dict() for entry in found]

    found = await state_of(request).work.run(read)
    more, entries = len(found) > newest, found[-newest:]
    return {"schema": SCHEMA, "entries": entries, "next": entries[0]["seq"] if more else None}


@router.get("/audit/verify", response_model=answers.AuditVerified, tags=["audit"])
async def verify_audit(
    request: Request,
    caller: Caller = _ADMIN,
    anchor: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:  # noqa: ANN401
    """Find any entry that was changed, dropped or moved."""
    report = await state_of(request).searches.run(caller.house.gallery.audit.verify, anchor)
    return {"schema": SCHEMA, **report.as_dict()}


@router.get("/keys", response_model=answers.KeysAnswer, tags=["keys"])
async def keys(request: Request, caller: Caller = _ADMIN) -> Any:  # noqa: ANN401
    """List every API key; never a secret."""
    found = await state_of(request).work.run(caller.house.gallery.access.keys)
    return {"schema": SCHEMA, "keys": [key.as_dict() for key in found]}


@router.post(
    "/keys",
    status_code=201,
    response_model=answers.NewKeyAnswer,
    tags=["keys"],
    openapi_extra=described(bodies.KeyBody),
)
async def make_key(request: Request, caller: Caller = _ADMIN) -> Any:  # noqa: ANN401
    """Make an API key of this gallery; its secret is answered once, here."""

    def make(asked: bodies.KeyBody) -> tuple[ApiKey, str]:
        with caller.acting():
            access = caller.house.gallery.access
            return access.make_key(asked.name, asked.roles, asked.expires)

    async with admitted(request, bodies.KeyBody) as asked:
        key, secret = await state_of(request).work.run(make, asked)
    return {"schema": SCHEMA, "key": key.as_dict(), "secret": secret}


@router.delete("/keys/{key}", response_model=answers.OneKeyAnswer, tags=["keys"])
async def revoke_key(request: Request, key: str, caller: Caller = _ADMIN) -> Any:  # noqa: ANN401
    """Let a key open nothing from now on."""

    def revoke() -> ApiKey:
        with caller.acting():
            return caller.house.gallery.access.revoke_key(key)

    gone = await state_of(request).work.run(revoke)
    keeper: Doorkeeper = request.app.state.doorkeeper
    keeper.forget()
    return {"schema": SCHEMA, "key": gone.as_dict()}


@router.post(
    "/session",
    response_model=answers.SessionAnswer,
    tags=["session"],
    openapi_extra=described(bodies.LoginBody),
)
async def log_in(request: Request, response: Response) -> Any:  # noqa: ANN401
    """Begin a console session with an API key."""
    state = state_of(request)
    if not own_origin(request):
        raise Forbidden("this came from a page of another site")
    state.rates.take(f"address {request.client.host if request.client else '?'}")
    # Nobody knows yet who this is: it takes no place from those who showed a key.
    async with state.logins:
        asked = await bodies.read(request, bodies.LoginBody, most=4096, patience=3.0)
    with state.work.admit():
        found = await state.work.run(state.key_of, asked.key.strip())
        if found is None:
            raise Unauthenticated("this key opens nothing: it is wrong, expired or revoked")
        house, key = found
        if not house.gallery.writable:
            raise Forbidden("the gallery may only be read here, so no session can begin")
        session, secret = await state.work.run(house.gallery.access.begin_session, key.id)
    _give(response, state, secret)
    return session_json(state, Caller(house, key, session), session)


@router.get("/session", response_model=answers.SessionAnswer, tags=["session"])
async def session(request: Request, response: Response) -> Any:  # noqa: ANN401
    """Say who the browser is; where the service runs open, begin a session."""
    state = state_of(request)
    keeper: Doorkeeper = request.app.state.doorkeeper
    caller = await keeper.caller(request)
    if caller is None or not own_origin(request):
        raise Unauthenticated("log in first")
    if caller.session is None:
        if caller.key is not None:
            raise Unauthenticated("a key alone has no session; log in with it")
        begin = caller.house.gallery.access.begin_session
        begun, secret = await state.work.run(begin, "")
        _give(response, state, secret)
        return session_json(state, caller, begun)
    return session_json(state, caller, caller.session)


@router.delete("/session", status_code=204, tags=["session"])
async def log_out(request: Request, caller: Caller = _ANYBODY) -> Response:
    """End the console session."""
    state = state_of(request)
    secret = request.cookies.get(state.config.cookie, "")
    await state.work.run(caller.house.gallery.access.end_session, secret)
    gone = Response(status_code=204)
    gone.delete_cookie(state.config.cookie, **_cookie(state))
    return gone


def session_json(state: State, caller: Caller, session: ConsoleSession) -> dict[str, Any]:
    """Spell a session, without its cookie."""
    return {
        "schema": SCHEMA,
        "roles": caller.roles,
        "gallery": caller.house.name,
        "csrf": session.csrf,
        "open": state.config.open,
    }


def _give(response: Response, state: State, secret: str) -> None:
    response.set_cookie(state.config.cookie, secret, **_cookie(state))


def _cookie(state: State) -> dict[str, Any]:
    """Say what a browser may do with it; it takes no other end of a cookie than one said alike."""
    told = {"httponly": True, "samesite": "strict", "path": "/"}
    return {**told, "secure": state.config.secure}


def _fnmr(curve: OperatingCurve, point: OperatingPoint) -> float | None:
    """Say how often somebody enrolled is refused at a point; None where nobody measured it."""
    missed = curve.missed(point.tau)
    return None if missed is None else missed.fnmr


def _points(house: House, size: int | None) -> dict[str, Any]:
    engine = house.engine
    curve, size = engine.curve, size or max(1, house.gallery.template_count)
    claims, searches = [], []
    for rate in _RATES:
        # Rates that nothing measured can vouch for are left out.
        with suppress(OperatingPointRefused):
            point = curve.verification(rate)
            claims.append(
                {
                    "fmr": rate,
                    "fmr_upper": point.fmr_upper,
                    "fnmr": _fnmr(curve, point),
                    "tau": round(point.tau, 6),
                    "extrapolated": point.extrapolated,
                }
            )
        with suppress(OperatingPointRefused):
            found = curve.identification(rate, size)
            searches.append(
                {
                    "fpir": rate,
                    "fnmr": _fnmr(curve, found),
                    "tau": round(found.tau, 6),
                    "extrapolated": found.extrapolated,
                }
            )
    return {
        "schema": SCHEMA,
        "encoder": engine.encoder.id,
        "encoder_name": engine.encoder.name,
        "tuned_on": curve.tuned_on,
        "pairs": curve.pairs,
        "gallery_size": size,
        "defaults": {"fmr": engine.config.fmr, "fpir": engine.config.fpir},
        "verification": claims,
        "identification": searches,
        "curve": [
            {"fmr": p.fmr, "tau": round(p.tau, 6), "lower": p.lower, "upper": p.upper}
            for p in curve.points
        ],
        "mated": curve.mated,
        "misses": [
            {"fnmr": m.fnmr, "tau": round(m.tau, 6), "lower": m.lower, "upper": m.upper}
            for m in curve.misses
        ],
    }
