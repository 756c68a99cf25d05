"""A service over a gallery of its own, asked without a network between; its keys by role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003 - the dataclass names it

import pytest
from starlette.testclient import TestClient

from visavis.gallery import Gallery
from visavis.service.app import create
from visavis.service.config import ServiceConfig, ServiceLimits
from visavis.settings import Settings

ROLES = ("read", "identify", "enroll", "admin")
LIMITS = ServiceLimits(rate=0, body=4 << 20, images=5, patience=20.0)


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes
    ----------
    client
        Sends no key of its own.
    keys
        A key for each role, and who may do nothing here: "other" is of another gallery, "revoked"
        is revoked.
    """

    client: TestClient
    keys: dict[str, str]
    gallery: Path
    ids: dict[str, str]

    def as_(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[role]}"}

    def ask(self, role, method, address, **more):
        headers = {**self.as_(role), **more.pop("headers", {})}
        return self.client.request(method, address, headers=headers, **more)


@pytest.fixture(scope="session")
def settings(store, tmp_path_factory):
    base = tmp_path_factory.mktemp("service-data")
    return Settings.read({"VISAVIS_DATA": str(base), "VISAVIS_CACHE": str(store.cache)})


def keys_of(gallery: Gallery) -> tuple[dict[str, str], dict[str, str]]:
    made = {
        role: gallery.access.make_key(f"{role} key", [role])
        for role in (*ROLES, "revoked")
        if role != "revoked"
    }
    made["revoked"] = gallery.access.make_key("gone", ["admin"])
    gallery.access.revoke_key(made["revoked"][0].id)
    return {r: secret for r, (_, secret) in made.items()}, {r: k.id for r, (k, _) in made.items()}


@pytest.fixture(scope="module")
def served(settings, tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    with Gallery.open(base / "people.db", keys=settings.keys) as gallery:
        keys, ids = keys_of(gallery)
    with Gallery.open(base / "elsewhere.db", keys=settings.keys) as other:
        keys["other"] = other.access.make_key("other", ["admin"])[1]
    config = ServiceConfig((str(base / "people.db"),), threads=2, limits=LIMITS)
    with TestClient(create(config, settings), base_url="http://localhost") as client:
        yield Served(client, keys, base / "people.db", ids)


@pytest.fixture
def opened(settings, tmp_path):
    """A service that wants no keys."""
    config = ServiceConfig((str(tmp_path / "people.db"),), threads=1, open=True)
    config = replace(config, limits=LIMITS)
    with TestClient(create(config, settings), base_url="http://localhost") as client:
        yield client
