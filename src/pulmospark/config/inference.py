"""How images are scored: settings of ``pulmospark predict`` and of everything else that scores."""

from __future__ import annotations

from typing import Literal

from pulmospark.config.base import Settings
from pulmospark.config.ingest import IngestSettings

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""of the network's arithmetic; inputs and outputs have the same types with each"""

PrecisionPolicy = Literal["auto", "fp32", "fp16", "bf16", "int8"]


HeatMapFiles = Literal["png", "array", "both"]
"""pictures, arrays (``.npy``) in the original's coordinates, or both"""


class Allowances(Settings):
    """Images that are scored only on request; each gets a caution."""

    allow_phantom_model: bool = False
    """score images other than phantoms with a model that was trained on phantoms"""
    any_body_part: bool = False
    """score DICOM images whose header names another part of the body than the chest"""

    def reading(self, ingest: IngestSettings) -> IngestSettings:
        """How files are read, given how the model's training images were."""
        if not self.any_body_part:
            return ingest
        return ingest.model_copy(update={"body_parts": "any"})


class AppendSettings(Settings):
    """How a prediction is added to the tables of an earlier one."""

    rescore: bool = False
    """score images again that this model has scored; their rows are added to the earlier ones"""
    partition_by: Literal["date"] | None = None
    """folders of the tables: the date of scoring, UTC, as pipelines that run nightly expect, so
    that a run adds to one folder only; ``None``: as the tables are, new ones without folders"""


class ScoringSettings(Allowances):
    """How a network scores."""

    precision: PrecisionPolicy = "auto"
    """of its arithmetic. ``auto``: the faster of bf16 and fp16 that the processor supports and
    that agrees with float32 on the images being scored, else float32. A specified one must pass
    the same check, and falls back to the next (int8, bf16, fp16, float32)"""
    heat_maps: HeatMapFiles | None = None
    """files that are written of each image's heat map; ``None``: none"""
