"""What this machine has."""

from __future__ import annotations

import sys

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
