"""Limits of archives that are read without unpacking, with their units and reasons; see
:mod:`.limits` for those that are unpacked as well (``ARCHIVE_...``).
"""

from __future__ import annotations

ARCHIVE_DIRECTORY_BYTES_MAX = 256 * 1024 * 1024
"""bytes of a zip's directory, which is read in pieces: a million files with names of 200 bytes."""

ARCHIVE_DIRECTORY_READ_BYTES = 4 * 1024 * 1024
"""bytes of a directory that are read at once, and of a tar's headers."""

ARCHIVE_HEADER_BYTES_MAX = 1024 * 1024
"""bytes of one file's header in a tar: names are kilobytes."""

ARCHIVE_NAME_BYTES_MAX = 4096
"""bytes of a file's name in an archive: the longest path of Linux."""

ARCHIVES_OPEN_MAX = 4
"""archives whose directories a process keeps, 48 bytes for each file: those used last."""
