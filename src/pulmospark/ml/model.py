"""``CnnClassifierModel``: scores images with a bundle."""

# ruff: noqa: N802 - Spark ML writes params and their accessors in camelCase

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.ml.base import Model
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.core.errors import BundleError, InputError, UsageError
from pulmospark.core.locations import local_path
from pulmospark.core.machine import cache_folder
from pulmospark.core.store_uri import is_store_uri, parse_uri, place_of_text
from pulmospark.inference.batch.scorer import checks_of
from pulmospark.ml import columns, worker
from pulmospark.ml.fitting import linear_head
from pulmospark.ml.image_reader import ImageReader, Kind
from pulmospark.ml.networks import feature_engine
from pulmospark.ml.params import HasImages, HasPredictions
from pulmospark.ml.storage import OwnBundle, copy_bundle
from pulmospark.ml.stored import load_metadata, save_stage
from pulmospark.models.bundle.bundle import Bundle, BundleConfig, bundle_folder, read_bundle
from pulmospark.spark.paths import spark_path

BUNDLE = "bundle"
"""name of the bundle's folder in a saved model"""


class CnnClassifierModel(
    Model, HasImages, HasPredictions, MLReadable["CnnClassifierModel"], MLWritable
):
    """A fitted :class:`~pulmospark.ml.classifier.CnnClassifier`, or any bundle.

        model = CnnClassifierModel.fromBundle("runs/covid/bundle").setInputCol("content")
        model.transform(spark.read.format("binaryFile").load("images"))

    ``rawPrediction`` holds the logits over the bundle's temperature, ``probability`` their
    softmax, both in the order of :attr:`labels`; ``prediction`` is the index of the most
    probable class (double), with the class names in its metadata, and ``predictionLabelCol``
    its name. ``cautionsCol`` says why a prediction may be meaningless, as ``pulmospark predict``
    does: an image unlike the training images, another view or body part. Rows that are not images
    but kept (``handleInvalid``) have null in all columns.

    A saved model consists of its params as JSON and the bundle in a folder ``bundle``. Loading
    executes nothing from it, and raises ``BundleError`` if a byte has changed. Models are saved
    to, and loaded from, a mounted file system.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bundle: Bundle | None = None
        self._keeper: OwnBundle | None = None

    @classmethod
    def fromBundle(cls, folder: str | Path) -> CnnClassifierModel:
        """A model that scores with a bundle, which stays where it is.

        Args:
            folder: of the bundle or its run, or its address in a store.

        Raises:
            BundleError: it is missing or damaged.
        """
        model = cls()
        model._bundle = read_bundle(place_of_text(str(folder)))
        return model

    @classmethod
    def keeping(cls, keeper: OwnBundle) -> CnnClassifierModel:
        """A model that deletes its bundle with it."""
        model = cls.fromBundle(keeper.folder)
        model._keeper = keeper
        return model

    def _need(self) -> Bundle:
        if self._bundle is None:
            raise UsageError(
                "this CnnClassifierModel has no network: use CnnClassifier.fit, "
                "CnnClassifierModel.load or CnnClassifierModel.fromBundle"
            )
        return self._bundle

    @property
    def bundle(self) -> Path:
        """Folder of the bundle; deleted with the last model that uses it, unless saved."""
        return self._need().folder

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the index."""
        return list(self._need().config.classes)

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        return len(self._need().config.classes)

    @property
    def modelId(self) -> str:
        """Id of the bundle: of its configuration and tensors."""
        return self._need().model_id

    def write(self) -> MLWriter:
        """Returns a writer; call ``overwrite()`` to replace a saved model."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[CnnClassifierModel]:
        """Returns a reader."""
        return _Reader()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = self._columns()
        columns.free(dataset, {param: name for param, (name, _) in names.items()})
        image = self.getInputCol()
        kind = columns.input_kind(dataset, image, self.getInputKind())
        bundle = read_bundle(self.bundle)
        if bundle.model_id != self.modelId:
            raise BundleError(f"{self.bundle}: the bundle has been replaced: reload the model")
        config, network = bundle.config, bundle.network()
        engine = feature_engine(network, self._work_folder(), config.input_size)
        reader = self._reader(config, kind)
        checks = checks_of(bundle, self._work_folder() / "engines", engine.width)
        work = worker.scorer(reader, engine, linear_head(network, config.temperature), checks)
        target = f"{self.uid}_scored"
        scored = columns.with_images(
            dataset, image, reader, work, kind=worker.SCORED, target=target
        )
        scored = scored.withColumns({name: value for name, value in names.values() if name})
        return scored.drop(target)

    def _reader(self, config: BundleConfig, kind: Kind) -> ImageReader:
        settings = config.ingest
        if self.getAnyBodyPart():
            settings = settings.model_copy(update={"body_parts": "any"})
        phantoms_only = config.phantoms and not self.getAllowPhantomModel()
        if phantoms_only and kind != "bytes":
            raise UsageError(
                f"{self.bundle}: trained on phantoms, but {kind} do not show whether they are "
                "phantoms: provide the bytes of the files, or set allowPhantomModel"
            )
        return ImageReader(kind, settings, self.getHandleInvalid(), phantoms_only)

    def _columns(self) -> dict[str, tuple[str, Any]]:
        """Param -> the name of a new column, and the column."""
        scored = columns.column(f"{self.uid}_scored")
        index, prediction = scored["prediction"], self.getPredictionCol()
        metadata = columns.nominal(prediction, self.labels)
        # Not `names[index]`, which fails on the null index of a row that is kept without an image.
        name_of = F.get(F.array(*[F.lit(name) for name in self.labels]), index.cast("int"))
        return {
            "rawPredictionCol": (self.getRawPredictionCol(), columns.vector(scored["raw"])),
            "probabilityCol": (
                self.getProbabilityCol(),
                columns.vector(scored["probability"]),
            ),
            "predictionCol": (prediction, index.alias(prediction, metadata=metadata)),
            "predictionLabelCol": (self.getPredictionLabelCol(), name_of),
            "cautionsCol": (self.getCautionsCol(), scored["cautions"]),
            "distanceCol": (self.getDistanceCol(), scored["distance"]),
        }


class _Writer(MLWriter):
    """Writes params as JSON, and the bundle."""

    def __init__(self, model: CnnClassifierModel) -> None:
        super().__init__()
        self._model = model
        self._folder: Path | None = None

    def save(self, path: str) -> None:
        """Save to a path or ``file:`` URI, which is percent-decoded, or an address in a store.

        Raises:
            UsageError: it is on an unsupported file system, or not empty.
            SourceUnavailableError: the store fails.
        """
        if is_store_uri(path):
            bundle = read_bundle(self._model.bundle).folder
            save_stage(
                self._model,
                parse_uri(path),
                self.sparkSession,
                {f"{BUNDLE}/{file.name}": file for file in bundle.iterdir()},
                overwrite=self.shouldOverwrite,
            )
            return
        self._folder = local_path(path).absolute()
        super().save(spark_path(self._folder))

    def saveImpl(self, path: str) -> None:
        """Called by :meth:`save`."""
        DefaultParamsWriter.saveMetadata(self._model, path, self.sparkSession)
        # Spark's spelling of the path is not used: it does not escape characters, and renames
        # Databricks mounts.
        copy_bundle(self._model.bundle, (self._folder or local_path(path)) / BUNDLE)


class _Reader(MLReader[CnnClassifierModel]):
    """Reads models written by :class:`_Writer`."""

    def load(self, path: str) -> CnnClassifierModel:
        """Load from a path or ``file:`` URI, or from an address in a store.

        Raises:
            UsageError: the path is on an unsupported file system.
            BundleError: the bundle is damaged.
            InputError: the folder holds something else.
            SourceUnavailableError: the store fails.
        """
        if is_store_uri(path):
            uri = parse_uri(path)
            metadata = load_metadata(uri, CnnClassifierModel)
            return self._model(metadata, bundle_folder(uri / BUNDLE))
        folder = local_path(path).absolute()
        metadata = DefaultParamsReader.loadMetadata(spark_path(folder), self.sparkSession)
        wanted = f"{CnnClassifierModel.__module__}.{CnnClassifierModel.__qualname__}"
        if metadata["class"] != wanted:
            raise InputError(f"{path}: contains a {metadata['class']}, not a {wanted}")
        return self._model(metadata, folder / BUNDLE)

    def _model(self, metadata: dict[str, Any], bundle: Path) -> CnnClassifierModel:
        read_bundle(bundle)
        # A copy, so that the saved folder can be moved or overwritten while this model is in use.
        work = metadata["paramMap"].get("workDir")
        keeper = OwnBundle(local_path(work).expanduser().absolute() if work else cache_folder())
        copy_bundle(bundle, keeper.folder)
        model = CnnClassifierModel.keeping(keeper)
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
