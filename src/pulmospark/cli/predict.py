"""``pulmospark predict``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

import pulmospark
from pulmospark.cli import common, printing
from pulmospark.cli.child_process import CommandLine, can_continue_in_child, continue_in_child
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.safe_text import percent

if TYPE_CHECKING:
    from pulmospark.config.inference import AppendSettings, HeatMapFiles, PrecisionPolicy
    from pulmospark.inference.batch.predict import PredictPlan
    from pulmospark.inference.batch.result import Prediction, PredictResult
    from pulmospark.layouts.base import NotesSummary
    from pulmospark.spark.engine_choice import EngineName
    from pulmospark.store.uri import StoreUri

_PRELOAD = (
    "pulmospark.inference.batch.tasks",
    "pulmospark.imaging.image",
    "pulmospark.inference.engine.open_engine",
    "pulmospark.inference.engine.openvino_import:import_openvino",
)
"""what a worker needs to score images"""


@click.command(
    help=f"""Score images with a bundle.

    PATH is a file, a folder (all image files in it and below), a quoted pattern
    ("images/**/*.png"), a CSV, TSV or Parquet file with a column of paths, or an images table
    that `pulmospark ingest` wrote. The prediction of a single image is printed; more images need
    --out, where the predictions and rejects tables are written, also as CSV. A folder with the
    layout of a public data set is read as by ingest: masks are ignored, and the
    metadata in its sheets is used.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Examples:
      pulmospark predict runs/mine/bundle image.png
      pulmospark predict runs/mine/bundle inbox "more/**/*.jpg" --out predictions
      pulmospark predict runs/mine/bundle archive --out predictions --dry-run
      pulmospark predict runs/mine/bundle image.png --out predictions --heatmaps
      pulmospark predict runs/mine/bundle archive --out predictions --append
      pulmospark predict s3://hospital/bundle s3://hospital/images --out s3://hospital/out
    """
)
@click.argument("bundle", type=common.PLACE)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=common.IMAGES)
@click.option("--out", type=common.PLACE, help="Output folder, or its address in a store.")
@click.option(
    "--layout",
    type=common.LAYOUT,
    help="Layout of the folders (see `pulmospark layouts`); default: detected. "
    "none: every image file in them.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.0, 1.0),
    help="Threshold of the operating point; default: the bundle's.",
)
@click.option(
    "--salt",
    "salt_path",
    type=common.PATH,
    help="File with the secret key for hashing patient ids of DICOM headers, e.g. a run's "
    "salt.key. Without it patient ids are dropped.",
)
@click.option(
    "--append",
    is_flag=True,
    help="Add to the tables of --out what they lack, as their next version, instead of replacing "
    "the output: files that this model has scored are not read again.",
)
@click.option("--rescore", is_flag=True, help="With --append: score all images again.")
@click.option(
    "--partition-by",
    type=click.Choice(["date"]),
    help="With --append: one folder per date of scoring (UTC) in new tables.",
)
@common.scoring_options
@common.heat_maps_option
@click.option(
    "--dry-run", is_flag=True, help="Only list what would be scored, and with which network."
)
@common.engine_option
@common.spark_options
@common.speech_options
@click.pass_obj
def command(
    command_line: CommandLine | None,
    bundle: Path | StoreUri,
    paths: tuple[str, ...],
    out: Path | StoreUri | None,
    layout: str | None,
    threshold: float | None,
    salt_path: Path | None,
    append: bool,
    rescore: bool,
    partition_by: Literal["date"] | None,
    precision: PrecisionPolicy,
    allow_phantom_model: bool,
    any_body_part: bool,
    heat_maps: HeatMapFiles | None,
    dry_run: bool,
    engine: EngineName,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    quiet = quiet or as_json
    add = _append_settings(append=append, rescore=rescore, partition_by=partition_by)
    with contextlib.ExitStack() as stack:
        workers, alone = None, not (out or dry_run or engine == "spark" or master or conf)
        if alone := alone and _is_one_file(paths) and can_continue_in_child(command_line):
            continue_in_child(paths[0])
        if not dry_run:  # first: local workers import what they need while the plan is made
            choice = common.engine_choice(
                engine, master, conf, preload=_PRELOAD, quiet=quiet, alone=alone
            )
            workers = stack.enter_context(choice)

        from pulmospark.config.inference import ScoringSettings
        from pulmospark.inference.batch.predict import plan_predict

        plan = plan_predict(
            bundle,
            paths,
            out,
            layout=layout,
            threshold=threshold,
            salt_path=salt_path,
            settings=ScoringSettings(
                precision=precision,
                allow_phantom_model=allow_phantom_model,
                any_body_part=any_body_part,
                heat_maps=heat_maps,
            ),
            append=add,
            target_needed=not dry_run,
        )
        if dry_run:
            _say_dry_run(plan, quiet=quiet, as_json=as_json)
            return
        result = plan.run(workers, quiet=quiet or plan.inputs.is_one_image)
    common.say_result(result, lambda: _say(result), as_json=as_json)
    _check_scored(result)


def _append_settings(
    *, append: bool, rescore: bool, partition_by: Literal["date"] | None
) -> AppendSettings | None:
    from pulmospark.config.inference import AppendSettings

    if append:
        return AppendSettings(rescore=rescore, partition_by=partition_by)
    if rescore or partition_by:
        raise UsageError("--rescore and --partition-by: need --append")
    return None


def _check_scored(result: PredictResult) -> None:
    if result.files and not result.images:
        reasons = ", ".join(f"{n:,} {name}" for name, n in result.rejects_by_reason.items())
        raise InputError(
            f"no image was scored ({reasons}): {result.address or result.folder}/rejects.csv has "
            "the reasons"
        )


def _is_one_file(paths: tuple[str, ...]) -> bool:
    return len(paths) == 1 and Path(paths[0]).is_file()


def _say_dry_run(planned: PredictPlan, *, quiet: bool, as_json: bool) -> None:
    from pulmospark.inference.batch.dry_run import dry_run

    plan = dry_run(planned, quiet=quiet)
    if as_json:
        common.say_json(plan.model_dump(mode="json"))
        return
    rows = f" and {common.count(plan.rows, 'row')} of images tables" if plan.rows else ""
    rejects = f" ({common.count(plan.problems, 'reject')} found while listing)"
    common.say(
        f"to score: {common.count(plan.files, 'file')}{rejects if plan.problems else ''}{rows}, "
        f"in {common.count(plan.chunks, 'chunk')} or more"
    )
    _say_listing(plan.notes, plan.layout)
    if plan.already:
        common.say(f"already scored by an interrupted run: {plan.already:,}")
    side = plan.input_size
    common.say(f"network: {plan.model}, {side} x {side} pixels, classes {', '.join(plan.classes)}")
    if not plan.precision_checked:
        common.say("precision: fp32")
    elif plan.precision == "auto":
        common.say("precision: the lowest that a check on the images allows")
    else:
        common.say(f"precision: {plan.precision}, if a check on the images allows it")
    if (place := plan.address or plan.folder) is not None:
        replaced = " (replaces the prediction there)" if plan.replaces else ""
        common.say(f"output: {place}{replaced}")
    common.say("dry run: no image was read")


def _say_listing(notes: NotesSummary, layout: str | None) -> None:
    if odd := printing.oddities(notes):
        common.say(f"found in the listing: {odd}")
    for text in printing.listing_notes(notes):
        common.say(text)
    if layout is not None:
        common.say(f"read as a data set with the layout {layout}")


def _say(result: PredictResult) -> None:
    if result.image is not None:
        _say_image(result.image)
        if result.fence is None:
            common.say(f"  distance from the training images: {result.distances}")
    elif result.images:
        _say_many(result)
    _say_listing(result.notes, result.layout)
    if result.images:
        common.say(pulmospark.NOT_A_MEDICAL_DEVICE)
    if result.version is not None:
        _say_appended(result)
    if (place := result.address or result.folder) is not None:
        common.say(f"predictions: {place}")
        if result.heat_maps:
            common.say(f"heat maps: {place}/heat_maps")


def _say_appended(result: PredictResult) -> None:
    if result.already:
        common.say(f"scored before: {common.count(result.already, 'file')}, not read again")
    if result.repeats:
        common.say(
            f"of images scored before under another name: {result.repeats:,}; table repeats"
        )
    common.say(f"predictions table: version {result.version}")


def _say_image(image: Prediction) -> None:
    ranked = sorted(image.probabilities.items(), key=lambda pair: -pair[1])
    others = ", ".join(
        f"{name} {percent(chance)}" for name, chance in ranked if name != image.prediction
    )
    common.say(image.uri)
    common.say(
        f"  most probable: {image.prediction}, {percent(image.probabilities[image.prediction])}"
    )
    common.say(f"  the others: {others}")
    for decision in image.decisions:
        side, word = ("at or above", "positive") if decision.positive else ("below", "negative")
        common.say(
            f"  operating point for {decision.positive_class}: {word} "
            f"({percent(image.probabilities[decision.positive_class])}, {side} its threshold of "
            f"{percent(decision.threshold)})"
        )
    if image.hottest_tenth is not None:
        common.say(f"  heat map: hottest tenth: {image.hottest_tenth}")
        share = image.outside_lungs
        common.say(
            "  heat outside the lungs: " + ("not assessable" if share is None else percent(share))
        )
    for caution in image.cautions:
        common.say(f"  caution: {caution}")


def _say_many(result: PredictResult) -> None:
    from pulmospark.inference.batch.cautions import sentence

    reasons = ", ".join(f"{n:,} {name}" for name, n in result.rejects_by_reason.items())
    common.say(
        f"{common.count(result.files, 'file')}: {common.count(result.images, 'image')} scored, "
        f"{common.count(result.rejects, 'reject')}{f' ({reasons})' if reasons else ''}"
    )
    common.say(f"  {result.precision.line()}")
    for name, number in result.predictions.items():
        common.say(f"  most probable {name}: {common.count(number, 'image')}")
    for point in result.decision_points:
        number = result.positive[point.positive_class]
        common.say(
            f"  operating point for {point.positive_class}, threshold "
            f"{percent(point.threshold)}: {common.count(number, 'image')} positive"
        )
    if result.fence is None:
        common.say(f"  distance from the training images: {result.distances}")
    for caution, images in result.cautions.items():
        common.warn(f"{common.count(images, 'image')}: {sentence(caution)}; see column cautions")
