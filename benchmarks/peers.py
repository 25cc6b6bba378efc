"""What ``predict`` is compared with: each program scores a folder and writes a Parquet table.

    python -m benchmarks.peers NAME JOB.json [--warm]

All use the same imaging and the same network in OpenVINO, one thread a slot, unless their title
says otherwise, and write ``uri`` and ``logits``. Nothing of pulmospark, torch or PySpark is
imported that a program does not use.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lean import HANDED, PART, SIZE, Job, Mapper, Network, write_logits

_ROOT = Path(__file__).resolve().parents[1]
_FEW = 64


def two_threads(job: Job) -> None:
    """The bare limit: threads of one process that take parts of the list."""
    paths, network = job.paths(), Network(job.engine, job.precision)
    size = min(PART, -(-len(paths) // job.slots))

    def score(at: int) -> None:
        part = paths[at : at + size]
        write_logits(part, network.score(part), Path(job.out, f"{at}.parquet"))

    list(_threads(job.slots).map(score, range(0, len(paths), size)))


@functools.cache
def _threads(slots: int) -> ThreadPoolExecutor:
    """Threads that stay, each with its network."""
    return ThreadPoolExecutor(slots)


class _Scores:
    """A torch dataset whose items are logits: the loader's workers decode and run the network."""

    def __init__(self, job: Job) -> None:
        self.paths, self._network = job.paths(), Network(job.engine, job.precision)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, places: list[int]) -> Any:
        return self._network.score([self.paths[place] for place in places])


def loader(job: Job) -> None:
    """A DataLoader whose workers score."""
    import numpy as np
    from torch.utils.data import DataLoader

    images: Any = _Scores(job)
    batches = DataLoader(
        images, batch_size=HANDED, num_workers=job.slots, collate_fn=lambda logits: logits
    )
    write_logits(images.paths, np.concatenate(list(batches)), Path(job.out, "0.parquet"))


def _daft(job: Job) -> Any:
    os.environ["DAFT_ANALYTICS_ENABLED"] = "0"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    import daft

    _set_daft_runner(job.address)
    return daft


@functools.cache
def _set_daft_runner(address: str | None) -> None:
    """Once: a process that runs Daft twice may not set it again."""
    import daft

    if address is None:
        daft.set_runner_native()
    else:
        _ray(Job("", "", "", address=address))  # with this package on its machines
        daft.set_runner_ray(address)


def daft_paths(job: Job) -> None:
    """Daft, its best design: a table of paths, which a class reads, decodes and scores."""
    daft = _daft(job)

    @daft.cls(max_concurrency=job.slots, use_process=False)
    class Scorer:
        def __init__(self) -> None:
            self.network = Network(job.engine, job.precision)

        @daft.method.batch(  # type: ignore[untyped-decorator]
            return_dtype=daft.DataType.list(daft.DataType.float32()), batch_size=HANDED
        )
        def score(self, paths: Any) -> Any:
            return self.network.score(paths.to_pylist()).tolist()

    table = daft.from_pydict({"uri": job.paths()})
    table.with_column("logits", Scorer().score(daft.col("uri"))).write_parquet(job.out)


def daft_images(job: Job) -> None:
    """Daft's own download, image decoding and resizing."""
    daft = _daft(job)
    import numpy as np

    @daft.cls(max_concurrency=job.slots, use_process=False)
    class Scorer:
        def __init__(self) -> None:
            self.network = Network(job.engine, job.precision)

        @daft.method.batch(  # type: ignore[untyped-decorator]
            return_dtype=daft.DataType.list(daft.DataType.float32()), batch_size=HANDED
        )
        def score(self, images: Any) -> Any:
            pixels = [np.asarray(image).reshape(SIZE, SIZE) for image in images.to_pylist()]
            return self.network.run(pixels).tolist()

    from daft.functions import decode_image, download, resize

    table = daft.from_pydict({"uri": job.paths()})
    images = resize(decode_image(download(daft.col("uri")), mode="L"), SIZE, SIZE)
    table = table.with_column("logits", Scorer().score(images))
    table.write_parquet(job.out)


def _ray(job: Job) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    if not ray.is_initialized():
        # Its workers take the environment of the process that starts them.
        known = filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])
        os.environ["PYTHONPATH"] = os.pathsep.join(known)
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        if job.address is None:
            ray.init(num_cpus=job.slots, include_dashboard=False, **quiet)
        else:
            ray.init(job.address, runtime_env={"py_modules": [str(_ROOT / "benchmarks")]}, **quiet)
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data


def ray_paths(job: Job) -> None:
    """Ray Data, its best design: a data set of paths, which the actors read themselves."""
    data = _ray(job)
    _ray_map(data, data.from_items([{"path": uri} for uri in job.paths()]), job)


def ray_reader(job: Job) -> None:
    """Ray Data's own reader of files."""
    data = _ray(job)
    _ray_map(data, data.read_binary_files(job.paths(), include_paths=True), job)


def _ray_map(data: Any, images: Any, job: Job) -> None:
    images.map_batches(
        Mapper,
        fn_constructor_args=(job.engine, job.precision),
        batch_size=HANDED,
        compute=data.ActorPoolStrategy(size=job.slots),
        # Actors that take all cores would leave none to the tasks that read and write, and
        # nothing would ever run.
        num_cpus=0.5,
    ).write_parquet(job.out)


