"""The master key: where it comes from, and how it wraps a gallery's own keys.

A gallery seals its rows with a data key of its own, and that key lies in the gallery wrapped by
the master key, which never does. Changing the master key is thus a matter of a few bytes, and a
file that is copied away is closed to whoever has not got the key too.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from visavis.errors import GalleryFull, KeyExposed, KeyMalformed, KeyMissing, KeyWrong

from .rotation import secret_rotation

__all__ = ["KEY_BYTES", "NONCE_BYTES", "Keys", "MasterKey", "derived", "secret_rotation"]

KEY_BYTES = 32
NONCE_BYTES = 12
_LONGEST_FILE = 4096
_HOW_TO_MAKE_ONE = "make one with: (umask 077; openssl rand -base64 32 > FILE)"


def derived(secret: bytes, purpose: str) -> bytes:
    """Derive a key of 32 bytes for one purpose from a secret of high entropy (HKDF, RFC 5869)."""
    info = f"visavis 1 {purpose}".encode()
    return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


class MasterKey:
    """32 bytes that open every gallery they were used for. Never printed.

    Attributes
    ----------
    id
        12 hexadecimal digits by which people can tell keys apart; says nothing of the key.
    """

    __slots__ = ("_wrapping", "id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise KeyMalformed(f"a master key has 32 bytes, not {len(secret)}; {_HOW_TO_MAKE_ONE}")
        self.id = derived(secret, "id of a master key")[:6].hex()
        self._wrapping = AESGCM(derived(secret, "wrapping key"))

    def __repr__(self) -> str:
        return f"MasterKey(id={self.id!r})"

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Read 32 bytes in hexadecimal or base64; KeyMalformed naming ``source``."""
        compact = "".join(text.split())
        with suppress(binascii.Error, ValueError):
            if re.fullmatch(r"[0-9A-Fa-f]{64}", compact):
                return cls(bytes.fromhex(compact))
            urlsafe = compact.replace("-", "+").replace("_", "/")
            padded = urlsafe + "=" * (-len(urlsafe) % 4)
            secret = base64.b64decode(padded, validate=True)
            if len(secret) == KEY_BYTES:
                return cls(secret)
        raise KeyMalformed(
            f"{source} holds no master key: 32 bytes are 64 hexadecimal digits or 44 characters of "
            f"base64, and this is {len(compact)} characters; {_HOW_TO_MAKE_ONE}"
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key file.

        Raises
        ------
        KeyMissing
            When there is none, or this user may not read it.
        KeyExposed
            When its group or others may read or write it.
        KeyMalformed
            When it holds something else.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(_LONGEST_FILE)
        except FileNotFoundError as fault:
            raise KeyMissing(f"there is no master key at {path}; {_BRING_IT_BACK}") from fault
        except OSError as fault:
            raise KeyMissing(
                f"the master key {path} cannot be read ({fault.strerror}); {_BRING_IT_BACK}"
            ) from fault
        if os.name == "posix" and mode & 0o077:
            raise KeyExposed(
                f"the master key {path} has mode {mode & 0o777:04o}: others may use it; run "
                f"'chmod 600 {path}', and rotate the key if somebody may have read it"
            )
        return cls.parse(content.decode("ascii", "replace"), str(path))

    @classmethod
    def made(cls, path: Path) -> Self:
        """Read the key file, making it (mode 0600, its folder 0700) when there is none.

        Raises
        ------
        KeyMissing
            When it cannot be made.
        GalleryFull
            When the disk is full.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                _put_new_key(path)
        except OSError as fault:
            if fault.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise GalleryFull(
                    f"no master key can be made at {path}: the disk is full; free some space"
                ) from fault
            raise KeyMissing(
                f"no master key can be made at {path} ({fault.strerror}); name a key file with "
                "VISAVIS_KEY_FILE or --key-file"
            ) from fault
        return cls.read(path)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Seal a key or secret; only the same master key and context unwrap it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Give the secret back; None when this is not the key or the context it was wrapped in."""
        try:
            return self._wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):  # ValueError: too short to hold anything
            return None


_BRING_IT_BACK = (
    "without it nothing sealed with it can be read: bring back the copy that you keep apart, or "
    "name the file with VISAVIS_KEY_FILE or --key-file"
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a master key comes from; looked for when it is first needed, and not before.

    Attributes
    ----------
    key
        A key that was handed over.
    text, source
        A key still to be parsed, and what held it, such as an environment variable.
    file
        A key file.
    makes
        Whether the file is made when a gallery is begun and there is none.
    off
        Templates are written in the clear; sealed galleries cannot be opened.
    """

    key: MasterKey | None = None
    text: str = field(default="", repr=False)
    source: str = ""
    file: Path | None = None
    makes: bool = False
    off: bool = False

    @classmethod
    def of(cls, key: Keys | MasterKey | bytes | str | os.PathLike[str] | None) -> Keys:
        """Take what a caller has: the 32 bytes, a key file's path, or None for the default."""
        match key:
            case Keys():
                return key
            case None:
                return cls.default()
            case MasterKey():
                return cls(key=key)
            case bytes():
                return cls(key=MasterKey(key))
            case _:
                return cls(file=Path(key))

    @classmethod
    def default(cls, data: Path | None = None) -> Keys:
        """Give ``keys/master.key`` in a data directory, else the user's; made at first need."""
        if data is None:
            import platformdirs  # noqa: PLC0415

            data = Path(platformdirs.PlatformDirs("visavis", appauthor=False).user_data_dir)
        return cls(file=data / "keys" / "master.key", makes=True)

    @classmethod
    def none(cls) -> Keys:
        """Seal nothing: for galleries whose disk is protected otherwise, and for measurements."""
        return cls(off=True)

    def master(self, *, begins: bool = False) -> MasterKey:
        """Give the key.

        Parameters
        ----------
        begins
            True when nothing was ever sealed with it, so that a new one may be made.

        Raises
        ------
        KeyMissing, KeyExposed, KeyMalformed
        """
        if self.key is not None:
            return self.key
        if self.text:
            return MasterKey.parse(self.text, self.source)
        if self.file is None:
            raise KeyMissing(f"no master key was given; {_BRING_IT_BACK}")
        return MasterKey.made(self.file) if begins and self.makes else MasterKey.read(self.file)

    @property
    def told(self) -> str:
        """What to call the source in a message."""
        return self.source or (str(self.file) if self.file else "the key that was given")


def unwrapped(key: MasterKey, wrapped: bytes, context: bytes, wrapped_by: str) -> bytes:
    """Unwrap a gallery's key, or say which master key is wanted instead.

    Raises
    ------
    KeyWrong
    """
    secret = key.unwrap(wrapped, context)
    if secret is not None:
        return secret
    if key.id == wrapped_by:
        raise KeyWrong(
            f"the gallery's wrapped key does not open, although master key {key.id} is the one it "
            "names: it was changed, or moved here from another gallery; restore a backup"
        )
    raise KeyWrong(
        f"this gallery is sealed with the master key {wrapped_by}, and the one at hand is "
        f"{key.id}; use that key (VISAVIS_KEY_FILE, --key-file)"
    )


def keyed_digest(secret: bytes, digest: str) -> str:
    """HMAC-SHA256 of a photograph's digest, so that only the gallery's owner can look one up."""
    return hmac.digest(secret, digest.encode(), hashlib.sha256).hex()


def _put_new_key(path: Path) -> None:
    """Make the file whole or not at all; of two processes at once one wins and both use its key."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".master-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)  # unlike a renaming, never puts it over another's
    finally:
        Path(temporary).unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A gallery sealed with a key that a power cut took would be lost.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
