"""visavis cluster: real portraits, grown, interrupted, damaged, enrolled."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from visavis.cli import cli, sheet
from visavis.engine import ClusterConfig, Engine, EngineConfig, cluster_faces, enroll_cluster
from visavis.errors import (
    DuplicatePerson,
    EncoderMismatch,
    InputRefused,
    OperatingPointRefused,
    PoorQuality,
)
from visavis.models import Cores, Precision

COMMAND = Path(sys.executable).with_name("visavis")
_MANY = 400
OBAMA = ["obama.jpg", "obama2.jpg", "obama3.jpg"]


@pytest.fixture
def album(tmp_path, photographs):
    """Obama three times (one in a folder below, named in Tamil), Biden, a stranger, and trouble."""
    folder = tmp_path / "album"
    (folder / "விடுமுறை").mkdir(parents=True)
    for name in ("obama.jpg", "obama2.jpg", "biden.jpg", "astronaut.png"):
        shutil.copy(photographs[name], folder)
    shutil.copy(photographs["obama3.jpg"], folder / "விடுமுறை" / "ஒபாமா <3>.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    (folder / "notes.txt").write_text("by the sea")
    PIL.Image.new("RGB", (320, 240), "navy").save(folder / "sea.png")
    return folder


def names(faces):
    return {face.path.name for face in faces}


def ran(*words):
    """Call the command in this process; gives its status, its JSON and what it printed."""
    result = CliRunner().invoke(cli, ["cluster", *map(str, words)])
    answer = None
    if "--json" in words and result.stdout:
        answer = json.loads(result.stdout)
    return result.exit_code, answer, result.output


def test_one_person_is_found_and_strangers_are_left_alone(engine, album):
    found = engine.cluster(album)
    (one,) = found.clusters
    assert names(one.faces) == {"obama.jpg", "obama2.jpg", "ஒபாமா <3>.jpg"}
    assert names(found.strangers) == {"biden.jpg", "astronaut.png"}
    assert [(u.path.name, u.code) for u in found.unusable] == [("broken.jpg", "image_unreadable")]
    assert names_of(found.faceless) == ["sea.png"]
    assert names_of(found.ignored) == ["notes.txt"]
    assert (found.photographs, found.embedded) == (6, 6)
    # Among so few, compare's own threshold is the stricter one.
    assert found.tau == engine.curve.verification(1e-4).tau


def names_of(paths):
    return [path.name for path in paths]


def test_a_second_run_embeds_nothing_and_new_photographs_alone_are_embedded(
    engine, album, photographs, tmp_path, monkeypatch
):
    state = tmp_path / "album.faces"
    shutil.move(album / "obama2.jpg", tmp_path)
    first = engine.cluster(album, state=state)
    assert (first.embedded, first.clusters[0].id, len(first.clusters[0].faces)) == (5, 1, 2)
    assert state.stat().st_mode & 0o777 == 0o600

    looked = []
    real = engine.sight.everyone
    monkeypatch.setattr(
        engine.sight,
        "everyone",
        lambda taken: (looked.append(Path(taken.name).name), real(taken))[1],
    )
    again = engine.cluster(album, state=state)
    assert (again.embedded, looked) == (0, [])
    assert [f.path for f in again.clusters[0].faces] == [f.path for f in first.clusters[0].faces]

    shutil.move(tmp_path / "obama2.jpg", album)
    with PIL.Image.open(photographs["biden.jpg"]) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(album / "biden small.jpg")
    (album / "obama.jpg").rename(album / "renamed.jpg")
    grown = engine.cluster(album, state=state)
    assert sorted(looked) == ["biden small.jpg", "obama2.jpg"]
    assert {c.id: names(c.faces) for c in grown.clusters} == {
        1: {"renamed.jpg", "obama2.jpg", "ஒபாமா <3>.jpg"},
        2: {"biden.jpg", "biden small.jpg"},
    }


def test_what_is_gone_from_the_folder_is_erased_and_its_number_is_not_given_again(
    engine, album, photographs, tmp_path
):
    state = tmp_path / "album.faces"
    gone = engine.cluster(album, state=state).clusters[0]
    for face in gone.faces:
        face.path.unlink()
    left = engine.cluster(album, state=state)
    assert left.clusters == ()
    raw = state.read_bytes()
    for face in gone.faces:
        assert face.embedding.vector.tobytes() not in raw
    for face in left.strangers:
        assert face.embedding.vector.tobytes() in raw
    for name in OBAMA:
        shutil.copy(photographs[name], album)
    assert engine.cluster(album, state=state).clusters[0].id == 2


def test_copies_of_a_photograph_are_one_face(engine, album):
    shutil.copy(album / "biden.jpg", album / "copy of biden.jpg")
    found = engine.cluster(album)
    (biden,) = (face for face in found.strangers if "biden" in face.path.name)
    assert (biden.path.name, names_of(biden.copies)) == ("biden.jpg", ["copy of biden.jpg"])


def test_ten_faces_in_one_picture_and_small_ones_left_out(engine, photographs, tmp_path):
    with PIL.Image.open(photographs["biden.jpg"]) as picture:
        head = picture.convert("RGB").crop((350, 100, 780, 620)).resize((215, 260))
    group = PIL.Image.new("RGB", (5 * 215, 2 * 260))
    for number in range(10):
        group.paste(head, (215 * (number % 5), 260 * (number // 5)))
    group.save(tmp_path / "group.png")
    found = engine.cluster([tmp_path / "group.png"])
    (one,) = found.clusters
    assert len(one.faces) == 10
    most = ClusterConfig(least_width=1000)
    left_out = engine.cluster([tmp_path / "group.png"], config=most)
    assert (left_out.clusters, left_out.strangers, left_out.too_small) == ((), (), 10)


def test_a_folder_without_faces_is_an_answer_and_without_photographs_a_refusal(engine, tmp_path):
    with pytest.raises(InputRefused, match="no photographs"):
        engine.cluster(tmp_path)
    with pytest.raises(InputRefused, match="no folder"):
        engine.cluster(tmp_path / "absent")
    PIL.Image.new("RGB", (320, 240), "navy").save(tmp_path / "sea.png")
    found = engine.cluster(tmp_path)
    assert (found.clusters, found.strangers, names_of(found.faceless)) == ((), (), ["sea.png"])


def test_a_state_of_another_encoder_another_file_and_a_damaged_one_are_refused(
    engine, store, album, tmp_path
):
    state = tmp_path / "album.faces"
    engine.cluster(album, state=state)
    other = Engine.open(config=EngineConfig(store=store, precision=Precision.FP32))
    with pytest.raises(EncoderMismatch, match="another encoder"):
        other.cluster(album, state=state)
    foreign = tmp_path / "diary.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE diary (day TEXT)")
    db.close()
    before = foreign.read_bytes()
    with pytest.raises(InputRefused, match="another kind of file"):
        engine.cluster(album, state=foreign)
    assert foreign.read_bytes() == before
    state.write_bytes(state.read_bytes()[:3000] + b"\0" * 3000)
    with pytest.raises(InputRefused, match="delete it"):
        engine.cluster(album, state=state)
    with pytest.raises(InputRefused, match="no folder"):
        engine.cluster(album, state=tmp_path / "absent" / "x.faces")


def test_a_vector_that_is_no_unit_vector_is_damage(engine, album, tmp_path):
    state = tmp_path / "album.faces"
    engine.cluster(album, state=state)
    with sqlite3.connect(state) as db:
        db.execute("UPDATE face SET vector = ?", (np.zeros(128, "<f4").tobytes(),))
    db.close()
    with pytest.raises(InputRefused, match="damaged"):
        engine.cluster(album, state=state)


# A cluster becomes a person


def test_a_cluster_is_enrolled_by_its_best_faces_and_the_rules_of_enrolment_hold(
    engine, album, photographs, tmp_path
):
    for name in ("obama_partial_face.jpg", "obama_partial_face2.jpg"):
        shutil.copy(photographs[name], album)
    with Engine.open(tmp_path / "people.db", engine.config) as own:
        (one,) = own.cluster(album).clusters
        assert len(one.faces) == 5
        done = enroll_cluster(own, one, "Barack Obama", most=2)
        assert (done.person.name, len(done.added)) == ("Barack Obama", 2)
        assert own.verify(photographs["obama3.jpg"], "Barack Obama").accepted
        assert enroll_cluster(own, one, "Barack Obama", most=2).added == ()
        with pytest.raises(DuplicatePerson, match="Barack Obama"):
            enroll_cluster(own, one, "Somebody else")


def test_a_cluster_of_faces_that_would_make_bad_templates_is_not_enrolled(
    engine, photographs, tmp_path
):
    paths = [photographs[n] for n in ("obama_partial_face.jpg", "obama_partial_face2.jpg")]
    with Engine.open(tmp_path / "people.db", engine.config) as own:
        found = own.cluster(paths)
        (one,) = found.clusters
        with pytest.raises(PoorQuality, match="none of the 2 faces"):
            enroll_cluster(own, one, "Obama")
        assert own.gallery.size == 0
        assert len(enroll_cluster(own, one, "Obama", force=True).added) == 2


# The command


class Page(HTMLParser):
    """Gathers what a page holds, and where it points to."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.outside, self.targets, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.ids += [told["id"]] if "id" in told else []
        if tag == "img":
            self.pictures.append((told["alt"], told["src"]))
        if tag == "a":
            self.targets.append(told["href"])
        if tag in {"script", "link", "iframe"} or "onclick" in told:
            self.outside.append(tag)


