"""What other processes do while keys are exchanged."""

import time

from visavis.errors import VisavisError
from visavis.gallery.upkeep import rekeying

from .given import ENCODER, opened, template


def rotate(where, key, portion, lock_file=None):
    """Rotate the key in small portions; ``lock_file`` appears once the first is done."""
    rekeying.PORTION = portion

    def told(done, total):
        if lock_file is not None:
            lock_file.touch()

    with opened(where, keys=key) as gallery:
        rotation = gallery.rotate_key(told)
        return rotation.key, rotation.rows, rotation.erased


def use_until(where, key, stop, number):
    """Enrol, read and remove until a file appears; give what was done and who is left."""
    count, kept = 0, []
    with opened(where, keys=key) as gallery:
        while not stop.exists():
            name = f"visitor {number}-{count}"
            done = gallery.enroll(name, [template(name, photograph=name.encode())], encoder=ENCODER)
            (stored,) = gallery.templates(done.person.id)
            assert stored.vector.tobytes() == template(name).vector.tobytes()
            assert gallery.photograph(stored.id) == name.encode()
            assert len(gallery.changes(0).added) >= 1
            if count % 3:
                kept.append(name)
            else:
                gallery.remove(name)
            count += 1
    return count, kept


def changed_vectors(where, key, known, stop):
    """Follow the gallery until a file appears; give what did not read as it was enrolled."""
    wrong, rounds = [], 0
    with opened(where, keys=key) as gallery:
        while not stop.exists() or not rounds:
            rounds += 1
            try:
                wrong += [
                    name
                    for name in known
                    for kept in gallery.templates(gallery.person(name).id)
                    if kept.vector.tobytes() != template(name).vector.tobytes()
                ]
            except VisavisError as refused:
                wrong.append(str(refused))
            time.sleep(0.01)
    return wrong, rounds
