"""enroll --folder: resumable, idempotent, each person whole, also when it is killed."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import PIL.Image
import pytest

from visavis.engine import Engine, Status, enroll_folder, plan_folder
from visavis.errors import DuplicatePerson, InputRefused, PersonMismatch
from visavis.gallery import Gallery

COMMAND = Path(sys.executable).with_name("visavis")


@pytest.fixture
def people(tmp_path, photographs):
    """A folder of two people and a stranger, in both layouts, with something wrong in it."""
    folder = tmp_path / "people"
    (folder / "Obama").mkdir(parents=True)
    for name in ("obama.jpg", "obama2.jpg"):
        shutil.copy(photographs[name], folder / "Obama")
    (folder / "Obama" / "notes.txt").write_text("met in 2012")
    (folder / "Obama" / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    shutil.copy(photographs["biden.jpg"], folder / "Biden.jpg")
    shutil.copy(photographs["astronaut.png"], folder / "Eileen Collins.png")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


def statuses(outcomes):
    return {(o.person, o.path.name): o.status for o in outcomes}


def test_both_layouts_are_understood_and_what_is_no_picture_is_named(people):
    plan = plan_folder(people)
    assert [name for name, _ in plan.people] == ["Biden", "Eileen Collins", "Obama"]
    assert [path.name for path in plan.ignored] == ["notes.txt"]
    assert plan.photographs == 5


@pytest.mark.parametrize("workers", [1, 3])
def test_everybody_is_enrolled_once_and_a_second_run_changes_nothing(
    engine, people, tmp_path, workers
):
    with Engine.open(tmp_path / "people.db", engine.config) as own:
        first = statuses(enroll_folder(own, plan_folder(people), workers=workers))
        assert first == {
            ("Obama", "obama.jpg"): Status.ENROLLED,
            ("Obama", "obama2.jpg"): Status.ENROLLED,
            ("Obama", "broken.jpg"): Status.REFUSED,
            ("Biden", "Biden.jpg"): Status.ENROLLED,
            ("Eileen Collins", "Eileen Collins.png"): Status.ENROLLED,
        }
        assert (own.gallery.size, own.gallery.template_count) == (3, 4)
        again = statuses(enroll_folder(own, plan_folder(people), workers=workers))
        assert set(again.values()) == {Status.KNOWN, Status.REFUSED}
        assert own.gallery.template_count == 4


def test_a_face_in_the_wrong_folder_is_refused_and_the_rest_goes_in(
    engine, people, tmp_path, photographs
):
    shutil.copy(photographs["biden.jpg"], people / "Obama" / "wrong.jpg")
    with Engine.open(tmp_path / "people.db", engine.config) as own:
        outcomes = list(enroll_folder(own, plan_folder(people)))
    wrong = next(o for o in outcomes if o.path.name == "wrong.jpg")
    assert wrong.status is Status.REFUSED
    assert isinstance(wrong.error, DuplicatePerson | PersonMismatch)
    assert statuses(outcomes)["Obama", "obama2.jpg"] is Status.ENROLLED


def test_a_folder_that_holds_nobody_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputRefused):
            plan_folder(folder)


def gathered(folder, photographs, people):
    """Make people with two photographs each (the same faces again, so --force is needed)."""
    small = {}
    for name in ("obama.jpg", "biden.jpg"):
        with PIL.Image.open(photographs[name]) as picture:
            small[name] = picture.convert("RGB").resize((240, 300))
    for number in range(people):
        person = folder / f"person {number:03d}"
        person.mkdir(parents=True)
        for name, picture in small.items():
            marked = picture.copy()
            marked.putpixel((0, 0), (number, number // 2, 7))
            marked.save(person / name, quality=90)
    return folder


@pytest.fixture
def crowd(tmp_path, photographs):
    return gathered(tmp_path / "crowd", photographs, 40)


def started(crowd, gallery, **more):
    words = ["enroll", "--folder", crowd, "--gallery", gallery, "--force", "--workers", "2"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **more,
    )


@pytest.mark.slow
def test_killed_at_any_moment_nobody_acknowledged_is_lost_and_nobody_is_half_there(
    photographs, tmp_path
):
    crowd = gathered(tmp_path / "crowd", photographs, 250)
    gallery = tmp_path / "people.db"
    chance = random.Random(3)
    acknowledged: dict[str, int] = {}
    killed = 0
    for last in [False] * 8 + [True]:
        child = started(crowd, gallery)
        assert child.stdout is not None
        killer = threading.Timer(chance.uniform(0.3, 1.0), child.kill)
        if not last:
            killer.start()
        for line in child.stdout:
            # The last line may have been cut short by the kill.
            if line.startswith("enrolled ") and line.endswith("\n"):
                name = line.removeprefix("enrolled ").split(":")[0]
                acknowledged[name] = acknowledged.get(name, 0) + 1
        child.communicate()
        killer.cancel()
        killed += child.returncode == -signal.SIGKILL
        with Gallery.open(gallery) as people:
            there = {person.name: person.templates for person in people.people()}
        assert set(there.values()) <= {2}
        assert set(acknowledged) <= set(there)
    assert killed >= 3
    assert child.returncode == 0
    assert len(there) == 250
    assert max(acknowledged.values()) == 2


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_a_second_run_completes(photographs, tmp_path):
    crowd = gathered(tmp_path / "crowd", photographs, 200)
    gallery = tmp_path / "people.db"
    # A test-suite started in the background ignores the interrupt, and so would its children.
    child = started(crowd, gallery, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    child = started(crowd, gallery)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "200 people in the gallery" in out


@pytest.mark.slow
def test_a_full_disk_is_told_and_what_was_acknowledged_stays(crowd, tmp_path):
    gallery = tmp_path / "people.db"

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))

    child = started(crowd, gallery, preexec_fn=small_disk)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "gallery_full: " in err
    acknowledged = {line.split(":")[0] for line in out.splitlines() if line.startswith("enrolled")}
    with Gallery.open(gallery) as people:
        there = {f"enrolled {person.name}" for person in people.people()}
    assert acknowledged <= there
