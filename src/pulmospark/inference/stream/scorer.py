"""The scorer of a stream, in a precision that is checked once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

import pulmospark
from pulmospark.config.inference import PrecisionPolicy, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import files, limits, machine
from pulmospark.core.errors import PulmosparkError
from pulmospark.core.hashing import value_id
from pulmospark.inference.batch.scorer import checks_of, prepare_scorer, scorer_of
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.engine.available import has_gpu, library_version
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.precision.sample import SCHEMA
from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.stored import objects_below
from pulmospark.layouts.walk import FoundFile, walk
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.store.uri import StoreUri

FILE = "engine.json"


@dataclass(frozen=True)
class FolderSample:
    """Images below a folder, evenly spaced over the first few thousand.

    Attributes:
        folder: absolute path, or an address in a store.
        settings: of the bundle's standard image.
        count: maximum number of images.
    """

    folder: Path | StoreUri
    settings: IngestSettings
    count: int = limits.PARITY_IMAGES

    @cached_property
    def _files(self) -> Sequence[FoundFile]:
        listed = (
            objects_below(self.folder, ListingNotes())
            if isinstance(self.folder, StoreUri)
            else walk(self.folder, ListingNotes())
        )
        readable = [
            file for file in islice(listed, limits.STREAM_SAMPLE_FILES) if not file.problem
        ]
        places = np.linspace(0, max(len(readable) - 1, 0), min(self.count, len(readable)))
        return [readable[place] for place in np.unique(places.round()).astype(int).tolist()]

    @property
    def content_id(self) -> str:
        """Hash of the files' names, sizes and times; reads none."""
        facts = [[file.uri, file.size_bytes, file.modified_ns] for file in self._files]
        return value_id([self.settings.model_dump(), facts])

    def rows(self) -> pa.Table:
        """See :class:`pulmospark.inference.precision.sample.Sample`."""
        files = [{"uri": file.uri, "size_bytes": file.size_bytes} for file in self._files]
        return pa.Table.from_pylist(files, schema=SCHEMA)


def stream_scorer(
    bundle: Bundle, inner: Path, precision: PrecisionPolicy, sample: FolderSample
) -> tuple[Scorer, PrecisionOutcome]:
    """Prepare a bundle's network for a stream.

    The decision made on a sample is kept in ``inner``, so that all rows of an output come from the
    same engine as long as processor, versions and requested precision stay the same.

    Args:
        bundle: the model.
        inner: the output's folder for everything other than tables.
        precision: of the network's arithmetic.
        sample: images that a lower precision is checked on; with fewer than
            ``limits.PARITY_IMAGES_MIN`` float32 is used, and the next start tries again.

    Returns:
        What workers score with, and how the precision was chosen.

    Raises:
        BundleError: the bundle's tensors have changed.
        InputError: the sample's folder cannot be listed.
        PlatformError: no space, no right to write there, or ``int8`` without NNCF.
    """
    config = bundle.config
    versions = [pulmospark.__version__, library_version("openvino"), machine.processor_id()]
    key = value_id([bundle.model_id, precision, has_gpu(), *versions])
    if (kept := _kept(inner / FILE, key)) is not None:
        engine, outcome = kept
        checks = checks_of(bundle, inner / "engines", engine.width)
        return scorer_of(bundle, engine, checks), outcome
    points = [
        DecisionPoint(
            positive_class=point.positive_class,
            threshold=point.threshold,
            sensitivity_target=point.sensitivity_target,
        )
        for point in config.operating_points
    ]
    scorer, outcome = prepare_scorer(
        bundle,
        inner / "engines",
        ScoringSettings(precision=precision),
        points,
        sample,
        images=limits.PARITY_WORTH_IMAGES,  # a stream is endless: the check pays off
    )
    if not outcome.reason:  # final: the next start need not decide again
        records = {"engine": scorer.engine, "outcome": outcome}
        values = {name: record.model_dump(mode="json") for name, record in records.items()}
        files.write_json(inner / FILE, {"key": key, **values})
    return scorer, outcome


def _kept(path: Path, key: str) -> tuple[EngineSpec, PrecisionOutcome] | None:
    """The decision of an earlier start, if still valid."""
    with suppress(PulmosparkError, ValidationError, OSError, TypeError, KeyError):
        record = files.read_json(path)
        if record["key"] == key:
            engine = EngineSpec.model_validate(record["engine"])
            if (Path(engine.folder) / SPEC_FILE).is_file():
                return engine, PrecisionOutcome.model_validate(record["outcome"])
    return None
