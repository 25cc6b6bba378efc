"""Install pulmospark into the virtual environment that runs this: see the Makefile.

    .venv/bin/python .ci/install.py                    what pulmospark needs without Spark
    .venv/bin/python .ci/install.py local dev bench    with these extras
    .venv/bin/python .ci/install.py --dry-run          only say what would be downloaded

uv does it where it can be had, else pip. Both take the versions of constraints.txt, pip's settings
(its files, its variables, PIP_FLAGS), and the build of PyTorch without CUDA where no NVIDIA GPU is
seen. uv first writes what it chose for this platform, with hashes, to pylock.toml in the
environment; the megabytes are the sum over that file.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

UV = "uv>=0.9,<1"
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
_REACH_S_MAX = 3
_ROOT = Path(__file__).parents[1]
_ENVIRONMENT = Path(sys.prefix)
_SHARED = {
    "index-url": "--index-url",
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "no-index": "--no-index",
}
"""settings of pip that uv knows as options"""


def main(arguments: Sequence[str]) -> int:
    """Install, and return the exit status."""
    extras = [word for word in arguments if not word.startswith("-")]
    flags = shlex.split(os.environ.get("PIP_FLAGS", "")) + torch_flags()
    uv = find_uv()
    if uv is not None and with_uv(uv, extras, flags, dry_run="--dry-run" in arguments):
        return 0
    if "--dry-run" in arguments:
        print("uv is not to be had here: pip says the sizes while it downloads")
        return 0
    say(f"installing with pip into {_ENVIRONMENT} (a few minutes the first time) ...")
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *flags]
    command = [*pip, "--constraint", "constraints.txt", "--editable", target(extras)]
    return subprocess.run(command, cwd=_ROOT, check=False).returncode


def with_uv(uv: str, extras: Sequence[str], flags: Sequence[str], *, dry_run: bool) -> bool:
    """Install with uv; false: it could not, and pip is to say why or to manage."""
    settings = [*pip_settings(), *flags, "--index-strategy", "unsafe-best-match"]
    common = ["--python", sys.executable, "--constraint", "constraints.txt", *settings]
    lock = _ENVIRONMENT / "pylock.toml"
    names = [word for extra in extras for word in ("--extra", extra)]
    say("choosing packages ...")
    resolve = [uv, "pip", "compile", "pyproject.toml", *names, *common, "--quiet"]
    if run([*resolve, "--format", "pylock.toml", "--output-file", str(lock)]):
        return False
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    megabytes = sum(map(package_bytes, packages)) / 1e6
    say(
        f"{len(packages)} packages, {megabytes:,.0f} MB to download where they are not yet in "
        "uv's cache"
    )
    if dry_run:
        return True
    return run([uv, "pip", "install", *common, "--editable", target(extras)]) == 0


def target(extras: Sequence[str]) -> str:
    """The project with its extras, as pip and uv name it."""
    return f".[{','.join(extras)}]" if extras else "."


def find_uv() -> str | None:
    """uv of this environment or the PATH; else it is installed from its wheel, if possible."""
    own = Path(sys.executable).with_name("uv")
    if own.is_file():
        return str(own)
    if found := shutil.which("uv"):
        return found
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    flags = shlex.split(os.environ.get("PIP_FLAGS", ""))
    say("getting uv, the installer (18 MB; pip takes its place if it cannot be had) ...")
    run([*pip, *flags, UV])
    return str(own) if own.is_file() else None


def torch_flags() -> list[str]:
    """PyTorch's index of builds without CUDA, gigabytes smaller, where they suffice."""
    if sys.platform != "linux" or has_gpu() or not reachable(CPU_TORCH):
        return []
    return ["--extra-index-url", CPU_TORCH]


def has_gpu() -> bool:
    """Whether an NVIDIA GPU is to be seen on this machine."""
    places = (Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version"))
    return any(place.exists() for place in places) or shutil.which("nvidia-smi") is not None


def reachable(url: str) -> bool:
    """Whether a host answers soon; where none does, a mirror in pip's settings may serve."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=_REACH_S_MAX).close()
    except OSError:
        return False
    return True


def pip_settings() -> Iterator[str]:
    """pip's indexes, from its files and variables, as options of uv."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in answer.splitlines():
        key, equals, value = line.partition("=")
        option = _SHARED.get(key.rpartition(".")[2].lower())
        if not equals or option is None:
            continue
        for word in value.strip("'\"").replace("\\n", " ").split():
            yield option
            if option != "--no-index":
                yield word


def package_bytes(package: dict[str, object]) -> int:
    """Size of the file that is taken of a package in a pylock file; 0: its index does not say."""
    files = package.get("wheels") or [package.get("sdist") or package.get("archive") or {}]
    file = files[0] if isinstance(files, list) else {}
    if size := file.get("size"):
        return int(size)
    url = urllib.parse.urlsplit(str(file.get("url") or file.get("path") or ""))
    path = Path(urllib.parse.unquote(url.path))
    return path.stat().st_size if url.scheme in {"", "file"} and path.is_file() else 0


def run(command: Sequence[str]) -> int:
    """Run a program in the repository; its exit status."""
    environment = dict(os.environ)
    if certificates := os.environ.get("PIP_CERT"):
        environment.setdefault("SSL_CERT_FILE", certificates)
    return subprocess.run(command, cwd=_ROOT, env=environment, check=False).returncode


def say(text: str) -> None:
    """A line of progress, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
