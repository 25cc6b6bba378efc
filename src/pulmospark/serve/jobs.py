"""Batch jobs: one at a time, each in a process of its own, resumed after a kill."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulmospark.core import files, limits, serve_limits
from pulmospark.core.errors import PulmosparkError
from pulmospark.core.provenance import now_utc
from pulmospark.core.python_path import SAFE_PATH
from pulmospark.core.safe_text import one_line
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.job_input import input_below
from pulmospark.serve.job_process import JobOrder
from pulmospark.serve.job_progress import JobProgress
from pulmospark.serve.job_results import enter_results
from pulmospark.serve.responses import JobRequest
from pulmospark.serve.service import Service

_TRANSIENT = 4
"""exit code of ``PlatformError``: the machine's, so that another try may succeed"""


@dataclass(eq=False)
class _Running:
    """The job in progress."""

    job_id: str
    process: subprocess.Popen[bytes] | None = None
    is_cancelled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Jobs:
    """The batch jobs of a service, and the thread that runs them.

    Args:
        service: whose ledger keeps them, and whose model they use.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._roots = [path.resolve() for path in service.settings.inputs]
        self._folder = service.settings.state / "jobs"
        self._changed = threading.Condition()
        self._is_closed = False
        self._running: _Running | None = None
        self._progress = JobProgress()
        service.on_open.append(self._wake)
        self._thread = threading.Thread(target=self._run_all, name="jobs", daemon=True)
        self._thread.start()

    def add(self, request: JobRequest) -> dict[str, Any]:
        """Add a job; a ``responses.JobAnswer`` as JSON.

        Raises:
            ServiceError: its input is not below an allowed folder, or too many jobs wait.
        """
        input_below(self._roots, request.input)
        body = {
            "id": secrets.token_hex(16),
            "name": one_line(request.name, serve_limits.SERVE_NAME_CHARS_MAX),
            "input": request.input,
            "created_at": now_utc().isoformat(timespec="seconds"),
            "finished_at": None,
            "error": None,
            "result": None,
        }

        def insert(connection: sqlite3.Connection) -> None:
            (waiting,) = connection.execute(
                "SELECT COUNT(*) FROM jobs WHERE status IN ('waiting', 'running')"
            ).fetchone()
            if waiting >= serve_limits.SERVE_JOBS_WAITING_MAX:
                raise ServiceError(
                    429, f"{waiting} jobs are waiting: try again later", retry_after_s=60
                )
            connection.execute(
                "INSERT INTO jobs (id, status, body) VALUES (?, 'waiting', ?)",
                (body["id"], json.dumps(body)),
            )

        self._service.ledger.write(insert).result()
        self._wake()
        return self.one(str(body["id"]))

    def all(self) -> list[dict[str, Any]]:
        """All jobs, the latest first."""
        rows = self._service.ledger.read().execute(
            "SELECT id, status, body FROM jobs ORDER BY seq DESC LIMIT ?",
            (serve_limits.SERVE_PAGE_RESULTS_MAX,),
        )
        return [self._described(row) for row in rows.fetchall()]

    def one(self, job_id: str) -> dict[str, Any]:
        """One job.

        Raises:
            ServiceError: 404, there is none.
        """
        row = self._service.ledger.read().execute(
            "SELECT id, status, body FROM jobs WHERE id = ?", (job_id,)
        )
        if (state := row.fetchone()) is None:
            raise ServiceError(404, "no such job")
        return self._described(state)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job that waits or runs; what it has scored so far is removed."""
        self.one(job_id)
        self._set(job_id, "cancelled")
        running = self._running
        if running is not None and running.job_id == job_id:
            with running.lock:
                running.is_cancelled = True
                if running.process is not None:
                    running.process.kill()
        return self.one(job_id)

    def close(self) -> None:
        """End the job in progress, which the next service resumes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        running = self._running
        if running is not None:
            with running.lock:
                if running.process is not None:
                    running.process.kill()
        self._thread.join()

    def _described(self, row: sqlite3.Row) -> dict[str, Any]:
        body = json.loads(row["body"])
        folder = self._folder / row["id"]
        done, total = self._progress.of(folder, is_done=row["status"] == "done")
        if body["result"] is not None:
            done = body["result"]["images"] + body["result"]["rejects"]
            total = body["result"]["files"]
        return {**body, "status": row["status"], "done": done, "total": total}

    def _run_all(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (job := self._next()) is None:
                    self._changed.wait()
                if self._is_closed:
                    return
                assert job is not None
            try:
                self._run(*job)
            except PulmosparkError as error:
                self._set(job[0], "failed", error=error.message)
            except Exception as error:  # noqa: BLE001 - the other jobs are to run
                self._set(job[0], "failed", error=f"{type(error).__name__}: {error}")

    def _next(self) -> tuple[str, str] | None:
        """Id and input of the job that waits longest, if there is a model to score with."""
        if not self._service.is_ready:
            return None
        row = self._service.ledger.read().execute(
            "SELECT id, json_extract(body, '$.input') FROM jobs "
            "WHERE status IN ('waiting', 'running') ORDER BY seq LIMIT 1"
        )
        job = row.fetchone()
        return None if job is None else (job[0], job[1])

    def _wake(self) -> None:
        """Look for jobs again."""
        with self._changed:
            self._changed.notify()

    def _run(self, job_id: str, wanted: str) -> None:
        place = input_below(self._roots, wanted)
        folder = self._folder / job_id
        with files.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        running = self._running = _Running(job_id)
        if not self._set(job_id, "running"):  # it was cancelled meanwhile
            self._running = None
            _remove(folder)
            return
        try:
            if not (folder / "output" / "predict.json").is_file():
                self._until_done(running, place, folder)
            if self._is_closed:
                return
            if running.is_cancelled:
                _remove(folder)
                return
            result = files.read_json(folder / "output" / "predict.json")["result"]
            enter_results(self._service, job_id, folder / "output")
            self._set(job_id, "done", only_if=("running",), result=result)
        finally:
            self._running = None

    def _until_done(self, running: _Running, place: Path, folder: Path) -> None:
        """Run processes until one has ended well: an image may end one, or the machine."""
        model = self._service.model
        order = JobOrder(
            bundle=model.folder,
            input=place,
            output=folder / "output",
            engines=self._service.settings.state / "engines",
            allow_phantom_model=self._service.settings.allow_phantom_model,
            any_body_part=self._service.settings.any_body_part,
        )
        tries, before = 0, -1
        while True:
            code, error = _run_process(running, order)
            if code == 0 or running.is_cancelled or self._is_closed:
                return
            if error is not None and code != _TRANSIENT:
                raise PulmosparkError(error)
            done, _ = self._progress.of(folder, is_done=False)
            tries = tries + 1 if done <= before else 1
            before = done
            if tries >= serve_limits.SERVE_JOB_RESTARTS_MAX:
                reason = error or f"its process ended {tries} times without an error message"
                raise PulmosparkError(reason)

    def _set(
        self,
        job_id: str,
        status: str,
        *,
        only_if: Sequence[str] = ("waiting", "running"),
        **values: Any,
    ) -> bool:
        """Change a job, if it has one of these states; whether it had."""
        if status in {"done", "failed", "cancelled"}:
            values["finished_at"] = now_utc().isoformat(timespec="seconds")
        marks = ", ".join("?" for _ in only_if)

        def update(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                f"UPDATE jobs SET status = ?, body = json_patch(body, ?) "
                f"WHERE id = ? AND status IN ({marks})",
                (status, json.dumps(values), job_id, *only_if),
            )
            return cursor.rowcount > 0

        return self._service.ledger.write(update).result()


def _remove(folder: Path) -> None:
    """Remove a job's folder; its workers may still be at their last chunk."""
    aside = folder.with_name(f".{folder.name}")
    with suppress(OSError):
        # They write by the former path, and so nothing comes back.
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _run_process(running: _Running, order: JobOrder) -> tuple[int, str | None]:
    """Run the job's process to its end; its exit code, and its error."""
    with running.lock:
        if running.is_cancelled:
            return 1, None
        process = running.process = subprocess.Popen(
            [sys.executable, "-m", "pulmospark.serve.job_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, SAFE_PATH: "1", "OMP_NUM_THREADS": "1"},
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # it has ended already
        process.stdin.write(order.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    output = process.stdout.read(limits.CONFIG_FILE_BYTES_MAX)
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            pipe.close()
    with suppress(ValueError):
        return code, str(json.loads(output)["error"])
    return code, None
