"""Rows sealed with AES-256-GCM, each tied to where it belongs.

A sealed row is 12 bytes of nonce, the ciphertext, and 16 bytes of tag. Gallery, person, template
and encoder are authenticated with it: a row that was moved to another person, another template or
another gallery does not open.

The nonces are random. By the birthday bound two of n are alike with a chance of about n^2 / 2^97;
at the 2^32 rows that NIST SP 800-38D (8.3) allows for one key that is 2^-33. Every row sealed is
counted in the gallery, and a key that has sealed `MOST_ROWS` seals no more until it is rotated.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .protection import NONCE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ROWS = 2**32
"""Rows that one data key seals at most (NIST SP 800-38D, 8.3: nonces drawn at random)."""
WORN_ROWS = 2**31
"""Rows after which ``gallery check`` says that the key should be rotated."""
OVERHEAD = NONCE_BYTES + 16
"""Bytes that sealing adds to a row."""


class Kind(StrEnum):
    """What a sealed row holds; a row of one kind does not open as the other."""

    TEMPLATE = "template"
    PHOTOGRAPH = "photograph"


class Sealed(NamedTuple):
    """A row as the database holds it; a key of None marks one in the clear."""

    template: str
    person: str
    key: int | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Context:
    """What all rows of one kind in one gallery have in common.

    Ids have a fixed length, so no two different places are spelled alike. Photographs are not an
    encoder's: theirs is empty.
    """

    gallery: str
    kind: Kind
    encoder: str

    def place(self, person: str, template: str) -> bytes:
        """Spell where a row belongs, as it is authenticated."""
        return f"visavis 1 {self.kind}\0{self.gallery}{person}{template}{self.encoder}".encode()


class Tampered(Exception):
    """A row did not open; ``template`` says which."""

    def __init__(self, template: str) -> None:
        super().__init__(template)
        self.template = template


class DataKey:
    """One AES-256-GCM key. Safe to share between threads."""

    __slots__ = ("_cipher", "number")

    def __init__(self, number: int, secret: bytes) -> None:
        self.number = number
        self._cipher = AESGCM(secret)

    def __repr__(self) -> str:
        return f"DataKey({self.number})"

    def seal(self, contents: Sequence[bytes], places: Sequence[bytes]) -> list[bytes]:
        """Seal rows, each for its place."""
        nonces = os.urandom(NONCE_BYTES * len(contents))
        encrypt = self._cipher.encrypt
        return [
            (nonce := nonces[at : at + NONCE_BYTES]) + encrypt(nonce, content, place)
            for at, content, place in zip(
                range(0, len(nonces), NONCE_BYTES), contents, places, strict=True
            )
        ]

    def open(self, rows: Sequence[Sealed], context: Context) -> list[bytes]:
        """Open rows of this key.

        Raises
        ------
        Tampered
            Naming the first that is not what was sealed for its place.
        """
        decrypt = self._cipher.decrypt
        before = f"visavis 1 {context.kind}\0{context.gallery}"
        after = context.encoder
        try:
            # The place is spelled in the loop: a call for each of a million rows would be felt.
            return [
                decrypt(
                    content[:NONCE_BYTES],
                    content[NONCE_BYTES:],
                    f"{before}{person}{template}{after}".encode(),
                )
                for template, person, _, content in rows
            ]
        except (InvalidTag, ValueError, TypeError) as fault:
            raise Tampered(self._first_closed(rows, context)) from fault

    def _first_closed(self, rows: Sequence[Sealed], context: Context) -> str:
        for row in rows:
            try:
                place = context.place(row.person, row.template)
                self._cipher.decrypt(row.content[:NONCE_BYTES], row.content[NONCE_BYTES:], place)
            except (InvalidTag, ValueError, TypeError):
                return row.template
        return ""
