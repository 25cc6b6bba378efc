"""JPEG-LS, decoded in a process of its own that can be ended.

The decoder there is (CharLS 2.4) runs for ever on some damaged streams, and holds the
interpreter while it does. So a frame is handed to a child process, which is kept for the next
ones, and ended where it takes longer than any film would.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits

_PROGRAM: Final = """
import struct, sys
import imagecodecs
take, give = sys.stdin.buffer, sys.stdout.buffer
give.write(b"R")
give.flush()
while head := take.read(8):
    try:
        values = imagecodecs.jpegls_decode(take.read(struct.unpack("<q", head)[0]))
        shape = (*values.shape, 1)[:3]
        give.write(struct.pack("<4q", values.itemsize, *shape))
        give.write(values.data.cast("B"))
    except Exception:
        give.write(struct.pack("<4q", 0, 0, 0, 0))
    values = None
    give.flush()
"""
_HEAD: Final = struct.Struct("<4q")


class Failed(Exception):
    """The frame cannot be decoded; the text says no more than how it ended."""

    def __init__(self, text: str, *, is_late: bool = False) -> None:
        super().__init__(text)
        self.is_late = is_late
        """it took over ``limits.JPEG_LS_SECONDS_MAX``"""


def decode_jpegls(frame: bytes | memoryview) -> NDArray[np.unsignedinteger]:
    """Decode a JPEG-LS codestream, whose declared size was checked before.

    Returns:
        (h, w) or (h, w, 3), of 8 or 16 bits, unsigned.

    Raises:
        Failed: the decoder refused it, died, or took over ``limits.JPEG_LS_SECONDS_MAX``; or it
            did not start within ``limits.JPEG_LS_START_SECONDS_MAX``.
    """
    child = _child(os.getpid())
    with child.lock:
        try:
            _await(child)
            return _asked(child.process, frame)
        except _Refusal:
            raise
        except BaseException:
            _end(child.process)
            _child.cache_clear()
            raise


class _Refusal(Failed):
    """The decoder's own, after which the child can go on."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    lock: threading.Lock = field(default_factory=threading.Lock)
    """held by the one whose frame it decodes"""
    is_ready: bool = False
    """whether it has said that its libraries are loaded"""


@functools.lru_cache(maxsize=1)
def _child(parent: int) -> _Child:
    """The child of this process; one that was forked from it starts its own."""
    del parent
    return _Child(
        subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    )


def _await(child: _Child) -> None:
    """Wait until it is ready: what loading takes on a busy machine is no fault of the frame."""
    if not child.is_ready and child.process.stdout is not None:
        seconds = limits.JPEG_LS_START_SECONDS_MAX
        late = f"the decoder did not start within {seconds} s"
        _read(child.process.stdout.fileno(), 1, time.monotonic() + seconds, late)
        child.is_ready = True


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not taken is of no use any more
                pipe.close()


def _asked(
    child: subprocess.Popen[bytes], frame: bytes | memoryview
) -> NDArray[np.unsignedinteger]:
    until = time.monotonic() + limits.JPEG_LS_SECONDS_MAX
    late = f"not decoded within {limits.JPEG_LS_SECONDS_MAX} s"
    if child.stdin is None or child.stdout is None:
        raise Failed("no pipe to the decoder")
    try:
        child.stdin.write(struct.pack("<q", len(frame)))
        child.stdin.write(frame)
        child.stdin.flush()
    except OSError as error:
        raise Failed("the decoder has died") from error
    source = child.stdout.fileno()
    size, *shape = _HEAD.unpack(_read(source, _HEAD.size, until, late))
    if size not in (1, 2):
        raise _Refusal("the decoder refuses it")
    height, width, samples = shape
    values = np.empty((height, width) if samples == 1 else (height, width, samples), f"<u{size}")
    _read_into(source, memoryview(values.reshape(-1).view(np.uint8)), until, late)
    return values


def _read(source: int, count: int, until: float, late: str) -> bytes:
    room = bytearray(count)
    _read_into(source, memoryview(room), until, late)
    return bytes(room)


def _read_into(source: int, room: memoryview, until: float, late: str) -> None:
    """Read as much as there is room for, into it."""
    while room:
        left = until - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            raise Failed(late, is_late=True)
        count = os.readv(source, [room[: 1 << 20]])
        if not count:
            raise Failed("the decoder has died")
        room = room[count:]
