"""The application: routes and pages around the engines of the galleries that are served."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

import visavis
from visavis.errors import BodyTooLarge, InputRefused, MethodRefused, NothingThere, VisavisError
from visavis.gallery.access import Role
from visavis.service import answers, live, log, pages
from visavis.service.config import ServiceConfig
from visavis.service.ledger import Ledger
from visavis.service.limiting import CHALLENGES, CallersAttempts, LockOut, RateLimit
from visavis.service.metrics import Metrics
from visavis.service.middleware import Around, log_refusal
from visavis.service.protocols import LIMITS
from visavis.service.refusals import REFUSALS, in_words, refusal, spelt
from visavis.service.routes import decide, desk, people
from visavis.service.searches import Searches
from visavis.service.state import House, State, require_keys, state_of
from visavis.service.webhook import Webhook, WebhookConfig
from visavis.service.who import Caller, Doorkeeper, needs
from visavis.service.work import Work
from visavis.settings import Settings
from visavis.spelling import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

TOLD = "VISAVIS_SERVICE"
"""How worker processes are told the configuration."""
SECRET = "VISAVIS_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
_READ = needs(Role.READ)
_TURN = 0.0002
"""Seconds after which a thread that computes lets another go on, in a process of the service's own.

Each of a request's turns waits for the interpreter while faces are looked at, 5 ms at most by
default; see ``benchmarks/service.py throughput``.
"""
_SEARCH = 3
"""So many times longer than for anything else one waits for a search of the whole gallery."""


def create(config: ServiceConfig, settings: Settings, *, secret: str = "") -> FastAPI:
    """Make the application; the galleries are opened when it starts.

    Parameters
    ----------
    secret
        What the webhook is signed with; wanted where there is one.
    """
    app = FastAPI(
        title="visavis",
        version=visavis.__version__,
        summary="Recognise people by one photograph.",
        lifespan=_lifespan(config, settings, secret),
        docs_url=None,
        redirect_slashes=False,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        responses=REFUSALS,
    )
    app.state.doorkeeper = Doorkeeper()
    app.add_middleware(Around)
    for router in (decide.router, people.router, desk.router):
        app.include_router(router, prefix="/v1")
    app.include_router(live.router)
    app.include_router(pages.router)
    app.add_exception_handler(VisavisError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)

    @app.get("/health", response_model=answers.StatusAnswer, tags=["state"])
    async def health() -> Any:  # noqa: ANN401
        """Say that the process answers."""
        return {"schema": SCHEMA, "status": "ok"}

    @app.get(
        "/ready",
        response_model=answers.StatusAnswer,
        tags=["state"],
        responses={503: {"model": answers.StatusAnswer}},
    )
    async def ready(request: Request) -> Any:  # noqa: ANN401
        """Say whether requests can be answered now: the galleries can be read."""
        fault = await asyncio.to_thread(state_of(request).fault)
        body = {"schema": SCHEMA, "status": fault or "ready"}
        return JSONResponse(body, 503 if fault else 200)

    @app.get("/metrics", tags=["state"], response_class=Response)
    async def metrics(request: Request, caller: Caller = _READ) -> Response:  # noqa: ARG001
        """Give counts to Prometheus."""
        text, kind = state_of(request).metrics.text()
        return Response(text, media_type=kind)

    return app


def worker() -> FastAPI:
    """Make the application in a worker process, of what its parent left in the environment."""
    environment: Mapping[str, str] = os.environ
    log.begin()
    sys.setswitchinterval(_TURN)
    settings = Settings.read(environment)
    config = ServiceConfig.from_json(environment[TOLD])
    return create(config, settings, secret=environment.get(SECRET, ""))


def open_houses(config: ServiceConfig, settings: Settings, threads: int) -> list[House]:
    """Open every gallery with an engine of its own.

    Raises
    ------
    GalleryError, ModelError, ServiceUnprotected
    """
    from visavis.engine import Engine, EngineConfig  # noqa: PLC0415
    from visavis.models import Cores  # noqa: PLC0415

    chosen = EngineConfig(
        encoder=config.encoder,
        cores=Cores(threads, threads),
        search=config.search or settings.search,
        search_token=settings.search_token,
        store=settings.store,
        keys=settings.keys,
        actor="service",
    )
    houses: list[House] = []
    try:
        for gallery in config.galleries:
            engine = Engine.open(gallery, replace(chosen))
            lockout = LockOut(engine.gallery)
            attempts = CallersAttempts(lockout)
            engine.alive.attempts = attempts
            ledger, challenges = Ledger(engine.gallery), LockOut(engine.gallery, CHALLENGES)
            houses.append(House(_name(gallery), engine, ledger, lockout, challenges, attempts))
        require_keys(config, houses)
    except BaseException:
        close_houses(houses)
        raise
    return houses


def close_houses(houses: list[House]) -> None:
    """Write what waits, and close."""
    for house in houses:
        house.ledger.close()
        house.engine.close()


def _lifespan(config: ServiceConfig, settings: Settings, secret: str) -> Any:  # noqa: ANN401
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        threads = config.threads or os.cpu_count() or 1
        houses = await asyncio.to_thread(open_houses, config, settings, threads)
        work = Work(threads, config.limits.queue, config.limits.patience)
        searches = Searches(_SEARCH * config.limits.patience)
        webhook = (
            Webhook(WebhookConfig(config.webhook), secret.encode()) if config.webhook else None
        )
        rates = RateLimit(config.limits.rate)
        state = State(config, houses, work, searches, rates, Metrics(work), webhook)
        app.state.service = state
        gc.freeze()  # what is there now stays; looking through it again finds nothing
        log.say("started", galleries=len(houses), threads=threads, open=config.open)
        try:
            yield {LIMITS: config.limits}
        finally:
            state.stopping.set()
            # A door that decided in one of these threads still has its gate told.
            await asyncio.to_thread(work.close)
            if webhook is not None:
                await webhook.close()
            await asyncio.to_thread(searches.close)
            await asyncio.to_thread(close_houses, houses)
            log.say("stopped")

    return life


async def _refused(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, VisavisError)
    log_refusal(request, fault)
    return refusal(fault)


async def _invalid(request: Request, fault: Exception) -> Response:  # noqa: ARG001
    assert isinstance(fault, RequestValidationError)
    return refusal(InputRefused(in_words(fault.errors())))


async def _http(request: Request, fault: Exception) -> Response:  # noqa: ARG001
    assert isinstance(fault, HTTPException)
    known: dict[int, VisavisError] = {
        404: NothingThere("there is nothing at this address"),
        405: MethodRefused("this address does not take that method"),
        413: BodyTooLarge("the request is too large"),
    }
    headers = dict(fault.headers or {})
    if fault.status_code in known:
        return refusal(known[fault.status_code], headers)
    return JSONResponse(spelt("input_refused", str(fault.detail)), fault.status_code, headers)


def _name(gallery: str) -> str:
    """Call a gallery by its file's stem or its database, and never by a path or password."""
    if "://" in gallery:
        return Path(urlsplit(gallery).path).stem or "gallery"
    return Path(gallery).stem
