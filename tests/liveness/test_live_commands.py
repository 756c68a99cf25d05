"""Liveness on the command line: answers, exit statuses, JSON, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from stand_in import NAME, THRESHOLD, add_bright, darkened

from visavis import cli
from visavis.image import open_image
from visavis.models import ModelStore

ONE = ("--threads", 1, "--liveness-model", NAME)


class Run:
    """What one call of the command line did."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> dict:
        """The one object on standard output."""
        return json.loads(self.out)


@pytest.fixture(scope="module")
def bright_data(tmp_path_factory) -> Path:
    """A data directory that holds the stand-in."""
    base = tmp_path_factory.mktemp("data")
    (base / "cache").mkdir()
    add_bright(ModelStore(base / "cache", base / "data" / "models"), base)
    return base


@pytest.fixture
def visavis(monkeypatch, capsys, tmp_path, bright_data):
    """Call the command line in this process."""
    shutil.copytree(bright_data / "data", tmp_path / "data")
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


@pytest.fixture
def good(photographs) -> Path:
    return photographs["obama2.jpg"]


@pytest.fixture
def dark(photographs, tmp_path) -> Path:
    return darkened(photographs["obama2.jpg"], tmp_path)


def clip(path: Path, frames: list[np.ndarray]) -> Path:
    height, width = frames[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (width, height))
    assert video.isOpened()
    for frame in frames:
        video.write(np.ascontiguousarray(frame[:, :, ::-1]))
    video.release()
    return path


# visavis liveness


def test_pictures_each_for_itself(visavis, good, dark):
    said = visavis("liveness", good, dark, "--json", *ONE)
    assert said.status == 0
    assert said.json["schema"] == 1
    live, fake = said.json["presentations"]
    assert (live["source"], live["kind"], live["live"]) == (str(good), "image", True)
    assert live.keys() == {
        *("source", "kind", "live", "score", "threshold"),
        *("bpcer", "apcer", "model", "reasons"),
    }
    assert (live["threshold"], live["bpcer"], live["apcer"]) == (THRESHOLD, 0.01, 0.02)
    assert fake["live"] is False
    assert fake["reasons"]
    assert fake["score"] < THRESHOLD <= live["score"]
    assert said.json["errors"] == []
    told = visavis("liveness", good, dark, *ONE).out
    assert f"{good.name}: live (score" in told
    assert f"{dark.name}: not live (score" in told
    assert "BPCER 1 % and APCER 2 %" in told


def test_the_exit_status_is_the_answer_when_asked(visavis, good, dark, tmp_path):
    assert visavis("liveness", good, "--exit-status", *ONE).status == 0
    assert visavis("liveness", good, dark, "--exit-status", *ONE).status == 1
    assert visavis("liveness", dark, *ONE).status == 0
    empty = tmp_path / "empty.png"
    PIL.Image.new("RGB", (200, 200), "grey").save(empty)
    said = visavis("liveness", empty, "--exit-status", "--json", *ONE)
    assert (said.status, said.json["presentations"][0]["live"]) == (1, None)
    assert "no face" in said.json["presentations"][0]["reasons"][0]
    assert "cannot be told" in visavis("liveness", empty, *ONE).out


def test_pictures_of_one_presentation_together(visavis, good, dark):
    said = visavis("liveness", good, dark, "--together", "--json", *ONE).json["presentations"]
    assert len(said) == 1
    assert said[0]["kind"] == "images"
    alone = [
        visavis("liveness", path, "--json", *ONE).json["presentations"][0]["score"]
        for path in (dark, good)
    ]
    assert alone[0] < said[0]["score"] < alone[1]


def test_the_rate_decides(visavis, good):
    strict = visavis("liveness", good, "--apcer", 0.01, "--json", *ONE).json["presentations"][0]
    assert (strict["threshold"], strict["live"]) == (0.9, False)
    unknown = visavis("liveness", good, "--bpcer", 0.123, "--json", *ONE)
    assert (unknown.status, unknown.json["error"]["code"]) == (3, "model_refused")
    assert "BPCER 1 %" in unknown.json["error"]["message"]
    both = visavis("liveness", good, "--bpcer", 0.05, "--apcer", 0.01, *ONE)
    assert both.status == 2


