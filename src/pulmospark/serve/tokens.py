"""Tokens of clients: read from a file, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from pulmospark.core import limits, serve_limits
from pulmospark.core.errors import UsageError

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([!-~]+)")
_UNKNOWN = b"\0" * 32


class Tokens:
    """Names of clients and hashes of their tokens; its text form reveals none.

    Args:
        hashes: name -> SHA-256 of the token.
    """

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self._hashes = dict(hashes)

    def __repr__(self) -> str:
        return f"Tokens of {', '.join(self._hashes)}"

    def name_of(self, token: str) -> str | None:
        """Whose token it is; ``None``: nobody's. Each one is compared, in constant time."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        owner = None
        for name, digest in self._hashes.items():
            if hmac.compare_digest(given, digest):
                owner = name
        return owner


def read_tokens(path: Path) -> Tokens:
    """Read a file of tokens: a line ``NAME:TOKEN`` for each client; ``#`` begins a comment.

    Raises:
        UsageError: it cannot be read, other users can read it, it has no token, or one is too
            short.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_bytes()[: limits.CONFIG_FILE_BYTES_MAX].decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the tokens cannot be read: {error}") from error
    if mode & 0o007:
        raise UsageError(f"{path}: every user of this machine can access it: chmod 600 it")
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise UsageError(f"{path}, line {number}: write NAME:TOKEN, without blanks")
        name, token = match.groups()
        if len(token) < serve_limits.SERVE_TOKEN_CHARS_MIN:
            raise UsageError(
                f"{path}, line {number}: a token of {len(token)} characters, the minimum is "
                f"{serve_limits.SERVE_TOKEN_CHARS_MIN}: create one with `openssl rand -hex 32`"
            )
        if name in hashes:
            raise UsageError(f"{path}, line {number}: {name} appears twice")
        hashes[name] = hashlib.sha256(token.encode()).digest()
    if not hashes:
        raise UsageError(f"{path}: contains no token: write a line NAME:TOKEN for each client")
    return Tokens(hashes)
