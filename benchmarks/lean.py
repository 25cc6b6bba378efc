"""The least that scores grey JPEG files: what the programs of ``peers`` have in common.

Imports nothing of pulmospark, torch or PySpark, so that none of them pays for another's start.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

SIZE, BATCH, PART = 224, 2, 256
"""pixels; images the engine runs at once, and of a task, as in ``predict``"""
HANDED = 32
"""images that a framework hands to the network together"""
_IN_BUCKET = "://"


@dataclass(frozen=True)
class Job:
    """What a program is to score; values of JSON's kinds, for it runs in a process of its own."""

    images: str
    """folder of the files, or its address in a bucket"""
    out: str
    """folder of the Parquet files; it is there and empty"""
    engine: str
    """folder with ``model.xml``"""
    precision: str = "fp32"
    """of the network, in the words of ``predict``"""
    bundle: str | None = None
    """the same network for pulmospark, and for PyTorch"""
    slots: int = 2
    only: int | None = None
    """so many of the images, for a warm-up"""
    address: str | None = None
    """of a cluster, as the framework takes it; ``None``: this machine"""

    def paths(self) -> list[str]:
        """The files, in order."""
        if _IN_BUCKET in self.images:
            files = store(self.images).list().collect()
            names = sorted(f"{self.images.rstrip('/')}/{file['path']}" for file in files)
        else:
            names = sorted(entry.path for entry in os.scandir(self.images))
        return names[: self.only]


@functools.cache
def store(address: str) -> Any:
    """The bucket's client; keys and endpoint come from the environment."""
    from obstore.store import from_url

    return from_url(address, client_options={"allow_http": True})


def read(uri: str) -> bytes:
    """A file's bytes."""
    if _IN_BUCKET not in uri:
        return Path(uri).read_bytes()
    folder, _, name = uri.rpartition("/")
    return bytes(store(folder).get(name).bytes())


def decoded(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Scaled decoding and one resize: the standard image of a grey JPEG, (size, size)."""
    grey = simplejpeg.decode_jpeg(data, "GRAY", min_height=SIZE, min_width=SIZE, strict=True)
    small: np.ndarray[Any, np.dtype[np.uint8]] = cv2.resize(
        grey[:, :, 0], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR
    )
    return small


_IMPORTING = threading.Lock()


class _Opened(threading.local):
    """What each thread has opened; outside ``Network``, which frameworks copy to workers."""

    def __init__(self) -> None:
        self.requests: dict[Network, Any] = {}


_OPENED = _Opened()


@dataclass(frozen=True)
class Network:
    """The network in OpenVINO, one thread a run; each thread that calls it has its own.

    Attributes:
        engine: folder with ``model.xml``.
        precision: in the words of ``predict``.
    """

    engine: str
    precision: str

    def score(self, paths: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits of files, (n, classes)."""
        return self.run([decoded(read(str(path))) for path in paths])

    def run(self, images: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits of standard images, (n, classes)."""
        requests, logits = _OPENED.requests, []
        if self not in requests:
            requests[self] = self._request()
        request = requests[self]
        for at in range(0, len(images), BATCH):
            batch = np.zeros((BATCH, SIZE, SIZE), np.uint8)
            for place, image in enumerate(images[at : at + BATCH]):
                batch[place] = image
            request.infer([batch], share_inputs=True, share_outputs=True)
            logits.append(request.get_output_tensor(0).data[: len(images) - at].copy())
        return np.concatenate(logits)

    def _request(self) -> Any:
        """A request of a network of its own; compiled by the first run, as ``predict``'s is."""
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # sends events
        with _IMPORTING:  # threads that meet in the first call of the table wait for ever
            import openvino

            openvino.Type.u8.to_dtype()
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(self.precision, self.precision),
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        cv2.setNumThreads(1)
        core, kept = openvino.Core(), Path(self.engine, f"lean-{self.precision}.blob")
        if kept.is_file():
            return core.import_model(kept.read_bytes(), "CPU", settings).create_infer_request()
        model = core.read_model(Path(self.engine, "model.xml"))
        model.reshape([BATCH, SIZE, SIZE])
        compiled = core.compile_model(model, "CPU", settings)
        unfinished = kept.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        unfinished.write_bytes(compiled.export_model().getvalue())
        unfinished.replace(kept)
        return compiled.create_infer_request()


class Mapper(Network):
    """Batches of ``path``, or of ``bytes`` where a reader has read them, to logits: for maps."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One batch."""
        if "bytes" in batch:
            logits = self.run([decoded(data) for data in batch["bytes"]])
        else:
            logits = self.score(batch["path"])
        return {"uri": batch["path"], "logits": logits}


def write_logits(uris: Sequence[str], logits: np.ndarray[Any, Any], path: Path) -> None:
    """A Parquet file with ``uri`` and ``logits``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"uri": list(uris), "logits": logits.tolist()}), path)
