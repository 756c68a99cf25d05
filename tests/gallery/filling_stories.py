"""What must hold of every Milvus that is filled from a gallery, in memory or on a server."""

import pytest

from visavis.errors import CopyDiffers
from visavis.gallery.search.searchers import catch_up, open_milvus
from visavis.gallery.transfer import filling
from visavis.gallery.transfer.filling import fill

from .copyists import KEY, portrait
from .given import ENCODER, opened, some_vector


class FillingStories:
    """To be run with a fixture ``milvus``: the URL of one that may hold other galleries too."""

    @pytest.fixture
    def crowd(self, path, milvus):
        with opened(path, keys=KEY) as gallery:
            gallery.enroll_all(
                [(f"person {n}", [portrait(f"{n} {m}") for m in range(2)]) for n in range(30)],
                encoder=ENCODER,
            )
            gallery.remove("person 3")
            searcher = open_milvus(milvus, gallery)
            yield gallery, searcher
            searcher.drop()
            searcher.close()

    def test_it_is_filled_and_every_row_is_looked_at(self, crowd, monkeypatch):
        gallery, searcher = crowd
        monkeypatch.setattr(filling, "PORTION", 7)
        seen = []
        done = fill(searcher, gallery, lambda done, total: seen.append((done, total)))
        assert (done.templates, done.name) == (58, searcher.name)
        assert seen[-1] == (62, 62)
        assert fill(searcher, gallery) == done
        (hits,) = searcher.nearest(some_vector("7 1")[None], 1)
        assert hits[0].person == gallery.person("person 7").id

    @pytest.mark.parametrize("what", ["moved", "another's", "gone"])
    def test_a_row_that_is_not_the_gallerys_is_found(self, crowd, what):
        gallery, searcher = crowd
        fill(searcher, gallery)
        person = gallery.person("person 7")
        (template, other) = (t.id for t in gallery.templates(person.id))
        collection = searcher._collection
        whose, vector = searcher.rows([template])[template]
        if what == "gone":
            collection.remove([template])
        else:
            stranger = gallery.person("person 8").id
            moved = searcher.turned(some_vector("a stranger")[None])
            collection.add(
                [template],
                [stranger if what == "another's" else whose],
                moved if what == "moved" else vector[None],
            )
        with pytest.raises(CopyDiffers, match="--drop"):
            fill(searcher, gallery)
        assert set(searcher.rows([template, other])) == (
            {other} if what == "gone" else {template, other}
        )

    def test_back_means_that_it_is_dropped(self, crowd):
        gallery, searcher = crowd
        fill(searcher, gallery)
        templates = gallery.changes(0).added
        assert searcher.holding(templates) == set(templates)
        searcher.drop()
        assert searcher.holding(templates) == set()
        assert searcher.count() == 0
        catch_up(searcher, gallery)  # and it can be filled again
        assert searcher.count() == 58