def test_a_video_is_one_presentation(visavis, photographs, tmp_path):
    pixels = open_image(photographs["astronaut.png"]).pixels[:400, :400]
    lit = [np.roll(pixels, i, axis=1) for i in range(12)]
    said = visavis("liveness", clip(tmp_path / "live.avi", lit), "--json", *ONE)
    assert said.status == 0
    (seen,) = said.json["presentations"]
    assert (seen["kind"], seen["live"]) == ("video", True)
    still = visavis("liveness", photographs["astronaut.png"], "--json", *ONE).json
    assert seen["score"] == pytest.approx(still["presentations"][0]["score"], abs=0.03)
    shade = [(frame * 0.25).astype(np.uint8) for frame in lit]
    said = visavis("liveness", clip(tmp_path / "fake.avi", shade), "--exit-status", *ONE)
    assert said.status == 1
    assert "not live" in said.out


def test_a_video_that_shows_a_face_for_a_moment(visavis, photographs, tmp_path):
    pixels = open_image(photographs["astronaut.png"]).pixels[:400, :400]
    wall = np.full_like(pixels, 128)
    path = clip(tmp_path / "glimpse.avi", [pixels] * 3 + [wall] * 13)
    (seen,) = visavis("liveness", path, "--json", *ONE).json["presentations"]
    assert seen["live"] is None
    assert "show one face" in seen["reasons"][0]


def test_what_is_refused_is_refused_in_one_line(visavis, good, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 2000)
    alone = visavis("liveness", broken, "--json", *ONE)
    assert (alone.status, alone.json["error"]["code"]) == (3, "video_unreadable")
    among = visavis("liveness", broken, good, tmp_path / "none.jpg", "--json", *ONE)
    assert among.status == 3
    assert [each["code"] for each in among.json["errors"]] == [
        "video_unreadable",
        "image_not_found",
    ]
    assert [each["live"] for each in among.json["presentations"]] == [True]
    mixed = visavis("liveness", broken, good, "--together", *ONE)
    assert mixed.status == 2
    assert "video" in mixed.err
    assert visavis("liveness", *ONE).status == 2
    nobody = visavis("liveness", good, "--liveness-model", "sface", "--json")
    assert (nobody.status, nobody.json["error"]["code"]) == (3, "model_refused")


# --live on verify and identify


def test_verify_asks_for_a_live_face(visavis, photographs, good, dark):
    visavis("enroll", "Obama", photographs["obama.jpg"])
    words = ("verify", good, "Obama", "--json", "--exit-status")
    said = visavis(*words, "--live", "passive", *ONE)
    assert (said.status, said.json["decision"]) == (0, "same")
    seen = said.json["liveness"]
    assert (seen["policy"], seen["satisfied"], seen["active"]) == ("passive", True, None)
    assert seen["passive"]["live"] is True
    assert visavis(*words, *ONE).json["liveness"] is None

    words = ("verify", dark, "Obama", "--exit-status")
    said = visavis(*words, "--live", "passive", "--json", *ONE)
    assert (said.status, said.json["decision"]) == (1, "not live")
    assert (said.json["accepted"], said.json["matched"]) == (False, True)
    assert said.json["distance"] <= said.json["tau"]
    assert "looks like Obama, but is not accepted" in visavis(*words, "--live", "passive", *ONE).out
    off = visavis(*words, "--json", *ONE)
    assert (off.status, off.json["decision"], off.json["matched"]) == (0, "same", True)

    other = visavis(
        "verify", photographs["biden.jpg"], "Obama", "--live", "passive", "--json", *ONE
    )
    assert other.json["decision"] == "different"
    assert other.json["liveness"]["satisfied"]


def test_identify_asks_for_a_live_face(visavis, photographs, good, dark):
    visavis("enroll", "Obama", photographs["obama.jpg"])
    words = ("identify", good, dark, "--live", "passive", "--exit-status")
    said = visavis(*words, "--json", *ONE)
    assert said.status == 0
    live, fake = said.json["faces"]
    assert (live["person"], live["decision"]) == ("Obama", "recognized")
    assert (fake["person"], fake["decision"], fake["matched"]) == (None, "not live", "Obama")
    assert fake["liveness"]["passive"]["live"] is False
    told = visavis(*words, *ONE).out
    assert "dark-obama2.png: not accepted (looks like Obama" in told
    alone = visavis("identify", dark, "--live", "passive", "--exit-status", "--json", *ONE)
    assert alone.status == 1


