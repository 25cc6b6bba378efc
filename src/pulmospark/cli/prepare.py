"""``pulmospark prepare``."""

from __future__ import annotations

import click

from pulmospark.cli import common


@click.command(
    help="""Make Spark start faster on this machine.

    Once, in less than a minute: a small job on a few phantoms shows which classes Spark's JVM
    needs, and Java keeps them ready in the cache (some 240 MB). Nothing else depends on it.
    Where it was done before, for the same Java and Spark, nothing is done.

    \b
    Example:
      pulmospark prepare
    """
)
@click.option("--again", is_flag=True, help="Do it even where it was done before.")
@common.speech_options
def command(again: bool, as_json: bool, quiet: bool) -> None:
    """Run it."""
    import tempfile
    from pathlib import Path

    from pulmospark.spark.class_archive import class_archive
    from pulmospark.spark.java import find_java

    java = find_java()
    target = class_archive(java)
    made = again or not target.is_file()
    if made:
        from pulmospark.experiment.warm_up import record_classes

        if not (quiet or as_json):
            common.say("running a small job on phantoms ...")
        with tempfile.TemporaryDirectory(prefix="pulmospark-") as folder:
            record_classes(Path(folder), java)
    size = target.stat().st_size
    if as_json:
        common.say_json({"archive": str(target), "bytes": size, "made": made})
    elif not quiet:
        common.say(f"{'kept' if made else 'already there'}: {target} ({size / 1e6:.0f} MB)")
