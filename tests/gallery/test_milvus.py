"""Search in a real Milvus server, also while that is down, slow, killed or emptied."""

import shutil
import threading
import time

import pytest

from visavis.errors import SearchUnavailable

from .filling_stories import FillingStories
from .given import opened, some_vector
from .milvus_server import VENV, MilvusServer, wheel
from .milvus_stories import (
    SECRET,
    Stories,
    assert_equal_to_exact,
    catch_up,
    enrolled,
    found,
    many,
    open_searcher,
    searchers,
)
from .others import started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        wheel() is None, reason=f"there is no Milvus server in {VENV}; 'make milvus' installs one"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("milvus")
    server = MilvusServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def milvus(server):
    return server.url


class TestMilvusServerIsFilled(FillingStories):
    pass


class TestMilvusServer(Stories):
    def test_a_server_that_is_down_is_an_error_and_never_a_stranger(self, gallery):
        enrolled(gallery, "Ada")
        searcher = open_searcher("milvus://127.0.0.1:9?timeout=1", gallery, secret=SECRET)
        began = time.monotonic()
        for ask in (
            lambda: catch_up(searcher, gallery),
            lambda: searcher.nearest(some_vector("Ada")[None], 1),
            lambda: searcher.sequence,
        ):
            with pytest.raises(SearchUnavailable, match=r"127\.0\.0\.1:9") as refused:
                ask()
            assert "\n" not in str(refused.value)
        assert time.monotonic() - began < 10

    def test_a_server_that_hangs_is_an_error_after_the_timeout(self, gallery, open_one, server):
        ada, searcher = enrolled(gallery, "Ada"), open_one(more="?timeout=1.5")
        assert found(searcher, gallery, "Ada") == (ada, 0.0)
        server.pause()
        try:
            bob = enrolled(gallery, "Bob")  # the gallery itself goes on
            began = time.monotonic()
            with pytest.raises(SearchUnavailable):
                searcher.nearest(some_vector("Ada")[None], 1)
            with pytest.raises(SearchUnavailable):
                catch_up(searcher, gallery)
            assert time.monotonic() - began < 8
        finally:
            server.resume()
        patiently(lambda: found(searcher, gallery, "Bob") == (bob, 0.0))
        assert found(searcher, gallery, "Ada") == (ada, 0.0)

    def test_a_collection_that_was_released_is_loaded_again(self, gallery, open_one):
        ada, searcher = enrolled(gallery, "Ada"), open_one()
        catch_up(searcher, gallery)
        self.raw(searcher).release_collection(searcher.name)
        assert found(searcher, gallery, "Ada") == (ada, 0.0)

    @pytest.mark.parametrize("where", ["path", "url"], ids=["sqlite", "postgresql"])
    def test_two_processes_send_at_once(self, where, milvus, request):
        where = request.getfixturevalue(where)
        with opened(where) as gallery, searchers(milvus, gallery) as make:
            many(gallery, 30)
            with (
                started(enrol_and_find, where, milvus, "one"),
                started(enrol_and_find, where, milvus, "two"),
            ):
                pass
            searcher = make()
            assert_equal_to_exact(searcher, gallery)
            names = {person.name for person in gallery.people()}
            assert {f"{who} {n} was found" for who in ("one", "two") for n in range(4)} <= names
            assert searcher._collection.count() == gallery.template_count

    def test_killed_while_it_is_filled_and_started_again(self, gallery, open_one, server):
        many(gallery, 30)
        searcher = open_one(more="?timeout=2")
        catch_up(searcher, gallery)
        over, seen = threading.Event(), []

        def enrol():
            number = 0
            while not over.is_set():
                number += 1
                person = enrolled(gallery, f"later {number}")
                try:
                    seen.append(found(searcher, gallery, f"later {number}") == (person, 0.0))
                except SearchUnavailable:
                    seen.append(None)

        thread = threading.Thread(target=enrol)
        thread.start()
        try:
            patiently(lambda: len(seen) > 3)
            server.kill()
            patiently(lambda: None in seen)
            server.start()
            patiently(lambda: seen[-1] is True)
        finally:
            over.set()
            thread.join()
        assert False not in seen  # an answer is right, or there is none
        assert_equal_to_exact(searcher, gallery)
        assert searcher._collection.count() == gallery.template_count

    def test_emptied_behind_our_back(self, gallery, open_one, server):
        """The disk is replaced: Milvus comes back and knows of nothing."""
        many(gallery, 30)
        searcher = open_one()
        catch_up(searcher, gallery)
        server.kill()
        server.wipe()
        server.start()
        assert_equal_to_exact(searcher, gallery)


def patiently(truth, seconds=40):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if truth():
                return
        except SearchUnavailable:
            pass
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.05)


def enrol_and_find(where, milvus, who):
    """In another process: enrol and find at once; a name that is entered later tells of it."""
    with opened(where) as gallery:
        searcher = open_searcher(milvus, gallery, secret=SECRET)
        for number in range(4):
            name = f"{who} {number}"
            person = enrolled(gallery, name)
            if found(searcher, gallery, name) == (person, 0.0):
                gallery.rename(person, f"{name} was found")
        searcher.close()
