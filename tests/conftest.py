"""What the tests share: real photographs, fetched once by digest, and the shipped networks."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import pytest

from visavis import cli
from visavis.cli.portraits import portraits
from visavis.engine import Engine, EngineConfig
from visavis.models import Cores, ModelStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Run:
    """What one call of the command line did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Run]:
    """Call the command line in this process, as it is called, with ``typed`` as its input."""

    def call(*words: object, typed: str = "") -> Run:
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Run(int(left.value.code or 0), out, err)

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is marked slow last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory of this session's own: no test makes a master key in somebody's home.

    By the environment, so that the processes that tests start find it too.
    """
    before = os.environ.get("XDG_DATA_HOME")
    home = tmp_path_factory.mktemp("data-home")
    os.environ["XDG_DATA_HOME"] = str(home)
    yield home
    if before is None:
        del os.environ["XDG_DATA_HOME"]
    else:
        os.environ["XDG_DATA_HOME"] = before


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
