"""The servers that benchmarks kill predictions against, and the names of files that they list."""

from __future__ import annotations

import os
from pathlib import Path

import deltalake
import psutil
import pyarrow as pa
import pytest
from benchmarks.object_server import BUCKET, SERVERS, bucket_of

from benchmarks import driver_memory_child


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_reached_and_outlives_groups_of_processes(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "restored at the end")
    before = set(psutil.Process().children())
    with bucket_of(server) as bucket:
        bucket.put("in/a.png", b"a")
        bucket.put("in/b.png", b"b")
        bucket.put("out/c.png", b"c")
        assert sorted(bucket.keys("in")) == ["in/a.png", "in/b.png"]
        bucket.delete("in/a.png")
        assert sorted(bucket.keys("")) == ["in/b.png", "out/c.png"]
        (process,) = set(psutil.Process().children()) - before
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
        # Commits need conditional writes.
        options = {"AWS_ENDPOINT_URL": bucket.endpoint, "AWS_ALLOW_HTTP": "true"}
        for rows in ([1], [2, 3]):
            deltalake.write_deltalake(
                f"s3://{BUCKET}/table",
                pa.table({"n": rows}),
                mode="append",
                storage_options=options,
            )
        table = deltalake.DeltaTable(f"s3://{BUCKET}/table", storage_options=options)
        assert sorted(pa.table(table.to_pyarrow_table())["n"].to_pylist()) == [1, 2, 3]
    assert not process.is_running()


def test_names_of_empty_files_are_many_and_files_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_memory_child, "_NAMES", 10)
    paths = list(driver_memory_child.write_tree(tmp_path, 35))
    assert len(set(paths)) == 35
    assert {path.parent.parent.name for path in paths} == {"A", "B"}
    assert all(path.stat().st_size == 0 for path in paths)
    assert len({path.stat().st_ino for path in paths}) == 4
