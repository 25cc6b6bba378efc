"""Images in a store that waits 20 ms: reading them, and predicting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import obstore
import psutil
from obstore.store import S3Store

from benchmarks.common import (
    Options,
    Report,
    data_folder,
    finish,
    goal,
    python,
    say,
    scratch,
    take_turns,
)
from benchmarks.pictures import pictures, write_images
from benchmarks.score import benchmark_bundle
from pulmospark.core import limits
from pulmospark.store import store
from pulmospark.store.prefetch import read_many
from pulmospark.store.uri import StoreUri

IMAGES = 2000
DELAY_MS = 20
BUCKET = "hospital"
OF_LOCAL = OF_PLAIN = 0.9


def measure(options: Options) -> Report:
    """All parts in turn."""
    small = options.small
    count = 60 if small else (options.score_images or (IMAGES,))[0]
    rounds = options.repeats or (1 if small else 3)
    with scratch(options) as folder:
        made_of = pictures(data_folder(options), count=4 if small else 200)
        images = [str(path) for path in write_images(folder / "images", count, made_of)]
        with slow_server(DELAY_MS) as endpoint:
            _upload(endpoint, images)
            reading = take_turns(
                {
                    "plain obstore, 16 requests": lambda: _plain(endpoint, images),
                    "pulmospark, one process": lambda: _ours(images),
                },
                rounds,
            )
            bundle = benchmark_bundle(folder / "bundle", options.models[0])
            predicting = _predicting(folder, bundle, images, rounds)
    return _report(count, reading, predicting)


@contextlib.contextmanager
def slow_server(delay_ms: float) -> Iterator[str]:
    """An S3 server in a process of its own, to which the environment leads; its address."""
    command = [sys.executable, "-m", "benchmarks.s3_server", str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "of-a-benchmark",
        "AWS_SECRET_ACCESS_KEY": "of-a-benchmark",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }
    store._opened.cache_clear()  # of a server before this one
    try:
        yield endpoint
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _store(endpoint: str) -> S3Store:
    return S3Store(BUCKET, endpoint=endpoint, client_options={"allow_http": True})


def _key(path: str) -> str:
    return f"in/{Path(path).name}"


def _upload(endpoint: str, images: Sequence[str]) -> None:
    store = _store(endpoint)

    async def run() -> None:
        limit = asyncio.Semaphore(32)

        async def one(path: str) -> None:
            async with limit:
                await obstore.put_async(store, _key(path), Path(path).read_bytes())

        await asyncio.gather(*map(one, images))

    asyncio.run(run())


def _plain(endpoint: str, images: Sequence[str]) -> float:
    """What a program without us would do: obstore's own asynchronous reads."""
    store = _store(endpoint)

    async def run() -> int:
        limit = asyncio.Semaphore(limits.STORE_REQUESTS)

        async def one(path: str) -> int:
            async with limit:
                return len(await (await obstore.get_async(store, _key(path))).bytes_async())

        return sum(await asyncio.gather(*map(one, images)))

    started = time.perf_counter()
    asyncio.run(run())
    return time.perf_counter() - started


def _ours(images: Sequence[str]) -> float:
    uris = [(StoreUri("s3", BUCKET, _key(path)), Path(path).stat().st_size) for path in images]
    started = time.perf_counter()
    for content in read_many(uris):
        assert isinstance(content, bytes)
    return time.perf_counter() - started


def _predicting(
    folder: Path, bundle: Path, images: Sequence[str], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of whole commands: from and to the store, and all on this disk."""
    found: dict[str, dict[str, list[float]]] = {}
    target = f"s3://{BUCKET}/out"
    programs = {
        "local disk": (str(Path(images[0]).parents[1]), str(folder / "out")),
        "store at 20 ms": (f"s3://{BUCKET}/in", target),
    }
    for turn in range(rounds + 1):
        for name, (source, out) in programs.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            before, served = psutil.Process().cpu_times(), _server_seconds()
            seconds, _ = finish(
                python("-m", "pulmospark", "predict", str(bundle), source, "--out", out, "-q")
            )
            after = psutil.Process().cpu_times()
            cpu = (after.children_user + after.children_system) - (
                before.children_user + before.children_system
            )
            if turn:  # the first converts the network, and checks its precision
                taken = found.setdefault(name, {"wall": [], "cpu": [], "server": []})
                taken["wall"].append(seconds)
                taken["cpu"].append(cpu)
                taken["server"].append(_server_seconds() - served)
                say(f"  {name}: " + ", ".join(f"{key} {taken[key][-1]:.2f} s" for key in taken))
    return found


def _server_seconds() -> float:
    """Processor time of the test server, which shares these cores."""
    times = [child.cpu_times() for child in psutil.Process().children()]
    return sum(each.user + each.system for each in times)


def _report(
    count: int,
    reading: dict[str, list[float]],
    predicting: dict[str, dict[str, list[float]]],
) -> Report:
    plain, ours = (sorted(seconds)[len(seconds) // 2] for seconds in reading.values())
    medians = [
        {key: statistics.median(seconds) for key, seconds in taken.items()}
        for taken in predicting.values()
    ]
    local, stored = (taken["wall"] for taken in medians)
    cpu = [f"{taken['cpu']:.2f} s, the test server's {taken['server']:.2f}" for taken in medians]
    rows = [
        ("reading: plain obstore, 16 requests", f"{count / plain:.0f} images/s", ""),
        ("reading: pulmospark", f"{count / ours:.0f} images/s", f"{plain / ours:.2f}"),
        ("predict, local disk", f"{local:.2f} s", ""),
        ("predict, store at 20 ms", f"{stored:.2f} s", f"{local / stored:.2f}"),
        ("CPU of predict, local disk", cpu[0], ""),
        (
            "CPU of predict, store at 20 ms",
            cpu[1],
            f"{medians[0]['cpu'] / medians[1]['cpu']:.2f}",
        ),
    ]
    return Report(
        name="store",
        title=f"{count:,} images in a store whose first byte takes {DELAY_MS} ms",
        head=["what", "measured", "ratio"],
        rows=rows,
        notes=[
            goal(f"reading >= {OF_PLAIN} of plain obstore", plain / ours >= OF_PLAIN),
            goal(f"predict >= {OF_LOCAL} of local disk", local / stored >= OF_LOCAL),
        ],
        figures={
            "reading": reading,
            "predicting": predicting,
        },
    )
