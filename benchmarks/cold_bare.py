"""The least that scores a folder of grey JPEG files: two threads of one process, start-up and all.

    python -m benchmarks.cold_bare FOLDER OUT ENGINE THREADS

Imports nothing of pulmospark. ``ENGINE`` is a folder with ``model.xml``, and the compiled network
where an earlier run has left it.
"""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

SIZE, BATCH, PART = 224, 2, 256
_SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "NUM_STREAMS": 1,
    "INFERENCE_NUM_THREADS": 1,
    "ENABLE_CPU_PINNING": False,
}


def _request(engine: Path) -> openvino.InferRequest:
    core, kept = openvino.Core(), engine / "bare.blob"
    if kept.is_file():
        return core.import_model(kept.read_bytes(), "CPU", _SETTINGS).create_infer_request()
    model = core.read_model(engine / "model.xml")
    model.reshape([BATCH, SIZE, SIZE])
    compiled = core.compile_model(model, "CPU", _SETTINGS)
    kept.write_bytes(compiled.export_model().getvalue())
    return compiled.create_infer_request()


def _pixels(path: Path) -> Any:
    grey = simplejpeg.decode_jpeg(path.read_bytes(), "GRAY", min_height=SIZE, min_width=SIZE)
    return cv2.resize(grey[:, :, 0], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def _score(parts: queue.SimpleQueue[list[Path]], out: Path, engine: Path) -> None:
    request = _request(engine)
    while not parts.empty():
        try:
            part = parts.get_nowait()
        except queue.Empty:
            return
        logits = []
        for at in range(0, len(part), BATCH):
            batch = np.zeros((BATCH, SIZE, SIZE), np.uint8)
            for place, path in enumerate(part[at : at + BATCH]):
                batch[place] = _pixels(path)
            request.infer([batch], share_inputs=True, share_outputs=True)
            logits += request.get_output_tensor(0).data[: len(part[at : at + BATCH])].tolist()
        table = pa.table({"uri": [str(path) for path in part], "logits": logits})
        pq.write_table(table, out / f"{part[0].stem}.parquet")


def main() -> None:
    """Score the folder that the command line names."""
    folder, out, engine = map(Path, sys.argv[1:4])
    threads = int(sys.argv[4])
    cv2.setNumThreads(1)
    paths = sorted(folder.iterdir())
    size = min(PART, -(-len(paths) // threads))
    parts: queue.SimpleQueue[list[Path]] = queue.SimpleQueue()
    for at in range(0, len(paths), size):
        parts.put(paths[at : at + size])
    workers = [threading.Thread(target=_score, args=(parts, out, engine)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
