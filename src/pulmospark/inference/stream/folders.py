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
        UsageError: ``target`` holds something else, another stream writes to it, or the
            folders lie in each other.
        InputError: ``inbox`` is no folder that this machine sees.
    """
    folder, out = absolute(local_path(inbox)), absolute(check_local(target))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name the one that images land in")
    if out == folder or out in folder.parents or folder in out.parents:
        raise UsageError(f"--out {out}: lies in the inbox, or the inbox in it: keep them apart")
    check_folder(out)
    check_free(out)
    return folder, out
