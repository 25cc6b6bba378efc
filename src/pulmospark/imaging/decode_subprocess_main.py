"""The child process of :mod:`pulmospark.imaging.decode_subprocess`: its calls, and the bounds on
it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.decode import Rejected, decode_here
from pulmospark.imaging.decode_subprocess import HEAD

CODECS: Final = ("jpegls", "jpeg2k", "htj2k", "jpeg8", "jpegxl")
"""codestreams that are decoded, by imagecodecs' names"""

_STRIPS_BYTES: Final = 64 * 1024 * 1024
"""for the strips being decoded, in addition to ``limits.DECODED_BYTES_MAX``"""

_Answer = tuple[dict[str, Any], NDArray[Any] | None]


def serve() -> None:
    """Answer questions on standard input until it is closed."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)
    take = sys.stdin.buffer
    # A library that prints must not write between the answers.
    with os.fdopen(os.dup(1), "wb") as give:
        os.dup2(2, 1)
        _bound_memory()
        give.write(b"R")
        give.flush()
        while head := take.read(HEAD.size):
            length, size = HEAD.unpack(head)
            question = json.loads(take.read(length))
            facts, pixels = _answer(question, take.read(size))
            words = json.dumps(facts).encode()
            give.write(HEAD.pack(len(words), 0 if pixels is None else pixels.nbytes) + words)
            if pixels is not None:
                give.write(np.ascontiguousarray(pixels).data)
            give.flush()
            del pixels


def _answer(question: dict[str, Any], data: bytes) -> _Answer:
    signal.setitimer(signal.ITIMER_PROF, question["seconds"])
    try:
        return CALLS[question["call"]](question, data)
    except Exception as error:  # noqa: BLE001 - decoders raise anything on hostile bytes
        return {"error": f"{type(error).__name__}: {error}"}, None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _image(question: dict[str, Any], data: bytes) -> _Answer:
    try:
        decoded = decode_here(data, question["kind"], at_least=question["at_least"])
    except MemoryError:  # see _bound_memory
        detail = (
            f"{question['kind']}: decoding takes over {limits.DECODED_BYTES_MAX} bytes "
            "(DECODED_BYTES_MAX)"
        )
        return {"reason": RejectReason.TOO_MANY_PIXELS, "detail": detail}, None
    if isinstance(decoded, Rejected):
        return {"reason": decoded.reason, "detail": decoded.detail}, None
    grey = decoded.grey
    facts = {"height": decoded.height, "width": decoded.width, "eighths": decoded.eighths}
    return {**facts, "shape": grey.shape}, grey


def _codestream(question: dict[str, Any], data: bytes) -> _Answer:
    if question["codec"] not in CODECS:
        raise ValueError(f"{question['codec']} is no codec of these")
    decode = getattr(imagecodecs, f"{question['codec']}_decode")
    values: NDArray[Any] = decode(data, **question["options"])
    return {"dtype": values.dtype.newbyteorder("=").str, "shape": values.shape}, values


CALLS: Final[dict[str, Callable[[dict[str, Any], bytes], _Answer]]] = {
    "image": _image,
    "codestream": _codestream,
}
"""what it is asked for: name -> function of question and payload"""


def _bound_memory() -> None:
    """Limit allocations to the maximum for an image, whatever its header declares."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # no Linux: the checks of the headers have to do
        return
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    most = held * 1024 + limits.DECODED_BYTES_MAX + _STRIPS_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
