"""What `make` installs, and for which target: the demo comes without the developers' tools."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / ".ci" / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PIP_FLAGS", "--extra-index-url https://example.org/simple")
    return module


def _would_run(target: str, folder: Path) -> str:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            shutil.copy2(ROOT / name, folder)
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_demo_installs_what_a_user_needs_and_the_tests_the_rest(tmp_path: Path) -> None:
    demo = _would_run("demo", tmp_path)
    assert "install.py local\n" in demo
    assert "install.py local dev\n" in _would_run("lint", tmp_path)
    assert "install.py local dev bench\n" in _would_run("bench", tmp_path)


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    _would_run("demo", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    for mark, target in ((".ready-demo", "demo"), (".ready", "lint")):
        (tmp_path / ".venv" / mark).touch()
        assert "install.py" not in _would_run(target, tmp_path)
    os.utime(tmp_path / "constraints.txt", (2**32, 2**32))
    assert "install.py" in _would_run("demo", tmp_path)


def test_pip_s_settings_are_uv_s_options(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n"
        "    https://b.example\n    https://c.example\nfind-links = /wheels\nretries = 3\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    words = list(install.pip_settings())
    for option, value in (
        ("--index-url", "https://a.example/simple"),
        ("--extra-index-url", "https://b.example"),
        ("--extra-index-url", "https://c.example"),
        ("--find-links", "/wheels"),
    ):
        assert any(words[n : n + 2] == [option, value] for n in range(len(words)))
    assert "--retries" not in words


def test_without_uv_pip_installs_with_the_same_flags(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = []

    def record(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(install, "find_uv", lambda: None)
    monkeypatch.setattr(install, "reachable", lambda _: True)
    monkeypatch.setattr(install, "has_gpu", lambda: False)
    monkeypatch.setattr(install.subprocess, "run", record)
    assert install.main(["dev"]) == 0
    ((python, *words),) = commands
    assert python == sys.executable
    assert words[:3] == ["-m", "pip", "install"]
    assert words[-1] == ".[dev]"
    assert "https://example.org/simple" in words
    assert install.CPU_TORCH in words
    assert "pip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("platform", "gpu", "reachable", "cpu_build"),
    [
        ("linux", False, True, True),
        ("linux", True, True, False),
        ("linux", False, False, False),
        ("darwin", False, True, False),
    ],
)
def test_pytorch_comes_without_cuda_where_no_gpu_is_seen(
    install: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    gpu: bool,
    reachable: bool,
    cpu_build: bool,
) -> None:
    monkeypatch.setattr(install.sys, "platform", platform)
    monkeypatch.setattr(install, "has_gpu", lambda: gpu)
    monkeypatch.setattr(install, "reachable", lambda _: reachable)
    assert (install.CPU_TORCH in install.torch_flags()) is cpu_build


def test_sizes_are_the_index_s_or_the_file_s(install: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "a b.whl"
    wheel.write_bytes(bytes(7))
    assert install.package_bytes({"wheels": [{"url": "https://x/y.whl", "size": 5}]}) == 5
    assert install.package_bytes({"wheels": [{"url": wheel.as_uri()}]}) == 7
    assert install.package_bytes({"sdist": {"url": "https://x/y.tar.gz", "size": 9}}) == 9
    assert install.package_bytes({"wheels": [{"url": "https://x/y.whl"}]}) == 0
    assert install.package_bytes({"directory": {"path": "."}}) == 0
