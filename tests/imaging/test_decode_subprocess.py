"""Decoding in a child process: what it gives, and how it is ended."""

from __future__ import annotations

import functools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imaging import dicoms
from imaging.rasters import encoded, progressive_bomb
from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging import decode_subprocess
from pulmospark.imaging.decode import Decoded, Rejected, decode, decode_here
from pulmospark.imaging.decode_subprocess import DecoderError, DecoderSlowError, decode_codestream
from pulmospark.imaging.raster import is_heavy

JPEG_LS = "1.2.840.10008.1.2.4.80"
# A cut JPEG-LS scan on which CharLS 2.4.3 never comes to an end.
ENDLESS = bytes.fromhex(
    "ffd8fff7000b100032000a01011100fff8000d01ffff0018004d01220040ffda0008010100020000"
    "402010101020408208201fff7000000000000733182082108421080ff0665a1084210844407e04cc"
    "a22222222207c14ca88888888881f044ca2222"
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A decoder of the test's own."""
    start, started = decode_subprocess._child.__wrapped__, []

    def child(parent: int) -> decode_subprocess._Child:
        started.append(start(parent))
        return started[-1]

    monkeypatch.setattr(decode_subprocess, "_child", functools.lru_cache(maxsize=1)(child))
    yield
    for made in started:
        decode_subprocess._end(made.process)


def test_a_decoder_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DECODE_SECONDS_MAX", 0.5)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(DecoderSlowError, match=r"over 0\.5 s of a core"):
        decode_codestream("jpegls", ENDLESS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert 0.5 < spent < 10  # its start, and whatever it did before, are among them
    # The next frame gets a new child.
    frame = dicoms.ENCODERS[JPEG_LS](dicoms.values(4))
    monkeypatch.undo()
    assert np.array_equal(decode_codestream("jpegls", frame), dicoms.values(4))


def test_a_slow_start_is_not_taken_for_a_slow_image(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = f"import time\nwhile time.process_time() < 0.8: pass\n{decode_subprocess._PROGRAM}"
    monkeypatch.setattr(decode_subprocess, "_PROGRAM", slow)
    monkeypatch.setattr(limits, "DECODE_SECONDS_MAX", 0.5)
    frame = dicoms.ENCODERS[JPEG_LS](dicoms.values(4))
    assert np.array_equal(decode_codestream("jpegls", frame), dicoms.values(4))


def test_a_decoder_that_does_not_start_is_ended(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_subprocess, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(limits, "DECODER_START_SECONDS_MAX", 0.2)
    with pytest.raises(DecoderError, match=r"the decoder did not start within 0\.2 s"):
        decode_codestream("jpegls", ENDLESS)


def test_a_decoder_that_hangs_without_working_is_ended(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_codestream("jpegls", dicoms.ENCODERS[JPEG_LS](dicoms.values(4)))
    os.kill(decode_subprocess._child(os.getpid()).process.pid, signal.SIGSTOP)
    monkeypatch.setattr(limits, "DECODER_SILENCE_SECONDS_MAX", 0.3)
    with pytest.raises(DecoderSlowError, match=r"no answer within 0\.3 s"):
        decode_codestream("jpegls", ENDLESS)


def test_a_decoder_that_was_killed_between_images_costs_none(
    fresh: None, heavy_jpeg: bytes
) -> None:
    for _ in range(3):
        assert isinstance(decode(heavy_jpeg, at_least=64), Decoded)
        process = decode_subprocess._child(os.getpid()).process
        process.kill()
        process.wait()


def test_a_decoder_that_is_killed_each_time_costs_one_image(
    fresh: None, heavy_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = decode_subprocess._PROGRAM
    dying = "import os, signal, sys; sys.stdout.write('R'); sys.stdout.flush()\n" + (
        "sys.stdin.buffer.read(8); os.kill(os.getpid(), signal.{})"
    )
    for name in ("SIGKILL", "SIGSEGV"):
        monkeypatch.setattr(decode_subprocess, "_PROGRAM", dying.format(name))
        lost = decode(heavy_jpeg, at_least=64)
        assert isinstance(lost, Rejected)
        assert (lost.reason, name in lost.detail) == (Why.UNREADABLE, True)
    monkeypatch.setattr(decode_subprocess, "_PROGRAM", program)
    assert isinstance(decode(heavy_jpeg, at_least=64), Decoded)


def test_threads_that_wait_for_a_child_that_is_ended_lose_no_image(
    fresh: None, heavy_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DECODE_SECONDS_MAX", 0.5)
    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(decode_codestream, "jpegls", ENDLESS)
        rest = [pool.submit(decode, heavy_jpeg, at_least=64) for _ in range(3)]
        assert isinstance(slow.exception(), DecoderSlowError)
        assert all(isinstance(done.result(), Decoded) for done in rest)


def test_nothing_is_imported_from_the_current_folder(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heavy_jpeg: bytes
) -> None:
    for name in ("cv2", "random", "json", "numpy", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.syspath_prepend("")
    assert isinstance(decode(heavy_jpeg, at_least=64), Decoded)


@pytest.fixture
def heavy_jpeg(drawn: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A JPEG that the worker does not decode itself."""
    monkeypatch.setattr(limits, "INLINE_PIXELS_MAX", 100)
    return encoded(Image.fromarray(drawn), "JPEG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_apart_and_here_are_the_same(
    drawn: NDArray[np.uint8], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.fromarray(drawn), kind)
    here = decode_here(data, kind.lower(), at_least=64)
    asked: list[str] = []
    ask = decode_subprocess.ask

    def noted(call: str, *rest: object) -> object:
        asked.append(call)
        return ask(call, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode_subprocess, "ask", noted)
    monkeypatch.setattr(limits, "INLINE_PIXELS_MAX", 100)
    there = decode(data, at_least=64)
    assert isinstance(here, Decoded)
    assert isinstance(there, Decoded)
    assert asked == ["image"]
    assert np.array_equal(here.grey, there.grey)
    assert (here.height, here.width, here.format, here.eighths) == (
        there.height, there.width, there.format, there.eighths,
    )  # fmt: skip


def test_a_file_of_many_bytes_is_decoded_apart(
    drawn: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("PNG", "TIFF", "BMP", "WEBP", "GIF"):
        data = encoded(Image.fromarray(drawn), kind)
        monkeypatch.setattr(limits, "INLINE_BYTES_MAX", len(data))
        assert not is_heavy(data, kind.lower()), kind
        monkeypatch.setattr(limits, "INLINE_BYTES_MAX", len(data) - 1)
        assert is_heavy(data, kind.lower()), kind


def test_a_reject_comes_back_with_its_reason(
    drawn: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.fromarray(drawn), "PNG")[:-200]
    here = decode(data, at_least=64)
    monkeypatch.setattr(limits, "INLINE_PIXELS_MAX", 100)
    assert decode(data, at_least=64) == here
    assert isinstance(here, Rejected)
    assert here.reason is Why.TRUNCATED


def test_a_slow_image_is_a_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = progressive_bomb(side=3000, scans=400)
    refused = decode(bomb, at_least=64)
    assert isinstance(refused, Rejected)
    assert (refused.reason, "JPEG_SCAN_PIXELS_MAX" in refused.detail) == (Why.TOO_SLOW, True)
    # Where the header's bound lets it pass, the clock of the child's core does not.
    monkeypatch.setattr(limits, "DECODE_SECONDS_MAX", 0.3)
    bomb = progressive_bomb(side=3000, scans=400)
    monkeypatch.setattr(limits, "JPEG_SCAN_PIXELS_MAX", 10**12)
    begun = time.monotonic()
    refused = decode(bomb, at_least=64)
    assert isinstance(refused, Rejected)
    assert refused.reason is Why.TOO_SLOW
    assert time.monotonic() - begun < 60


_SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from pulmospark.imaging.decode import decode_here
data = Path(sys.argv[1]).read_bytes()
status = Path("/proc/self/status").read_text()
held = int(status.partition("VmData:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + 20_000_000,) * 2)
try:
    print(decode_here(data, "tiff", at_least=64))
except MemoryError:
    print("MemoryError")
"""


def test_opencv_s_want_of_memory_is_no_fault_of_the_bytes(tmp_path: Path) -> None:
    deep = np.zeros((3000, 3000, 3), np.uint16)  # 54 MB
    assert cv2.imwrite(str(tmp_path / "deep.tiff"), deep)
    command = [sys.executable, "-c", _SHORT_OF_MEMORY, str(tmp_path / "deep.tiff")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "MemoryError\n"
