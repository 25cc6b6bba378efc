"""How films are scored: settings of ``pulmospark predict`` and of all else that scores."""

from __future__ import annotations

from typing import Literal

from pulmospark.core.settings import IngestSettings
from pulmospark.core.settings_base import Settings

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""of the network's arithmetic; images and answers are the same types with each"""

PrecisionPolicy = Literal["auto", "fp32", "fp16", "bf16", "int8"]


class Allowances(Settings):
    """Which images are scored on demand that are refused otherwise; each has a caution."""

    allow_phantom_model: bool = False
    """score images that are no phantoms with a model that was trained on phantoms"""
    any_body_part: bool = False
    """score DICOM images whose header names another part of the body than the chest"""

    def reading(self, ingest: IngestSettings) -> IngestSettings:
        """How files are read, from how the model's training images were."""
        if not self.any_body_part:
            return ingest
        return ingest.model_copy(update={"body_parts": "any"})


class ScoringSettings(Allowances):
    """How a network scores."""

    precision: PrecisionPolicy = "auto"
    """of its arithmetic. ``auto``: the fastest of bf16 and fp16 that the processor gains from
    and that answers as float32 does on films that are being scored, else float32. One that is
    named is held to the same check, and gives way to the next (int8, bf16, fp16, float32)"""
