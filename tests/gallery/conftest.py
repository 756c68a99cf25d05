"""A gallery on each of the two databases; what is said of ``where`` holds for both."""

from itertools import count

import pytest

from .given import opened
from .postgres_server import PostgresServer

_schemas = count()


@pytest.fixture(scope="session")
def postgres():
    """A running server; whoever stops it starts it again."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def path(tmp_path):
    """Where a gallery's file will be."""
    return tmp_path / "people.db"


@pytest.fixture
def url(postgres):
    """A schema of its own on the server."""
    return postgres.url(f"gallery_{next(_schemas)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request):
    """Where a gallery will be: a file, or a schema on the server."""
    return request.getfixturevalue({"sqlite": "path", "postgresql": "url"}[request.param])


@pytest.fixture
def gallery(where):
    with opened(where) as gallery:
        yield gallery
