"""What the tests share: real photographs, fetched once by digest, and the shipped networks."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from visavis.cli.portraits import portraits
from visavis.engine import Engine, EngineConfig
from visavis.models import Cores, ModelStore


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is marked slow last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def photographs() -> dict[str, Path]:
    """The demo's portraits by file name, from the user's cache."""
    return portraits(Path(platformdirs.user_cache_dir("visavis", appauthor=False)))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The shipped networks, with a cache of this session's own."""
    base = tmp_path_factory.mktemp("models")
    return ModelStore(base / "cache", base / "data")


@pytest.fixture(scope="session")
def engine(store: ModelStore) -> Engine:
    """An engine without a gallery."""
    return Engine.open(config=EngineConfig(store=store, cores=Cores(threads=1)))
