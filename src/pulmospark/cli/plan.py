"""``pulmospark plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.scoring_settings import PrecisionPolicy
    from pulmospark.scoring.plan import PlanResult
    from pulmospark.scoring.plan_costs import Range

_STEPS = {
    "python": "Python starts",
    "spark": "Spark starts",
    "prepare": "the network is prepared",
    "first": "workers start",
    "list": "files are listed",
    "score": "films are scored",
    "write": "tables are written",
}


@click.command(
    help="""Estimate how long it takes to score many films, and in how much memory.

    Films are scored on this machine for a minute; the estimate says how far it may be off,
    and on what it rests. With --master it is measured there.

    \b
    Examples:
      pulmospark plan --films 1000000 --executors 8 --cores 16 --films-from archive
      pulmospark plan --films 50000 --cores 4 --bundle runs/mine/bundle
      pulmospark plan --films 617775 --executors 1 --cores 2 --model resnet50
    """
)
@click.option("--films", type=click.IntRange(1), required=True, help="Films to score.")
@click.option("--executors", type=click.IntRange(1), default=1, help="Executors; 1 by default.")
@click.option(
    "--cores",
    type=click.IntRange(1),
    required=True,
    help="Cores (tasks at once) of each executor.",
)
@click.option("--bundle", type=common.PATH, help="Folder of the bundle.")
@click.option(
    "--model", help="Network to measure where there is no bundle (see `pulmospark models`)."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "fp16", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Of the network's arithmetic, as predict takes it; unchecked where there is no bundle.",
)
@click.option(
    "--films-from",
    type=common.PATH,
    help="Folder of films to measure on; phantoms by default.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="How long to measure; 60 by default.",
)
@click.option(
    "--work",
    type=common.PATH,
    help="Folder to work in, which all executors see; a temporary one by default.",
)
@common.spark_options
@common.speech_options
def command(
    films: int,
    executors: int,
    cores: int,
    bundle: Path | None,
    model: str | None,
    precision: PrecisionPolicy,
    films_from: Path | None,
    seconds: float | None,
    work: Path | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.core.errors import UsageError
    from pulmospark.scoring.plan import SECONDS, PlanRequest, plan_scoring

    asked = common.pairs(conf, "--conf")
    if bundle is not None and model is not None:
        raise UsageError("--bundle and --model: give one of them")
    request = PlanRequest(
        films=films,
        executors=executors,
        cores=cores,
        bundle=bundle,
        model=model or "mobilenet_v2",
        precision=precision,
        films_from=films_from,
        seconds=seconds or SECONDS,
        work=work,
    )
    result = plan_scoring(request, master=master, conf=asked, quiet=quiet or as_json)
    if as_json:
        common.say_json(result.model_dump(mode="json"))
    else:
        _say(result)


def _say(result: PlanResult) -> None:
    say, basis = common.say, result.basis
    trained = f" in {basis.precision.used}" + ("" if basis.trained else ", untrained")
    say(
        f"{common.count(result.films, 'film')} on {common.count(result.executors, 'executor')} of "
        f"{common.count(result.cores, 'core')}: {_time(result.estimate.total)}"
    )
    speed = result.estimate.films_per_second
    say(f"  {speed.value:,.0f} films/s{_between(speed, '{:,.0f}'.format)}, start-up left out")
    for name, words in _STEPS.items():
        say(f"    {words:<24} {_time(result.estimate.seconds[name])}")
    memory = result.memory
    say("memory, whatever the number of films")
    say(f"    driver                   {_size(memory.driver)}, and its JVM {_size(memory.jvm)}")
    say(f"    each slot's worker       {_size(memory.worker)}")
    if memory.executor_overhead_mib is not None:
        say(f"    --conf spark.executor.memoryOverhead={memory.executor_overhead_mib}m")
    say(
        f"measured for {basis.seconds:.0f} s: {basis.model}{trained}, "
        f"{basis.films_scored:,} films in {basis.rounds} rounds on "
        f"{common.count(basis.slots, 'slot')}; {basis.films}, "
        f"{basis.film_bytes / 1000:,.0f} kB each"
    )
    for note in result.notes:
        say(f"  {note}")


def _time(seconds: Range) -> str:
    return f"{_span(seconds.value)}{_between(seconds, _span)}"


def _between(found: Range, words: object) -> str:
    if found.low is None or found.high is None or not callable(words):
        return ""
    return f" (95 %: {words(found.low)} to {words(found.high)})"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _size(size: int | None) -> str:
    return "not seen from here" if size is None else f"{size / 1024**2:,.0f} MiB"
