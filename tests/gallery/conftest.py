import pytest

from .given import opened


@pytest.fixture
def path(tmp_path):
    return tmp_path / "people.db"


@pytest.fixture
def gallery(path):
    with opened(path) as gallery:
        yield gallery
