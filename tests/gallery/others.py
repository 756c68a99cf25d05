"""What other processes do. Each starts from one that has imported everything, so 30 are cheap."""

import multiprocessing
import os
import resource
import time
import traceback
from contextlib import contextmanager

from visavis.errors import VisavisError
from visavis.gallery import ExactSearcher

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


def tell_when_seen(pipe, path, name):
    """Look for somebody all the time; say when they are found, and when they are no longer."""
    probe = template(name).vector[None]
    with opened(path) as gallery:
        searcher = ExactSearcher()
        pipe.send("watching")
        for wanted, answer in ((1, name), (0, "nobody")):
            while True:
                changes = gallery.changes(searcher.sequence, searcher.mark)
                if not changes.empty:
                    searcher.update(changes)
                if len(searcher.nearest(probe, 1)[0]) == wanted:
                    break
                time.sleep(0.01)
            pipe.send(answer)


def enrol_until_killed(path, acknowledgements, first, pipe):
    """Enrol people of three templates; write a name down once the gallery has answered."""
    pipe.send("I open the gallery")
    log = os.open(acknowledgements, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with opened(path) as gallery:
        for number in range(first, first + 100_000):
            name = f"person {number}"
            three = [template(f"{name} {n}", photograph=bytes(3000)) for n in range(3)]
            gallery.enroll(name, three, encoder=ENCODER)
            os.write(log, f"{name}\n".encode())
            if number == first:
                pipe.send("the first is in")


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


def read_and_try_to_write(scratch, path, key):
    """As a user without rights on the gallery (root has them all, so it becomes nobody)."""
    enrol_one(scratch, "Ada")  # what is imported on first use is read while it may be
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with opened(path, keys=key) as gallery:
        names = [person.name for person in gallery.people()]
        write = outcome(lambda: gallery.enroll("Eve", [template("Eve")], encoder=ENCODER))
        return names, gallery.changes(0).vectors.shape, write
