"""A gallery moves to another encoder by the photographs that people were enrolled from."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest

from visavis.engine import Engine, EngineConfig, Reencode, reencode
from visavis.errors import CopyRefused, EncoderMismatch
from visavis.gallery import Gallery
from visavis.models import Cores, Precision
from visavis.values import Consent

KEY = bytes(range(32))
FACES = {
    "Obama": ("obama.jpg", "obama2.jpg"),
    "Biden": ("biden.jpg",),
    "Collins": ("astronaut.png",),
}


def config_of(store, encoder="sface", precision=Precision.INT8):
    return EngineConfig(encoder=encoder, precision=precision, store=store, cores=Cores(threads=1))


@pytest.fixture
def folder(photographs, tmp_path):
    """All photographs in one folder, under names that say nothing."""
    folder = tmp_path / "staff"
    folder.mkdir()
    for n, name in enumerate(sorted(name for names in FACES.values() for name in names)):
        shutil.copy(photographs[name], folder / f"{n}{photographs[name].suffix}")
    return folder


@pytest.fixture
def path(photographs, store, tmp_path):
    """Three people enrolled with SFace in int8."""
    path = tmp_path / "people.db"
    gallery = Gallery.open(path, keys=KEY)
    with Engine.open(gallery, config_of(store)) as engine:
        for name, files in FACES.items():
            consent = Consent(f"form of {name}", "the door", None)
            engine.enroll(name, [photographs[file] for file in files], consent=consent)
    return path


def opened(path):
    return Gallery.open(path, keys=KEY)


@pytest.fixture(params=[("sface", Precision.FP32), ("sface-dlib", None)], ids=["fp32", "ensemble"])
def other(request, store):
    """An encoder whose vectors have as many numbers, and one whose have more."""
    with Engine.open(config=config_of(store, *request.param)) as engine:
        yield engine


def test_it_is_as_if_everybody_had_been_enrolled_anew(path, folder, other, photographs, tmp_path):
    with opened(path) as gallery:
        before, anchor = gallery.info(), gallery.audit.verify().anchor
        people = {p.name: p for p in gallery.people()}
        done = reencode(other, gallery, Reencode(folder))
    assert (done.people, done.templates, done.lost, done.missing) == (3, 4, 0, ())
    assert done.erased
    config = other.config
    with (
        Engine.open(opened(path), config) as moved,
        Engine.open(Gallery.open(tmp_path / "fresh.db", keys=KEY), config) as fresh,
    ):
        for name, files in FACES.items():
            fresh.enroll(name, [photographs[file] for file in files])
        assert {p.name: p for p in moved.gallery.people()} == people  # ids and consents too
        assert moved.gallery.info().id == before.id
        for person in moved.gallery.people():
            mine = {t.vector.tobytes() for t in moved.gallery.templates(person.id)}
            theirs = fresh.gallery.templates(fresh.gallery.person(person.name).id)
            assert mine == {t.vector.tobytes() for t in theirs}
        (face,) = moved.identify(photographs["obama3.jpg"]).faces
        (same,) = fresh.identify(photographs["obama3.jpg"]).faces
        assert face.person.name == same.person.name == "Obama"
        assert face.distance == same.distance
        assert moved.verify(photographs["biden.jpg"], "Biden").distance < 1e-9
        assert moved.gallery.check().problems == []
        assert moved.gallery.audit.verify(anchor).intact
        # The same photograph is still known.
        again = moved.enroll("Biden", [photographs["biden.jpg"]])
        assert (again.added, again.known) == ((), 1)


def test_old_vectors_are_gone_and_can_be_looked_for(path, folder, other):
    with opened(path) as gallery:
        biden = gallery.person("Biden").id
        (old,) = gallery.templates(biden)
        with gallery._store.read() as db:
            rows = db.exec_driver_sql("SELECT substr(vector, 1, 12) FROM template").scalars().all()
        reencode(other, gallery, Reencode(folder))
        assert old.id not in {t.id for t in gallery.templates(biden)}
    with opened(path) as gallery:
        content = path.read_bytes()
        assert not [row for row in rows if row in content]
        gallery.remove("Biden")
        report = gallery.check_erased(biden)
        assert (report.leftovers, report.templates) == ((), 2)


def test_whoever_has_it_open_with_the_old_encoder_is_told(path, folder, other, photographs, store):
    with Engine.open(opened(path), config_of(store)) as old, opened(path) as gallery:
        assert old.identify(photographs["obama3.jpg"]).faces[0].person.name == "Obama"
        reencode(other, gallery, Reencode(folder))
        with pytest.raises(EncoderMismatch, match="while it was open"):
            old.identify(photographs["obama3.jpg"])
        with pytest.raises(EncoderMismatch):
            old.verify(photographs["obama3.jpg"], "Obama")
        with pytest.raises(EncoderMismatch):
            old.enroll("Obama", [photographs["obama3.jpg"]], force=True)


def test_nobody_is_lost_unless_that_was_asked_for(path, folder, other, photographs):
    for file in folder.iterdir():
        if file.read_bytes() == photographs["biden.jpg"].read_bytes():
            file.unlink()
    # Another photograph of him under his name is not what was enrolled.
    (folder / "Biden").mkdir()
    with PIL.Image.open(photographs["biden.jpg"]) as picture:
        picture.save(folder / "Biden" / "biden.png")
    with opened(path) as gallery:
        before = gallery.changes(0)
        with pytest.raises(CopyRefused, match=r"Biden.*come again"):
            reencode(other, gallery, Reencode(folder))
        after = gallery.changes(0)
        assert (after.sequence, after.encoder) == (before.sequence, before.encoder)
        assert np.array_equal(after.vectors, before.vectors)
        done = reencode(other, gallery, Reencode(folder, drop_missing=True))
        assert [(a.name, a.reasons) for a in done.missing] == [
            ("Biden", ("no photograph is at hand",))
        ]
        assert (done.people, done.templates, done.lost) == (2, 3, 1)
        assert gallery.person("Biden").consent.reference == "form of Biden"
        assert gallery.person("Biden").templates == 0
    with Engine.open(opened(path), other.config) as moved:
        assert moved.gallery.check().problems == []
        moved.enroll("Biden", [photographs["biden.jpg"]])  # he came again
        assert moved.verify(photographs["biden.jpg"], "Biden").accepted


def test_photographs_that_the_gallery_kept_are_enough(photographs, store, other, tmp_path):
    path = tmp_path / "kept.db"
    with Engine.open(opened(path), config_of(store)) as engine:
        for name, files in FACES.items():
            engine.enroll(name, [photographs[f] for f in files], keep_photographs=True)
    with opened(path) as gallery:
        assert reencode(other, gallery).templates == 4
        ada = gallery.person("Collins").id
        (moved,) = gallery.templates(ada)
        assert gallery.photograph(moved.id) == photographs["astronaut.png"].read_bytes()
        assert gallery.check().problems == []


def test_of_several_faces_the_one_that_was_enrolled_is_taken(photographs, store, other, tmp_path):
    """Obama is enrolled from a picture in which Biden is larger."""
    with (
        PIL.Image.open(photographs["biden.jpg"]) as large,
        PIL.Image.open(photographs["obama.jpg"]) as full,
    ):
        small = full.convert("RGB").resize((full.width // 2, full.height // 2))
        both = PIL.Image.new("RGB", (large.width + small.width, large.height), "grey")
        both.paste(large.convert("RGB"), (0, 0))
        both.paste(small, (large.width, 0))
    both.save(tmp_path / "both.png")
    path = tmp_path / "people.db"
    with Engine.open(opened(path), config_of(store)) as engine:
        taken = engine.read(tmp_path / "both.png")
        seen = engine.sight.everyone(taken)
        assert len(seen) == 2
        first = engine.embedding(photographs["obama.jpg"])
        from visavis.encode import embed  # noqa: PLC0415
        from visavis.gallery import NewTemplate  # noqa: PLC0415

        faces = embed(engine.encoder, [face.crop for face in seen])
        his = min(faces, key=lambda e: float(((e.vector - first.vector) ** 2).sum()))
        engine.gallery.enroll(
            "Obama", [NewTemplate(his.vector, taken.digest)], encoder=engine.encoder.id
        )
    with opened(path) as gallery:
        assert reencode(other, gallery, Reencode(tmp_path)).templates == 1
    with Engine.open(opened(path), other.config) as moved:
        assert moved.verify(photographs["obama2.jpg"], "Obama").accepted
        assert not moved.verify(photographs["biden.jpg"], "Obama").accepted


def test_who_is_enrolled_meanwhile_comes_along(path, folder, other, photographs, store):
    shutil.copy(photographs["obama3.jpg"], folder / "late.jpg")
    late = []

    def told(done, total):
        if not late:
            with Engine.open(opened(path), config_of(store)) as old:
                late.append(old.enroll("Obama", [photographs["obama3.jpg"]]))

    with opened(path) as gallery:
        assert reencode(other, gallery, Reencode(folder), told).templates == 5
        assert gallery.person("Obama").templates == 3


def test_the_encoder_that_it_has_already_is_no_move(path, store):
    with (
        Engine.open(config=config_of(store)) as same,
        opened(path) as gallery,
        pytest.raises(EncoderMismatch, match="already"),
    ):
        reencode(same, gallery)


@pytest.fixture
def visavis(tmp_path, monkeypatch, command_line):
    """Call the command line in this process; gives status, output, errors."""
    monkeypatch.setenv("VISAVIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VISAVIS_KEY", KEY.hex())
    for variable in ("VISAVIS_GALLERY", "VISAVIS_KEY_FILE", "VISAVIS_SEARCH"):
        monkeypatch.delenv(variable, raising=False)

    def call(*words, **more):
        run = command_line(*words, **more)
        return run.status, run.out, run.err

    return call


def test_from_the_command_line(visavis, path, folder, photographs):
    words = ("gallery", "reencode", "--precision", "fp32", "--gallery", path)
    status, out, _ = visavis(*words, "--json")
    assert (status, json.loads(out)["error"]["code"]) == (3, "copy_refused")
    status, out, _ = visavis(*words, "--photographs", folder, "--json")
    answer = json.loads(out)
    assert status == 0
    assert (answer["people"], answer["templates"], answer["missing"]) == (3, 4, [])
    identify = ("identify", photographs["obama3.jpg"], "--gallery", path)
    assert visavis(*identify)[0] == 3
    status, out, _ = visavis(*identify, "--precision", "fp32", "--json")
    assert (status, json.loads(out)["faces"][0]["person"]) == (0, "Obama")
    status, out, _ = visavis(
        "gallery", "reencode", "--precision", "int8", "--gallery", path, "--drop-missing"
    )
    assert (status, out.count("must come again")) == (0, 3)
