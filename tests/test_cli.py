"""The command line as people and scripts use it: answers, exit statuses, JSON, bad input."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from visavis import cli
from visavis.models import ModelStore

ROOT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("visavis")


class Run:
    """What one call of the command line did."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> dict:
        """The one object on standard output."""
        return json.loads(self.out)


@pytest.fixture
def visavis(monkeypatch, capsys, tmp_path):
    """Call the command line in this process, with a data directory of its own."""
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("VISAVIS_GALLERY", raising=False)

    def call(*words: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Run(int(left.value.code or 0), out, err)

    return call


def every_command(group: click.Group, path: tuple[str, ...] = ()):
    """Walk over all commands and groups of commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


def test_every_command_teaches_with_an_example_and_stands_in_the_docs():
    told = (ROOT / "docs" / "cli.md").read_text("utf-8")
    seen = 0
    for path, command in every_command(cli.cli):
        assert command.help, path
        assert "Example" in command.help, path
        if not isinstance(command, click.Group):
            assert f"visavis {' '.join(path)}" in told, path
            if path != ("demo",):
                assert any(p.name == "as_json" for p in command.params), path
        seen += 1
    assert seen >= 15


def test_the_main_job_from_one_photograph_to_a_decision(visavis, photographs):
    done = visavis("enroll", "Obama", photographs["obama.jpg"], "--json")
    assert (done.status, done.json["added"], done.json["templates"]) == (0, 1, 1)
    assert visavis("enroll", "Biden", photographs["biden.jpg"]).status == 0

    true = visavis("verify", photographs["obama2.jpg"], "Obama", "--json").json
    assert set(true) >= {"schema", "decision", "distance", "tau", "fmr", "encoder", "liveness"}
    assert (true["schema"], true["decision"], true["fmr"]) == (1, "same", 1e-4)
    assert true["distance"] <= true["tau"]
    face = true["faces"][0]
    assert len(face["box"]) == 4
    assert {"score", "quality"} <= set(face)

    false = visavis("verify", photographs["obama2.jpg"], "Biden", "--json", "--exit-status")
    assert (false.status, false.json["decision"]) == (1, "different")

    named = visavis("identify", photographs["obama3.jpg"], "--json", "--candidates", 2).json
    assert (named["gallery_size"], named["fpir"]) == (2, 1e-3)
    (face,) = named["faces"]
    assert (face["person"], face["decision"]) == ("Obama", "recognized")
    assert [c["person"] for c in face["candidates"]] == ["Obama", "Biden"]

    stranger = visavis("identify", photographs["astronaut.png"], "--json", "--exit-status")
    assert stranger.status == 1
    (face,) = stranger.json["faces"]
    assert (face["person"], face["decision"], face["candidates"]) == (None, "not recognized", [])
    assert "Obama" not in stranger.out

    several = visavis("identify", *(photographs[n] for n in ("biden.jpg", "obama2.jpg")))
    assert "biden.jpg: Biden" in several.out
    assert "obama2.jpg: Obama" in several.out


def test_no_gallery_is_needed_to_compare(visavis, photographs, tmp_path):
    same = visavis("compare", photographs["obama.jpg"], photographs["obama2.jpg"])
    assert same.status == 0
    assert "same person" in same.out
    other = visavis("compare", photographs["obama.jpg"], photographs["biden.jpg"])
    assert other.status == 0
    assert "different people" in other.out
    assert not (tmp_path / "data").exists()


def test_a_stricter_rate_turns_a_weak_match_away(visavis, photographs):
    pair = (photographs["obama2.jpg"], photographs["obama_partial_face.jpg"])
    lax = visavis("compare", *pair, "--fmr", "1e-2", "--json").json
    strict = visavis("compare", *pair, "--fmr", "1e-9", "--json").json
    assert lax["tau"] > strict["tau"]
    assert lax["distance"] == strict["distance"]
    assert any("extrapolated" in reason for reason in strict["reasons"])


@pytest.mark.parametrize("rate", ["0", "-1", "2", "nan", "1e-30"])
def test_a_rate_that_makes_no_sense_is_refused(visavis, photographs, rate):
    run = visavis("compare", photographs["obama.jpg"], photographs["biden.jpg"], "--fmr", rate)
    assert run.status == 3
    assert run.err.startswith("operating_point_refused: ")


def test_refusals_have_a_code_and_say_so_in_json(visavis, photographs, tmp_path):
    missing = visavis("compare", tmp_path / "nobody.jpg", photographs["obama.jpg"], "--json")
    assert missing.status == 3
    assert missing.json["error"]["code"] == "image_not_found"
    assert missing.err.startswith("image_not_found: ")
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    assert visavis("compare", text, text).err.startswith("image_unreadable: ")
    assert visavis("compare", tmp_path, tmp_path).err.startswith("image_not_found: ")
    assert visavis("verify", photographs["obama.jpg"], "Nobody").err.startswith("person_unknown: ")


@pytest.mark.parametrize(
    "words", [[], ["compare", "one.jpg"], ["fly"], ["compare", "--bogus"], ["enroll", "Ada"]]
)
def test_wrong_usage_is_told_apart(visavis, words):
    run = visavis(*words)
    assert run.status == 2 if words else run.status in {0, 2}
    assert "Usage" in run.err + run.out


@pytest.mark.parametrize(
    "name", ["a/b", 'O\'Neil "the" 2nd', "தமிழ் பெயர்", "👩‍🚀 Ada", "../../etc/passwd", "-x"]
)
def test_any_name_can_be_enrolled_found_and_erased(visavis, photographs, name):
    assert visavis("enroll", "--", name, photographs["obama.jpg"]).status == 0
    listed = visavis("people", "list", "--json").json
    assert [person["name"] for person in listed["people"]] == [name]
    shown = visavis("people", "show", "--json", "--", name).json
    assert shown["stored"][0]["photograph_kept"] is False
    found = visavis("identify", photographs["obama2.jpg"], "--json").json
    assert found["faces"][0]["person"] == name
    gone = visavis("people", "remove", "--yes", "--json", "--", name).json
    assert (gone["templates"], gone["erased"]) == (1, True)
    again = visavis("identify", photographs["obama2.jpg"], "--json").json
    assert again["faces"][0]["person"] is None


def test_a_name_that_could_deceive_is_refused(visavis, photographs):
    for name in ("two\nlines", "", "  ", "abc\u202egpj"):
        run = visavis("enroll", "--", name, photographs["obama.jpg"])
        assert run.status == 3
        assert run.err.startswith("name_refused: ")
    assert (
        visavis("people", "list").err.startswith("gallery_unusable: ")
        or not visavis("people", "list").out
    )


def test_renaming_keeps_the_templates(visavis, photographs):
    visavis("enroll", "Obama", photographs["obama.jpg"])
    visavis("enroll", "Biden", photographs["biden.jpg"])
    assert visavis("people", "rename", "Obama", "Barack").status == 0
    assert visavis("verify", photographs["obama2.jpg"], "Barack", "--exit-status").status == 0
    assert visavis("people", "rename", "Biden", "Barack").err.startswith("person_exists: ")


def test_the_same_photograph_again_changes_nothing(visavis, photographs):
    visavis("enroll", "Obama", photographs["obama.jpg"])
    again = visavis("enroll", "Obama", photographs["obama.jpg"], "--json").json
    assert (again["added"], again["known"], again["templates"]) == (0, 1, 1)
    other = visavis("enroll", "Barry", photographs["obama2.jpg"])
    assert other.err.startswith("duplicate_person: ")
    wrong = visavis("enroll", "Obama", photographs["biden.jpg"])
    assert wrong.err.startswith("person_mismatch: ")
    assert visavis("enroll", "Barry", photographs["obama2.jpg"], "--force").status == 0


def test_a_photograph_is_kept_only_when_asked(visavis, photographs, tmp_path):
    visavis("enroll", "Obama", photographs["obama.jpg"])
    visavis("enroll", "Biden", photographs["biden.jpg"], "--keep-photographs")
    info = visavis("gallery", "info", "--json").json
    assert (info["people"], info["templates"], info["photographs"]) == (2, 2, 1)
    stored = sum(p.stat().st_size for p in (tmp_path / "data").glob("people.db*"))
    assert stored > photographs["biden.jpg"].stat().st_size


def test_standard_input_is_a_photograph(photographs, tmp_path):
    with photographs["obama.jpg"].open("rb") as file:
        done = subprocess.run(
            [COMMAND, "compare", "-", photographs["obama2.jpg"], "--json"],
            stdin=file,
            capture_output=True,
            check=True,
        )
    assert json.loads(done.stdout)["decision"] == "same"


@pytest.mark.parametrize("spoil", ["jpeg", "cut", "foreign", "directory"])
def test_what_is_no_gallery_is_refused_and_left_alone(visavis, photographs, tmp_path, spoil):
    gallery = tmp_path / "people.db"
    if spoil == "jpeg":
        shutil.copy(photographs["obama.jpg"], gallery)
    elif spoil == "directory":
        gallery.mkdir()
    elif spoil == "foreign":
        with sqlite3.connect(gallery) as db:
            db.execute("create table notes (text)")
        db.close()
    else:
        visavis("enroll", "Obama", photographs["obama.jpg"], "--gallery", gallery)
        whole = gallery.read_bytes()
        gallery.write_bytes(whole[: len(whole) // 2])
    before = None if spoil == "directory" else gallery.read_bytes()
    for words in (("identify", photographs["obama.jpg"]), ("gallery", "info"), ("people", "list")):
        run = visavis(*words, "--gallery", gallery)
        assert run.status == 3
        assert run.err.startswith("gallery_unusable: ")
    if before is not None:
        assert gallery.read_bytes() == before


def test_another_encoders_gallery_is_refused_with_the_cure(visavis, photographs):
    visavis("enroll", "Obama", photographs["obama.jpg"], "--precision", "fp32")
    run = visavis("identify", photographs["obama2.jpg"], "--precision", "int8")
    assert run.status == 3
    assert run.err.startswith("encoder_mismatch: ")
    assert "--precision" in run.err


def test_doctor_says_what_runs_and_times_it(visavis):
    found = visavis("doctor", "--json", "--threads", 1)
    assert found.status == 0
    assert found.json["problems"] == []
    assert (found.json["runtime"], found.json["precision"]) == ("openvino", "int8")
    assert 0 < found.json["milliseconds"]["encode a face"] < 1000
    assert "LFW" in found.json["measured_on"]


def test_models_tell_where_they_come_from_and_under_which_terms(visavis):
    listed = {row["name"]: row for row in visavis("models", "list", "--json").json["models"]}
    assert listed["sface"]["licence"] == "Apache-2.0"
    assert listed["yunet"]["licence"] == "MIT"
    assert all(row["state"] == "ready" for row in listed.values())
    shown = visavis("models", "show", "sface", "--json").json
    assert len(shown["sha256"]) == 64
    assert set(shown["encoders"]) == {"int8", "fp32"}
    assert visavis("models", "show", "nothing").err.startswith("model_unknown: ")


def test_weights_are_pulled_by_digest(visavis, monkeypatch, tmp_path):
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path / "cache"))
    store = ModelStore(tmp_path / "cache", tmp_path / "data" / "models")
    whole = store.weights(store.manifest("yunet"))
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(whole.read_bytes()[:-1])
    run = visavis("models", "pull", "yunet", "--from", wrong)
    assert run.err.startswith("model_digest_mismatch: ")
    assert not any((tmp_path / "cache" / "weights").iterdir())
    right = visavis("models", "pull", "yunet", "--from", whole, "--json").json
    assert Path(right["path"]).read_bytes() == whole.read_bytes()


def test_weights_are_pulled_over_http(tmp_path, store):
    manifest = store.manifest("yunet")
    served = tmp_path / "served"
    served.mkdir()
    shutil.copy(store.weights(manifest), served / manifest.file)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        own = ModelStore(tmp_path / "cache", tmp_path / "data")
        here = replace(manifest, url=f"http://127.0.0.1:{server.server_port}/{manifest.file}")
        assert own.pull(here).read_bytes() == own.weights(manifest).read_bytes()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_anyones_encoder_can_be_added_and_decides_once_it_was_measured(
    visavis, photographs, tmp_path
):
    file = tmp_path / "mine.onnx"
    onnx.save(_colour_encoder(), file)
    sha = __import__("hashlib").sha256(file.read_bytes()).hexdigest()
    manifest = tmp_path / "mine.toml"
    manifest.write_text(
        f'name = "mine"\nkind = "encoder"\nfile = "mine.onnx"\nsha256 = "{sha}"\n'
        f'size = {file.stat().st_size}\nlicence = "CC0-1.0"\norigin = "a test"\n'
    )
    added = visavis("models", "add", manifest, "--json")
    assert added.status == 0, added.err
    pair = (photographs["obama.jpg"], photographs["biden.jpg"], "--encoder", "mine")
    assert visavis("compare", *pair).err.startswith("not_calibrated: ")
    points = {
        "schema": 1,
        "encoder": added.json["encoders"]["fp32"]["id"],
        "tuned_on": "made up by a test",
        "points": [
            {"fmr": 0.1, "tau": 1.0, "lower": 0.09, "upper": 0.11},
            {"fmr": 0.0001, "tau": 0.1, "lower": 0.00009, "upper": 0.00011},
        ],
        "tail_slope": 3.0,
        "pairs": 10000,
    }
    measured = tmp_path / "points.json"
    measured.write_text(json.dumps(points))
    again = visavis("models", "add", manifest, "--operating-points", measured)
    assert again.status == 0, again.err
    decided = visavis("compare", *pair, "--json").json
    assert decided["tau"] == pytest.approx(0.1)


def _colour_encoder() -> onnx.ModelProto:
    """Make the smallest encoder there is: the mean of each colour, mixed by an identity."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "mix"], ["out"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32), "mix")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_shell_completes_commands_and_people(visavis, photographs, tmp_path):
    visavis("enroll", "Obama", photographs["obama.jpg"])
    environment = {**os.environ, "_VISAVIS_COMPLETE": "bash_complete"}

    def completed(words: str) -> str:
        environment.update(COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
        done = subprocess.run(
            [COMMAND], env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    assert "identify" in completed("visavis ide")
    assert "Obama" in completed("visavis verify door.jpg Ob")
    assert "sface" in completed("visavis compare --encoder sf")


def test_an_unforeseen_failure_is_told_without_a_traceback(visavis, photographs, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the cable fell out")

    monkeypatch.setattr("visavis.engine.Engine.compare", broken)
    run = visavis("compare", photographs["obama.jpg"], photographs["obama2.jpg"])
    assert run.status == 3
    assert run.err.startswith("error: RuntimeError: the cable fell out")


def test_a_reader_that_leaves_early_is_no_failure_of_ours(photographs):
    done = subprocess.run(
        f"'{COMMAND}' models list --json | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_the_demo_is_the_main_job_and_its_page_stands_alone(visavis, photographs, tmp_path):
    page = tmp_path / "sub" / "page.html"
    run = visavis("demo", "--out", page, "--json")
    assert run.status == 0, run.err
    rows = {(row["photograph"], row["asked"]): row for row in run.json["rows"]}
    decisions = {key: row["decision"] for key, row in rows.items()}
    assert decisions == {
        ("obama2.jpg", "is it Obama?"): "accepted",
        ("obama2.jpg", "is it Biden?"): "rejected",
        ("obama3.jpg", "who is it?"): "Obama",
        ("obama_partial_face.jpg", "who is it?"): "Obama",
        ("obama_partial_face2.jpg", "who is it?"): "Obama",
        ("astronaut.png", "who is it?"): "not recognized",
    }
    html = page.read_text("utf-8")
    assert html.count("data:image/jpeg;base64,") == 8
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    table = visavis("demo", "--out", page)
    assert "not recognized" in table.out
    assert "astronaut.png" in table.out