def test_the_command_prints_json_writes_a_page_and_enrols(album, tmp_path):
    out, gallery = tmp_path / "sheet.html", tmp_path / "people.db"
    words = [album, "--out", out, "--json", "--gallery", gallery, "--workers", 1]
    status, answer, _ = ran(*words)
    assert status == 3  # broken.jpg was refused; everything else was done
    assert answer["schema"] == 1
    assert [e["code"] for e in answer["errors"]] == ["image_unreadable"]
    assert [(c["id"], c["size"], c["person"]) for c in answer["clusters"]] == [(1, 3, None)]
    assert len(answer["strangers"]) == 2
    assert (answer["photographs"], answer["embedded"]) == (6, 6)
    assert (tmp_path / "sheet.faces").is_file()
    assert not gallery.exists()  # nobody asked for it
    face = answer["clusters"][0]["faces"][0]
    assert set(face) == {"path", "copies", "box", "score", "fit_for_enrolment"}

    (album / "broken.jpg").unlink()
    name = "பராக் / <Obama>"
    status, answer, _ = ran(*words, "--enroll", f"1={name}")
    assert (status, answer["embedded"], answer["refused"]) == (0, 0, [])
    assert answer["enrolled"][0]["added"] == 3
    assert answer["clusters"][0]["person"] == name
    # The name stays with the cluster, and so does the refusal of what is nonsense.
    status, answer, _ = ran(*words, "--enroll", "7=Nobody")
    assert (status, answer["clusters"][0]["person"]) == (3, name)
    assert answer["refused"][0]["code"] == "input_refused"
    assert "there is no cluster 7" in answer["refused"][0]["message"]

    text = out.read_text("utf-8")
    page = Page(text)
    assert page.outside == []
    assert len(page.pictures) == 5
    assert all(src.startswith("data:image/jpeg;base64,") for _, src in page.pictures)
    assert f"{name}, in விடுமுறை/ஒபாமா <3>.jpg" in [alt for alt, _ in page.pictures]
    assert all(target.removeprefix("#") in page.ids for target in page.targets)
    assert "<Obama>" not in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://", text)


