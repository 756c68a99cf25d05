"""evaluate and calibrate as people and scripts call them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from visavis import cli
from visavis.decide import curve_of
from visavis.evaluate import run
from visavis.evaluate.encodings import Encoded

TREE = {
    "obama/1.jpg": "obama.jpg",
    "obama/2.jpg": "obama2.jpg",
    "obama/3.jpg": "obama3.jpg",
    "biden/1.jpg": "biden.jpg",
    "collins/1.jpg": "astronaut.png",
}
PAIRS = """a,b,same,fold
obama/1.jpg,obama/2.jpg,1,0
obama/1.jpg,biden/1.jpg,0,0
obama/2.jpg,obama/3.jpg,1,1
obama/3.jpg,collins/1.jpg,0,1
"""
ONE = ("--workers", 1)


class Run:
    """What one call of the command line did."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> dict:
        """The one object on standard output."""
        return json.loads(self.out)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def visavis(monkeypatch, capsys, tmp_path, store):
    """Call the command line in this process, with a data directory of its own."""
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_CACHE", str(store.cache))

    def call(*words: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "defect" not in err
        return Run(int(left.value.code or 0), out, err)

    return call


@pytest.fixture(scope="module")
def tree(photographs, tmp_path_factory):
    """Three people, small."""
    folder = tmp_path_factory.mktemp("cli") / "images"
    for name, source in TREE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = PIL.Image.open(photographs[source]).convert("RGB")
        picture.thumbnail((400, 400))
        picture.save(folder / name, quality=95)
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS, "utf-8")
    return path


@pytest.fixture
def more(tree, tmp_path):
    """The tree, Biden with a second photograph, and one photograph without a face."""
    folder = tmp_path / "more"
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((tree / name).read_bytes())
    picture = PIL.Image.open(tree / "biden" / "1.jpg")
    picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "biden" / "2.jpg")
    (folder / "grey").mkdir()
    PIL.Image.new("RGB", (200, 200), "grey").save(folder / "grey" / "1.png")
    return folder


# Verification


def test_a_list_has_the_fields_that_the_design_promises(visavis, tree, pairs, engine):
    done = visavis("evaluate", "verification", "--images", tree, "--pairs", pairs, "--json", *ONE)
    said = done.json
    assert done.status == 0
    assert (said["schema"], said["pairs"], said["failed_to_acquire"]) == (1, 4, 0)
    assert (said["accuracy"]["mean"], said["accuracy"]["se"]) == (1, 0)
    assert said["eer"] == 0
    assert said["tar"] == {"1e-2": None, "1e-3": None}  # two non-mated pairs tell no such rate
    assert (said["mated"], said["nonmated"]) == (2, 2)
    assert said["encoder"] == engine.encoder.id
    assert said["points"][0].keys() >= {"fmr", "tau", "measured_fmr", "promised_upper", "kept"}


def test_all_against_all_in_words(visavis, tree):
    done = visavis("evaluate", "verification", "--images", tree, *ONE)
    assert done.status == 0
    assert "3 mated and 7 non-mated comparisons of 3 people" in done.out
    assert "0 of 5 photographs failed to be acquired" in done.out
    assert "equal error rate      0.00 %" in done.out
    assert "promise broken" not in done.out


def test_a_photograph_without_a_face_is_counted_and_named(visavis, more):
    said = visavis("evaluate", "verification", "--images", more, "--json", *ONE).json
    assert (said["failed_to_acquire"], said["photographs"], said["nonmated"]) == (1, 7, 17)
    assert said["failures"]["grey/1.png"].startswith("no_face_found")


def test_another_encoder_beside_the_first(visavis, tree, engine):
    words = ("evaluate", "verification", "--images", tree, "--also", "sface:fp32", *ONE)
    said = visavis(*words, "--json").json
    assert said["encoder"] == engine.encoder.id
    (other,) = said["also"]
    assert other["encoder"] != said["encoder"]
    assert "fp32" in other["encoder_name"]
    assert other["eer"] == 0
    assert len(visavis(*words).out.split("equal error rate")) == 3


def test_spoilt_photographs_give_a_row_for_each_level(visavis, tree, pairs):
    words = ("evaluate", "verification", "--images", tree, "--pairs", pairs)
    said = visavis(*words, "--degrade", "jpeg", "--json", *ONE).json
    rows = said["degraded"]
    levels = ["as they are", *(f"jpeg {q}" for q in (90, 60, 30, 20, 10, 5))]
    assert [row["photographs"] for row in rows] == levels
    assert (rows[0]["failed_to_acquire"], rows[0]["accuracy"]) == (0, 1)
    text = visavis(*words, "--degrade", "jpeg", *ONE).out
    assert "jpeg 5" in text


