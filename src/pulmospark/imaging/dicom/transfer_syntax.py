"""Transfer syntaxes of DICOM (PS3.5, Annex A; PS3.6, Table A-1)."""

from __future__ import annotations

from typing import Final

from pydicom import config
from pydicom.uid import UID

_UID: Final = "1.2.840.10008.1.2"
IMPLICIT: Final = _UID
EXPLICIT: Final = f"{_UID}.1"
DEFLATED: Final = f"{_UID}.1.99"
BIG_ENDIAN: Final = f"{_UID}.2"
NATIVE: Final = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
RLE: Final = f"{_UID}.5"
JPEG: Final = frozenset(f"{_UID}.4.{n}" for n in (50, 51, 57, 70))
"""Baseline, Extended (8 and 12 bit), Lossless, Lossless of first-order prediction"""
JPEG_LS: Final = frozenset({f"{_UID}.4.80", f"{_UID}.4.81"})
JPEG_2000: Final = frozenset({f"{_UID}.4.90", f"{_UID}.4.91"})
"""lossless only, and both"""
HTJ2K: Final = frozenset({f"{_UID}.4.201", f"{_UID}.4.202", f"{_UID}.4.203"})
"""high-throughput JPEG 2000: lossless, lossless by resolution, and both"""
JPEG_XL: Final = frozenset({f"{_UID}.4.110", f"{_UID}.4.111", f"{_UID}.4.112"})
"""lossless, recompressed JPEG, and all"""

MAY_LOSE: Final = frozenset(f"{_UID}.4.{n}" for n in (50, 51, 81, 91, 112, 203))
"""those whose values may differ from what was compressed"""

_FAMILIES: Final = {
    "JPEG": JPEG, "JPEG-LS": JPEG_LS, "JPEG 2000": JPEG_2000, "HTJ2K": HTJ2K, "JPEG XL": JPEG_XL,
    "RLE": frozenset({RLE}),
}  # fmt: skip
READ: Final = frozenset().union(NATIVE, *_FAMILIES.values())
"""all that are read"""


def family_of(syntax: str) -> str:
    """The codec of a compressed transfer syntax; empty where it is not one that is read."""
    return next((name for name, uids in _FAMILIES.items() if syntax in uids), "")


def name_of(syntax: str) -> str:
    """A transfer syntax's name and number; its text is not repeated where PS3.6 has it not."""
    if syntax in JPEG_XL:  # younger than pydicom's list
        return f"JPEG XL ({syntax})"
    known = UID(syntax, config.IGNORE)  # its text is the file's, and may be anything
    if known.type != "Transfer Syntax":
        return "an unknown transfer syntax"
    return f"{known.name.split(':')[0].split(' (')[0]} ({syntax})"


def codec_of(frame: bytes | memoryview) -> str:
    """The codec that a frame's first bytes are of; empty where they are of none."""
    head = bytes(frame[:12])
    if head[:2] == b"\xff\xd8":
        return "JPEG-LS" if _first_frame_mark(frame) == 0xF7 else "JPEG"
    if head[:4] == b"\xff\x4f\xff\x51":
        return "HTJ2K" if head[6] & 0x40 else "JPEG 2000"
    if head == b"\0\0\0\x0cjP  \r\n\x87\n":
        return "JPEG 2000"
    if head[:2] == b"\xff\x0a" or head == b"\0\0\0\x0cJXL \r\n\x87\n":
        return "JPEG XL"
    if 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == b"\x40\0\0\0":
        return "RLE"
    return ""


def _first_frame_mark(frame: bytes | memoryview) -> int:
    """The last byte of a JPEG's first start-of-frame marker; 0 where there is none."""
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        mark = frame[at + 1]
        if mark == 0xFF:  # fill byte
            at += 1
            continue
        if (0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC)) or mark == 0xF7:
            return mark
        at += 2 + max(int.from_bytes(bytes(frame[at + 2 : at + 4]), "big"), 2)
    return 0
