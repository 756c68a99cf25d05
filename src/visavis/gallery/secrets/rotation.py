"""A secret turn of the space that encodings live in.

A searcher outside this process is handed turned vectors. Turning keeps every distance, so it
finds the same people; without the secret its vectors cannot be held against a face. It is no
encryption: whoever knows D independent vectors both before and after the turn has the turn
(docs/security.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHORTEST_SECRET = 16


def secret_rotation(secret: bytes, dimension: int) -> NDArray[np.float32]:
    """Make the orthonormal matrix that belongs to a secret.

    The matrix is drawn evenly from all orthonormal ones: QR of independent normal numbers, with
    the signs of R's diagonal moved into Q (Mezzadri, arXiv:math-ph/0609050). The numbers come
    from ChaCha20 keyed by HKDF-SHA256 of the secret.

    Parameters
    ----------
    secret
        At least 16 bytes that nobody can guess.
    dimension
        D, at least 1.

    Returns
    -------
    NDArray
        (D, D) float32; ``rows @ matrix`` turns rows (N, D). The same for the same secret on every
        machine to within float32's rounding, and unrelated for another secret or dimension.

    Raises
    ------
    ValueError
        When the secret is too short or there is no dimension.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise ValueError(f"a secret of {len(secret)} bytes can be guessed; give at least 16")
    if dimension < 1:
        raise ValueError(f"there is no space of {dimension} dimensions")
    q, r = np.linalg.qr(_normals(secret, dimension))
    turned: NDArray[np.float32] = (q * np.sign(np.diagonal(r))).astype(np.float32)
    return turned


def _normals(secret: bytes, dimension: int) -> NDArray[np.float64]:
    """(D, D) independent standard normal numbers, by Box and Muller."""
    count = dimension * dimension
    pairs = (count + 1) // 2
    words = np.frombuffer(_keystream(secret, dimension, 16 * pairs), dtype="<u8")
    # 53 bits each, in the middle of their interval: never 0, whose logarithm there is not.
    even = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(even[:pairs])), 2.0 * np.pi * even[pairs:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:count].reshape(dimension, dimension)


def _keystream(secret: bytes, dimension: int, length: int) -> bytes:
    info = f"visavis search rotation 1, {dimension} dimensions".encode()
    key = HKDF(SHA256(), length=32, salt=None, info=info).derive(secret)
    # One key, one stream: the nonce may be constant.
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(length))
