"""The mark of a phantom: a comment in the PNG or JPEG file that says what drew it.

It goes with a copy of the file, whatever its name and folder, and is lost where the image is
encoded anew: such an image counts as no phantom, which is the safe way to be wrong.
"""

from __future__ import annotations

from typing import Final

NOTE: Final = "PHANTOM: drawn by a program, no image of a patient"
_MARK: Final = b"PHANTOM: drawn by a program, "  # the end of the note was another one once
MARK_BYTES: Final = 4096
"""the comment stands before the pixels, behind a few short segments"""


def is_marked(data: bytes) -> bool:
    """Whether a PNG or JPEG file says of itself that it is a phantom."""
    return _MARK in data[:MARK_BYTES]
