"""A folder a person becomes a pack: what is left out is said, and a kill loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import simplejpeg
from packs import contents, engine_without_networks, folder_of

from visavis import cli
from visavis.align import align
from visavis.detect import Search
from visavis.errors import PackRefused, PackUnwritable, ProtocolRefused
from visavis.models import ALIGNMENTS
from visavis.train import writer
from visavis.train.pack import Pack
from visavis.train.packing import PackConfig, pack_folder
from visavis.train.writer import PackWriter

PEOPLE = {"Ada": 3, "Bob": 1, "Cyd": 7, "Dee": 2}


@pytest.fixture
def folder(tmp_path):
    return folder_of(tmp_path / "photos", PEOPLE)


def packed(folder, out, **config):
    return pack_folder(engine_without_networks(), folder, out, PackConfig(**config))


def left_out(done):
    return {r.photograph: (r.code, r.message) for r in done.refusals()}


def test_real_photographs_are_cut_by_the_code_that_serves(engine, photographs, tmp_path):
    names = {"Obama": ["obama.jpg", "obama2.jpg"], "Biden": ["biden.jpg"]}
    for person, files in names.items():
        (tmp_path / "photos" / person).mkdir(parents=True)
        for file in files:
            shutil.copy(photographs[file], tmp_path / "photos" / person)
    for alignment in ("arcface-112", "arcface-64"):
        done = pack_folder(engine, tmp_path / "photos", tmp_path / alignment, PackConfig(alignment))
        assert (done.people, done.images, done.refused) == (2, 3, {})
        pack = Pack.open(done.path)
        assert [pack.name(p) for p in range(2)] == ["Biden", "Obama"]
        sources = [pack.source(row) for row in range(3)]
        assert sources == ["Biden/biden.jpg", "Obama/obama.jpg", "Obama/obama2.jpg"]
        for row, source in enumerate(sources):
            from_photograph = engine.read(photographs[Path(source).name])
            served = engine.sight.subject(from_photograph).crop
            if alignment != "arcface-112":
                image = from_photograph.image(engine.config.limits, 960)
                face = engine.sight.detector.find(image, Search.SUBJECT)[0]
                served = align(image, face, ALIGNMENTS[alignment])
            jpeg = simplejpeg.encode_jpeg(served.pixels, 95, "RGB", "444")
            crop = pack.read(np.array([row]))[0]
            assert np.array_equal(crop, simplejpeg.decode_jpeg(jpeg, "RGB"))
            assert np.abs(crop.astype(int) - served.pixels).mean() < 3, "what JPEG at 95 loses"


def test_what_is_left_out_is_listed_with_its_reason(engine, photographs, tmp_path):
    root = tmp_path / "photos"
    for person in ("Obama", "Biden", "Grey", "Empty"):
        (root / person).mkdir(parents=True)
    shutil.copy(photographs["obama.jpg"], root / "Obama" / "1.jpg")
    shutil.copy(photographs["obama.jpg"], root / "Obama" / "2 again.jpg")
    shutil.copy(photographs["biden.jpg"], root / "Biden" / "1.jpg")
    shutil.copy(photographs["biden.jpg"], root / "Obama" / "3 is Biden.jpg")
    (root / "Obama" / "4 cut short.jpg").write_bytes(photographs["obama2.jpg"].read_bytes()[:9000])
    (root / "Obama" / "5.txt").write_text("a note")
    with PIL.Image.open(photographs["obama2.jpg"]) as picture:
        picture.resize((picture.width // 12, picture.height // 12)).save(root / "Obama/6 far.jpg")
    PIL.Image.new("RGB", (200, 200), "grey").save(root / "Grey" / "nobody.png")
    done = pack_folder(engine, root, tmp_path / "pack")
    told = left_out(done)
    assert (done.people, done.images) == (2, 2)
    assert {source: code for source, (code, _) in told.items() if source} == {
        "Empty": "ignored",
        "Grey/nobody.png": "no_face_found",
        "Obama/2 again.jpg": "duplicate",
        "Obama/3 is Biden.jpg": "same_photograph",
        "Obama/4 cut short.jpg": "image_unreadable",
        "Obama/5.txt": "ignored",
        "Obama/6 far.jpg": "face_too_small",
    }
    assert "Biden/1.jpg" in told["Obama/3 is Biden.jpg"][1]
    assert "pixels wide, at least 30" in told["Obama/6 far.jpg"][1]
    nobody = {r.person for r in done.refusals() if r.code == "nobody"}
    assert nobody == {"Empty", "Grey"}
    assert done.refused == Counter(r.code for r in done.refusals())
    assert str(tmp_path) not in (done.path / "refused.csv").read_text(), "a pack may be moved"


def test_pictures_at_other_depths_are_listed_never_packed_and_never_silent(folder, tmp_path):
    shutil.copy(folder / "Ada/000.png", folder / "loose.png")
    (folder / "notes.txt").write_text("a note")
    (folder / "Cyd/more/deeper").mkdir(parents=True)
    for number in range(3):
        shutil.copy(folder / f"Ada/00{number}.png", folder / "Cyd/more/deeper")
    (folder / ".hidden").mkdir()
    done = packed(folder, tmp_path / "pack")
    assert done.images == sum(PEOPLE.values())
    told = left_out(done)
    assert {code for code, _ in told.values()} == {"ignored"}
    assert told["loose.png"][1] == "a picture beside the folders of people"
    assert "notes.txt" in told
    assert told["Cyd/more"][1] == "a folder inside a person's folder, with 3 picture(s) below it"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (["1.png"], "1.png is a picture beside the folders"),
        (["train/Ada/1.png"], r"train/Ada is a folder inside .* with 1 picture"),
        (["Ada/1.txt"], "there is none"),
        ([], "there is none"),
        (None, "No such file"),
    ],
)
def test_a_folder_of_another_depth_is_refused_and_says_what_lies_where(tmp_path, made, told):
    root = tmp_path / "photos"
    for name in made or []:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (50, 50)).save(root / name, "PNG")
    if made == []:
        root.mkdir()
    with pytest.raises(ProtocolRefused, match=told):
        packed(root, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_without_any_usable_face_the_first_reason_is_given(engine, tmp_path):
    (tmp_path / "photos/Grey").mkdir(parents=True)
    PIL.Image.new("RGB", (200, 200), "grey").save(tmp_path / "photos/Grey/1.png")
    with pytest.raises(ProtocolRefused, match=r"nothing to train on.*Grey/1.png: no_face_found"):
        pack_folder(engine, tmp_path / "photos", tmp_path / "pack")


def test_workers_and_repetition_change_nothing(folder, tmp_path):
    one = packed(folder, tmp_path / "1")
    four = packed(folder, tmp_path / "4", workers=4)
    assert contents(one.path) == contents(four.path)
    before = contents(one.path)
    again = packed(folder, tmp_path / "1")
    assert (again.digest, again.images) == (one.digest, one.images)
    assert contents(one.path) == before


def test_progress_ends_where_it_should(folder, tmp_path):
    steps = []
    pack_folder(
        engine_without_networks(), folder, tmp_path / "pack", told=lambda *at: steps.append(at)
    )
    total = sum(PEOPLE.values())
    assert steps[0] == (0, total)
    assert steps[-1] == (total, total)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_another_configuration_or_a_changed_folder_is_refused(folder, tmp_path):
    out = tmp_path / "pack"
    packed(folder, out)
    with pytest.raises(PackRefused, match="min_face was 30, now it is 40"):
        packed(folder, out, min_face=40)
    with pytest.raises(PackRefused, match="alignment was"):
        packed(folder, out, alignment="arcface-64")
    picture = folder / "Ada/000.png"
    os.utime(picture, (1, 1))
    with pytest.raises(PackRefused, match="the folder's files have changed"):
        packed(folder, out)


def test_a_folder_with_something_else_is_left_alone(folder, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("years of work")
    with pytest.raises(PackRefused, match=r"something else in it \(chapter1.tex\)"):
        packed(folder, out)
    assert contents(out) == {"chapter1.tex": b"years of work"}
    with pytest.raises(PackRefused, match="lies within"):
        packed(folder, folder / "pack")


def test_two_at_once_do_not_mix(folder, tmp_path):
    out = tmp_path / "pack"
    with (
        PackWriter(out, {"folder": "another's"}),
        pytest.raises(PackRefused, match="another process is packing"),
    ):
        packed(folder, out)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from packs import engine_without_networks
    from visavis.train import packing, writer
    from visavis.train.writer import PackWriter

    def kill(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def at(name, number, owner=PackWriter, after=False):
        plain, calls = getattr(owner, name), [0]
        def counted(*words):
            calls[0] += 1
            if calls[0] == number and not after:
                kill()
            done = plain(*words)
            if calls[0] == number:
                kill()
            return done
        setattr(owner, name, counted)

    writer._PATIENCE = float(sys.argv[4])
    exec(sys.argv[5])
    packing.pack_folder(engine_without_networks(), Path(sys.argv[2]), Path(sys.argv[3]))
"""

