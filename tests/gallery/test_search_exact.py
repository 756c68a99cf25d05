"""Codes decide whom to look at and never who is nearest: the answer is that of looking at all."""

import threading
import uuid
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.gallery import Changes, ExactSearcher, Hit
from visavis.gallery.database.vectors import unit_rows
from visavis.gallery.records.changes import Owned
from visavis.gallery.search import blocks, exact, kernel, rescore, scan
from visavis.gallery.search import codes as codes_module
from visavis.gallery.search.exact import nearest_first
from visavis.gallery.search.identifiers import Identifiers

from .given import ENCODER, some_vector

NOTHING = np.empty((0, 0), np.float32)


class Registry:
    """Vectors as a gallery keeps them, and its log."""

    def __init__(self, seed=0):
        self.vectors, self.owners = {}, {}
        self.sequence = self.asked = 0
        self.rng = np.random.default_rng(seed)

    def key(self):
        return uuid.UUID(bytes=self.rng.bytes(16), version=4).hex

    def enrol(self, vectors, owners):
        names = [self.key() for _ in vectors]
        self.vectors |= zip(names, vectors, strict=True)
        self.owners |= zip(names, owners, strict=True)
        return self.told(names, owners, np.array(vectors, np.float32))

    def remove(self, names):
        for name in names:
            del self.vectors[name], self.owners[name]
        return self.told((), (), NOTHING, names)

    def told(self, added, owners, vectors, removed=()):
        since = self.sequence
        self.sequence += len(added) + len(removed)
        mark, full = f"entry {self.sequence}", since == 0
        told = (tuple(added), tuple(owners), vectors, tuple(removed))
        return Changes(since, self.sequence, mark, full, False, ENCODER, *told)

    def owned_vectors_of(self, ids):
        self.asked += len(ids)
        # Another thread may remove some meanwhile.
        found = [(each, self.owners.get(each), self.vectors.get(each)) for each in ids]
        return {
            each: Owned(owner, vector)
            for each, owner, vector in found
            if owner is not None and vector is not None
        }

    def nearest(self, probes, k):
        """Look at all, in float64."""
        if not self.vectors:
            return [[] for _ in probes]
        rows = np.array(list(self.vectors.values())).astype(np.float64)
        return [self._nearest(rows, probe, k) for probe in unit_rows(probes)]

    def _nearest(self, rows, probe, k):
        difference = rows - probe
        distances = np.minimum(np.einsum("nd,nd->n", difference, difference), 4.0)
        names, best = list(self.vectors), {}
        for n in np.argsort(distances).tolist():
            hit = Hit(self.owners[names[n]], names[n], float(distances[n]))
            if len(best) >= k and hit.distance > max(other.distance for other in best.values()):
                break
            if hit.person not in best or nearest_first(hit) < nearest_first(best[hit.person]):
                best[hit.person] = hit
        return sorted(best.values(), key=nearest_first)[:k]


def kept(_):
    """Float32 vectors stay in memory."""
    return ExactSearcher()


def fetched(registry):
    """Float32 vectors are asked for."""
    return ExactSearcher(registry.owned_vectors_of, keep=0)


@pytest.fixture
def as_if_large(monkeypatch):
    """Let small galleries go the way of large ones: compiled, many probes as a matrix."""
    monkeypatch.setattr(kernel, "COMPILED_FROM", 1)
    monkeypatch.setattr(scan, "COMPILED_FROM", 1)


