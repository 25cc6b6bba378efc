"""Trained models: ``load`` and ``Model``."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, overload

import pyarrow.parquet as pq

from pulmospark.config.inference import Allowances, ScoringSettings
from pulmospark.core import limits
from pulmospark.core.errors import BundleError, UsageError
from pulmospark.core.locations import PathLike, local_path
from pulmospark.core.provenance import now_utc
from pulmospark.core.store_uri import place_of_text
from pulmospark.inference.batch.inputs import resolve_inputs
from pulmospark.inference.batch.predict import PredictPlan, plan_predict
from pulmospark.inference.batch.result import Prediction
from pulmospark.inference.batch.scorer import prepare_here
from pulmospark.models.bundle.bundle import bundle_folder, read_bundle
from pulmospark.store.uri import place_text

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from pulmospark.inference.batch.tasks import Scorer
    from pulmospark.inference.explain.explainer import Explainer
    from pulmospark.inference.explain.heat_map import HeatMap
    from pulmospark.inference.precision.check import PrecisionOutcome

_IMAGE_COLUMNS = ("content", "image", "pixels")
"""of ``binaryFile``, of Spark's image source, and of an images table"""


def load(bundle: PathLike) -> Model:
    """Load a trained model.

    Args:
        bundle: its folder, or the folder of the run that trained it; also an address in a store.

    Raises:
        BundleError: it is missing or damaged.

    Example:
        >>> model = ps.load("runs/mine/bundle")
        >>> model.classes
        ('COVID-19', 'pneumonia', 'normal')
    """
    return Model(bundle_folder(place_of_text(os.fspath(bundle))))


