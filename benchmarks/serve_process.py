"""``pulmospark serve`` in a process of its own, and what its clients send."""

from __future__ import annotations

import http.client
import io
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.common import python, start

WAIT_S = 120.0
_READY = re.compile(r"^serve: ready", re.MULTILINE)
_ADDRESS = re.compile(r"^serve: http://127\.0\.0\.1:(\d+)$", re.MULTILINE)


class Served:
    """A service that was started, and is ready."""

    def __init__(self, bundle: Path, state: Path, log: Path, *options: str) -> None:
        begun = time.perf_counter()
        log.unlink(missing_ok=True)
        with log.open("wb") as errors:
            self.process: subprocess.Popen[Any] = start(
                python(
                    "-m", "pulmospark", "serve", str(bundle), "--port", "0",
                    "--state", str(state), *options,
                ),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )  # fmt: skip
        while not _READY.search(text := log.read_text(encoding="utf-8")):
            if self.process.poll() is not None:
                raise RuntimeError(f"the service ended: {text[-500:]}")
            if time.perf_counter() - begun > WAIT_S:
                raise RuntimeError(f"the service is not ready after {WAIT_S} s: {text[-500:]}")
            time.sleep(0.005)
        self.ready_s = time.perf_counter() - begun
        found = _ADDRESS.search(text)
        assert found is not None
        self.port = int(found.group(1))
        self._of_os = psutil.Process(self.process.pid)

    def cpu_s(self) -> float:
        """Seconds of processor of the service and of its children so far."""
        total = 0.0
        for process in (self._of_os, *self._of_os.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
        ended = self._of_os.cpu_times()
        return total + ended.children_user + ended.children_system

    def memory_bytes(self) -> int:
        """Resident memory of the service."""
        return int(self._of_os.memory_info().rss)

    def connection(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextmanager
def served(bundle: Path, state: Path, log: Path, *options: str) -> Iterator[Served]:
    """A service, stopped at the end."""
    service = Served(bundle, state, log, *options)
    try:
        yield service
    finally:
        service.stop()


def form(*files: bytes) -> tuple[bytes, dict[str, str]]:
    """A multipart form with files, and its headers."""
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="files"; filename="image"\r\n\r\n'
        + content
        + b"\r\n"
        for content in files
    ]
    body = b"".join([*parts, b"--edge--\r\n"])
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


def ask(
    connection: http.client.HTTPConnection,
    *files: bytes,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Send files to be scored; status and answer."""
    body, own = form(*files)
    connection.request("POST", f"/api/v1/predict{query}", body, {**own, **(headers or {})})
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content)


def radiographs(count: int, side: int) -> list[bytes]:
    """JPEG files that look like radiographs to a decoder: smooth, with some grain."""
    random = np.random.default_rng(20206)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(20, 235, (12, 12), np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        grain = random.normal(0.0, 3.0, (side, side)).astype(np.float32)
        content = io.BytesIO()
        pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(content, "JPEG", quality=85)
        files.append(content.getvalue())
    return files
