"""Content ids: the same content has the same id, wherever it lies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1024 * 1024


def bytes_id(data: bytes) -> str:
    """SHA-256 of ``data``, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_id(path: Path) -> str:
    """SHA-256 of a file's content, read block by block; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def value_id(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return bytes_id(text.encode())
