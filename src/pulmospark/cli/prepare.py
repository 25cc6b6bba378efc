"""``pulmospark prepare``."""

from __future__ import annotations

import click

from pulmospark.cli import common


@click.command(
    help="""Make Spark start faster on this machine.

    Run it once; it takes less than a minute. A small job on a few phantoms records the classes
    that Spark's JVM needs, and Java stores them in the cache (some 240 MB). Nothing else depends
    on it. If the cache exists for the same Java and Spark, nothing is done.

    \b
    Example:
      pulmospark prepare
    """
)
@click.option("--again", is_flag=True, help="Rebuild an existing cache.")
@common.speech_options
def command(again: bool, as_json: bool, quiet: bool) -> None:
    """Run it."""
    import tempfile
    from pathlib import Path

    from pulmospark.spark.class_archive import class_archive
    from pulmospark.spark.java import find_java

    java = find_java()
    target = class_archive(java)
    is_needed = again or not target.is_file()
    if is_needed:
        from pulmospark.experiment.warm_up import record_classes

        if not (quiet or as_json):
            common.say("running a small job on phantoms ...")
        with tempfile.TemporaryDirectory(prefix="pulmospark-") as folder:
            record_classes(Path(folder), java)
    size = target.stat().st_size
    if as_json:
        common.say_json({"archive": str(target), "bytes": size, "made": is_needed})
    elif not quiet:
        outcome = "created" if is_needed else "already exists"
        common.say(f"{outcome}: {target} ({size / 1e6:.0f} MB)")
