"""Outputs of commands that may lie in a store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from pulmospark.cli.common import SHOWN
from pulmospark.core.store_uri import StoreUri


@contextlib.contextmanager
def written_to(out: Path | StoreUri, mark: str | None) -> Iterator[Path]:
    """Where a command writes on this machine; what it wrote is published if ``out`` is in a store.

    Args:
        out: as given.
        mark: file in the output folder that is written last, and by which an earlier output is
            known, which may be replaced; ``None``: the output is one file.

    Raises:
        InputError: something else is at the address.
        PlatformError: the store ignores conditional writes, or refuses to be written to.
        SourceUnavailableError: the store fails.
    """
    if isinstance(out, Path):
        yield out
        return
    from pulmospark.chunks.shared_store import WORK
    from pulmospark.store.folders import check_target, plain_name
    from pulmospark.store.publish import publish_folder
    from pulmospark.store.store import open_store

    if mark is not None:
        check_target(out, mark, WORK)
    with tempfile.TemporaryDirectory(prefix="pulmospark-") as scratch:
        folder = Path(scratch) / (plain_name(out.name) or "output")
        address = str(out).rstrip("/")
        click.get_current_context().meta[SHOWN] = lambda text: text.replace(str(folder), address)
        yield folder
        if mark is None:
            open_store(out).put_file(out.key, folder)
        else:
            publish_folder(folder, out, last=mark)
