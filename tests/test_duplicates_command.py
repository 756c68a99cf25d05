"""People who are enrolled twice, from the command line: found, joined, gone in Milvus too."""

import json

import numpy as np
import pytest
from milvus_lite import server_manager_instance

from visavis.gallery import Gallery, NewTemplate
from visavis.gallery.search.searchers import catch_up, open_milvus
from visavis.values import EncoderId

OLD, NEW = "Barack Hussein Obama", "Mr President"
ENCODER = EncoderId("sface-fp32-0123456789abcdef")


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_GALLERY", str(tmp_path / "people.db"))
    monkeypatch.setenv("VISAVIS_KEY", bytes(32).hex())
    monkeypatch.delenv("VISAVIS_SEARCH", raising=False)
    return tmp_path / "people.db"


@pytest.fixture
def visavis(command_line):
    def call(*words, **more):
        run = command_line(*words, **more)
        return run.status, run.out, run.err

    return call


@pytest.fixture
def twice(path, visavis, photographs):
    """Obama under two names, by force, and Biden."""
    for name, photograph, *more in (
        (OLD, "obama.jpg"),
        ("Biden", "biden.jpg"),
        (NEW, "obama2.jpg", "--force"),
    ):
        assert visavis("enroll", name, photographs[photograph], *more)[0] == 0
    return path


def test_the_whole_story(twice, visavis, photographs):
    refused, _, why = visavis("enroll", "Barack", photographs["obama3.jpg"])
    assert (refused, why[:38]) == (3, f"duplicate_person: {photographs['obama3.jpg']}"[:38])
    status, out, _ = visavis("people", "duplicates", "--json")
    found = json.loads(out)
    (pair,) = found["pairs"]
    assert (status, found["schema"], found["people"], found["comparisons"]) == (0, 1, 3, 3)
    assert (pair["first"]["name"], pair["second"]["name"]) == (OLD, NEW)
    assert 0 < pair["distance"] <= found["tau"]
    assert found["false_pairs"] == pytest.approx(3 * found["fmr_upper"], abs=1e-6)
    _, out, _ = visavis("people", "duplicates")
    first, second, third = out.splitlines()
    assert first == f"d = {pair['distance']:.3f}  {OLD}  {NEW}"
    assert second.startswith("1 pair(s) of 3 people within tau = ")
    assert third.startswith("of 3 comparisons of different people at most 0.01 are so near")

    status, out, err = visavis("people", "merge", OLD, NEW, typed="n\n")
    assert (status != 0, out) == (True, "")
    assert f"Merge {OLD} (1 template(s)) into {NEW} (1 template(s))" in err
    status, out, _ = visavis("people", "merge", OLD, NEW, "--json", typed="y\n")
    merged = json.loads(out)
    assert (status, merged["person"]["name"], merged["person"]["templates"]) == (0, NEW, 2)
    assert (merged["moved"], merged["skipped"], merged["erased"]) == (1, 0, True)
    assert merged["distance"] == pytest.approx(pair["distance"], abs=1e-5)
    assert merged["merged"] == {"id": pair["first"]["id"], "name": OLD}

    for name in ("obama.jpg", "obama2.jpg", "obama3.jpg"):
        _, out, _ = visavis("identify", photographs[name], "--json")
        assert [face["person"] for face in json.loads(out)["faces"]] == [NEW]
    _, out, _ = visavis("people", "duplicates", "--json")
    assert json.loads(out)["pairs"] == []
    assert visavis("audit", "verify")[0] == 0
    assert visavis("gallery", "check")[0] == 0
    assert visavis("people", "show", OLD)[2].startswith("person_unknown: ")
    erased = ("gallery", "check", "--erased", pair["first"]["id"], "--name", OLD)
    assert visavis(*erased)[:2] == (0, "nothing is left\n")
    for file in twice.parent.glob("people.db*"):
        assert OLD.encode() not in file.read_bytes()
    shown = visavis("audit", "show", pair["first"]["id"])[1]
    assert " merge " in shown.splitlines()[-1]


