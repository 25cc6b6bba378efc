"""A service that is killed again and again while uploads and a batch job run."""

from __future__ import annotations

import http.client
import json
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import Options, Report, goal, say, scratch
from benchmarks.serve_process import Served, ask, radiographs
from benchmarks.stream_process import untrained_bundle
from pulmospark.serve.job_process import JobOrder, run

_SEED = 20207
_LIFE_S = (0.2, 2.5)
_CLIENTS = 3
_LAST_S = 240.0


def measure(options: Options) -> Report:
    """Kill it at random moments; then let it end its job, and look at ledger and results."""
    kills, images = (1, 20) if options.small else (min(options.kills, 50), 1500)
    with scratch(options) as work:
        bundle = untrained_bundle(work / "bundle", "squeezenet1_1")
        folder = work / "inputs" / "images"
        folder.mkdir(parents=True)
        made_of = radiographs(20, 256)
        for number in range(images):
            # What follows an image's end makes each file another, and changes no pixel.
            content = made_of[number % len(made_of)] + number.to_bytes(4, "big")
            (folder / f"{number:05d}.jpg").write_bytes(content)
        clients = _Clients(made_of)
        job = _killed(bundle, work, clients, kills)
        figures = _looked_at(work, bundle, folder, clients, job)
    figures["kills"] = kills
    goals = [
        goal("each answered request is in the ledger once", figures["not_once"] == 0),
        goal("the job's result is that of a run without kills", figures["different"] == 0),
    ]
    head = ("kills", "answered requests", "not in the ledger once", "rows of the job", "differing")
    names = ("kills", "answered", "not_once", "rows", "different")
    rows = [[f"{figures[name]:,}" for name in names]]
    return Report("serve_kills", "a service that is killed", head, rows, goals, figures)


class _Clients:
    """Threads that send images, each with a key, until it is answered."""

    def __init__(self, files: list[bytes]) -> None:
        self._files = files
        self._stop = threading.Event()
        self.port = 0
        self.answered: list[tuple[str, str]] = []
        """key and id of the result"""
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(_CLIENTS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each request in progress end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            key = f"{client}-{number}"
            content = self._files[number % len(self._files)]
            while (result := self._tried(key, content)) is None:
                if self._stop.is_set():
                    return
                time.sleep(0.02)
            self.answered.append((key, result))
            number += 1

    def _tried(self, key: str, content: bytes) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Idempotency-Key": key}
            status, answer = ask(connection, content, headers=headers, query="?store=false")
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return str(answer["results"][0]["id"]) if status == 200 else None


def _killed(bundle: Path, work: Path, clients: _Clients, kills: int) -> str:
    """Kill the service so often, then wait until the job is done; the job's id."""
    chance = random.Random(_SEED)
    job = ""
    clients_started = False
    try:
        for number in range(kills + 1):
            service = Served(
                bundle, work / "state", work / "log", "--inputs", str(work / "inputs")
            )
            clients.port = service.port
            if not clients_started:
                clients.start()
                clients_started = True
            if not job:
                body = json.dumps({"input": "images"})
                job = str(_json(service, "POST", "/api/v1/jobs", body)["id"])
            if number == kills:
                break
            time.sleep(chance.uniform(*_LIFE_S))
            service.kill()
            if number % 10 == 9:
                say(f"  {number + 1} kills, {len(clients.answered)} answered requests")
        until = time.monotonic() + _LAST_S
        while (state := _json(service, "GET", f"/api/v1/jobs/{job}"))["status"] != "done":
            if state["status"] == "failed" or time.monotonic() > until:
                raise RuntimeError(f"the job did not end well: {state}")
            time.sleep(0.2)
    finally:
        clients.stop()
    service.stop()
    return job


def _json(service: Served, method: str, path: str, body: str | None = None) -> Any:
    connection = service.connection()
    connection.request(method, path, body, {"Content-Type": "application/json"})
    value = json.loads(connection.getresponse().read())
    connection.close()
    return value


def _looked_at(
    work: Path, bundle: Path, folder: Path, clients: _Clients, job: str
) -> dict[str, Any]:
    with sqlite3.connect(work / "state" / "ledger.sqlite") as ledger:
        lines = ledger.execute("SELECT results FROM requests WHERE key NOT LIKE 'job:%'")
        times = Counter(result for (ids,) in lines for result in json.loads(ids))
        listed = ledger.execute(
            "SELECT COUNT(*) FROM results WHERE source = ?", (f"job:{job}",)
        ).fetchone()[0]
    not_once = sum(times[result] != 1 for _, result in clients.answered)
    # A key is answered with one result, however often it was sent.
    not_once += len(clients.answered) - len({result for _, result in clients.answered})
    order = JobOrder(
        bundle=bundle, input=folder, output=work / "plain", engines=work / "engines",
        allow_phantom_model=False, any_body_part=False,
    )  # fmt: skip
    run(order)
    tables = [_rows(place) for place in (work / "state" / "jobs" / job / "output", work / "plain")]
    different = sum(tables[0].get(uri) != row for uri, row in tables[1].items())
    different += len(tables[0].keys() - tables[1].keys()) + abs(listed - len(tables[1]))
    return {
        "answered": len(clients.answered),
        "not_once": not_once,
        "rows": len(tables[1]),
        "different": different,
    }


def _rows(output: Path) -> dict[str, Any]:
    table = pq.read_table(output / "predictions").drop_columns(["predicted_at"])
    return {row["uri"]: row for row in table.to_pylist()}
