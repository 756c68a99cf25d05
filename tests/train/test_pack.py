"""What is packed comes back, what is damaged is refused, and nothing is held in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from packs import flat, written

from visavis.errors import InputRefused, PackRefused
from visavis.train.layout import index_path, shard_path
from visavis.train.pack import Pack


def people(count=6, most=4):
    return {
        f"person {p}": [flat((40 * p, 60 * n, 200 - 30 * p)) for n in range(1 + p % most)]
        for p in range(count)
    }


@pytest.fixture
def pack(tmp_path):
    return written(tmp_path / "pack", people())


def test_crops_come_back_person_by_person_with_names_and_sources(pack):
    given = people()
    assert (len(pack), pack.people) == (sum(map(len, given.values())), len(given))
    assert pack.offsets.tolist() == np.cumsum([0, *map(len, given.values())]).tolist()
    assert [pack.name(p) for p in range(pack.people)] == list(given)
    crops = [crop for those in given.values() for crop in those]
    read = pack.read(np.arange(len(pack)))
    assert read.shape == (len(pack), 112, 112, 3)
    assert np.abs(read.astype(int) - np.stack(crops)).max() <= 2  # JPEG of one colour
    row = int(pack.offsets[3])
    assert pack.source(row) == "person 3/0.jpg"
    assert pack.owners(np.arange(len(pack))).tolist() == [
        p for p, those in enumerate(given.values()) for _ in those
    ]


@pytest.mark.parametrize("workers", [1, 2, 3, 50])
def test_rows_come_in_the_order_asked_for_whoever_decodes_them(pack, workers):
    asked = np.array([8, 0, 3, 3, 9, 1])
    one_by_one = np.concatenate([pack.read(np.array([row])) for row in asked])
    assert np.array_equal(pack.read(asked, workers), one_by_one)
    assert pack.read(np.empty(0, np.int64), workers).shape == (0, 112, 112, 3)


def test_shards_are_cut_at_their_size_and_read_as_one(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8)
    whole = written(tmp_path / "whole", {"a": noise[:5], "b": noise[5:]}, alignment="arcface-64")
    cut = written(
        tmp_path / "cut", {"a": noise[:5], "b": noise[5:]}, alignment="arcface-64", shard=25_000
    )
    sizes = cut.facts["shards"]
    assert len(sizes) > 2
    assert max(sizes) <= 25_000
    rows = np.array([8, 0, 5, 4, 1])
    assert np.array_equal(cut.read(rows, 2), whole.read(rows))


@pytest.mark.parametrize("row", [-1, 15])
def test_a_row_that_is_not_there_is_a_mistake_of_the_caller(pack, row):
    assert len(pack) == 13
    with pytest.raises(IndexError):
        pack.read(np.array([0, row]))


def test_the_digest_names_the_content(tmp_path):
    first, again = written(tmp_path / "1", people()), written(tmp_path / "2", people())
    other = people()
    other["person 3"][0] = flat((1, 2, 3))
    renamed = {name.replace("3", "x"): crops for name, crops in people().items()}
    assert first.digest == again.digest
    digests = {first.digest, written(tmp_path / "3", other).digest}
    assert len(digests | {written(tmp_path / "4", renamed).digest}) == 3
    assert first.index_whole()


def test_a_damaged_image_is_named_and_the_others_are_read(pack):
    row = 7
    place = int(pack._rows["offset"][row]) + int(pack._rows["length"][row]) // 2
    path = shard_path(pack.path, 0)
    data = bytearray(path.read_bytes())
    data[place] ^= 1  # one bit
    path.write_bytes(data)
    opened = Pack.open(pack.path)
    with pytest.raises(PackRefused, match=rf"{pack.source(row)} \(row 7\) is damaged"):
        opened.read(np.arange(len(opened)), 2)
    assert [d.source for d in opened.damaged(np.arange(len(opened)))] == [pack.source(row)]
    assert opened.read(np.array([6, 8])).shape == (2, 112, 112, 3)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edited(**changes):
    def edit(folder):
        path = folder / "pack.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda p: half(shard_path(p, 0)), r"shards/00000.jpgs has \d+ bytes, not \d+.*copy it"),
        (lambda p: shard_path(p, 0).unlink(), "shards/00000.jpgs is missing"),
        (lambda p: half(index_path(p, "offsets.npy")), "index/offsets.npy has"),
        (lambda p: index_path(p, "crc32.npy").unlink(), "index/crc32.npy is missing"),
        (lambda p: half(index_path(p, "sources.txt")), "index/sources.txt has"),
        (lambda p: half(p / "pack.json"), "pack.json cannot be read"),
        (lambda p: (p / "pack.json").write_text("[]"), "a pack of version None"),
        (edited(schema=2), "version 2, this visavis reads version 1"),
        (edited(alignment="mine-99"), "cut to 'mine-99', which this visavis does not know"),
        (edited(side=64), "contradicts itself"),
        (edited(images=0), "pack.json lacks something"),
        (edited(people="six"), "lacks something"),
        (edited(shards=None), "lacks something"),
        (edited(shards=[]), "lacks something"),
        (edited(refused=3), "lacks something"),
        (edited(people=5), "index/offsets.npy has"),
        (lambda p: (p / "pack.json").unlink(), "no pack lies here .*visavis data pack"),
        (shutil.rmtree, "no pack lies here"),
        (
            lambda p: (p / "pack.json").rename(p / "packing.db"),
            "unfinished; run 'visavis data pack' with the same arguments",
        ),
    ],
)
def test_what_is_no_whole_pack_is_refused_with_what_to_do(pack, damage, told):
    damage(pack.path)
    with pytest.raises(PackRefused, match=told) as refused:
        Pack.open(pack.path)
    assert str(pack.path) in str(refused.value)
    assert isinstance(refused.value, InputRefused)


def test_a_swapped_array_of_another_kind_is_refused(pack):
    path = index_path(pack.path, "crc32.npy")
    np.save(path, np.load(path).astype(np.float32))
    with pytest.raises(PackRefused, match=r"crc32.npy is \(13,\) float32"):
        Pack.open(pack.path)


def test_an_index_that_was_tampered_with_is_noticed(pack):
    path = index_path(pack.path, "offsets.npy")
    moved = np.load(path)
    moved[1] += 1  # an image of the second person is now the first's
    np.save(path, moved)
    assert not Pack.open(pack.path).index_whole()


@pytest.mark.slow
def test_a_pack_of_many_images_costs_no_memory(tmp_path):
    """An index of 3 million rows is 60 MB and its texts 100: they are mapped, not held."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    count, people = 3_000_000, 300_000
    small = written(tmp_path / "pack", {"a": [flat((9, 9, 9))]})
    for name in ("shard", "offset", "length", "crc32"):
        path = index_path(small.path, f"{name}.npy")
        np.save(path, np.repeat(np.load(path), count))
    np.save(index_path(small.path, "offsets.npy"), np.linspace(0, count, people + 1, dtype="<i8"))
    for name, size in (("names", people), ("sources", count)):
        np.save(
            index_path(small.path, f"{name}_offsets.npy"), np.arange(size + 1, dtype="<i8") * 30
        )
        index_path(small.path, f"{name}.txt").write_bytes(b"a folder/a photograph 0001.jpg" * size)
    edited(images=count, people=people)(small.path)
    script = """
        import re, sys
        from pathlib import Path
        import numpy as np, simplejpeg
        from visavis.train.pack import Pack
        def memory():
            status = Path("/proc/self/status").read_text()
            return int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]) / 1e3
        before = memory()
        pack = Pack.open(Path(sys.argv[1]))
        opened = memory()
        for row in range(0, len(pack), 100_000):
            pack.read(np.arange(row, row + 10)), pack.source(row), pack.owners(np.array([row]))
        print(opened - before, memory() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(small.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    opening, reading = map(float, done.stdout.split())
    assert opening < 5
    assert reading < 10
