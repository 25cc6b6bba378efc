"""Download of weights files whose name holds the first digits of their hash."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pulmospark.core import limits
from pulmospark.core.download import Bounds, Progress, download
from pulmospark.core.errors import PlatformError

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


def fetch(url: str, folder: Path, *, on_progress: Progress | None = None) -> Path:
    """Download a file into a folder, unless it is already there.

    A partial download is kept as ``NAME.part`` and resumed; two processes may download the same
    file.

    Args:
        url: http(s); its name ends in the first digits of the content's SHA-256, as
            torchvision's do (``name-b8a52dc0.pth``).
        folder: created if missing.
        on_progress: called with the bytes downloaded and the total bytes.

    Returns:
        Path of the verified file.

    Raises:
        PlatformError: no network, no space, too large, too slow, or a wrong hash.
    """
    name = PurePosixPath(urlsplit(url).path).name
    digits = _HASH_IN_NAME.search(name)
    if urlsplit(url).scheme not in {"https", "http"} or digits is None:
        raise PlatformError(f"{url}: only http(s) files with their hash in the name are supported")
    if not (target := folder / name).is_file():
        bounds = Bounds(limits.WEIGHTS_FILE_BYTES_MAX, limits.DATA_SET_FETCH_MINUTES_MAX * 60)
        download(url, target, bounds, sha256=digits[1], progress=on_progress)
    return target
