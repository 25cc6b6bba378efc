"""The scorer of a stream: its network in a precision that was checked once, and is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import ValidationError

import pulmospark
from pulmospark.config.inference import PrecisionPolicy, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import files, limits, machine
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import PulmosparkError
from pulmospark.core.hashing import value_id
from pulmospark.inference.batch.scorer import checks_of, prepare_scorer, scorer_of
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.engine.build import has_gpu, library_version
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.precision.sample import read_pixels
from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.walk import FoundFile, walk
from pulmospark.models.bundle.bundle import Bundle

FILE = "engine.json"


@dataclass(frozen=True)
class FolderSample:
    """Images of a folder and the folders in it, spread evenly over the first few thousand.

    Attributes:
        folder: absolute.
        settings: of the bundle's standard image.
        count: images at most.
    """

    folder: Path
    settings: IngestSettings
    count: int = limits.PARITY_IMAGES

    @cached_property
    def _files(self) -> Sequence[FoundFile]:
        listed = walk(self.folder, ListingNotes())
        found = [file for file in islice(listed, limits.STREAM_SAMPLE_FILES) if not file.problem]
        places = np.linspace(0, max(len(found) - 1, 0), min(self.count, len(found)))
        return [found[place] for place in np.unique(places.round()).astype(int).tolist()]

    @property
    def content_id(self) -> str:
        """Of the files' names, sizes and times; none is read."""
        told = [[file.uri, file.size_bytes, file.modified_ns] for file in self._files]
        return value_id([self.settings.model_dump(), told])

    def pixels(self) -> Pixels:
        """(n, size, size); files that are no images are left out."""
        found = read_pixels([file.uri for file in self._files], self.settings)
        size = self.settings.size
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, size, size)


def stream_scorer(
    bundle: Bundle, inner: Path, precision: PrecisionPolicy, sample: FolderSample
) -> tuple[Scorer, PrecisionOutcome]:
    """Make a bundle's network ready for a stream.

    What was decided on a sample is kept in ``inner``, so that all rows of an output come from
    the same engine as long as processor, versions and what is asked for stay.

    Args:
        bundle: the model.
        inner: folder of what belongs to the output and is no table.
        precision: of the network's arithmetic.
        sample: images that a lower precision is checked on; with fewer than
            ``limits.PARITY_IMAGES_MIN`` it is float32, and the next start tries again.

    Returns:
        What workers score with, and how the precision was decided.

    Raises:
        BundleError: the bundle's tensors are not what they were.
        InputError: the sample's folder cannot be listed.
        EnvironmentProblem: no space, no right to write there, or ``int8`` without NNCF.
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
        images=limits.PARITY_WORTH_IMAGES,  # a stream has no end: the check is worth it
    )
    if not outcome.reason:  # nothing is left to be decided another time
        told = {"engine": scorer.engine, "outcome": outcome}
        values = {name: one.model_dump(mode="json") for name, one in told.items()}
        files.write_json(inner / FILE, {"key": key, **values})
    return scorer, outcome


def _kept(path: Path, key: str) -> tuple[EngineSpec, PrecisionOutcome] | None:
    """What an earlier start has decided, where it still holds."""
    with suppress(PulmosparkError, ValidationError, OSError, TypeError, KeyError):
        told = files.read_json(path)
        if told["key"] == key:
            engine = EngineSpec.model_validate(told["engine"])
            if (Path(engine.folder) / SPEC_FILE).is_file():
                return engine, PrecisionOutcome.model_validate(told["outcome"])
    return None
