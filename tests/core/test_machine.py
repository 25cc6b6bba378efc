"""What this machine has."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from pulmospark.core import machine
from pulmospark.spark.session import local_settings


def test_the_loopback_is_one_of_this_machine_s_interfaces() -> None:
    assert machine.loopback() in psutil.net_if_addrs()


@pytest.mark.parametrize(("system", "name"), [("linux", "lo"), ("darwin", "lo0")])
def test_gloo_is_told_the_loopback_by_the_system_s_own_name(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert local_settings()["spark.executorEnv.GLOO_SOCKET_IFNAME"] == name


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("0::/", "memory.max"),
        ("0::/outside/pod-7", "memory.max"),  # as a container may see itself
        ("0::/jobs/a", "jobs/memory.max"),  # the limit of the group around it
        ("0::/jobs/a", "jobs/a/memory.max"),
        ("4:memory:/jobs/a", "memory/jobs/a/memory.limit_in_bytes"),
        ("4:cpu,memory:/", "memory/memory.limit_in_bytes"),
    ],
)
def test_memory_is_that_of_the_control_groups(tmp_path: Path, group: str, file: str) -> None:
    hierarchy = tmp_path / "sys/fs/cgroup"
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"9:pids:/\n{group}\n")
    limit = hierarchy / file
    limit.parent.mkdir(parents=True)
    if "memory.max" in file:
        (hierarchy / "memory.max").write_text("max\n")
    limit.write_text("300000000\n")
    assert machine.memory_bytes(tmp_path) == 300_000_000


def test_memory_without_control_groups_is_the_machines(tmp_path: Path) -> None:
    assert machine.memory_bytes(tmp_path) == psutil.virtual_memory().total
