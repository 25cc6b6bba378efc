"""The folders of a stream, checked without Spark and without torch."""

from __future__ import annotations

from pathlib import Path

from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locations import check_local, local_path
from pulmospark.inference.stream.store import check_folder, check_free
from pulmospark.layouts.walk import absolute


def check_places(inbox: str, target: Path) -> tuple[Path, Path]:
    """The inbox and the output of a stream, absolute.

    Args:
        inbox: folder that images land in.
        target: folder of the output.

    Raises:
        UsageError: ``target`` is not a stream's output, another stream writes to it, or one
            folder contains the other.
        InputError: ``inbox`` is not a folder on this machine.
    """
    folder, out = absolute(local_path(inbox)), absolute(check_local(target))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name the one that images land in")
    if out == folder or out in folder.parents or folder in out.parents:
        raise UsageError(
            f"--out {out}: one of output and inbox contains the other: use separate folders"
        )
    check_folder(out)
    check_free(out)
    return folder, out
