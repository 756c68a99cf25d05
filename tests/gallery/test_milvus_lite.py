"""Search in a Milvus that is a file: no server, one process."""

import pytest
from milvus_lite import server_manager_instance

from visavis.errors import SearchUnavailable

from .milvus_stories import Stories, catch_up, enrolled, found, open_searcher


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    yield tmp_path_factory.mktemp("milvus") / "vectors.db"
    server_manager_instance.release_all()


@pytest.fixture(scope="module")
def milvus(file):
    return f"milvus-lite://{file}"


class TestMilvusLite(Stories):
    def test_it_is_there_after_a_restart(self, gallery, open_one, file):
        ada, searcher = enrolled(gallery, "Ada"), open_one()
        catch_up(searcher, gallery)
        generation = searcher._collection.state().generation
        searcher.close()
        server_manager_instance.release_server(str(file))
        again = open_one()
        assert found(again, gallery, "Ada") == (ada, 0.0)
        assert again._collection.state().generation == generation


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
def test_a_file_that_cannot_be_opened_is_refused(gallery, tmp_path):
    (tmp_path / "taken.db").write_text("something else")
    enrolled(gallery, "Ada")
    searcher = open_searcher(f"milvus-lite://{tmp_path}/taken.db", gallery, secret=bytes(32))
    with pytest.raises(SearchUnavailable, match=r"taken\.db"):
        catch_up(searcher, gallery)