def test_the_curve_and_a_page_are_written(visavis, tree, pairs, tmp_path):
    page, curve = tmp_path / "page.html", tmp_path / "curve.csv"
    words = ("evaluate", "verification", "--images", tree, "--pairs", pairs)
    done = visavis(*words, "--report", page, "--csv", curve, "--json", *ONE)
    assert done.status == 0
    assert done.json["pairs"] == 4  # the page is spoken of on standard error
    assert str(page) in done.err
    html = page.read_text("utf-8")
    assert html.lstrip().lower().startswith("<!doctype html>")
    assert "pairs.csv" in html
    rows = rows_of(curve)
    assert rows[0].keys() == {"tau", "fmr", "fnmr"}
    assert (float(rows[-1]["fmr"]), float(rows[-1]["fnmr"])) == (1, 0)
    assert len(rows) == 4


def test_encodings_are_kept_unless_told_otherwise(visavis, tree, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("VISAVIS_CACHE", str(cache))
    words = ("evaluate", "verification", "--images", tree, *ONE)
    assert visavis(*words, "--no-cache").status == 0
    assert not (cache / "encodings").exists()
    assert visavis(*words).status == 0
    assert len(list((cache / "encodings").iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PAIRS.replace("obama/3", "obama/9"), "obama/9.jpg"),
        (PAIRS.replace(",0,", ",1,"), "no non-mated pairs"),
        (PAIRS + "obama/2.jpg,obama/1.jpg,0,1\n", "called the same and different"),
        (PAIRS + "obama/2.jpg,obama/1.jpg,maybe,1\n", "pairs.csv, line 6"),
        ("10\t300\nAda\t1\t2\n", "promises 6000 pairs, it holds 1"),
    ],
)
def test_bad_lists_are_refused(visavis, tree, pairs, text, why):
    pairs.write_text(text, "utf-8")
    done = visavis("evaluate", "verification", "--images", tree, "--pairs", pairs, "--json", *ONE)
    assert done.status == 3
    assert done.json["error"]["code"] == "protocol_refused"
    assert why in done.json["error"]["message"]
    assert done.err.startswith("protocol_refused: ")


@pytest.mark.parametrize("kind", ["verification", "identification"])
def test_a_tree_of_the_wrong_depth_is_refused(visavis, tree, kind):
    for folder, why in ((tree / "obama", "at the top"), (tree.parent, "deeper")):
        done = visavis("evaluate", kind, "--images", folder, *ONE)
        assert done.status == 3
        assert why in done.err


def test_wrong_words_are_told_before_anything_is_measured(visavis, tree, pairs, tmp_path):
    words = ("evaluate", "verification", "--images", tree, *ONE)
    done = visavis(*words, "--degrade", "jpeg")
    assert done.status == 2
    assert "--pairs" in done.err
    done = visavis(*words, "--pairs", pairs, "--degrade", "fog")
    assert done.status == 3
    assert "jpeg" in done.err
    for option in ("--report", "--csv"):
        done = visavis(*words, option, tmp_path / "none" / "file")
        assert done.status == 2
        assert "there is no folder" in done.err
    done = visavis(*words, "--also", "sface:fp16")
    assert done.status == 2
    assert done.out == ""


# Identification


def test_a_search_of_real_portraits(visavis, more, tmp_path):
    curve = tmp_path / "curve.csv"
    words = ("evaluate", "identification", "--images", more, "--csv", curve, *ONE)
    said = visavis(*words, "--json").json
    assert said["schema"] == 1
    assert (said["gallery_size"], said["mated_probes"], said["nonmated_probes"]) == (2, 2, 2)
    assert (said["rank1"], said["cmc"], said["failed_to_acquire"]) == (1, [1, 1], 1)
    assert said["fnir"] == {}
    assert [point["fpir"] for point in said["points"]] == [1e-1, 1e-2, 1e-3]
    rows = rows_of(curve)
    assert rows[0].keys() == {"people", "tau", "fpir", "fnir"}
    assert "2 people enrolled from 1 photograph(s) each" in visavis(*words).out


def test_a_search_without_strangers_is_refused(visavis, more):
    for name in ("collins/1.jpg", "grey/1.png"):
        (more / name).unlink()
    done = visavis("evaluate", "identification", "--images", more, *ONE)
    assert done.status == 3
    assert "there are 2 and 0" in done.err


# Liveness

SCORES = """path,live,score,species
a,1,0.9,
b,1,0.8,
c,1,0.6,
d,0,0.1,print
e,0,0.7,print
f,0,0.6,print
g,0,0,print
h,0,0.59,replay
i,0,0.2,replay
"""


def test_liveness_from_anybodys_scores(visavis, tmp_path):
    path, curve, page = (tmp_path / name for name in ("scores.csv", "curve.csv", "page.html"))
    path.write_text(SCORES, "utf-8")
    words = ("evaluate", "liveness", path)
    said = visavis(*words, "--csv", curve, "--report", page, "--json").json
    assert (said["schema"], said["threshold"], said["bpcer"]) == (1, 0.6, 0)
    assert said["apcer"] == {"print": 0.5, "replay": 0}
    assert said["auc"] == pytest.approx((3 * 5 + 2 - 0.5) / 18)
    assert {"eer", "worst_species"} <= said.keys()
    assert "replay" in page.read_text("utf-8")
    assert {row["species"] for row in rows_of(curve)} == {"print", "replay"}
    assert "APCER print        50.00 %" in visavis(*words).out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SCORES.replace("0.9", ""), "needs a score"),
        (SCORES.replace("0.9", "90"), "[0, 1]"),
        ("path,live,score\na,1,0.9\n", "no attack presentations"),
        ("file,live\n", "path missing"),
    ],
)
def test_scores_that_measure_nothing_are_refused(visavis, tmp_path, text, why):
    path = tmp_path / "scores.csv"
    path.write_text(text, "utf-8")
    done = visavis("evaluate", "liveness", path, "--json")
    assert done.status == 3
    assert why in done.json["error"]["message"]