def around(rng, centre, spread, count):
    rows = centre + spread * rng.normal(size=(count, len(centre)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


STORY = {
    "seed": st.integers(0, 2**32 - 1),
    "count": st.integers(1, 400),
    "people": st.integers(1, 60),
    "k": st.integers(1, 80),
    # from copies that differ in the last bit to all directions
    "spread": st.sampled_from([0, 1e-7, 1e-4, 3e-3, 0.1, 10.0]),
    "make": st.sampled_from([kept, fetched]),
}


def check_story(*, seed, count, people, length, k, spread, make, probes=3):
    """Enrol in portions, remove some, enrol some of those again; ask each time."""
    rng = np.random.default_rng(seed)
    registry = Registry(seed)
    searcher = make(registry)
    centre = np.ones(length) / np.sqrt(length) if seed % 2 else np.eye(length)[0]
    owners = [registry.key() for _ in range(people)]
    looks = around(rng, centre, spread, probes)
    while count > 0:
        portion = int(rng.integers(1, count + 1))
        count -= portion
        vectors = around(rng, centre, spread, portion)
        vectors[rng.random(portion) < 0.2] = vectors[0]  # the same photograph, many times
        searcher.update(
            registry.enrol(list(vectors), [owners[n] for n in rng.integers(people, size=portion)])
        )
        looks[0] = vectors[0]
        assert searcher.nearest(looks, k) == registry.nearest(looks, k)
        gone = [name for name in registry.vectors if rng.random() < 0.3]
        again = [(registry.vectors[name], registry.owners[name]) for name in gone[::2]]
        searcher.update(registry.remove(gone))
        assert searcher.nearest(looks, k) == registry.nearest(looks, k)
        if again:
            searcher.update(registry.enrol(*map(list, zip(*again, strict=True))))
        assert searcher.nearest(looks, k) == registry.nearest(looks, k)
        assert len(searcher) == len(registry.vectors)
        assert searcher.people == len(set(registry.owners.values()))
    searcher.update(registry.remove(list(registry.vectors)))
    assert searcher.nearest(looks, k) == [[] for _ in looks]
    assert (len(searcher), searcher.people, searcher.bytes_held) == (0, 0, 0)


@settings(max_examples=80, deadline=None)
@given(length=st.integers(1, 600), **STORY)
def test_the_answer_is_that_of_looking_at_all(**story):
    check_story(**story)


@pytest.mark.usefixtures("as_if_large")
def test_and_so_it_is_compiled_and_for_many_probes():
    @settings(max_examples=20, deadline=None)
    @given(length=st.sampled_from([3, 128, 512]), probes=st.integers(4, 70), **STORY)
    def story(**story):
        check_story(**story)

    story()


def crowd(count, length, per_person=3, seed=0):
    """A gallery of several blocks: people as directions, with noise in each photograph."""
    rng = np.random.default_rng(seed)
    registry = Registry(seed)
    centres = rng.normal(size=(count // per_person + 1, length)).repeat(per_person, axis=0)[:count]
    vectors = centres + 0.5 * rng.normal(size=centres.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    owners = [f"{n // per_person:032x}" for n in range(count)]
    return registry, vectors, owners


@pytest.mark.parametrize(("make", "thousand"), [(kept, 50), (fetched, 50), (fetched, 1000)])
def test_a_gallery_of_several_blocks(monkeypatch, make, thousand):
    """The first two with blocks of a twentieth; the last as they are."""
    for module in (blocks, scan, rescore):
        monkeypatch.setattr(module, "ROWS", 65_536 * thousand // 1000)
    registry, vectors, owners = crowd(150 * thousand, 16)
    searcher = make(registry)
    for start in range(0, 150 * thousand, 40 * thousand):
        part = slice(start, start + 40 * thousand)
        searcher.update(registry.enrol(list(vectors[part]), owners[part]))
    assert searcher.people == 50 * thousand
    rng = np.random.default_rng(1)
    probes = np.concatenate([vectors[:: len(vectors) // 20], around(rng, np.zeros(16), 1.0, 20)])
    for some in (probes[:2], probes):
        assert searcher.nearest(some, 3) == registry.nearest(some, 3)
    names = list(registry.vectors)
    searcher.update(registry.remove(names[60 * thousand : 140 * thousand]))
    assert len(searcher) == 70 * thousand
    assert searcher.people == len(set(registry.owners.values()))
    assert searcher.nearest(probes, 3) == registry.nearest(probes, 3)


def test_few_vectors_are_fetched():
    registry, vectors, owners = crowd(60_000, 128, per_person=1)
    searcher = fetched(registry)
    searcher.update(registry.enrol(list(vectors), owners))
    probes = around(np.random.default_rng(1), np.zeros(128), 1.0, 40)
    searcher.nearest(probes, 1)
    assert registry.asked <= 40 * 20


def test_codes_ids_and_no_more_are_kept_in_memory():
    registry, vectors, owners = crowd(5000, 128)
    told = registry.enrol(list(vectors), owners)
    searcher = fetched(registry)
    searcher.update(told)
    assert searcher.bytes_held == 5000 * blocks.bytes_a_row(128, keep=False) <= 1.25 * 5000 * 128
    roomy = ExactSearcher(registry.owned_vectors_of, keep=5000 * 128 * 4)
    roomy.update(told)
    assert roomy.bytes_held == searcher.bytes_held + 5000 * (128 * 4 + 8)
    roomy.update(registry.enrol([vectors[0]], owners[:1]))  # one too many
    assert roomy.bytes_held == 5001 * blocks.bytes_a_row(128, keep=False)
    assert roomy.nearest(vectors[:3], 2) == registry.nearest(vectors[:3], 2)
    roomy.close()
    assert (roomy.bytes_held, len(roomy), roomy.sequence, roomy.mark) == (0, 0, 0, "")


def test_vectors_that_will_be_too_many_are_not_kept_at_first_either():
    registry, vectors, owners = crowd(100, 128)
    told = registry.enrol(list(vectors), owners)
    for coming, kept_bytes in ((101, 0), (100, 100 * (128 * 4 + 8))):
        searcher = ExactSearcher(registry.owned_vectors_of, keep=100 * 128 * 4)
        searcher.update(replace(told, templates=coming))
        assert searcher.bytes_held == 100 * blocks.bytes_a_row(128, keep=False) + kept_bytes


def test_a_search_goes_on_while_the_vectors_are_let_go_of(monkeypatch):
    registry, vectors, owners = crowd(300, 16)
    searcher = ExactSearcher(registry.owned_vectors_of, keep=300 * 16 * 4)
    searcher.update(registry.enrol(list(vectors), owners))
    before = registry.nearest(vectors[:2], 5)
    look = exact.shortlists

    def looking(*given):
        found = look(*given)
        if searcher._shelf._keeping:
            searcher.update(registry.enrol([-vectors[0]], ["late"]))
        return found

    monkeypatch.setattr(exact, "shortlists", looking)
    assert searcher.nearest(vectors[:2], 5) == before
    assert registry.asked
    assert searcher.nearest(vectors[:2], 5) == before


@pytest.mark.parametrize("make", [kept, fetched])
def test_people_of_whom_half_an_id_is_alike_stay_two(make):
    one = "0123456789abcdef0123456789abcdef"
    names = Identifiers()
    ((high, _),) = names.pack([one]).tolist()
    twin = names.name(high, 1)
    assert twin != one
    registry = Registry()
    searcher = make(registry)
    vectors = around(registry.rng, np.eye(8)[0], 0.5, 40)
    owners = [one, twin, "other", one] * 10
    searcher.update(registry.enrol(list(vectors), owners))
    for k in (1, 2):
        assert searcher.nearest(vectors, k) == registry.nearest(vectors, k)
    assert {hit.person for hits in searcher.nearest(vectors, 2) for hit in hits} == set(owners)
    assert searcher.people == (3 if make is kept else 2)


def test_what_is_removed_bit_by_bit_gives_its_memory_back():
    registry, vectors, owners = crowd(4000, 8)
    searcher = kept(registry)
    searcher.update(registry.enrol(list(vectors), owners))
    (first,) = searcher._shelf._blocks
    for _ in range(39):
        searcher.update(registry.remove(list(registry.vectors)[:100]))
    assert searcher.bytes_held <= 4 / 3 * blocks.bytes_a_row(8, keep=True) * 1024
    assert not first.codes.any()
    assert not first.rows.any()
    assert searcher.nearest(vectors[::100], 5) == registry.nearest(vectors[::100], 5)


def test_who_is_gone_from_the_registry_is_not_found_and_hides_nobody():
    """Another process erased people; this searcher has not been told yet."""
    registry, vectors, owners = crowd(900, 32, per_person=1)
    searcher = fetched(registry)
    searcher.update(registry.enrol(list(vectors), owners))
    for hit in registry.nearest(vectors[:1], 5)[0]:
        del registry.vectors[hit.template]
    assert searcher.nearest(vectors[:1], 3) == registry.nearest(vectors[:1], 3)
    assert len(searcher) == 900


def test_changes_are_seen_all_at_once():
    """Each update adds Ada first and Zoe, a block later, last: never one without the other."""
    registry = Registry()
    searcher = ExactSearcher()
    probe, seen = some_vector(1, 8), set()
    searcher.update(registry.enrol([some_vector(2, 8)], ["bob"]))
    over = threading.Event()

    def search():
        while not over.is_set():
            seen.add(tuple(hit.person for hit in searcher.nearest(probe[None], 3)[0]))

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    filler = list(around(np.random.default_rng(0), np.zeros(8), 1.0, 66_000))
    for _ in range(3):
        told = registry.enrol([probe, *filler, -probe], ["ada", *["bob"] * 66_000, "zoe"])
        searcher.update(told)
        gone = [n for n, owner in registry.owners.items() if owner in {"ada", "zoe"}]
        searcher.update(registry.remove(gone[:1]))
        searcher.update(registry.remove(gone[1:]))
    over.set()
    for thread in threads:
        thread.join()
    assert seen <= {("bob",), ("ada", "bob", "zoe"), ("bob", "zoe")}


@pytest.mark.parametrize("make", [kept, fetched])
def test_searches_while_much_comes_and_goes(make):
    """Ada stays; each of the others is there or not, and blocks are tidied up meanwhile."""
    registry = Registry()
    searcher = make(registry)
    ada = some_vector(1, 32)
    searcher.update(registry.enrol([ada], ["ada"]))
    probes, faults, over = np.stack([ada] * 3), [], threading.Event()

    def search():
        while not over.is_set():
            try:
                found = [hits[0] for hits in searcher.nearest(probes, 2)]
                faults.extend(hit for hit in found if (hit.person, hit.distance) != ("ada", 0.0))
            except Exception as fault:  # noqa: BLE001
                faults.append(fault)
                return

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    rng = np.random.default_rng(0)
    for _ in range(40):
        near = around(rng, ada.astype(np.float64), 0.02, 600)
        searcher.update(registry.enrol(list(near), ["near"] * 600))
        others = [name for name, owner in registry.owners.items() if owner != "ada"]
        searcher.update(registry.remove(others[:580]))
    over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(searcher) == 1 + 40 * 20


@pytest.mark.usefixtures("as_if_large")
@pytest.mark.parametrize("probes", [1, 40])
@pytest.mark.parametrize("length", [2, 128, 600])
def test_the_bounds_hold_where_the_codes_are_worst(length, probes):
    """Each probe points the way that a row's code misses, so that the whole miss counts."""
    registry = Registry()
    vectors = around(registry.rng, np.zeros(length), 1.0, 500)
    searcher = kept(registry)
    searcher.update(registry.enrol(list(vectors), [registry.key() for _ in vectors]))
    (view,) = searcher._shelf.snapshot().views
    codes = view.block.codes[:500] * (view.block.scales[:500, None] * codes_module.UNIT)
    miss = vectors.astype(np.float64) - codes
    looks = miss / np.linalg.norm(miss, axis=1, keepdims=True)
    for looked in np.split(looks[: 500 // probes * probes], 500 // probes):
        for probe, short in zip(looked, scan.shortlists([view], looked, 500), strict=True):
            rows = short.at
            assert sorted(rows.tolist()) == list(range(500))
            true = vectors[rows].astype(np.float64) @ probe
            assert np.all(short.upper >= true)
            assert np.all(short._lower <= true)
