"""Search in Milvus from the command line, by VISAVIS_SEARCH and --search: a file of milvus-lite."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pymilvus  # noqa: F401 - while it is imported it closes the streams of other libraries' logs
import pytest
from milvus_lite import server_manager_instance

from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.search.searchers import catch_up, open_milvus
from visavis.gallery.secrets.protection import Keys
from visavis.values import Consent, EncoderId

ENCODER = EncoderId("sface-fp32-0123456789abcdef")
SOON = Consent(expires=datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def milvus(tmp_path, monkeypatch):
    url = f"milvus-lite://{tmp_path}/vectors.db"
    monkeypatch.setenv("VISAVIS_SEARCH", url)
    yield url
    server_manager_instance.release_all()


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_GALLERY", str(tmp_path / "people.db"))
    monkeypatch.setenv("VISAVIS_KEY", bytes(32).hex())
    return tmp_path / "people.db"


@pytest.fixture
def visavis(command_line):
    def call(*words, **more):
        run = command_line(*words, **more)
        return run.status, run.out, run.err

    return call


def filled(path, url, **consents):
    """Enrol people, bring them to Milvus, and give the templates of each."""
    with Gallery.open(path, keys=bytes(32)) as gallery:
        gallery.bind(ENCODER, "sface")
        for n, (name, consent) in enumerate(consents.items()):
            vector = np.eye(8, dtype=np.float32)[n]
            gallery.enroll(name, [NewTemplate(vector)], encoder=ENCODER, consent=consent)
        searcher = open_milvus(url, gallery)
        catch_up(searcher, gallery)
        people = {p.name: (p.id, [t.id for t in gallery.templates(p.id)]) for p in gallery.people()}
        everybody = [key for _, templates in people.values() for key in templates]
        assert searcher.holding(everybody) == set(everybody)
        searcher.close()
    return people


def held(path, url, templates):
    with Gallery.open(path, keys=bytes(32)) as gallery:
        searcher = open_milvus(url, gallery)
        found = searcher.holding(templates)
        searcher.close()
    return found


def test_who_is_removed_is_erased_in_milvus_too(path, milvus, visavis):
    people = filled(path, milvus, Ada=None, Bob=None)
    (ada, of_ada), (_, of_bob) = people["Ada"], people["Bob"]
    status, _, err = visavis("people", "remove", "Ada", "--yes")
    assert (status, err) == (0, "")
    assert held(path, milvus, of_ada + of_bob) == set(of_bob)
    assert visavis("gallery", "check", "--erased", ada)[:2] == (0, "nothing is left\n")


def test_whose_consent_ended_is_erased_in_milvus_too(path, milvus, visavis, monkeypatch):
    people = filled(path, milvus, Ada=SOON, Bob=None)
    after = SOON.expires + timedelta(days=1)
    expire = Gallery.expire
    monkeypatch.setattr(Gallery, "expire", lambda self: expire(self, after))
    assert visavis("gallery", "expire")[0] == 0
    assert held(path, milvus, people["Ada"][1] + people["Bob"][1]) == set(people["Bob"][1])


def test_the_check_finds_what_milvus_was_not_told_of(path, milvus, visavis):
    people = filled(path, milvus, Ada=None, Bob=None)
    ada = people["Ada"][0]
    with Gallery.open(path, keys=bytes(32)) as gallery:
        gallery.remove("Ada")
    status, out, _ = visavis("gallery", "check", "--erased", ada, "--json")
    assert status == 3
    assert [left["what"] for left in json.loads(out)["leftovers"]] == ["template id"]


@pytest.mark.parametrize("trouble", ["no Milvus", "no key"])
def test_nobody_is_kept_from_being_erased(path, milvus, visavis, monkeypatch, trouble):
    """A Milvus that does not answer and a lost key are told; the gallery forgets all the same."""
    filled(path, milvus, Ada=None, Bob=None)
    if trouble == "no Milvus":
        monkeypatch.setenv("VISAVIS_SEARCH", "milvus://127.0.0.1:9?timeout=1")
    else:
        monkeypatch.delenv("VISAVIS_KEY")
        monkeypatch.setenv("VISAVIS_KEY_FILE", str(path.with_name("lost.key")))
    status, out, err = visavis("people", "remove", "Ada", "--yes")
    assert status == 0, err
    assert out.startswith("erased: Ada")
    assert "cannot be told now" in err
    with Gallery.open(path, keys=Keys.none()) as gallery:
        assert [person.name for person in gallery.people()] == ["Bob"]


def test_people_are_recognised_through_milvus(path, tmp_path, visavis, photographs, monkeypatch):
    monkeypatch.delenv("VISAVIS_SEARCH", raising=False)
    search = ("--search", f"milvus-lite://{tmp_path}/faces.db")
    assert visavis("enroll", "Obama", photographs["obama.jpg"], *search)[0] == 0
    _, known, _ = visavis("identify", photographs["obama2.jpg"], *search, "--json")
    _, stranger, _ = visavis("identify", photographs["astronaut.png"], *search, "--json")
    server_manager_instance.release_all()
    assert (tmp_path / "faces.db").exists()
    assert [face["person"] for face in json.loads(known)["faces"]] == ["Obama"]
    assert [face["decision"] for face in json.loads(stranger)["faces"]] == ["not recognized"]