def datasets_map(job: Job) -> None:
    """Hugging Face datasets: a table of paths, mapped by processes."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_DISABLE_TELEMETRY"] = "1"
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    images = datasets.Dataset.from_dict({"path": job.paths()})
    scored = images.map(
        Mapper(job.engine, job.precision),
        batched=True,
        batch_size=HANDED,
        num_proc=job.slots,
        remove_columns=["path"],
    )
    scored.to_parquet(str(Path(job.out, "0.parquet")))


class Images:
    """A torch dataset of files: Pillow decodes and resizes, float32 of 0 to 255."""

    def __init__(self, paths: Sequence[str], size: int) -> None:
        self.paths, self.size = list(paths), size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Any:
        """One image, uint8 (size, size)."""
        import numpy as np
        import torch
        from PIL import Image

        with Image.open(self.paths[place]) as file:
            small = file.convert("L").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(small).copy())


def torch_defaults(job: Job) -> None:
    """A DataLoader and a network as one would write them: float32, contiguous, its own threads."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from pulmospark.models.bundle.bundle import read_bundle

    assert job.bundle is not None
    network = read_bundle(Path(job.bundle)).network()
    images: Any = Images(job.paths(), SIZE)
    with torch.inference_mode():
        batches = DataLoader(images, batch_size=HANDED, num_workers=job.slots)
        logits = [network(batch).numpy() for batch in batches]
    write_logits(images.paths, np.concatenate(logits), Path(job.out, "0.parquet"))


def predict(job: Job, engine: str = "local") -> None:
    """``pulmospark predict``; its workers stay for the next run.

    Raises:
        RuntimeError: an image is no prediction.
    """
    from pulmospark.config.inference import ScoringSettings
    from pulmospark.inference.batch.predict import predict as scored

    assert job.bundle is not None
    settings: Any = {"precision": job.precision, "allow_phantom_model": True}
    done = scored(
        Path(job.bundle),
        [job.images] if job.only is None else job.paths(),
        Path(job.out),
        _workers(engine, job.slots),
        layout="none",
        settings=ScoringSettings(**settings),
        quiet=True,
    )
    if done.images != len(job.paths()):
        raise RuntimeError(f"{done.images} of {len(job.paths())} images are predictions")


@functools.cache
def _workers(engine: str, slots: int) -> Any:
    if engine == "local":
        from pulmospark.chunks.local import LocalPool

        return LocalPool(slots)
    from pulmospark.spark.session import spark_session

    session = spark_session(f"local[{slots}]")
    atexit.register(session.__exit__, None, None, None)
    return session.__enter__()


@dataclass(frozen=True)
class Peer:
    """A program, what it is called in a table, and the package of the extra ``bench``."""

    title: str
    run: Callable[[Job], None]
    needs: str | None = None


PEERS = {
    "two_threads": Peer("two threads of one process", two_threads),
    "predict": Peer("pulmospark predict", predict),
    "predict_spark": Peer("pulmospark predict, Spark", partial(predict, engine="spark")),
    "loader": Peer("PyTorch DataLoader, its workers score", loader),
    "daft_paths": Peer("Daft, paths read in a class", daft_paths, "daft"),
    "daft_images": Peer("Daft, its own download, decoding and resizing", daft_images, "daft"),
    "ray_paths": Peer("Ray Data, paths read in the actors", ray_paths, "ray"),
    "ray_reader": Peer("Ray Data, its own reader", ray_reader, "ray"),
    "datasets": Peer("Hugging Face datasets map", datasets_map, "datasets"),
    "torch_defaults": Peer("DataLoader, PyTorch fp32, Pillow", torch_defaults),
}


def installed() -> list[str]:
    """Peers that this Python can run."""
    return [name for name, peer in PEERS.items() if not missing(peer)]


def missing(peer: Peer) -> bool:
    """Whether the package that a peer needs is not installed."""
    return peer.needs is not None and importlib.util.find_spec(peer.needs) is None


def native_precision(images: int) -> str:
    """The precision that ``predict`` tries unasked for so many images; all programs run in it.

    bf16 where the processor has instructions for it, and where it saves more than its check costs.
    """
    from pulmospark.core import limits
    from pulmospark.inference.engine.openvino_compile import capabilities

    worth = images >= limits.PARITY_WORTH_IMAGES
    return "bf16" if worth and "BF16" in capabilities() else "fp32"


def rows_of(name: str, job: Job) -> int:
    """Images in the table that a peer has written."""
    import pyarrow.parquet as pq

    out = Path(job.out, "predictions" if name.startswith("predict") else "")
    return sum(pq.read_metadata(path).num_rows for path in out.rglob("*.parquet"))


def main(name: str, job_file: Path, *, warm: bool) -> None:
    """Run one; ``warm``: after a run on a few images. The last line gives its seconds as JSON."""
    job = Job(**json.loads(job_file.read_text(encoding="utf-8")))
    run = PEERS[name].run
    if warm:
        few = replace(job, only=_FEW, out=f"{job.out}.warm-up")
        Path(few.out).mkdir()
        run(few)
    started = time.perf_counter()
    run(job)
    print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), warm="--warm" in sys.argv[3:])
