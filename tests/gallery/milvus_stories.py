"""What must be true of search in Milvus, told once and run on a server and on a file."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from visavis.errors import SearchUnavailable, TemplateRefused
from visavis.gallery import ExactSearcher, NewTemplate
from visavis.gallery.search.searchers import catch_up, open_searcher
from visavis.gallery.secrets.rotation import secret_rotation

from .given import ENCODER, at_angle, opened, some_vector, template

SECRET = b"the secret of this one gallery.."


def enrolled(gallery, name, *seeds):
    done = gallery.enroll(name, [template(seed) for seed in seeds or [name]], encoder=ENCODER)
    return done.person.id


def many(gallery, people, templates=4):
    """Enrol people of one to so many templates each."""
    gallery.enroll_all(
        [
            (f"person {n}", [template(f"person {n}, {m}") for m in range(1 + n % templates)])
            for n in range(people)
        ],
        encoder=ENCODER,
    )


def probes_of(people):
    """Faces of people who are enrolled, nearly as enrolled, and of as many strangers."""
    known = [some_vector(f"person {n}, 0") + 0.04 * some_vector(n) for n in range(people)]
    strangers = [some_vector(f"stranger {n}") for n in range(people)]
    rows = np.stack(known + strangers)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def assert_equal_to_exact(searcher, gallery, k=3):
    """Whom Milvus finds is whom the exact search finds, at the same distances."""
    exact = ExactSearcher()
    catch_up(exact, gallery)
    probes = probes_of(20)
    for mine, true in zip(searcher.nearest(probes, k), exact.nearest(probes, k), strict=True):
        assert [hit.person for hit in mine] == [hit.person for hit in true]
        assert [hit.distance for hit in mine] == pytest.approx(
            [hit.distance for hit in true], abs=1e-12
        )
    assert len(searcher) == len(exact)
    assert searcher.people == exact.people


def found(searcher, gallery, seed):
    """Person and distance of the nearest, once the searcher knows what the gallery knows."""
    catch_up(searcher, gallery)
    hits = searcher.nearest(some_vector(seed)[None], 1)[0]
    return (hits[0].person, hits[0].distance) if hits else None


class Stories:
    """To be run with a fixture ``milvus``: the URL of one that may hold other galleries too."""

    @pytest.fixture
    def where(self, path):
        """A file: it is Milvus that is looked at here, not the database."""
        return path

    @pytest.fixture
    def open_one(self, milvus, gallery):
        """Give a maker of searchers over one gallery, each like another process's."""
        with searchers(milvus, gallery) as make:
            yield make

    @pytest.fixture(scope="class")
    @classmethod
    def crowd(cls, milvus, tmp_path_factory):
        """Give a gallery of 50 people for the stories after which it is whole again."""
        path = tmp_path_factory.mktemp("crowd") / "people.db"
        with opened(path) as gallery, searchers(milvus, gallery) as make:
            many(gallery, 50)
            yield gallery, make

    def raw(self, searcher):
        """Give what an operator has who goes to Milvus without us."""
        return searcher._collection._client(10)

    def settle(self, searcher):
        """Wait until what an operator did has arrived."""
        searcher._collection.count(strong=True)

    def test_it_finds_whom_the_exact_search_finds(self, crowd):
        gallery, make = crowd
        searcher = make()
        for k in (1, 3, 10):  # nobody called `update`: it sees to that itself
            assert_equal_to_exact(searcher, gallery, k)
        assert (searcher.sequence, searcher.people) == (123, 50)

    def test_what_cannot_be_compared_is_refused(self, crowd):
        gallery, make = crowd
        searcher = make()
        catch_up(searcher, gallery)
        with pytest.raises(TemplateRefused, match="8 numbers"):
            searcher.nearest(some_vector(1, 8)[None], 1)
        with pytest.raises(TemplateRefused, match="unit"):
            searcher.nearest(np.full((1, 128), np.nan, np.float32), 1)
        with pytest.raises(TemplateRefused, match="rows"):
            searcher.nearest(some_vector(1), 1)
        with pytest.raises(ValueError, match="k is 0"):
            searcher.nearest(some_vector(1)[None], 0)

    def test_enrolments_and_removals_are_seen_by_every_process_at_once(self, gallery, open_one):
        one, other = open_one(), open_one()
        assert one.nearest(at_angle(0)[None], 3) == [[]]
        assert found(other, gallery, "Ada") is None
        for name in ("Ada", "Bob", "Eve"):
            person = enrolled(gallery, name)
            assert found(one, gallery, name) == (person, 0.0)
            assert found(other, gallery, name) == (person, 0.0)
        gone = gallery.remove("Ada")
        assert found(other, gallery, "Ada")[1] > 0.5
        assert found(one, gallery, "Ada")[1] > 0.5
        assert one.holding(gone.templates) == set()
        gallery.remove("Bob", "Eve")
        assert found(one, gallery, "Bob") is None
        assert found(other, gallery, "Bob") is None
        assert (len(one), one.people) == (0, 0)

    def test_a_person_of_many_templates_does_not_crowd_out_others(self, gallery, open_one):
        near = some_vector("Ada")
        rows = [near + 0.001 * some_vector(n) for n in range(60)]
        rows = [(row / np.linalg.norm(row)).astype(np.float32) for row in rows]
        new = [NewTemplate(row, "") for row in rows]
        ada = gallery.enroll("Ada", new, encoder=ENCODER).person.id
        others = {enrolled(gallery, name) for name in ("Bob", "Eve")}
        first, *rest = open_one().nearest(near[None], 4)[0]
        assert first.person == ada
        assert {hit.person for hit in rest} == others

    def test_only_turned_vectors_leave_and_another_secret_begins_anew(self, gallery, open_one):
        ada, before = enrolled(gallery, "Ada"), open_one()
        catch_up(before, gallery)
        (row,) = self.raw(before).query(
            before.name, filter=f'person == "{ada}"', output_fields=["*"]
        )
        there, own = np.array(row["vector"], np.float32), some_vector("Ada")
        assert set(row) == {"id", "person", "vector"}
        assert abs(float(there @ own)) < 0.5  # as far as any two vectors
        assert there == pytest.approx(own @ secret_rotation(SECRET, 128), abs=1e-6)
        after = open_one(secret=b"another secret of the same one..")
        assert before.name != after.name
        assert found(after, gallery, "Ada") == (ada, 0.0)
        assert not self.raw(after).has_collection(before.name)

    # Damage

    def test_rows_that_are_gone_are_noticed(self, crowd):
        gallery, make = crowd
        searcher = make()
        catch_up(searcher, gallery)
        one = gallery.templates(gallery.person("person 3").id)[0].id
        for which in ("id in ['" + one + "']", 'id != ""'):
            self.raw(searcher).delete(searcher.name, filter=which)
            self.settle(searcher)
            assert_equal_to_exact(searcher, gallery)
            assert searcher.holding([one]) == {one}

    def test_rows_that_were_missing_before_it_began_are_noticed(self, crowd):
        """What a collection says of itself may be wrong as well; the gallery knows better."""
        gallery, make = crowd
        first = make()
        catch_up(first, gallery)
        state = first._collection.state()
        one = gallery.templates(gallery.person("person 3").id)[0].id
        self.raw(first).delete(first.name, ids=[one])
        self.settle(first)
        first._collection.put(replace(state, count=state.count - 1))
        assert_equal_to_exact(make(), gallery)

    def test_a_dropped_collection_is_filled_again(self, crowd):
        gallery, make = crowd
        one, other = make(), make()
        catch_up(one, gallery)
        catch_up(other, gallery)
        self.raw(one).drop_collection(one.name)
        assert_equal_to_exact(one, gallery)
        assert_equal_to_exact(other, gallery)

    def test_a_collection_that_says_nothing_of_itself_is_made_anew(self, crowd):
        gallery, make = crowd
        searcher = make()
        catch_up(searcher, gallery)
        self.raw(searcher).alter_collection_properties(searcher.name, {"visavis.state": "other"})
        assert_equal_to_exact(searcher, gallery)

    def test_whoever_crashes_half_way_is_followed_by_another(self, gallery, open_one, monkeypatch):
        many(gallery, 20)
        people, step_of = 20, {"add": 1, "remove": 1, "put": 2}
        for step, number in step_of.items():
            first = open_one()
            catch_up(first, gallery)
            gallery.remove(f"person {people - 3}", f"person {people - 5}")
            people += 5
            many(gallery, people)
            with monkeypatch.context() as patched:
                crash_in(patched, first._collection, step, number)
                with pytest.raises(ConnectionResetError):
                    catch_up(first, gallery)
            second = open_one()
            left = second._collection.state()
            assert not left.resting
            assert_equal_to_exact(second, gallery)
            assert second._collection.state().resting
            assert second._collection.state().generation == left.generation  # gone on, not begun
            assert_equal_to_exact(first, gallery)
            assert second._collection.count() == gallery.template_count

    def test_a_gallery_put_back_from_a_backup_replaces_everything(
        self, gallery, open_one, tmp_path
    ):
        enrolled(gallery, "Ada")
        with closing(sqlite3.connect(gallery.path)) as db:
            db.execute("VACUUM INTO ?", [str(tmp_path / "old.db")])
        enrolled(gallery, "Bob")
        searcher = open_one()
        assert found(searcher, gallery, "Bob")[1] == 0.0
        with opened(tmp_path / "old.db") as restored:
            again = open_one(of=restored)
            eve = enrolled(restored, "Eve")
            assert found(again, restored, "Eve") == (eve, 0.0)
            assert found(again, restored, "Bob")[1] > 0.5
            assert again._collection.count() == 2

    def test_another_index_than_the_collection_has_is_refused(self, gallery, open_one):
        ada = enrolled(gallery, "Ada")
        catch_up(open_one(), gallery)
        other = open_one(more="?index=hnsw")
        with pytest.raises(SearchUnavailable, match="index=flat") as refused:
            catch_up(other, gallery)
        assert refused.value.code == "search_unavailable"
        other.drop()
        assert found(other, gallery, "Ada") == (ada, 0.0)

    # Many at once

    def test_portions_and_threads(self, gallery, open_one):
        """Four searchers fill one collection from small portions; every enrolment is found."""
        many(gallery, 60)
        faults = []

        def work(number):
            searcher = open_one()
            for n in range(3):
                name = f"thread {number}, {n}"
                person = enrolled(gallery, name)
                if found(searcher, InPortions(gallery), name) != (person, 0.0):
                    faults.append(name)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))
        assert faults == []
        last = open_one()
        assert_equal_to_exact(last, gallery)
        assert last._collection.count() == gallery.template_count


class InPortions:
    """A gallery whose change log comes 40 entries at a time."""

    def __init__(self, gallery):
        self._gallery = gallery

    def changes(self, since, mark="", limit=40):
        return self._gallery.changes(since, mark, min(limit, 40))


@contextmanager
def searchers(url, gallery):
    """Give a maker of searchers; afterwards Milvus has nothing left of the gallery."""
    made = []

    def make(of=gallery, secret=SECRET, more=""):
        made.append(open_searcher(url + more, of, secret=secret))
        return made[-1]

    yield make
    for searcher in made:
        searcher.close()
    last = open_searcher(url, gallery, secret=SECRET)
    last.drop()
    last.close()


def crash_in(patched, collection, step, number):
    """Let the so-and-so-manieth call of a step fail; of rows to add, half arrive."""
    whole, calls = getattr(collection, step), []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) != number:
            return whole(*arguments)
        if step == "add":
            half = len(arguments[0]) // 2
            whole(*(part[:half] for part in arguments))
        raise ConnectionResetError("crashed")

    patched.setattr(collection, step, crash)
