"""``pulmospark serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

import pulmospark
from pulmospark.cli import common

if TYPE_CHECKING:
    from pulmospark.core.store_uri import StoreUri


@click.command(
    help=f"""Serve a bundle: a page and a REST interface.

    Open the printed address in a browser, or send images to /api/v1/predict. Ctrl-C or SIGTERM
    stop it after the requests in progress are answered.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Examples:
      pulmospark serve runs/mine/bundle
      curl -F files=@image.png http://127.0.0.1:8000/api/v1/predict
    """
)
@click.argument("bundle", type=common.PLACE)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
    help="Port to listen on; 0: any free one.",
)  # fmt: skip
@click.option(
    "--token-file", type=common.PATH, help="File with a line NAME:TOKEN for each client."
)
@click.option(
    "--admin-token-file", type=common.PATH,
    help="The same, for those who may exchange the model.",
)  # fmt: skip
@click.option("--tls-cert", type=common.PATH, help="Certificate chain, PEM.")
@click.option("--tls-key", type=common.PATH, help="Key of the certificate, PEM.")
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME",
    help="Further name of this service, such as a proxy's. May be repeated.",
)  # fmt: skip
@click.option("--runs", type=common.PATH, help="Folder of runs to browse on the page.")
@click.option(
    "--inputs", multiple=True, type=common.PATH,
    help="Folder whose images batch jobs may score. May be repeated.",
)  # fmt: skip
@click.option(
    "--bundles", type=common.PATH, help="Folder of bundles that may replace the served one."
)
@click.option(
    "--state", type=common.PATH,
    help="Folder of ledger, stored images and jobs; default: ./pulmospark-serve.",
)  # fmt: skip
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE",
    help="Change another setting, e.g. stored_bytes=1000000000. May be repeated.",
)  # fmt: skip
@click.option(
    "--any-body-part", is_flag=True,
    help="Also score DICOM images whose header names another part of the body than the chest.",
)  # fmt: skip
@click.option(
    "--allow-phantom-model", is_flag=True,
    help="Let a model trained on phantoms score other images.",
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def command(
    bundle: Path | StoreUri, changes: tuple[str, ...], quiet: bool, **options: object
) -> None:
    """Run it."""
    from pulmospark.config.parse import parse
    from pulmospark.config.serve import ServeSettings
    from pulmospark.core.errors import PlatformError
    from pulmospark.core.extras import how_to_install
    from pulmospark.models.bundle.bundle import bundle_folder

    given = {name: value for name, value in options.items() if value not in (None, ())}
    values = {"state": Path("pulmospark-serve"), **given, **dict(common.pairs(changes, "--set"))}
    settings = parse(ServeSettings, values, where="serve")
    if not settings.is_local and settings.tls_cert is None:
        common.warn(
            f"{settings.host} without TLS: tokens and images travel in the clear; give --tls-cert "
            "and --tls-key, or let a proxy encrypt"
        )
    try:
        from pulmospark.serve.server import serve
    except ImportError as error:
        raise PlatformError(
            f"{error.name} is not installed, which the service needs: {how_to_install('serve')}"
        ) from error
    os.umask(0o077)  # what the service writes is for its user alone
    serve(bundle_folder(bundle), settings, (lambda _: None) if quiet else common.say_progress)
