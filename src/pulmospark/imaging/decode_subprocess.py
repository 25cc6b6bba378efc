"""Decode in a child process that can be killed.

Decoders are C code: some run for ever on damaged streams (CharLS 2.4), some take minutes over a
small file (a JPEG of hundreds of scans), and none can be interrupted from Python. What no header
bounds is therefore decoded in a child process, kept for the next image and ended where one takes
over ``limits.DECODE_SECONDS_MAX`` of a core. The kernel counts and ends it, by the child's own
processor time: a busy machine costs no image.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits

_PROGRAM: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pulmospark.imaging.decode_subprocess_main import serve
serve()
"""
HEAD: Final = struct.Struct("<qq")
"""bytes of the JSON and of the payload that follow, of a question and of an answer"""


class DecoderError(Exception):
    """The decoder refused the data or crashed on it."""


class DecoderSlowError(DecoderError):
    """Decoding took over ``limits.DECODE_SECONDS_MAX`` of a core."""


class _KilledError(DecoderError):
    """Another process killed the child."""


class _RefusedError(DecoderError):
    """The decoder's own refusal, after which the child process can continue."""


def decode_codestream(
    codec: str, frame: bytes | memoryview, **options: Any
) -> NDArray[np.generic]:
    """Decode a bare codestream, whose declared size was checked before, in the child.

    Args:
        codec: one of ``apart_child.CODECS``: ``jpegls``, ``jpeg2k``, ``htj2k``,
            ``jpeg8`` or ``jpegxl``.
        frame: the codestream.
        options: keyword arguments of imagecodecs' function, of JSON's kinds.

    Returns:
        (h, w) or (h, w, samples), as imagecodecs gives it.

    Raises:
        DecoderSlowError: it took over the limit.
        DecoderError: the decoder refused it, crashed, or did not start.
    """
    answer, raw = ask("codestream", frame, {"codec": codec, "options": options})
    return np.frombuffer(raw, answer["dtype"]).reshape(answer["shape"])


def ask(
    call: str, data: bytes | memoryview, options: dict[str, Any]
) -> tuple[dict[str, Any], bytearray]:
    """Run a call of ``apart_child.CALLS`` in the child.

    Args:
        call: its name.
        data: the payload.
        options: of JSON's kinds.

    Returns:
        The answer's facts and its payload.

    Raises:
        DecoderSlowError: it took over the limit.
        DecoderError: the decoder refused it, crashed, or did not start.
    """
    for is_last in (False, True):
        try:
            return _asked(call, data, options)
        except _KilledError:  # by the system, for want of memory: the image need not be why
            if is_last:
                raise
    raise AssertionError("the last try returns or raises")


def _asked(
    call: str, data: bytes | memoryview, options: dict[str, Any]
) -> tuple[dict[str, Any], bytearray]:
    while True:
        child = _child(os.getpid())
        with child.lock:
            if child.process.poll() is not None:  # ended between images, or by another thread
                _forget(child)
                continue
            try:
                _await_start(child)
                return _answer(child.process, call, data, options)
            except _RefusedError:
                raise
            except BaseException:
                _end(child.process)
                _forget(child)
                raise


def _forget(child: _Child) -> None:
    """Let the next image have a new child, unless there is one already."""
    if _child(os.getpid()) is child:
        _child.cache_clear()


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    lock: threading.Lock = field(default_factory=threading.Lock)
    """held by the one whose data it decodes"""
    is_ready: bool = False
    """whether it has said that its libraries are loaded"""


@functools.lru_cache(maxsize=1)
def _child(parent: int) -> _Child:
    """The child of this process; one that was forked from it starts its own."""
    del parent
    return _Child(
        subprocess.Popen(
            # Isolated: nothing is imported from the current folder, wherever that is.
            [sys.executable, "-I", "-c", _PROGRAM, json.dumps(_import_path())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    )


def _import_path() -> list[str]:
    """Where this process imports from, but for the current folder."""
    package = str(Path(__file__).parents[2])
    here = str(Path.cwd())
    rest = [place for place in sys.path if Path(place).is_absolute() and place != here]
    return [package, *(place for place in rest if place != package)]


def _await_start(child: _Child) -> None:
    """Wait until it is ready: a slow start on a busy machine must not reject the image."""
    if not child.is_ready and child.process.stdout is not None:
        seconds = limits.DECODER_START_SECONDS_MAX
        late = DecoderError(f"the decoder did not start within {seconds} s")
        _read(child.process, 1, time.monotonic() + seconds, late)
        child.is_ready = True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not taken is of no use any more
                pipe.close()


def _answer(
    process: subprocess.Popen[bytes],
    call: str,
    data: bytes | memoryview,
    options: dict[str, Any],
) -> tuple[dict[str, Any], bytearray]:
    until = time.monotonic() + limits.DECODER_SILENCE_SECONDS_MAX
    late = DecoderSlowError(f"no answer within {limits.DECODER_SILENCE_SECONDS_MAX} s")
    if process.stdin is None:
        raise DecoderError("no pipe to the decoder")
    question = {"call": call, "seconds": limits.DECODE_SECONDS_MAX, **options}
    words = json.dumps(question).encode()
    try:
        process.stdin.write(HEAD.pack(len(words), len(data)) + words)
        process.stdin.write(data)
        process.stdin.flush()
    except OSError as error:
        raise _ended(process) from error
    length, size = HEAD.unpack(_read(process, HEAD.size, until, late))
    answer = json.loads(bytes(_read(process, length, until, late)))
    if "error" in answer:
        raise _RefusedError(answer["error"])
    return answer, _read(process, size, until, late)


def _read(
    process: subprocess.Popen[bytes], count: int, until: float, late: DecoderError
) -> bytearray:
    if process.stdout is None:
        raise DecoderError("no pipe from the decoder")
    source = process.stdout.fileno()
    whole = bytearray(count)
    view, at = memoryview(whole), 0
    while at < count:
        left = until - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            raise late
        size = os.readv(source, [view[at : at + (1 << 20)]])
        if not size:
            raise _ended(process)
        at += size
    return whole


def _ended(process: subprocess.Popen[bytes]) -> DecoderError:
    """The reason why a child that closed its pipe ended."""
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return DecoderError("the decoder closed its pipe")
    if code == -signal.SIGPROF:
        return DecoderSlowError(f"over {limits.DECODE_SECONDS_MAX:g} s of a core")
    name = signal.Signals(-code).name if code < 0 else f"exit {code}"
    kind = _KilledError if code == -signal.SIGKILL else DecoderError
    return kind(f"the decoder's process ended: {name}")
