"""Several processes and threads at one gallery, some of which are killed."""

import random
import threading
import time

import pytest

from visavis.errors import GalleryUnreachable, PersonUnknown
from visavis.gallery import ExactSearcher, Gallery

from . import others
from .given import ENCODER, opened, template


@pytest.mark.parametrize("exists", [True, False])
def test_the_same_new_name_from_four_processes_is_one_person(where, exists):
    """Also when none of them finds the gallery there yet."""
    if exists:
        opened(where).close()
    barrier = others.CONTEXT.Barrier(4)
    processes = [
        others.CONTEXT.Process(target=others.enrol_together, args=(where, barrier, n))
        for n in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(others.WAIT)
        assert process.exitcode == 0
        process.close()
    with opened(where) as gallery:
        (ada,) = gallery.people()
        assert (ada.name, ada.templates) == ("Ada", 4)


def test_a_process_sees_at_once_what_another_did(where):
    with opened(where) as gallery:
        searcher = ExactSearcher()

        def nearest(name):
            searcher.update(gallery.changes(searcher.sequence))
            (hits,) = searcher.nearest(template(name).vector[None], 1)
            return hits

        assert nearest("Ada") == []
        ada = others.answer_of(others.enrol_one, where, "Ada")
        assert [(hit.person, hit.distance) for hit in nearest("Ada")] == [(ada, 0.0)]
        others.answer_of(others.enrol_one, where, "Bob")
        assert others.answer_of(others.remove_one, where, "Ada") is True
        assert [hit.distance > 0.5 for hit in nearest("Ada")] == [True]
        assert [person.name for person in gallery.people()] == ["Bob"]


def test_threads_share_one_gallery(where):
    with opened(where) as gallery:
        faults = []

        def work(number):
            try:
                for n in range(8):
                    name = f"p{number}-{n}"
                    gallery.enroll(name, [template(name)], encoder=ENCODER)
                    gallery.enroll("everybody", [template(f"e{name}")], encoder=ENCODER)
                    assert gallery.person(name).templates == 1
                    if n % 4 == 3:
                        gallery.remove(name)
            except Exception as fault:  # noqa: BLE001 -- shown by the assertion below
                faults.append(fault)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert gallery.size == 8 * 6 + 1
        assert gallery.person("everybody").templates == 64
        assert gallery.changes(0).vectors.shape == (112, 128)


@pytest.mark.slow
def test_whoever_was_acknowledged_survives_a_killed_writer(where, tmp_path):
    """Kill -9 at 100 moments, from the making of the gallery on; nobody lost, nobody half there."""
    acknowledgements, chance = tmp_path / "acknowledged", random.Random(30)
    acknowledgements.touch()
    for life in range(100):
        mine, theirs = others.CONTEXT.Pipe()
        arguments = (where, acknowledgements, life * 1000, theirs)
        with mine, theirs, others.started(others.enrol_until_killed, *arguments) as process:
            # Every fifth is killed while it opens the gallery, the others while they enrol.
            for _ in range(1 if life % 5 == 0 else 2):
                assert mine.poll(others.WAIT)
                mine.recv()
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
        acknowledged = acknowledgements.read_text().splitlines()
        with Gallery.open(where) as gallery:
            enrolled = {person.name: person.templates for person in gallery.people()}
            assert set(acknowledged) <= set(enrolled)
            assert set(enrolled.values()) <= {3}
            # One per life may have been stored without having been told to anybody.
            assert len(enrolled) - len(acknowledged) <= life + 1
            # A server may finish what the dead had sent it, so this counts by itself.
            info = gallery.info()
            assert info.templates == info.photographs == info.sequence == 3 * info.people
    assert len(acknowledged) >= 80


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_whoever_was_acknowledged_survives_a_server_restarted_under_load(postgres, url, how):
    """Four threads enrol and remove while it goes down and comes back three times."""
    acknowledged, faults, removed, over = [], [], [], threading.Event()

    def work(number):
        n = 0
        while not over.is_set():
            n += 1
            name = f"person {number} {n}"
            try:
                gallery.enroll(name, [template(name)], encoder=ENCODER)
                acknowledged.append(name)
                if n % 7 == 0:
                    gallery.remove(name)
                    removed.append(name)
            except GalleryUnreachable:
                time.sleep(0.05)
            except PersonUnknown:
                removed.append(name)
            except Exception as fault:  # noqa: BLE001 -- shown by the assertion below
                faults.append(fault)

    with opened(url) as gallery:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        counts = []
        for _ in range(3):
            before = len(acknowledged)
            deadline = time.monotonic() + others.WAIT
            while len(acknowledged) < before + 10:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            postgres.stop(how)
            postgres.start()
            counts.append(len(acknowledged))
        over.set()
        for thread in threads:
            thread.join()
        assert faults == []
        there = {person.name for person in gallery.people()}
        assert (
            set(acknowledged) - {f"person {n} {m}" for n in range(4) for m in range(0, 10_000, 7)}
            <= there
        )
        assert not set(removed) & there
        follower = ExactSearcher()
        follower.update(gallery.changes(0))
        assert len(follower) == gallery.template_count == len(there)


def test_a_change_is_seen_by_another_process_within_a_second(where):
    """And so is a removal; the second is for a machine that does other things as well."""
    with opened(where) as gallery:
        mine, theirs = others.CONTEXT.Pipe()
        with mine, theirs, others.started(others.tell_when_seen, theirs, where, "Ada"):
            assert mine.recv() == "watching"
            for change, seen in (
                (lambda: gallery.enroll("Ada", [template("Ada")], encoder=ENCODER), "Ada"),
                (lambda: gallery.remove("Ada"), "nobody"),
            ):
                change()
                done = time.monotonic()
                assert mine.poll(others.WAIT)
                assert mine.recv() == seen
                assert time.monotonic() - done < 1