class Model:
    """A trained model, which ``load`` makes of a bundle.

    Attributes:
        bundle: folder of the bundle.
        model_id: SHA-256 of its configuration and tensors.
        classes: names of the classes, in the order of the probabilities.

    Example:
        >>> model = ps.load("runs/mine/bundle")
        >>> prediction = model.predict("image.png")
        >>> prediction.prediction in model.classes
        True
        >>> round(sum(prediction.probabilities.values()), 6)
        1.0
    """

    def __init__(self, folder: Path) -> None:
        self._read = read_bundle(folder)
        self.bundle = self._read.folder
        self.model_id = self._read.model_id
        self.classes = self._read.config.classes
        self._scorer: tuple[Scorer, PrecisionOutcome] | None = None
        self._explains: Explainer | None = None

    @overload
    def predict(  # type: ignore[overload-overlap]  # a string is a path, not a list of characters
        self,
        images: PathLike,
        *,
        allow_phantom_model: bool = False,
        any_body_part: bool = False,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Iterable[PathLike],
        *,
        out: PathLike | None = None,
        allow_phantom_model: bool = False,
        any_body_part: bool = False,
        quiet: bool = False,
    ) -> pd.DataFrame: ...

    @overload
    def predict(
        self,
        images: DataFrame,
        *,
        allow_phantom_model: bool = False,
        any_body_part: bool = False,
    ) -> DataFrame: ...

    def predict(
        self,
        images: PathLike | Iterable[PathLike] | DataFrame,
        *,
        out: PathLike | None = None,
        allow_phantom_model: bool = False,
        any_body_part: bool = False,
        quiet: bool = False,
    ) -> Prediction | pd.DataFrame | DataFrame:
        """Predict the class of an image, of many, or of each row of a Spark DataFrame.

        One image, and a list of up to 256 image files, are scored in this process. A longer list,
        or one with folders, patterns, CSV files or images tables, is scored on Spark, if a session
        is active or the images repay its start, else by processes on this machine.

        Args:
            images: path of one image; a list of what ``pulmospark predict`` takes; or a
                DataFrame with a column ``content`` (files, as Spark's ``binaryFile`` reads them),
                ``image`` (Spark's image source) or ``pixels`` (an images table).
            out: folder that keeps the tables and CSV files of a list, as ``predict --out`` makes
                them; on a cluster all executors must see it. ``None``: they are not kept.
            allow_phantom_model: let a model that was trained on phantoms score other images.
            any_body_part: score DICOM images of other parts of the body than the chest.
            quiet: show no progress.

        Returns:
            For one image a ``Prediction``. For a list a pandas DataFrame, a row for each image:
            ``uri``, ``image_id``, ``prediction``, ``probability_CLASS`` (float64, 0 to 1),
            ``decision_CLASS`` (``positive`` or ``negative`` at the operating point),
            ``cautions`` (lists of text) and ``distance`` (from the training images); files that
            are no images come last, with ``reject`` and ``reject_detail``. For a Spark DataFrame
            its columns, and ``prediction`` (index of the class, double), ``predictionLabel`` (its
            name), ``probability`` and ``rawPrediction`` (vectors), ``cautions`` and ``distance``;
            null in rows that hold no image.

        Raises:
            InputError: a path is not there, or the one image cannot be read.
            UsageError: ``images`` is none of these, or the arguments do not go together.
            BundleError: another model now stands in the bundle's folder.
            PlatformError: no space, no right to write there, or no Spark.

        Example:
            >>> model = ps.load("runs/mine/bundle")
            >>> frame = model.predict(["image.png", "text.png"], quiet=True)
            >>> frame["reject"].tolist()
            [None, 'not_an_image']
        """
        settings = ScoringSettings(
            allow_phantom_model=allow_phantom_model, any_body_part=any_body_part
        )
        if isinstance(images, (str, os.PathLike)):
            _check_unset(out)
            return self._one(place_text(os.fspath(images)), settings)
        if _is_dataframe(images):
            _check_unset(out)
            return self._rows(images, settings)
        return self._list(_paths(images), out, settings, quiet=quiet)

    def explain(
        self,
        image: PathLike,
        class_name: str | None = None,
        *,
        frame: int | None = None,
        allow_phantom_model: bool = False,
        any_body_part: bool = False,
    ) -> HeatMap:
        """Compute where in an image the model found evidence for a class.

        A heat map shows what moved this model's output, not where disease is; see the guide on
        heat maps for what is and is not claimed.

        Args:
            image: path of one image.
            class_name: the class whose evidence is shown; ``None``: the most probable one.
            frame: from 1, of a file with several.
            allow_phantom_model: let a model that was trained on phantoms score other images.
            any_body_part: score DICOM images of other parts of the body than the chest.

        Returns:
            A ``HeatMap``: notebooks show it as a picture; ``map`` is a float32 array in the
            image's own coordinates, ``outside_lungs`` the share of the heat outside the lungs.

        Raises:
            InputError: the path is not there, or no image that the model scores.
            UsageError: the class is unknown, or ``frame`` does not fit the file.
            BundleError: another model now stands in the bundle's folder.

        Example:
            >>> heat = ps.load("runs/mine/bundle").explain("image.png")
            >>> float(heat.map.max()) <= 1.0
            True
        """
        path = place_text(os.fspath(image))
        inputs = resolve_inputs([path])
        if not inputs.is_one_image:
            raise UsageError(f"{path}: matches more than one image: explain takes one at a time")
        from pulmospark.inference.batch.explain_file import explain_file  # noqa: PLC0415 - Pillow

        return explain_file(
            self._explainer(),
            self._read.config,
            str(inputs.places[0]),
            class_name,
            frame=frame,
            allowances=Allowances(
                allow_phantom_model=allow_phantom_model, any_body_part=any_body_part
            ),
        )

    def _explainer(self) -> Explainer:
        """Made once, used again."""
        if self._explains is None:
            from pulmospark.inference.explain.explainer import Explainer  # noqa: PLC0415 - Pillow

            self._check_same(read_bundle(self.bundle).model_id)
            self._explains = Explainer.open(self._read)
        return self._explains

    def _one(self, path: str, settings: ScoringSettings) -> Prediction:
        if not resolve_inputs([path]).is_one_image:
            raise UsageError(f"{path}: matches more than one image: pass a list to get a table")
        prediction = self._here(self._plan([path], None, settings)).run(None, quiet=True).image
        assert prediction is not None  # a reject, or several frames, raised its reason
        return prediction

    def _list(
        self, paths: list[str], out: PathLike | None, settings: ScoringSettings, *, quiet: bool
    ) -> pd.DataFrame:
        from pulmospark.report.frames import scored_frame  # noqa: PLC0415 - half a second
        from pulmospark.spark.engine_choice import EngineChoice  # noqa: PLC0415

        with contextlib.ExitStack() as stack:
            if out is None:
                scratch = tempfile.TemporaryDirectory(prefix="pulmospark-")
                target = Path(stack.enter_context(scratch)) / "predictions"
            else:
                target = local_path(os.fspath(out))
            plan = self._plan(paths, target, settings)
            inputs = plan.inputs
            more = inputs.folders or inputs.stored_folders or inputs.sheets or inputs.images
            named = len(inputs.named) + len(inputs.stored)
            if named <= limits.CHUNK_FILES_MAX and not more:  # one task for Spark
                result = self._here(plan).run(None, quiet=True)
            else:
                with EngineChoice() as workers:
                    result = plan.run(workers, quiet=quiet)
            folder = result.folder or target
            return scored_frame(
                pq.read_table(folder / "predictions"),
                pq.read_table(folder / "rejects"),
                result.classes,
                result.decision_points,
            )

    def _rows(self, rows: DataFrame, settings: ScoringSettings) -> DataFrame:
        from pulmospark.ml.model import CnnClassifierModel  # noqa: PLC0415 - seconds

        column = next((name for name in _IMAGE_COLUMNS if name in rows.columns), None)
        if column is None:
            raise UsageError(
                f"the DataFrame has the columns {', '.join(rows.columns) or 'none'}: name the one "
                f"with the images {', '.join(_IMAGE_COLUMNS[:-1])} or {_IMAGE_COLUMNS[-1]}"
            )
        model = CnnClassifierModel.fromBundle(self.bundle).setInputCol(column)
        self._check_same(model.modelId)
        model = model.setHandleInvalid("keep").setPredictionLabelCol("predictionLabel")
        model = model.setDistanceCol("distance")
        model = model.setAllowPhantomModel(settings.allow_phantom_model)
        return model.setAnyBodyPart(settings.any_body_part).transform(rows)

    def _plan(
        self, paths: list[str], target: Path | None, settings: ScoringSettings
    ) -> PredictPlan:
        plan = plan_predict(self.bundle, paths, target, settings=settings)
        self._check_same(plan.bundle.model_id)
        return plan

    def _here(self, plan: PredictPlan) -> PredictPlan:
        """The plan with a network that is ready in this process: made once, used again."""
        if self._scorer is None:
            folder = Path(tempfile.mkdtemp(prefix="pulmospark-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._scorer = prepare_here(plan.bundle, folder)
        scorer, precision = self._scorer
        return replace(plan, prepared=(replace(scorer, predicted_at=now_utc()), precision))

    def _check_same(self, model_id: str) -> None:
        if model_id != self.model_id:
            raise BundleError(f"{self.bundle}: was replaced by another model: load it again")

    def __repr__(self) -> str:
        return f"<Model {self._read.config.model}: {', '.join(self.classes)}; {self.bundle}>"

    def _repr_html_(self) -> str:
        from pulmospark.report.notebook import model_html  # noqa: PLC0415 - half a second

        return model_html(self._read)


def _check_unset(out: PathLike | None) -> None:
    if out is not None:
        raise UsageError("out needs a list of paths: pass a list, or omit out")


def _is_dataframe(images: object) -> TypeGuard[DataFrame]:
    """Whether it is Spark's, without importing PySpark where it is a list of paths."""
    if isinstance(images, (list, tuple)):
        return False
    from pyspark.sql import DataFrame  # noqa: PLC0415

    return isinstance(images, DataFrame)


def _paths(images: Any) -> list[str]:
    try:
        return [place_text(os.fspath(path)) for path in images]
    except TypeError as error:
        raise UsageError(
            f"predict takes a path, a list of paths or a Spark DataFrame: {error}"
        ) from error
