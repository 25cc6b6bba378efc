"""Images in a store that waits 20 ms: reading, predicting, committing, and readers of a table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import obstore
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
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
from pulmospark.chunks.parts import publish_table
from pulmospark.core import files, limits
from pulmospark.core.delta_log import write_log
from pulmospark.store.prefetch import read_many
from pulmospark.store.uri import StoreUri

IMAGES = 2000
DELAY_MS = 20
BUCKET = "hospital"
OF_LOCAL = OF_PLAIN = 0.9
PARTS = ((10, 0.2), (1_000, 0.3), (100_000, 10.0))
"""numbers of parts of a table, and the seconds in which it is to be committed"""
REPLACED = 1_000


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
        commits = {
            parts: _commit(folder / f"table-{parts}", parts)
            for parts, _ in (PARTS[:2] if small else PARTS)
        }
        readers = _readers(folder / "replaced", 20 if small else REPLACED)
    return _report(count, reading, predicting, commits, readers)


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
    try:
        yield endpoint
    finally:
        process.kill()
        process.wait()


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
        "local disk": (str(Path(images[0]).parent), str(folder / "out")),
        "store at 20 ms": (f"s3://{BUCKET}/in", target),
    }
    for turn in range(rounds + 1):
        for name, (source, out) in programs.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            before = psutil.Process().cpu_times()
            seconds, _ = finish(
                python("-m", "pulmospark", "predict", str(bundle), source, "--out", out, "-q")
            )
            after = psutil.Process().cpu_times()
            cpu = (after.children_user + after.children_system) - (
                before.children_user + before.children_system
            )
            if turn:  # the first converts the network, and checks its precision
                found.setdefault(name, {"wall": [], "cpu": []})
                found[name]["wall"].append(seconds)
                found[name]["cpu"].append(cpu)
                say(f"  {name}: {seconds:.2f} s, {cpu:.2f} s of CPU")
    return found


def _commit(folder: Path, count: int) -> float:
    """Seconds in which a table of so many parts is put together and gets its log."""
    schema = pa.schema([pa.field("uri", pa.string())])
    parts = folder / "parts"
    parts.mkdir(parents=True)
    pq.write_table(pa.table({"uri": ["x"]}, schema=schema), parts / "0.parquet")
    content = (parts / "0.parquet").read_bytes()
    paths = [parts / f"{number}.parquet" for number in range(count)]
    for path in paths[1:]:
        path.write_bytes(content)
    started = time.perf_counter()
    with files.whole_folder(folder / "table") as aside:
        publish_table(paths, aside / "rows", schema)
    seconds = time.perf_counter() - started
    say(f"  commit of {count:,} parts: {seconds:.2f} s")
    shutil.rmtree(folder)
    return seconds


def _readers(folder: Path, times: int) -> dict[str, Any]:
    """Readers of a table that is replaced: how many saw half of it, or both."""
    import deltalake
    import deltalake.exceptions
    import pandas

    folder.mkdir(parents=True)
    schema = pa.schema([pa.field("n", pa.int64())])
    stop = threading.Event()
    seen: dict[str, int] = {}
    wrong: dict[str, int] = {}
    gone: dict[str, int] = {}

    def write(number: int) -> None:
        with files.whole_folder(folder / "table") as aside:
            for part in range(4):
                table = pa.table({"n": [number] * 25}, schema=schema)
                # Named by their content, as all parts of ours are.
                pq.write_table(table, aside / f"{part}-{number}.parquet")
            write_log(aside, schema)

    def follow(name: str, read: Any) -> None:
        while not stop.is_set():
            try:
                numbers = read(str(folder / "table"))
            except (FileNotFoundError, deltalake.exceptions.TableNotFoundError):
                gone[name] = gone.get(name, 0) + 1  # listed before the replacement, read after
                continue
            except Exception as error:
                if (
                    "not found" not in str(error).lower()
                    and "no such file" not in str(error).lower()
                ):
                    raise
                gone[name] = gone.get(name, 0) + 1
                continue
            seen[name] = seen.get(name, 0) + 1
            if len(numbers) != 100 or len(set(numbers)) != 1:
                wrong[name] = wrong.get(name, 0) + 1

    readers = {
        "pyarrow": lambda path: pq.read_table(path)["n"].to_pylist(),
        "pandas": lambda path: pandas.read_parquet(path)["n"].tolist(),
        "deltalake": lambda path: pa.table(deltalake.DeltaTable(path).to_pyarrow_table())[
            "n"
        ].to_pylist(),
    }
    write(0)
    threads = [
        threading.Thread(target=follow, args=(name, read)) for name, read in readers.items()
    ]
    for thread in threads:
        thread.start()
    for number in range(1, times + 1):
        write(number)
    stop.set()
    for thread in threads:
        thread.join()
    say(f"  {times:,} replacements: read {seen}, wrong {wrong or 'never'}, a file was gone {gone}")
    return {"times": times, "read": seen, "wrong": wrong, "gone": gone}


def _report(
    count: int,
    reading: dict[str, list[float]],
    predicting: dict[str, dict[str, list[float]]],
    commits: dict[int, float],
    readers: dict[str, Any],
) -> Report:
    plain, ours = (sorted(seconds)[len(seconds) // 2] for seconds in reading.values())
    local, stored = (sorted(told["wall"])[len(told["wall"]) // 2] for told in predicting.values())
    rows = [
        ("reading: plain obstore, 16 requests", f"{count / plain:.0f} images/s", ""),
        ("reading: pulmospark", f"{count / ours:.0f} images/s", f"{plain / ours:.2f}"),
        ("predict, local disk", f"{local:.2f} s", ""),
        ("predict, store at 20 ms", f"{stored:.2f} s", f"{local / stored:.2f}"),
        *((f"commit of {n:,} parts", f"{seconds:.2f} s", "") for n, seconds in commits.items()),
        (
            f"reads while replaced {readers['times']:,} times",
            f"{sum(readers['read'].values()):,}",
            f"{sum(readers['wrong'].values())} wrong",
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
            *(
                goal(f"commit of {n:,} parts <= {most} s", commits[n] <= most)
                for n, most in PARTS
                if n in commits
            ),
            goal("readers never see half a table or both", not sum(readers["wrong"].values())),
        ],
        figures={
            "reading": reading,
            "predicting": predicting,
            "commits": {str(n): seconds for n, seconds in commits.items()},
            "readers": readers,
        },
    )
