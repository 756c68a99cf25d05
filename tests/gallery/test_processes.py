"""Several processes and threads at one gallery, some of which are killed."""

import random
import threading
import time

import pytest

from visavis.gallery import ExactSearcher, Gallery

from . import others
from .given import ENCODER, opened, template


@pytest.mark.parametrize("exists", [True, False])
def test_the_same_new_name_from_four_processes_is_one_person(path, exists):
    """Also when none of them finds the gallery there yet."""
    if exists:
        opened(path).close()
    barrier = others.CONTEXT.Barrier(4)
    processes = [
        others.CONTEXT.Process(target=others.enrol_together, args=(path, barrier, n))
        for n in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(others.WAIT)
        assert process.exitcode == 0
        process.close()
    with opened(path) as gallery:
        (ada,) = gallery.people()
        assert (ada.name, ada.templates) == ("Ada", 4)


def test_a_process_sees_at_once_what_another_did(path):
    with opened(path) as gallery:
        searcher = ExactSearcher()

        def nearest(name):
            searcher.update(gallery.changes(searcher.sequence))
            (hits,) = searcher.nearest(template(name).vector[None], 1)
            return hits

        assert nearest("Ada") == []
        ada = others.answer_of(others.enrol_one, path, "Ada")
        assert [(hit.person, hit.distance) for hit in nearest("Ada")] == [(ada, 0.0)]
        others.answer_of(others.enrol_one, path, "Bob")
        assert others.answer_of(others.remove_one, path, "Ada") is True
        assert [hit.distance > 0.5 for hit in nearest("Ada")] == [True]
        assert [person.name for person in gallery.people()] == ["Bob"]


def test_threads_share_one_gallery(path):
    with opened(path) as gallery:
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
def test_whoever_was_acknowledged_survives_a_killed_writer(path, tmp_path):
    """Kill -9 at 30 moments, from the making of the file on; nobody lost, nobody half there."""
    acknowledgements, chance = tmp_path / "acknowledged", random.Random(30)
    acknowledgements.touch()
    for life in range(30):
        arguments = (path, acknowledgements, life * 1000)
        with others.started(others.enrol_until_killed, *arguments) as process:
            time.sleep(chance.uniform(0.02, 0.25))
            process.kill()
        acknowledged = acknowledgements.read_text().splitlines()
        with Gallery.open(path) as gallery:
            enrolled = {person.name: person.templates for person in gallery.people()}
            assert set(acknowledged) <= set(enrolled)
            assert set(enrolled.values()) <= {3}
            # One per life may have been stored without having been told to anybody.
            assert len(enrolled) - len(acknowledged) <= life + 1
            info = gallery.info()
            assert info.templates == info.photographs == info.sequence == 3 * len(enrolled)
    assert len(acknowledged) > 100
