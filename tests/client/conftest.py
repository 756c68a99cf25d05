"""A real service on a port of this machine, with a gallery and keys of its own."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

import pytest
from wires import Wire, running

from visavis.engine import Engine, EngineConfig
from visavis.gallery import Gallery
from visavis.models import Cores
from visavis.service.app import create
from visavis.service.config import ServiceConfig, ServiceLimits
from visavis.settings import Settings


@dataclass(frozen=True)
class House:
    """A service, its keys by role, its gallery's engine in this process, and a wire to cut."""

    url: str
    wire: Wire
    keys: dict[str, str]
    engine: Engine


@pytest.fixture(scope="module")
def house(store, tmp_path_factory):
    base = tmp_path_factory.mktemp("client")
    told = {"VISAVIS_DATA": str(base / "data"), "VISAVIS_CACHE": str(store.cache)}
    settings = Settings.read(told)
    path = base / "people.db"
    with Gallery.open(path, keys=settings.keys) as gallery:
        keys = {
            role: gallery.access.make_key(role, [role])[1]
            for role in ("read", "identify", "enroll", "admin")
        }
    limits = ServiceLimits(rate=0, patience=20.0)
    config = ServiceConfig((str(path),), threads=1, limits=limits)
    chosen = EngineConfig(store=settings.store, keys=settings.keys, cores=Cores(1, 1))
    with running(create(config, settings)) as port, Engine.open(path, chosen) as engine:
        wire = Wire(port)
        thread = threading.Thread(target=wire.serve, daemon=True)
        thread.start()
        yield House(f"http://127.0.0.1:{port}", wire, keys, engine)
        # Closing alone does not wake who waits in accept.
        with suppress(OSError):
            wire.listener.shutdown(socket.SHUT_RDWR)
        wire.listener.close()
        thread.join()