MOMENTS = {
    "before anything was written": ("1", "at('_begin', 1)"),
    "with nothing saved": ("9", "at('settle', 6)"),
    "with half of it saved": ("-1", "at('add', 6)"),
    "between the disk and the ledger": ("-1", "at('_commit', 6)"),
    "after the ledger": ("-1", "at('_commit', 6, after=True)"),
    "between the person and the next": ("-1", "at('settle', 4, after=True)"),
    "in the middle of the index": ("9", "at('number', 30, writer.Index)"),
    "with the index written": ("9", "at('_refusals', 1)"),
    "with all but pack.json": ("9", "at('_durable', 1, writer)"),
    "with pack.json": ("9", "at('_durable', 1, writer, after=True)"),
}


def killed(folder, out, patience, moment):
    words = [str(Path(__file__).parent), str(folder), str(out), patience, moment]
    command = [sys.executable, "-c", textwrap.dedent(KILLED), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(folder, tmp_path, moment):
    (folder / "Empty").mkdir()
    (folder / "Zoe").mkdir()  # the last of all has nothing
    shutil.copy(folder / "Ada/001.png", folder / "Zoe/same as Ada.png")
    whole = packed(folder, tmp_path / "whole")
    out = tmp_path / "killed"
    killed(folder, out, *MOMENTS[moment])
    if moment != "with pack.json":
        with pytest.raises(PackRefused, match=r"unfinished|no pack"):
            Pack.open(out)
    if (out / "shards/00000.jpgs").exists() and not (out / "pack.json").exists():
        with (out / "shards/00000.jpgs").open("ab") as shard:
            shard.write(b"half a crop that reached the disk")
    again = packed(folder, out)
    assert again.digest == whole.digest
    assert contents(out) == contents(whole.path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_killed_again_and_again_it_still_ends_at_the_same_bytes(folder, tmp_path):
    whole = packed(folder, tmp_path / "whole")
    for number in (3, 2, 4):
        killed(folder, tmp_path / "killed", "-1", f"at('settle', {number})")
    done = packed(folder, tmp_path / "killed")
    assert done.went_on > 0
    assert contents(done.path) == contents(whole.path)


def test_what_was_settled_is_not_worked_on_again(folder, tmp_path, monkeypatch):
    engine = engine_without_networks()
    looks = []
    find = engine.sight.detector.find
    monkeypatch.setattr(
        engine.sight.detector, "find", lambda *w: (looks.append(1), find(*w))[1], raising=False
    )
    monkeypatch.setattr(writer, "_PATIENCE", -1)

    def stop(done, _of):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_folder(engine, folder, tmp_path / "pack", told=stop)
    looks.clear()
    done = pack_folder(engine, folder, tmp_path / "pack")
    assert done.went_on == 6
    assert len(looks) == sum(PEOPLE.values()) - 6


class FullDisk:
    """A file on a disk with room for so many bytes more."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        self._room -= len(data)
        if self._room < 0:
            self._file.write(data[: self._room])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_is_said_and_nothing_is_lost(folder, tmp_path, monkeypatch):
    whole = packed(folder, tmp_path / "whole")
    monkeypatch.setattr(writer, "_PATIENCE", -1)
    opened = PackWriter._open

    def crowded(self, size):
        opened(self, size)
        self._file = FullDisk(self._file, 25_000)

    monkeypatch.setattr(PackWriter, "_open", crowded)
    with pytest.raises(PackUnwritable, match=r"No space left on device.*goes on where it was"):
        packed(folder, tmp_path / "pack")
    monkeypatch.setattr(PackWriter, "_open", opened)
    done = packed(folder, tmp_path / "pack")
    assert 0 < done.went_on < sum(PEOPLE.values())
    assert contents(done.path) == contents(whole.path)


def test_a_full_disk_at_the_index_is_said_too(folder, tmp_path, monkeypatch):
    whole = packed(folder, tmp_path / "whole")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(writer, "_durable", full)
        with pytest.raises(PackUnwritable, match="No space left"):
            packed(folder, tmp_path / "pack")
    assert contents(packed(folder, tmp_path / "pack").path) == contents(whole.path)


def test_a_shard_that_lost_what_was_packed_is_refused_when_going_on(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_PATIENCE", -1)

    def stop(done, _of):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_folder(engine_without_networks(), folder, tmp_path / "pack", told=stop)
    os.truncate(tmp_path / "pack/shards/00000.jpgs", 100)
    with pytest.raises(PackRefused, match="shorter than what was packed"):
        packed(folder, tmp_path / "pack")


def test_names_of_all_kinds_survive(tmp_path):
    odd = {"Łukasz Żółć": 1, 'a,b"c': 2, "李小龍": 1, " spaces ": 1}
    if os.name == "posix":
        odd[os.fsdecode(b"latin \xe9")] = 1  # no UTF-8
    try:
        folder_of(tmp_path / "photos", odd)
    except (OSError, UnicodeError):
        pytest.skip("this file system keeps no such names")
    done = packed(tmp_path / "photos", tmp_path / "pack")
    pack = Pack.open(done.path)
    assert [pack.name(p) for p in range(pack.people)] == sorted(odd)


@pytest.mark.slow
def test_memory_stays_flat_while_packing(tmp_path):
    """The queue holds what the workers need, however many photographs there are."""
    folder = folder_of(tmp_path / "photos", {f"p{n:03d}": 2 for n in range(100)}, side=32)
    alive, most, lock = [0], [0], threading.Lock()
    engine = engine_without_networks()
    find = engine.sight.detector.find

    def counted(image, search):
        with lock:
            alive[0] += 1
        return find(image, search)

    engine.sight.detector.find = counted

    def told(done, _of):
        most[0] = max(most[0], alive[0] - done)
        time.sleep(0.001)

    pack_folder(engine, folder, tmp_path / "pack", PackConfig(min_face=0, workers=2), told)
    assert most[0] <= 4 * 2 + 2


@pytest.fixture
def visavis(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["visavis", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(left.value.code or 0), out, err

    return call


def test_the_command_packs_and_tells(visavis, photographs, tmp_path):
    for person, file in (("Obama", "obama.jpg"), ("Obama", "obama2.jpg"), ("Biden", "biden.jpg")):
        (tmp_path / "photos" / person).mkdir(parents=True, exist_ok=True)
        shutil.copy(photographs[file], tmp_path / "photos" / person)
    # Biden's second photograph stands under Obama's name.
    with PIL.Image.open(photographs["biden.jpg"]) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(
            tmp_path / "photos/Obama/wrong.jpg"
        )
    words = ("data", "pack", tmp_path / "photos", tmp_path / "pack")
    status, out, _ = visavis(*words, "--json", "--workers", 1)
    told = json.loads(out)
    assert status == 0
    assert {k: told[k] for k in ("schema", "people", "images", "refused", "went_on")} == {
        "schema": 1,
        "people": 2,
        "images": 4,
        "refused": {},
        "went_on": 0,
    }
    status, out, _ = visavis(*words)
    assert "4 images of 2 people" in out
    assert "had been dealt with before" in out

    status, out, _ = visavis("data", "info", tmp_path / "pack", "--json")
    told = json.loads(out)
    assert (told["images"], told["people_by_images"]["3-4"], told["damaged"]) == (4, 1, [])
    (twin,) = told["twins"]
    assert {twin["a"], twin["b"]} == {"Biden/biden.jpg", "Obama/wrong.jpg"}
    assert not twin["same_person"]
    assert (
        "likely one photograph, of two people: 1" in visavis("data", "info", tmp_path / "pack")[1]
    )
    fast = json.loads(visavis("data", "info", tmp_path / "pack", "--fast", "--json")[1])
    assert (fast["images"], fast["damaged"], fast["twins"]) == (4, None, None)

    status, out, err = visavis(*words, "--min-face", 50, "--json")
    assert status == 3
    assert json.loads(out)["error"]["code"] == "pack_refused"
    assert "min_face was 30" in err


def test_an_encoder_of_another_alignment_is_refused_in_words(visavis, tmp_path, folder):
    packed(folder, tmp_path / "pack", alignment="arcface-64")
    status, _, err = visavis("data", "info", tmp_path / "pack")
    assert status == 3
    assert "cut to arcface-64, sface wants arcface-112" in err
    status, out, _ = visavis("data", "info", tmp_path / "pack", "--encoder", "none")
    assert status == 0
    assert "damaged            none" in out


def test_packing_needs_no_torch(tmp_path, folder):
    script = """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        for missing in ("torch", "kornia", "pytorch_metric_learning", "sklearn"):
            sys.modules[missing] = None
        from packs import engine_without_networks
        from visavis.cli.data import data
        from visavis.train.inspect import inspect
        from visavis.train.pack import Pack
        from visavis.train.packing import pack_folder
        pack_folder(engine_without_networks(), Path(sys.argv[2]), Path(sys.argv[3]))
        inspect(Pack.open(Path(sys.argv[3])))
    """
    words = [str(Path(__file__).parent), str(folder), str(tmp_path / "pack")]
    command = [sys.executable, "-c", textwrap.dedent(script), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
