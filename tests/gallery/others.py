"""What other processes do. Each starts from one that has imported everything, so 30 are cheap."""

import multiprocessing
import os
import resource
import traceback
from contextlib import contextmanager

from visavis.errors import VisavisError

from .given import ENCODER, opened, template

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["visavis.gallery.registry", "numpy.random"])
WAIT = 60


@contextmanager
def started(work, *arguments):
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.join(WAIT)
        process.kill()
        process.join()
        process.close()


def answer_of(work, *arguments):
    """Run ``work(*arguments)`` in another process and give what it returned."""
    mine, theirs = CONTEXT.Pipe()
    with mine, theirs, started(_answer, theirs, work, arguments):
        assert mine.poll(WAIT), "the other process does not answer"
        return mine.recv()


def _answer(pipe, work, arguments):
    try:
        pipe.send(work(*arguments))
    except BaseException:
        pipe.send(traceback.format_exc())
        raise


def outcome(action):
    try:
        action()
    except VisavisError as refused:
        return refused.code
    return "done"


def enrol_together(path, barrier, number):
    barrier.wait(WAIT)
    with opened(path) as gallery:
        gallery.enroll("Ada", [template(f"photo {number}")], encoder=ENCODER)


def enrol_one(path, name):
    with opened(path) as gallery:
        return gallery.enroll(name, [template(name)], encoder=ENCODER).person.id


def remove_one(path, name):
    with opened(path) as gallery:
        return gallery.remove(name).erased


def enrol_until_killed(path, acknowledgements, first):
    """Enrol people of three templates; write a name down once the gallery has answered."""
    log = os.open(acknowledgements, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with opened(path) as gallery:
        for number in range(first, first + 100_000):
            name = f"person {number}"
            three = [template(f"{name} {n}", photograph=bytes(3000)) for n in range(3)]
            gallery.enroll(name, three, encoder=ENCODER)
            os.write(log, f"{name}\n".encode())


def fill_to_the_limit(path, limit):
    """Enrol until files may not grow further; give the code of the refusal and who is in."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with opened(path) as gallery:
        done = []
        for number in range(10_000):
            name = f"person {number}"
            new = [template(name, photograph=os.urandom(20_000)), template(f"{name} again")]
            code = outcome(lambda n=name, t=new: gallery.enroll(n, t, encoder=ENCODER))
            if code != "done":
                return code, done, [person.name for person in gallery.people()]
            done.append(name)
    return "done", done, []


def read_and_try_to_write(scratch, path):
    """As a user without rights on the gallery (root has them all, so it becomes nobody)."""
    enrol_one(scratch, "Ada")  # what is imported on first use is read while it may be
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with opened(path) as gallery:
        names = [person.name for person in gallery.people()]
        write = outcome(lambda: gallery.enroll("Eve", [template("Eve")], encoder=ENCODER))
        return names, gallery.changes(0).vectors.shape, write
