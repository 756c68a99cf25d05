"""Vectors for an outside searcher are turned: distances stay, likeness to faces goes."""

import multiprocessing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.gallery.secrets.protection import secret_rotation

from .given import some_vector

SECRET = bytes(range(32))
SECRETS = st.binary(min_size=16, max_size=64)


@settings(max_examples=40, deadline=None)
@given(secret=SECRETS, dimension=st.integers(1, 160))
def test_a_turn_is_orthonormal(secret, dimension):
    turn = secret_rotation(secret, dimension).astype(np.float64)
    assert turn.shape == (dimension, dimension)
    assert np.abs(turn @ turn.T - np.eye(dimension)).max() < 1e-6


@settings(max_examples=20, deadline=None)
@given(secret=SECRETS, seeds=st.tuples(st.integers(), st.integers()))
def test_distances_survive_within_float32(secret, seeds):
    a, b = (some_vector(seed, 128) for seed in seeds)
    turn = secret_rotation(secret, 128)
    before = np.sum((a.astype(np.float64) - b) ** 2)
    after = np.sum(((a @ turn).astype(np.float64) - b @ turn) ** 2)
    assert after == pytest.approx(before, abs=2e-6)


def test_512_dimensions_are_turned_as_exactly():
    turn = secret_rotation(SECRET, 512)
    rows = np.stack([some_vector(seed, 512) for seed in range(50)])
    cosines = (rows @ turn) @ (rows @ turn).T
    assert np.abs(cosines - rows @ rows.T).max() < 2e-6


def test_a_turned_vector_is_no_longer_like_its_face():
    turn = secret_rotation(SECRET, 512)
    rows = np.stack([some_vector(seed, 512) for seed in range(200)])
    cosines = np.einsum("nd,nd->n", rows, rows @ turn)
    # Independent directions in 512 dimensions: cosines of spread 1 / sqrt(512) = 0.044 around 0.
    assert abs(cosines.mean()) < 0.02
    assert 0.035 < cosines.std() < 0.055


@settings(max_examples=20, deadline=None)
@given(first=SECRETS, second=SECRETS)
def test_other_secrets_give_unrelated_turns(first, second):
    one, other = secret_rotation(first, 64), secret_rotation(second, 64)
    if first == second:
        assert np.array_equal(one, other)
    else:
        # The product of two unrelated turns is one more: its trace is of spread 1, not 64.
        assert abs(np.trace(one.T @ other)) < 8


def test_other_dimensions_share_no_numbers():
    small, large = secret_rotation(SECRET, 64), secret_rotation(SECRET, 128)
    assert not np.allclose(small, large[:64, :64], atol=1e-3)


def test_columns_point_everywhere_alike():
    """Without the sign fix the diagonal of Q would lean to one side."""
    first = np.array([secret_rotation(n.to_bytes(16, "big"), 8)[0, 0] for n in range(600)])
    assert abs(first.mean()) < 0.06  # spread 1 / sqrt(8 * 600) = 0.014
    assert 0.32 < first.std() < 0.39  # 1 / sqrt(8) = 0.354


def test_another_process_makes_the_same_turn():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        theirs = pool.apply(secret_rotation, (SECRET, 128))
    assert np.abs(theirs - secret_rotation(SECRET, 128)).max() < 1e-6


def test_the_turn_of_a_secret_stays_what_it_was():
    """What Milvus holds was turned with it: another matrix would make everybody a stranger."""
    assert secret_rotation(SECRET, 3).ravel() == pytest.approx(FROZEN, abs=1e-6)


FROZEN = [-0.6457471, 0.5766237, -0.5005155, -0.6770961, -0.735424, 0.0263128]
FROZEN += [-0.3529185, 0.3558885, 0.8653276]


def test_d_known_pairs_give_the_secret_away():
    """What docs/security.md says of it, so that nobody takes a turn for encryption."""
    turn = secret_rotation(SECRET, 64)
    known = np.stack([some_vector(seed, 64) for seed in range(64)]).astype(np.float64)
    solved = np.linalg.solve(known, known @ turn)
    assert np.abs(solved - turn).max() < 1e-4


@pytest.mark.parametrize(("secret", "dimension"), [(b"short", 4), (SECRET, 0), (SECRET, -1)])
def test_what_cannot_be_a_secret_turn_is_refused(secret, dimension):
    with pytest.raises(ValueError, match=r"guessed|dimensions"):
        secret_rotation(secret, dimension)