def test_words_for_people_and_wrong_usage(album, tmp_path):
    out = tmp_path / "sheet.html"
    status, _, told = ran(album, "--out", out, "--workers", 2)
    assert status == 3
    assert "cluster 1: 3 faces" in told
    assert "1 people seen more than once, 2 faces of strangers, in 6 photographs" in told
    for wrong in (["--enroll", "Ada"], ["--enroll", "x=Ada"], ["--enroll", "1="],
                  ["--state", out], ["--out", tmp_path / "absent" / "x.html"]):  # fmt: skip
        assert ran(album, "--out", out, *wrong)[0] == 2


def test_a_rate_that_makes_no_sense_is_told_before_anything_is_looked_at(engine, album, tmp_path):
    state = tmp_path / "album.faces"
    with pytest.raises(OperatingPointRefused, match="between 0 and 1"):
        engine.cluster(album, state=state, config=ClusterConfig(fpir=2))
    assert not state.exists()


def test_the_page_is_capped(engine, album, monkeypatch):
    found = engine.cluster(album)
    monkeypatch.setattr(sheet, "_OF_ONE", 2)
    monkeypatch.setattr(sheet, "_STRANGERS", 1)
    text = sheet.sheet_html(found, engine, album)
    assert len(Page(text).pictures) == 3
    assert "3 faces, 2 shown" in text
    assert "and 1 more" in text
    monkeypatch.setattr(sheet, "_PICTURES", 2)
    text = sheet.sheet_html(found, engine, album)
    assert len(Page(text).pictures) == 1
    assert "1 more cluster with 3 faces" in text
    found.strangers[0].path.unlink()
    assert "cannot be read" in sheet.sheet_html(found, engine, album)


