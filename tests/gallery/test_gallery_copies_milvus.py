"""A Milvus filled from the gallery is held against it row by row, and dropped when not wanted."""

import pytest
from milvus_lite import server_manager_instance

from .filling_stories import FillingStories


@pytest.fixture(scope="module")
def milvus(tmp_path_factory):
    yield f"milvus-lite://{tmp_path_factory.mktemp('milvus') / 'vectors.db'}"
    server_manager_instance.release_all()


class TestMilvusLiteIsFilled(FillingStories):
    pass
