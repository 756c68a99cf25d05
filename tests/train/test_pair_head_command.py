"""visavis train pair-head, from a pack on disk to a decision by the head it made."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from packs import written

from visavis import cli
from visavis.decide import curve_of
from visavis.head import head_of
from visavis.models import ModelStore, Precision
from visavis.values import EncoderId

PEOPLE = 220


def blots(people=PEOPLE, photos=2):
    """Each "person" is a pattern of 4 x 4 colours, each photograph of them a little different."""
    chance = np.random.default_rng(0)
    for person in range(people):
        pattern = chance.integers(0, 256, (4, 4, 3))
        shown = [np.clip(pattern + chance.normal(0, 25, pattern.shape), 0, 255)] * photos
        crops = [np.clip(s + chance.normal(0, 15, s.shape), 0, 255) for s in shown]
        yield f"{person:03d}", [np.kron(c, np.ones((28, 28, 1))).astype(np.uint8) for c in crops]


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return written(tmp_path_factory.mktemp("blots") / "pack", dict(blots()))


@pytest.fixture
def visavis(monkeypatch, capsys, store, tmp_path):
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_CACHE", str(store.cache))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(left.value.code or 0), out, err

    return call


def test_from_a_pack_to_a_decision(visavis, pack, store, photographs, tmp_path):
    train = ("train", "pair-head", "--data", pack.path)
    status, out, err = visavis(*train, "--json", "--report", tmp_path / "head.html")
    assert status == 0, err
    told = json.loads(out)
    assert told["people"] == {"learnt": 132, "calibrated": 44, "tested": 44}
    assert 0 <= told["learnt"]["eer"] <= 0.5
    page = (tmp_path / "head.html").read_text("utf-8")
    assert "squared head" in page
    assert "by distance" in page
    assert "Error against discard" not in page  # crops of a pack have no quality to discard by
    own = ModelStore(store.cache, tmp_path / "data" / "models")
    identity = own.encoder_id(own.manifest("sface"), Precision.INT8)
    head = head_of(own.head(identity), identity, "sface")
    assert head.id == told["head"]
    assert [str(own.head_file(identity)), str(own.head_points_file(identity))] == told["written"]
    pair = photographs["obama.jpg"], photographs["obama2.jpg"]
    status, out, err = visavis("compare", *pair, "--decide-by", "head", "--json")
    assert status == 0, err
    assert json.loads(out)["decided_by"] == "head"
    # Once more into a folder, from the encodings remembered: nothing is put to use.
    status, out, err = visavis(*train, "--out", tmp_path / "out", "--precision", "int8")
    assert status == 0, err
    files = {path.suffixes[-2] + path.suffix: path for path in (tmp_path / "out").iterdir()}
    assert set(files) == {".head.json", ".points.json", ".report.json", ".head.onnx"}
    again = head_of(json.loads(files[".head.json"].read_text("utf-8")), identity, "sface")
    assert again.id == head.id
    points = json.loads(files[".points.json"].read_text("utf-8"))
    assert curve_of(points, EncoderId(head.id), "sface").points
    onnx.checker.check_model(onnx.load(files[".head.onnx"]))


def test_what_is_no_pack_is_refused(visavis, tmp_path):
    status, out, _ = visavis("train", "pair-head", "--data", tmp_path, "--json")
    assert (status, json.loads(out)["error"]["code"]) == (3, "pack_refused")
    words = ("--data", tmp_path, "--report", tmp_path / "none" / "r.html")
    assert visavis("train", "pair-head", *words)[0] == 2