def test_two_people_are_refused_naming_the_distance_unless_it_is_forced(twice, visavis):
    status, _, err = visavis("people", "merge", "Biden", NEW, "--yes")
    assert status == 3
    assert err.startswith("person_mismatch: Biden and Mr President do not look alike (d = 1.")
    assert "at most 1." in err
    assert visavis("people", "merge", NEW, NEW, "--yes")[2].startswith("input_refused: ")
    assert visavis("people", "merge", "Nobody", NEW, "--yes")[2].startswith("person_unknown: ")
    assert len(json.loads(visavis("people", "list", "--json")[1])["people"]) == 3
    status, out, _ = visavis("people", "merge", "Biden", NEW, "--yes", "--force")
    assert status == 0
    assert out.startswith(f"merged: Biden into {NEW} (d = 1.")


def test_what_the_one_person_agreed_to_can_be_said(twice, visavis, photographs):
    for name, photograph, form in ((OLD, "obama.jpg", "form 1"), (NEW, "obama2.jpg", "form 2")):
        assert (
            visavis("enroll", name, photographs[photograph], "--force", "--consent", form)[0] == 0
        )
    words = ("people", "merge", OLD, NEW, "--yes")
    assert visavis(*words)[2].startswith("consent_refused: ")
    assert visavis(*words, "--force")[2].startswith("consent_refused: ")
    status, out, _ = visavis(*words, "--consent", "form 3", "--purpose", "the door", "--json")
    assert status == 0
    agreed = {"reference": "form 3", "purpose": "the door", "expires": None}
    assert json.loads(out)["consent"] == agreed


def test_a_rate_can_be_named_and_a_gallery_is_not_made(path, visavis):
    status, _, err = visavis("people", "duplicates")
    assert (status, err.partition(":")[0]) == (3, "gallery_unusable")
    assert not path.exists()


def test_a_rate_can_be_named(twice, visavis):
    _, strict, _ = visavis("people", "duplicates", "--fpir", "1e-5", "--json")
    _, loose, _ = visavis("people", "duplicates", "--fpir", "0.1", "--json")
    assert json.loads(strict)["tau"] < json.loads(loose)["tau"]
    assert "operating_point_refused: " in visavis("people", "duplicates", "--fpir", "2")[2]


def test_milvus_is_told_who_went_where(path, tmp_path, visavis, monkeypatch):
    url = f"milvus-lite://{tmp_path}/vectors.db"
    monkeypatch.setenv("VISAVIS_SEARCH", url)
    vectors = np.eye(8, dtype=np.float32)
    try:
        with Gallery.open(path, keys=bytes(32)) as gallery:
            gallery.bind(ENCODER, "sface")
            for n, name in enumerate((OLD, NEW)):
                gallery.enroll(name, [NewTemplate(vectors[n])], encoder=ENCODER)
            before = {t.id for p in gallery.people() for t in gallery.templates(p.id)}
            (gone,) = (t.id for t in gallery.templates(gallery.person(OLD).id))
            old = gallery.person(OLD).id
            searcher = open_milvus(url, gallery)
            catch_up(searcher, gallery)
            assert searcher.holding([*before]) == before
            searcher.close()
        status, _, err = visavis("people", "merge", OLD, NEW, "--yes", "--force")
        assert (status, err) == (0, "")
        with Gallery.open(path, keys=bytes(32)) as gallery:
            (now,) = gallery.people()
            there = {t.id for t in gallery.templates(now.id)}
            searcher = open_milvus(url, gallery)
            assert searcher.holding([*before, *there]) == there
            assert gone not in there
            (hits,) = searcher.nearest(vectors[:1], 2)
            assert [(hit.person, hit.distance) for hit in hits] == [(now.id, 0.0)]
            searcher.close()
        assert visavis("gallery", "check", "--erased", old)[:2] == (0, "nothing is left\n")
    finally:
        server_manager_instance.release_all()
