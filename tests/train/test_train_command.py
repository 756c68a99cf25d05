"""visavis train encoder: from a pack to an encoder that compare decides with, in one command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from faces import album
from packs import written

from visavis import cli
from visavis.models import ModelStore, read_manifest

QUICK = ("--start", "tiny", "--augment", "light", "--people", 8, "--warmup", 5, "--threads", 1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """A hundred and twenty drawn people, three photographs each, 64 pixels."""
    crops, _ = album(120, 3, 64)
    people = {f"{n:03d}": list(some) for n, some in enumerate(np.split(crops, 120))}
    return written(tmp_path_factory.mktemp("drawn") / "pack", people, alignment="arcface-64")


@pytest.fixture
def visavis(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path / "cache"))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(left.value.code or 0), out, err

    return call


def test_from_a_pack_to_a_decision(visavis, pack, photographs, tmp_path):
    out = tmp_path / "Our Door"
    train = ("train", "encoder", "--data", pack.path, "--out", out, *QUICK)
    held_out = ("--steps", 30, "--check-every", 10, "--calibration", 0.5, "--licence", "CC0-1.0")
    status, told, err = visavis(*train, *held_out, "--json")
    assert status == 0, err
    answer = json.loads(told)
    assert answer["name"] == "our-door"
    assert answer["ended"] == "all 30 steps were taken"
    assert answer["held_out"]["pairs"] > 1000
    assert "step 30: held-out people: accuracy" in err
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<svg") >= 8
    card = (out / "our-door.md").read_text("utf-8")
    assert "CC0-1.0" in card
    assert "60 held-out people" in card
    described = read_manifest(out / "our-door.toml")
    assert described.preprocessing.alignment == "arcface-64"
    assert "from tiny with random weights: triplet" in described.origin

    status, told, err = visavis("models", "add", out / "our-door.toml")
    assert status == 0, err
    obama, biden = photographs["obama.jpg"], photographs["biden.jpg"]
    status, told, err = visavis(
        "compare", obama, biden, "--encoder", "our-door", "--fmr", "1e-2", "--json"
    )
    assert status == 0, err
    decision = json.loads(told)
    assert decision["decision"] in {"same", "different"}
    assert 0 < decision["tau"] < 4
    store = ModelStore(tmp_path / "cache", tmp_path / "data" / "models")
    assert (
        decision["encoder"]
        == json.loads((out / "our-door.fp32.points.json").read_text())["encoder"]
    )
    assert store.manifest("our-door") == described


def test_too_few_held_out_people_for_points_are_told(visavis, small, photographs, tmp_path):
    train = ("train", "encoder", "--data", small.path, "--out", tmp_path / "few", *QUICK)
    status, told, err = visavis(*train, "--steps", 4)
    assert status == 0, err
    assert "no operating points: " in told
    assert visavis("models", "add", tmp_path / "few" / "few.toml")[0] == 0
    a = photographs["obama.jpg"]
    status, _, err = visavis("compare", a, a, "--encoder", "few")
    assert status == 3
    assert err.startswith("not_calibrated: ")


def test_ctrl_c_stops_a_run_and_resume_goes_on(visavis, small, tmp_path):
    out = tmp_path / "run"
    words = [
        sys.executable,
        "-c",
        "from visavis.cli import main; main()",
        "train",
        "encoder",
        "--data",
        small.path,
    ]
    words += ["--out", out, *QUICK, "--steps", "100000", "--check-every", "100000"]
    child = subprocess.Popen(
        [str(word) for word in words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A runner that was itself started in the background has its children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    for line in child.stderr:
        if line.startswith("step 0: held-out people"):
            break
    child.send_signal(signal.SIGINT)
    told, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "--resume" in told
    assert "Traceback" not in err
    status, _, err = visavis(
        "train", "encoder", "--data", small.path, "--out", out, "--resume", "--steps", 9
    )
    assert status == 2
    assert "leave out --steps" in err
    status, _, err = visavis("train", "encoder", "--data", small.path, "--out", out, *QUICK)
    assert status == 3
    assert "training_refused: " in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--objective", "tripplet"), "training_refused"),
        (("--alpha", "9"), "training_refused"),
        (("--rate", "0"), "training_refused"),
        (("--validation", "0.8", "--calibration", "0.3"), "training_refused"),
        (("--first", "arcface"), "training_refused"),
        (("--start", "resnet"), "model_unknown"),
        (("--start", "yunet"), "training_refused"),
        (("--resume",), "checkpoint_refused"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    visavis, small, tmp_path, words, code
):
    out = tmp_path / "run"
    given = () if words == ("--resume",) else ("--start", "tiny", "--steps", 5)
    status, _, err = visavis("train", "encoder", "--data", small.path, "--out", out, *given, *words)
    assert (status, err.split(":")[0]) == (3, code)
    assert not (out / "metrics.csv").exists()


def test_a_folder_that_is_no_pack_is_refused(visavis, tmp_path):
    status, _, err = visavis("train", "encoder", "--data", tmp_path, "--out", tmp_path / "run")
    assert status == 3
    assert err.startswith("pack_refused: ")
