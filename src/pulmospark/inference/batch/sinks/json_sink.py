"""The record of a prediction as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulmospark.core import files
from pulmospark.inference.batch.sinks.base import Output, ResultSink

RECORD = "predict.json"
"""marks a folder as the output of a prediction"""


class JsonSink(ResultSink):
    """Writes ``predict.json``: the counts, the settings and the versions."""

    name = "json"

    def begin(self, output: Output) -> None:
        """Remember the folder."""
        self._folder = output.folder

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record."""
        files.write_json(self._folder / RECORD, record)
