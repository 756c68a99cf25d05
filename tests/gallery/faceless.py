"""An engine without networks: its photographs are vectors that a reader checks by head.

Its curve is a line: tau is 1.6 at a false match rate of 0.1, and 0.08 less for each factor of ten.
"""

import hashlib
from contextlib import contextmanager

import numpy as np

from visavis.align import ARCFACE_112
from visavis.engine import Engine, EngineConfig, Ready
from visavis.errors import DuplicatePerson
from visavis.values import Embedding

from . import others
from .given import ENCODER, opened

CURVE = {
    "schema": 1,
    "encoder": ENCODER,
    "tuned_on": "a line drawn for these tests",
    "points": [
        {"fmr": 10.0**-k, "tau": 1.6 - 0.08 * k, "lower": 0.8 * 10.0**-k, "upper": 1.3 * 10.0**-k}
        for k in range(1, 9)
    ],
    "tail_slope": 12.5,
    "pairs": 10**7,
}


class NoNetwork:
    id = ENCODER
    name = "sface"
    alignments = (ARCFACE_112,)


@contextmanager
def engine_on(where, kind=Engine, **config):
    with kind(None, NoNetwork(), CURVE, opened(where), EngineConfig(**config)) as engine:
        yield engine


def ready(name, vector):
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Ready(name, digest, None, None, Embedding(vector.astype(np.float32), ENCODER))


def portrait(person, photograph, length=128):
    """Another vector for each photograph; d of two of one person is about 0.3, of others 2."""
    axis = np.random.default_rng([person]).normal(size=length)
    noise = np.random.default_rng([person, photograph]).normal(size=length)
    vector = axis / np.linalg.norm(axis) + 0.42 * noise / np.linalg.norm(noise)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


# What other processes do


def race(where, barrier, number, rounds, together):
    """Enrol the same person as the others, each under a name of its own; tell what came of it.

    With ``together`` all of them have checked before any of them writes.
    """
    answers = []
    with engine_on(where) as engine:
        for turn in range(rounds):
            name, mine = (
                f"{turn} from {number}",
                [ready(f"{turn}-{number}", portrait(turn, number))],
            )
            barrier.wait(others.WAIT)
            try:
                if together:
                    admission = engine.admit(name, mine)
                    barrier.wait(others.WAIT)
                    engine.commit([(name, mine)], None, [admission])
                else:
                    engine.store(name, mine)
            except DuplicatePerson as refused:
                answers.append(str(refused))
            else:
                answers.append("in")
            barrier.wait(others.WAIT)
    return answers


def raced(pipe, *arguments):
    pipe.send(race(*arguments))