@pytest.mark.parametrize("policy", ["active", "passive-and-active"])
def test_one_photograph_cannot_answer_a_challenge(visavis, good, policy):
    for words in (("verify", good, "Obama"), ("identify", good)):
        said = visavis(*words, "--live", policy, *ONE)
        assert said.status == 2
        assert "before a camera" in said.err
    assert visavis("verify", good, "Obama", "--live", "pasive").status == 2


# visavis evaluate liveness, on pictures


@pytest.fixture
def shots(photographs, tmp_path) -> Path:
    """Three live portraits and a stranger's; of the attacks two dark ones, and one left bright."""
    base = tmp_path / "shots"
    for folder in ("live", "print", "replay"):
        (base / folder).mkdir(parents=True)
    for name in ("obama.jpg", "biden.jpg", "astronaut.png", "obama3.jpg"):
        shutil.copy(photographs[name], base / "live")
    for name in ("obama.jpg", "biden.jpg"):
        darkened(photographs[name], base / "print")
    shutil.copy(photographs["obama2.jpg"], base / "print")
    darkened(photographs["astronaut.png"], base / "replay")
    return base


WORKERS = ("--workers", 1, "--liveness-model", NAME)


def test_a_folder_a_class_is_judged_by_the_network(visavis, shots, tmp_path):
    page, curve = tmp_path / "page.html", tmp_path / "curve.csv"
    words = ("evaluate", "liveness", shots, *WORKERS)
    done = visavis(*words, "--json", "--report", page, "--csv", curve)
    assert done.status == 0
    said = done.json
    assert (said["schema"], said["encoder_name"]) == (1, NAME)
    assert (said["threshold"], said["bpcer"]) == (THRESHOLD, 0)
    assert said["apcer"] == {"print": pytest.approx(1 / 3), "replay": 0}
    assert (said["live"], said["attacks"]) == (4, {"print": 3, "replay": 1})
    assert said["failed_to_acquire"] == 0
    assert said["worst_species"] == "print"
    assert "APCER print" in visavis(*words).out
    assert "replay" in page.read_text("utf-8")
    assert curve.is_file()


def test_what_gives_no_score_is_counted_apart(visavis, shots):
    PIL.Image.new("RGB", (200, 200), "grey").save(shots / "replay" / "wall.png")
    (shots / "live" / "broken.jpg").write_bytes(b"no picture")
    words = ("evaluate", "liveness", shots, *WORKERS)
    said = visavis(*words, "--json").json
    assert (said["failed_to_acquire"], said["live"], said["attacks"]["replay"]) == (2, 4, 1)
    told = visavis(*words).out
    assert "1 of 5 live presentations gave no score" in told
    assert "1 of 2 replay presentations gave no score" in told


def test_a_list_without_scores_is_relative_to_images(visavis, shots, tmp_path):
    path = tmp_path / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "live", "species", "subject"])
        for folder in ("live", "print", "replay"):
            for photo in sorted((shots / folder).iterdir()):
                rows.writerow([f"{folder}/{photo.name}", int(folder == "live"), folder, photo.stem])
    words = ("evaluate", "liveness", path, "--json", *WORKERS)
    said = visavis(*words, "--images", shots).json
    assert said["apcer"] == {"print": pytest.approx(1 / 3), "replay": 0}
    lost = visavis(*words)
    assert (lost.status, lost.json["error"]["code"]) == (3, "protocol_refused")
    assert "--images" in lost.json["error"]["message"]
    path.rename(shots / "list.csv")
    beside = visavis("evaluate", "liveness", shots / "list.csv", "--json", *WORKERS)
    assert beside.json["live"] == 4


def test_a_class_that_shows_no_face_measures_nothing(visavis, shots):
    shutil.rmtree(shots / "replay")
    shutil.rmtree(shots / "print")
    (shots / "print").mkdir()
    PIL.Image.new("RGB", (200, 200), "grey").save(shots / "print" / "wall.png")
    done = visavis("evaluate", "liveness", shots, "--json", *WORKERS)
    assert (done.status, done.json["error"]["code"]) == (3, "protocol_refused")
    assert "no attack presentation could be judged" in done.json["error"]["message"]


def test_a_damaged_video_is_one_line_whatever_ffmpeg_has_to_say(tmp_path):
    """In a process of its own, for FFmpeg speaks past Python, and only once it was told how."""
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 2000)
    command = Path(sys.executable).with_name("visavis")
    done = subprocess.run(
        [command, "liveness", path], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert done.stderr.startswith("video_unreadable: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
