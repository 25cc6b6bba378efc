"""A trial for the tests of others, in a module that workers can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pulmospark.inference.precision.trial import TrialWork


@dataclass(frozen=True)
class KillingTrial(TrialWork):
    """A trial whose worker ends at one image, as one whose decoder crashes."""

    deadly: str = ""

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """As a trial, or never."""
        if self.deadly in chunk["uri"].to_pylist():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(chunk)
