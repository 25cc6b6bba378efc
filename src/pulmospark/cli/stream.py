"""``pulmospark stream``."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

import pulmospark
from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.config.inference import HeatMapFiles, PrecisionPolicy
    from pulmospark.config.stream import StreamSettings
    from pulmospark.core.store_uri import StoreUri
    from pulmospark.inference.stream.service import StreamResult

_RETRYING = "local[*,4]"  # a task whose worker was killed is tried again; plain local[*] is not


@click.command(
    help=f"""Score images as they land in a folder or a store.

    INBOX and its subfolders are watched. Each image that lands there becomes a row of
    DIR/predictions, exactly once, even if processes are killed: on a disk within about a second,
    in a store once it is listed or notified. A file that is not a valid image becomes a row of
    DIR/rejects, an image sent again a row of DIR/repeats. Ctrl-C or SIGTERM stop it after the
    work in progress is finished. Rerun the command to resume. BUNDLE, INBOX and DIR may be
    addresses in a store (s3://bucket/folder).

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Examples:
      pulmospark stream runs/mine/bundle inbox --out scored
      pulmospark stream runs/mine/bundle inbox --out scored --once
      pulmospark stream runs/mine/bundle s3://hospital/inbox --out s3://hospital/scored
    """
)
@click.argument("bundle", type=common.PLACE)
@click.argument("inbox", type=common.IMAGES)
@click.option(
    "--out", metavar="DIR", required=True, type=common.PLACE,
    help="Output folder, or its address in a store.",
)  # fmt: skip
@click.option(
    "--notifications",
    metavar="URL",
    help="SQS queue with the events of an INBOX in S3; default: it is listed every rescan_s "
    "seconds.",
)
@click.option("--once", is_flag=True, help="Process what is in INBOX now, then stop.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the stream, e.g. batch_images=64. May be repeated.",
)
@click.option(
    "--sample",
    type=common.PATH,
    help="Folder of images for the precision check; default: those in INBOX at the start.",
)
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Serve Prometheus metrics on this port."
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve Prometheus metrics on.",
)
@common.scoring_options
@common.heat_maps_option
@common.spark_options
@common.speech_options
def command(
    bundle: Path | StoreUri,
    inbox: str,
    out: Path | StoreUri,
    notifications: str | None,
    once: bool,
    changes: tuple[str, ...],
    precision: PrecisionPolicy,
    sample: Path | None,
    metrics_port: int | None,
    metrics_host: str,
    allow_phantom_model: bool,
    any_body_part: bool,
    heat_maps: HeatMapFiles | None,
    master: str | None,
    conf: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run it."""
    from pulmospark.core.errors import BundleError
    from pulmospark.inference.stream.folders import check_places
    from pulmospark.inference.stream.metrics import StreamMetrics
    from pulmospark.spark.background_start import started_early
    from pulmospark.spark.session import spark_session

    _check_master(master)
    spark_conf = common.pairs(conf, "--conf")
    settings = _settings(
        changes,
        allow_phantom_model=allow_phantom_model,
        any_body_part=any_body_part,
        heat_maps=heat_maps,
    )
    check_places(inbox, out, notifications)
    if isinstance(bundle, Path) and not bundle.expanduser().is_dir():
        raise BundleError(f"{bundle}: no such folder: name the folder of a bundle")
    metrics, stop = StreamMetrics(), threading.Event()
    if metrics_port is not None:
        port = metrics.serve(metrics_port, metrics_host)
        common.say_progress(f"stream: metrics on http://{metrics_host}:{port}/metrics")
    # While Spark starts the bundle is read and its network prepared. Its start sets no handler of
    # its own, for it is not in the main thread.
    with (
        _stopping_on_signals(stop),
        started_early(spark_session(master or _RETRYING, spark_conf)) as session,
    ):
        from pulmospark.inference.stream.plan import plan_stream
        from pulmospark.inference.stream.service import run_stream

        plan = plan_stream(
            bundle, inbox, out, settings,
            precision=precision, sample=sample, notifications=notifications,
        )  # fmt: skip
        result = run_stream(
            plan,
            session,
            once=once,
            stop=stop,
            metrics=metrics,
            report=None if quiet or as_json else common.say_progress,
        )
    common.say_result(result, lambda: _say(result), as_json=as_json)


def _check_master(master: str | None) -> None:
    from pulmospark.core.errors import UsageError

    if (master or os.environ.get("SPARK_REMOTE", "")).startswith("sc://"):
        raise UsageError(
            "a stream does not run on Spark Connect, whose batches never reach this process: name "
            "another --master, or submit it to the cluster"
        )


def _settings(changes: tuple[str, ...], **options: object) -> StreamSettings:
    from pulmospark.config.parse import parse
    from pulmospark.config.stream import StreamSettings

    given = {name: str(value).lower() for name, value in options.items() if value}
    return parse(StreamSettings, {**dict(common.pairs(changes, "--set")), **given}, where="--set")


@contextlib.contextmanager
def _stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C end what runs in good order; a second Ctrl-C ends it at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _say(result: StreamResult) -> None:
    common.say(
        f"{common.count(result.images, 'image')} scored, "
        f"{common.count(result.rejects, 'reject')}, "
        f"{common.count(result.repeats, 'repeat')} in {result.seconds:.0f} s"
    )
    if result.latency_median_s is not None:
        common.say(
            f"from landing to row: median {result.latency_median_s:.2f} s, 99th percentile "
            f"{result.latency_p99_s:.2f} s"
        )
    common.say(result.precision.line())
    common.say(pulmospark.NOT_A_MEDICAL_DEVICE)
    common.say(f"predictions: {result.address or result.folder}/predictions")
