"""Hash identifiers from DICOM headers with a key before they enter a table.

HMAC-SHA-256 (RFC 2104) with a secret, the *salt*: without it nobody can guess patient numbers by
trial, as a plain hash would allow. The same salt gives the same hash, so later runs recognise a
patient only if the user reuses the salt.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.files import disk_errors

_HASH_CHARS: Final = 20  # 80 bits: two of a million ids meet once in 10^12 sets
_NEW_SECRET_BYTES: Final = 32


class Salt:
    """A secret that identifiers are hashed with; its text form does not reveal it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Salt(...)"

    def hashed(self, kind: str, value: str) -> str | None:
        """The hash of an identifier, 20 hexadecimal digits; ``None`` if it is empty.

        Args:
            kind: what it identifies; the same text of another kind has another hash.
            value: from the header. Case and runs of blanks are ignored: otherwise two spellings
                of one number would separate a patient's images.
        """
        plain = " ".join(value.split()).casefold()
        if not plain:
            return None
        message = f"{kind}\0{plain}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:_HASH_CHARS]

    @property
    def fingerprint(self) -> str:
        """Identifies the salt without revealing it."""
        return self.hashed("fingerprint", "pulmospark") or ""


def read_salt(path: Path) -> Salt:
    """Read a salt from its file.

    Raises:
        UsageError: it is missing, cannot be read, or is too short.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(limits.CONFIG_FILE_BYTES_MAX).strip()
    except OSError as error:
        raise UsageError(
            f"{path}: the salt cannot be read: {error.strerror}: give a file with a secret of "
            f"at least {limits.SALT_BYTES_MIN} bytes"
        ) from error
    if len(secret) < limits.SALT_BYTES_MIN:
        raise UsageError(
            f"{path}: a salt of {len(secret)} bytes, the minimum is {limits.SALT_BYTES_MIN}: "
            "a short one can be guessed; create one with `openssl rand -hex 32`"
        )
    return Salt(secret)


def own_salt(path: Path) -> Salt:
    """The salt at ``path``; if missing, create a random one, readable only by its owner.

    Raises:
        UsageError: it cannot be read, or is too short.
        PlatformError: no permission to write there.
    """
    if not path.exists():
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(aside, flags, 0o600), "w", encoding="ascii") as file:
                    file.write(secrets.token_hex(_NEW_SECRET_BYTES) + "\n")
                # Linked, not renamed: if two create one at once, the first wins.
                with contextlib.suppress(FileExistsError):
                    os.link(aside, path)
            finally:
                aside.unlink(missing_ok=True)
    return read_salt(path)
