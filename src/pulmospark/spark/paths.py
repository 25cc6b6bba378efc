"""Paths for Spark."""

from __future__ import annotations

from pathlib import Path

_VOLUMES = "/Volumes/"
_DBFS = "/dbfs/"
"""where Databricks shows its storage to Python as files; the JVM gets at it by other names"""


def spark_path(path: Path) -> str:
    """A path of a mounted file system, whatever Spark's default file system is.

    A bare path is looked for on HDFS where that is the default, as on YARN.
    """
    text = str(path.absolute())
    if text.startswith(_VOLUMES):
        return text
    if text.startswith(_DBFS):
        return "dbfs:/" + text.removeprefix(_DBFS)
    # Spark decodes no percent signs, so that Path.as_uri() would name another folder.
    return f"file://{text}"