# Calibration: two people's portraits are no set of people, so encodings are drawn


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A hundred and sixty people of two photographs that nobody embeds."""
    chance = np.random.default_rng(0)
    found = {}
    for i in range(160):
        centre = chance.normal(size=128)
        for k in range(2):
            name = f"p{i:03d}/{k}.jpg"
            (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "made" / name).touch()
            vector = centre / np.linalg.norm(centre) + chance.normal(size=128) / 60
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            found[name] = Encoded(f"digest of {name}", vector, "", 0.9)
    monkeypatch.setattr(run, "_encoded", lambda *_: found)
    return tmp_path / "made"


def test_what_is_calibrated_decides_from_then_on(visavis, made, photographs, tmp_path):
    two = (photographs["obama.jpg"], photographs["obama2.jpg"])
    before = visavis("compare", *two, "--json").json
    done = visavis("calibrate", "--images", made, "--name", "a made world", "--json", *ONE)
    said = done.json
    assert done.status == 0
    assert (said["schema"], said["tuned_on"], said["people"]) == (1, "a made world", 160)
    path = Path(said["path"])
    assert path.is_relative_to(tmp_path / "data")
    assert not list(path.parent.glob(".*.part"))
    stored = json.loads(path.read_text("utf-8"))
    assert stored["points"]
    assert stored["extrapolated"]

    after = visavis("compare", *two, "--json").json
    assert after["encoder"] == before["encoder"] == stored["encoder"]
    assert after["distance"] == before["distance"]
    tau = curve_of(stored, after["encoder"], "SFace int8").at(1e-4).tau
    assert after["tau"] == pytest.approx(tau, abs=1e-6)
    assert abs(after["tau"] - before["tau"]) > 1e-3


def test_out_writes_elsewhere_and_changes_no_decision(visavis, made, tmp_path):
    out, page = tmp_path / "points.json", tmp_path / "page.html"
    done = visavis("calibrate", "--images", made, "--out", out, "--report", page, *ONE)
    assert done.status == 0
    assert json.loads(out.read_text("utf-8"))["tuned_on"] == "made"
    assert not list((tmp_path / "data").rglob("*.json"))
    assert "extrapolated" in done.out
    assert "160 people" in done.out
    assert "every second person of made" in page.read_text("utf-8")


def test_too_few_people_calibrate_nothing(visavis, tree, tmp_path):
    done = visavis("calibrate", "--images", tree, *ONE)
    assert done.status == 3
    assert "3 people; calibrating needs at least 60" in done.err
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").rglob("*.json"))


def test_a_point_in_the_data_directory_decides_compare(visavis, engine, photographs, tmp_path):
    """Written by hand at a tau that nobody reaches, then at one that everybody does."""
    path = tmp_path / "data" / "models" / ".calibrated" / f"{engine.encoder.id}.json"
    path.parent.mkdir(parents=True)
    same = (photographs["obama.jpg"], photographs["obama2.jpg"])
    other = (photographs["obama.jpg"], photographs["biden.jpg"])
    for tau, decision, two in ((0.01, "different", same), (3.9, "same", other)):
        points = [
            {"fmr": rate, "tau": tau * share, "lower": 0, "upper": rate}
            for rate, share in ((1e-1, 1.02), (1e-4, 1.0), (1e-6, 0.98))
        ]
        stored = {"schema": 1, "encoder": engine.encoder.id, "tuned_on": "by hand", "pairs": 9}
        path.write_text(json.dumps({**stored, "points": points, "tail_slope": 9}), "utf-8")
        said = visavis("compare", *two, "--json").json
        assert (said["decision"], said["tau"]) == (decision, pytest.approx(tau, abs=1e-6))


def test_an_interruption_says_so_and_keeps_what_was_done(visavis, tree, monkeypatch, tmp_path):
    monkeypatch.setenv("VISAVIS_CACHE", str(tmp_path / "cache"))
    words = ("evaluate", "verification", "--images", tree, *ONE)
    done = []

    def interrupted(progress, task, number=1):
        done.append(number)
        if len(done) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("rich.progress.Progress.advance", interrupted)
        assert visavis(*words).status == 130
    embedded = []

    def counted(self, *given):
        embedded.append(given)
        return one(self, *given)

    one = run.Encodings._one
    monkeypatch.setattr("visavis.evaluate.encodings.Encodings._one", counted)
    (database,) = (tmp_path / "cache" / "encodings").iterdir()
    assert database.stat().st_size > 4 * 512  # four encodings
    assert visavis(*words).status == 0
    assert len(embedded) == 5
