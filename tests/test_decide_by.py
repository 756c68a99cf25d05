"""Deciding by a head: real portraits, a head learnt from made encodings, the command line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from visavis import cli
from visavis.engine import Engine, EngineConfig
from visavis.errors import EncoderMismatch, HeadMissing, ModelRefused, NotCalibrated
from visavis.head import Form, PairHead
from visavis.models import Cores, ModelStore, Precision
from visavis.values import DecideBy, EncoderId

LENGTH = 128


def a_head(encoder, seed=0):
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, LENGTH)
    return PairHead(Form.SQUARED, weights, 10.0, 8.0, encoder, "made encodings")


def points_of(head):
    points = [
        {"fmr": 10.0**-k, "tau": 1.6 - 0.08 * k, "lower": 0.8 * 10.0**-k, "upper": 1.3 * 10.0**-k}
        for k in range(1, 7)
    ]
    told = {"schema": 1, "encoder": head.id, "tuned_on": "a line drawn for these tests"}
    return {**told, "points": points, "tail_slope": 12.5, "pairs": 10**7}


def put(store, head, points=None, encoder=None):
    """Keep a head as ``visavis train pair-head`` does."""
    encoder = encoder or head.encoder
    store.head_file(encoder).parent.mkdir(parents=True, exist_ok=True)
    store.head_file(encoder).write_text(json.dumps(head.as_json()), "utf-8")
    points = points_of(head) if points is None else points
    store.head_points_file(encoder).write_text(json.dumps(points), "utf-8")


@pytest.fixture
def own(store, tmp_path):
    """A store with the session's prepared networks and a data folder of this test's own."""
    return ModelStore(store.cache, tmp_path / "data" / "models")


@pytest.fixture
def sface(own):
    return own.encoder_id(own.manifest("sface"), Precision.INT8)


@pytest.fixture
def opened(own, tmp_path):
    engines = []

    def open_engine(**config):
        config = EngineConfig(store=own, cores=Cores(1), **config)
        engines.append(Engine.open(tmp_path / "people.db", config))
        return engines[-1]

    yield open_engine
    for engine in engines:
        engine.close()


def test_the_head_decides_when_it_is_asked_to(own, sface, opened, photographs):
    head = a_head(sface)
    put(own, head)
    engine = opened()
    a, b = photographs["obama.jpg"], photographs["obama2.jpg"]
    plain, learnt = engine.compare(a, b), engine.compare(a, b, decide_by=DecideBy.HEAD)
    first, second = (engine.embedding(p).vector.astype(np.float64) for p in (a, b))
    assert learnt.distance == pytest.approx(head.weights @ (first - second) ** 2, abs=1e-5)
    assert learnt.distance != pytest.approx(plain.distance, abs=1e-3)
    assert (plain.decided_by, learnt.decided_by) == (DecideBy.DISTANCE, DecideBy.HEAD)
    assert plain.probability is None
    assert learnt.probability == pytest.approx(head.probability_at(learnt.distance))
    assert learnt.encoder == sface
    assert learnt.tau == pytest.approx(1.6 - 0.08 * 4)  # its own points, not the encoder's
    assert any("made encodings" in reason for reason in learnt.reasons)
    assert learnt.accepted
    assert not engine.compare(a, photographs["biden.jpg"], decide_by=DecideBy.HEAD).accepted


def test_of_several_templates_the_nearest_by_the_head_counts(own, sface, opened, photographs):
    head = a_head(sface, seed=1)
    put(own, head)
    engine = opened(decide_by=DecideBy.HEAD)
    enrolled = ["obama.jpg", "obama3.jpg"]
    engine.enroll("Obama", [photographs[name] for name in enrolled])
    claim = engine.verify(photographs["obama2.jpg"], "Obama")
    probe, *others = (engine.embedding(photographs[n]) for n in ("obama2.jpg", *enrolled))
    assert claim.decided_by is DecideBy.HEAD
    assert claim.distance == min(head.distance(probe, other) for other in others)
    # Two templates share the rate.
    assert claim.tau < engine.compare(*[photographs["obama.jpg"]] * 2).tau


def test_without_a_head_it_says_which_command_makes_one(opened, photographs):
    engine, photo = opened(), photographs["obama.jpg"]
    with pytest.raises(HeadMissing, match=r"visavis train pair-head --encoder sface"):
        engine.compare(photo, photo, decide_by=DecideBy.HEAD)
    assert engine.compare(photo, photo).accepted


def test_a_head_of_another_encoder_is_refused(own, sface, opened, photographs):
    put(own, a_head(EncoderId("another")), encoder=sface)
    with pytest.raises(EncoderMismatch):
        opened().compare(*[photographs["obama.jpg"]] * 2, decide_by=DecideBy.HEAD)


@pytest.mark.parametrize("written", ["", "{", '{"schema": 1}', "[]"])
def test_a_damaged_file_is_refused(own, sface, opened, photographs, written):
    put(own, a_head(sface))
    own.head_file(sface).write_text(written, "utf-8")
    with pytest.raises(ModelRefused, match="damaged"):
        opened().compare(*[photographs["obama.jpg"]] * 2, decide_by=DecideBy.HEAD)


def test_points_of_another_head_are_not_taken_for_its_own(own, sface, opened, photographs):
    put(own, a_head(sface), points=points_of(a_head(sface, seed=5)))
    engine, photo = opened(), photographs["obama.jpg"]
    with pytest.raises(NotCalibrated, match="train pair-head"):
        engine.compare(photo, photo, decide_by=DecideBy.HEAD)
    own.head_points_file(sface).unlink()
    with pytest.raises(NotCalibrated, match="train pair-head"):
        engine.compare(photo, photo, decide_by=DecideBy.HEAD)


def test_a_head_is_no_model_of_the_list(own, sface):
    put(own, a_head(sface))
    assert {manifest.name for manifest in own.manifests()} >= {"sface", "yunet"}


# The command line


@pytest.fixture
def visavis(monkeypatch, capsys, own):
    monkeypatch.setenv("VISAVIS_DATA", str(own.data.parent))
    monkeypatch.setenv("VISAVIS_CACHE", str(own.cache))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(left.value.code or 0), out, err

    return call


def test_verify_on_the_command_line(visavis, own, sface, photographs):
    status, out, _ = visavis("enroll", "Obama", photographs["obama.jpg"], "--json")
    assert status == 0, out
    claim = ("verify", photographs["obama2.jpg"], "Obama", "--json")
    status, out, _ = visavis(*claim, "--decide-by", "head")
    assert (status, json.loads(out)["error"]["code"]) == (3, "head_missing")
    put(own, a_head(sface))
    status, out, _ = visavis(*claim, "--decide-by", "head")
    told = json.loads(out)
    assert (status, told["decision"], told["decided_by"]) == (0, "same", "head")
    assert 0.5 < told["probability"] <= 1
    status, out, _ = visavis(*claim)
    told = json.loads(out)
    assert (told["decided_by"], told["probability"]) == ("distance", None)


def test_compare_on_the_command_line(visavis, own, sface, photographs):
    put(own, a_head(sface))
    pair = photographs["obama.jpg"], photographs["biden.jpg"]
    status, out, _ = visavis("compare", *pair, "--decide-by", "head", "--exit-status")
    assert status == 1
    assert "the head trained on made encodings" in out
    assert visavis("compare", *pair, "--decide-by", "dice")[0] == 2
