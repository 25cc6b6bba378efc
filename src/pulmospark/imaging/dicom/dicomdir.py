"""DICOMDIR: the files listed on a medium (PS3.3, Annex F)."""

from __future__ import annotations

import io
from typing import Final

from pydicom.filereader import read_dataset

from pulmospark.imaging.dicom.header import FILE_SET_TAGS, file_meta, sequence, words_of
from pulmospark.imaging.dicom.pydicom_logging import quiet

_PREAMBLE: Final = 132


def referenced_files(data: bytes) -> frozenset[tuple[str, ...]]:
    """Files that a DICOMDIR names, as folders and name below its own folder, in capitals.

    They are compared with what is there, and never opened by: a medium may name any path.
    Nothing is raised; a damaged one names none.
    """
    try:
        with quiet():
            _, start = file_meta(data, _PREAMBLE)
            index = read_dataset(
                io.BytesIO(data[start:]),
                is_implicit_VR=False,
                is_little_endian=True,
                specific_tags=list(FILE_SET_TAGS),
            )
            records = sequence(index, "DirectoryRecordSequence")
            named = (words_of(record, "ReferencedFileID") for record in records)
            return frozenset(parts for parts in named if parts)
    except Exception:  # noqa: BLE001 - a damaged index costs no image: the folder is listed anyway
        return frozenset()
