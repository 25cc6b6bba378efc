"""What ``score`` compares: each program reads images from files and writes a Parquet table.

All use the same images and the same network, and each writes ``uri`` and ``logits``. Those that
use the engine open the same files of it, one thread a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import bare
from benchmarks.common import PROCESSES, ROOT
from pulmospark.chunks import write_part
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import schemas
from pulmospark.core.provenance import now_utc
from pulmospark.inference.batch.tasks import FilesWork, Scorer
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.layouts.base import row_of
from pulmospark.layouts.walk import FoundFile
from pulmospark.models.bundle.bundle import read_bundle

BATCH = 32
"""images a batch, of all programs but the engine's own batches"""
PART_IMAGES = 256
"""images of a part that the bare loop writes, as many as a Spark task's"""


@dataclass(frozen=True)
class Job:
    """What a program is to score; values of JSON's kinds, for it runs in a process of its own."""

    images: tuple[str, ...]
    out: str
    """folder of the Parquet files; it is there and empty"""
    engine: dict[str, Any]
    """``EngineSpec`` as values"""
    bundle: str

    @property
    def spec(self) -> EngineSpec:
        """The engine."""
        return EngineSpec.model_validate(self.engine)

    def only(self, count: int, out: Path) -> Job:
        """The first images, for a warm-up."""
        out.mkdir(parents=True, exist_ok=True)
        return Job(**{**asdict(self), "images": self.images[:count], "out": str(out)})


def write_logits(uris: Sequence[str], logits: np.ndarray[Any, Any], path: Path) -> None:
    """A Parquet file with ``uri`` and ``logits``."""
    rows = [row.tolist() for row in logits.astype(np.float64)]
    pq.write_table(pa.table({"uri": list(uris), "logits": rows}), path)


# ---- the limit: two plain processes with our engine --------------------------------------


def score_part(numbered: tuple[int, tuple[str, ...]], spec: EngineSpec, out: str) -> int:
    """Scaled decoding, one resize, the engine, one Parquet file."""
    number, uris = numbered
    engine = open_engine(spec)
    found = []
    for at in range(0, len(uris), BATCH):
        pixels = np.stack([bare.lean_pixels(uri, spec.size) for uri in uris[at : at + BATCH]])
        found.append(engine.run(pixels).logits)
    write_logits(uris, np.concatenate(found), Path(out) / f"{number:06d}.parquet")  # type: ignore[arg-type]
    return len(uris)


def bare_loop(workers: Pool, job: Job) -> int:
    """The bare limit; the pool's processes stay."""
    work = partial(score_part, spec=job.spec, out=job.out)
    return bare.count(workers, work, _parts(job), 1)


def whole_part(numbered: tuple[int, tuple[str, ...]], scorer: Scorer, out: str) -> int:
    """What a task of ``predict`` does with as many images, without Spark."""
    number, uris = numbered
    rows = []
    for uri in uris:
        facts = Path(uri).stat()
        found = FoundFile(uri, (), facts.st_size, facts.st_mtime_ns)
        rows.append(asdict(row_of(found, "benchmark")))
    made = FilesWork(scorer, IngestSettings())(pa.Table.from_pylist(rows, schema=schemas.MANIFEST))
    write_part(made["predictions"], Path(out) / f"{number:06d}.parquet")
    return len(uris)


def whole_loop(workers: Pool, job: Job) -> int:
    """As the bare loop, with all that a row of predictions has: id, checks, view, rejects."""
    work = partial(whole_part, scorer=scorer_of(job), out=job.out)
    return bare.count(workers, work, _parts(job), 1)


def scorer_of(job: Job) -> Scorer:
    """The engine as tasks of ``predict`` have it."""
    bundle = read_bundle(Path(job.bundle))
    return Scorer(job.spec, bundle.config.classes, 1.0, bundle.model_id, now_utc())


def _parts(job: Job) -> list[tuple[int, tuple[str, ...]]]:
    return [
        (number, job.images[at : at + PART_IMAGES])
        for number, at in enumerate(range(0, len(job.images), PART_IMAGES))
    ]


# ---- PyTorch as one would write it -------------------------------------------------------