@pytest.mark.slow
def test_an_interruption_leaves_what_was_done_and_the_next_run_goes_on(photographs, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    with PIL.Image.open(photographs["obama.jpg"]) as picture:
        small = picture.convert("RGB").resize((480, 600))
    for number in range(_MANY):
        mark = (number % 8 * 32, number // 8 % 8 * 32, number // 64 * 25)
        small.paste(mark, (0, 0, 16, 16))
        small.save(folder / f"{number:03d}.jpg", quality=90)
    out = tmp_path / "sheet.html"
    words = [COMMAND, "cluster", folder, "--out", out, "--json", "--workers", "1"]
    state = out.with_suffix(".faces")
    for how, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        before = remembered(state)
        assert before < _MANY
        with subprocess.Popen(
            [*map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A suite started in the background ignores the interrupt, and so would its child.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as child:
            while child.poll() is None and remembered(state) == before:
                time.sleep(0.01)
            child.send_signal(how)
            _, err = child.communicate(timeout=60)
        assert child.returncode == status, err
        assert "Traceback" not in err
        assert not out.exists()
    kept = remembered(state)
    assert 64 <= kept < _MANY
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["embedded"] == _MANY - kept
    assert [c["size"] for c in answer["clusters"]] == [_MANY]


def remembered(state):
    if not state.exists():
        return 0
    db = sqlite3.connect(state, timeout=30)
    try:
        return db.execute("SELECT count(*) FROM photograph").fetchone()[0]
    except sqlite3.OperationalError:  # its tables are not made yet
        return 0
    finally:
        db.close()


@pytest.mark.slow
def test_two_at_once_do_not_disturb_each_other(engine, album, tmp_path):
    state = tmp_path / "album.faces"
    words = [COMMAND, "cluster", album, "--out", tmp_path / "a.html", "--state", state, "--json"]
    both = [
        subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for child in both:
        out, _ = child.communicate(timeout=120)
        assert child.returncode == 3
        assert [c["size"] for c in json.loads(out)["clusters"]] == [3]
    parallel = Engine.open(config=EngineConfig(store=engine.config.store, cores=Cores(2, 2)))
    again = cluster_faces(parallel, album, state=state, config=ClusterConfig(workers=2))
    assert again.embedded == 0
