"""Checks that images tables suit a bundle, before any work."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.core.errors import InputError
from pulmospark.inference.batch.inputs import Inputs, crop_told, ct_window_told
from pulmospark.models.bundle.config import BundleConfig


def check_phantoms(inputs: Inputs) -> None:
    """Refuse images tables with rows other than phantoms, for a model trained on phantoms."""
    import pyarrow.compute as pc  # noqa: PLC0415 - only images tables need it

    for part in inputs.images:
        known = "phantom" in pq.read_schema(part).names
        rows = chunks.read_part(part, ["phantom"])["phantom"] if known else None
        if rows is None or not pc.all(pc.fill_null(rows, False)).as_py():
            raise InputError(
                f"{part}: holds images that are not phantoms, but the model was trained on "
                "phantoms: name another bundle, or give --allow-phantom-model"
            )


def check_tables(inputs: Inputs, config: BundleConfig) -> None:
    """Refuse images tables whose images were prepared with other settings than the bundle's."""
    for table, fit in inputs.fits.items():
        if fit != config.fit:
            raise InputError(
                f"{table}: its images were resized with fit={fit!r}, but the model expects "
                f"{config.fit!r}: ingest with --set ingest.fit={config.fit}, or give "
                "the files themselves"
            )
        if (crop := crop_told(Path(table))) != config.crop:
            raise InputError(
                f"{table}: its images were cropped with {crop!r}, but the model expects "
                f"{config.crop!r}: ingest with --set ingest.crop={config.crop}, or give "
                "the files themselves"
            )
        window = ct_window_told(Path(table))
        if window not in {None, config.ct_window}:
            raise InputError(
                f"{table}: its CT slices were windowed with {window!r}, but the model expects "
                f"{config.ct_window!r}: ingest with --set ingest.ct_window={config.ct_window}, "
                "or give the files themselves"
            )
    for table, equalise in inputs.equalised.items():
        if equalise != config.equalise:
            were, expected = (
                "equalised" if flag else "not equalised" for flag in (equalise, config.equalise)
            )
            raise InputError(
                f"{table}: its images were {were}, but the model expects images that were "
                f"{expected}: ingest with --set ingest.equalise="
                f"{str(config.equalise).lower()}, or give the files themselves"
            )