class ImagesDataset:
    """A torch dataset of files: Pillow decodes and resizes, float32 of 0 to 255."""

    def __init__(self, uris: Sequence[str], size: int) -> None:
        self.uris, self.size = list(uris), size

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, place: int) -> Any:
        """One image, uint8 (size, size)."""
        import torch
        from PIL import Image

        with Image.open(self.uris[place]) as file:
            small = file.convert("L").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(small).copy())


def torch_loop(job: Job, workers: int) -> None:
    """PyTorch's defaults: float32, contiguous, its own threads.

    Args:
        job: what to score.
        workers: processes of the DataLoader; 0: a plain loop.
    """
    import torch
    from torch.utils.data import DataLoader

    from pulmospark.models.bundle.bundle import read_bundle

    network = read_bundle(Path(job.bundle)).network()
    images: Any = ImagesDataset(job.images, job.spec.size)
    found = []
    with torch.inference_mode():
        for batch in DataLoader(images, batch_size=BATCH, num_workers=workers):
            found.append(network(batch).numpy())
    write_logits(job.images, np.concatenate(found), Path(job.out) / "0.parquet")


# ---- other frameworks, with our engine ---------------------------------------------------


class Actor:
    """Ray's actor and the function of a map: batches of paths, or of bytes, to logits."""

    def __init__(self, engine: dict[str, Any]) -> None:
        self.spec = EngineSpec.model_validate(engine)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch with ``path``, and with ``bytes`` where a reader has read them."""
        if "bytes" in batch:
            images = [bare.lean_decoded(data, self.spec.size) for data in batch["bytes"]]
        else:
            images = [bare.lean_pixels(str(path), self.spec.size) for path in batch["path"]]
        logits = open_engine(self.spec).run(np.stack(images)).logits
        assert logits is not None
        return {"uri": batch["path"], "logits": logits}


def _ray_data() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    if not ray.is_initialized():
        # Its workers take the environment of the process that starts them.
        ways = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, ways))
        ray.init(
            num_cpus=PROCESSES,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
        )
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data


def ray_paths(job: Job) -> None:
    """Ray Data's best design: a data set of paths, which the actors read themselves."""
    data = _ray_data()
    images = data.from_items([{"path": uri} for uri in job.images])
    _ray_map(images, job)


def ray_reader(job: Job) -> None:
    """Ray Data's own reader of files."""
    data = _ray_data()
    images = data.read_binary_files(list(job.images), include_paths=True)
    _ray_map(images, job)


def _ray_map(images: Any, job: Job) -> None:
    import ray.data

    images.map_batches(
        Actor,
        fn_constructor_args=(job.engine,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=PROCESSES),
        # Two actors that take all cores would leave none to the tasks that read and write, and
        # nothing would ever run.
        num_cpus=0.5,
    ).write_parquet(job.out)


def datasets_map(job: Job) -> None:
    """Hugging Face datasets: a table of paths, mapped by two processes."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_DISABLE_TELEMETRY"] = "1"
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    images = datasets.Dataset.from_dict({"path": list(job.images)})
    scored = images.map(
        Actor(job.engine),
        batched=True,
        batch_size=BATCH,
        num_proc=PROCESSES,
        remove_columns=["path"],
    )
    scored.to_parquet(str(Path(job.out) / "0.parquet"))


PROGRAMS: dict[str, Callable[[Job], None]] = {
    "plain": partial(torch_loop, workers=0),
    "loader": partial(torch_loop, workers=PROCESSES),
    "ray_reader": ray_reader,
    "ray_paths": ray_paths,
    "datasets": datasets_map,
}
"""those that run in a fresh process of their own"""
NEEDS = {"ray_reader": "ray", "ray_paths": "ray", "datasets": "datasets"}
"""packages of the extra ``bench``"""


def timed_run(name: str, job: Job) -> float:
    """Seconds of a program after a run on a few images, in which all is imported and started."""
    program = PROGRAMS[name]
    program(job.only(2 * BATCH, Path(job.out) / "warm-up"))
    started = time.perf_counter()
    program(job)
    return time.perf_counter() - started
