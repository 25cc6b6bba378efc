"""Limits of run folders in stores, each with its unit and the reason for its value."""

from __future__ import annotations

MIRRORS_MAX = 4
"""run folders in stores whose copies stay on this machine, those used last; one with results that
are not published yet always stays."""

COPIED_TABLE_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""bytes of a table of images that is copied with its pixels, 40,000 images of 224 x 224; those of
a larger one stay in the store, and are read from there by ranges each time."""

PUBLISHED_BYTES_MAX = 16 * 1024 * 1024
"""bytes of the record of a run folder in a store: 100,000 heat maps would take 10 MB."""

PUBLISHED_FILES_MAX = 200_000
"""files of a run folder in a store, those of its tables excluded."""

SHEET_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""bytes of a CSV in a store: ten million rows of 200 bytes."""
