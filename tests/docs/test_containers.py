"""The container files are well-formed, and speak of what is there; nothing is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "containers"
OURS = ("master", "worker-1", "worker-2", "driver", "serve")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return told


def test_all_of_spark_share_image_folder_and_network(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*OURS, "store", "copy"}
    for name in OURS:
        assert services[name]["image"] == "pulmospark"
        assert services[name]["volumes"] == ["data:/data"]
        assert services[name]["networks"] == ["cluster"]
    assert services["copy"]["volumes"] == ["data:/data"]
    for name in ("worker-1", "worker-2"):
        assert services[name]["command"][-1] == "spark://master:7077"


def test_nothing_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_named_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        if build := service.get("build"):
            context = (FOLDER / build["context"]).resolve()
            assert context == ROOT
            assert (context / build["dockerfile"]).is_file()
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+)", text))
    example = (FOLDER / "env.example").read_text(encoding="utf-8")
    assert wanted == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_what_the_image_copies_is_let_through() -> None:
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    let = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert "src" in copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in let
