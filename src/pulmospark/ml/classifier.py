"""``CnnClassifier``: an estimator of Spark ML, which fits a bundle on images and labels."""

# ruff: noqa: N802, N803 - Spark ML writes params and their accessors in camelCase

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypedDict, Unpack

from pyspark.ml.base import Estimator
from pyspark.ml.param import Param
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.config.parse import parse
from pulmospark.config.train import LogisticSettings, NetworkOptions
from pulmospark.core.provenance import provenance
from pulmospark.inference.engine.bundle_form import engine_files
from pulmospark.ml import columns, fitting
from pulmospark.ml.fitting import Fitted
from pulmospark.ml.image_reader import ImageReader, Invalid
from pulmospark.ml.labels import find_labels
from pulmospark.ml.model import CnnClassifierModel
from pulmospark.ml.networks import Start, feature_engine, start_of
from pulmospark.ml.params import HasImages, HasNetwork, HasPredictions
from pulmospark.ml.storage import OwnBundle
from pulmospark.ml.stored import StoredParams
from pulmospark.ml.training_params import HasTraining
from pulmospark.models.bundle.bundle import BundleConfig, CardFacts, write_bundle
from pulmospark.models.bundle.card import CardFigure
from pulmospark.models.bundle.config import image_values
from pulmospark.models.zoo.network import Network
from pulmospark.training.recipe import completed

_HEAD_PARAMS = {
    *("maxIter", "regParam", "elasticNetParam"),
    *("predictionCol", "probabilityCol", "rawPredictionCol", "predictionLabelCol"),
    *("cautionsCol", "distanceCol", "allowPhantomModel"),
}
"""params that deep features do not depend on"""


class ClassifierParams(TypedDict, total=False):
    """Keyword params of :class:`CnnClassifier`."""

    inputCol: str
    labelCol: str
    predictionCol: str
    probabilityCol: str
    rawPredictionCol: str
    predictionLabelCol: str
    cautionsCol: str
    distanceCol: str
    allowPhantomModel: bool
    anyBodyPart: bool
    validationIndicatorCol: str
    modelName: str
    method: str
    weights: str
    classes: list[str]
    inputKind: str
    imageSize: int
    resizeMode: str
    handleInvalid: str
    maxIter: int
    regParam: float
    elasticNetParam: float
    epochs: int
    batchSize: int
    learningRate: float
    numProcesses: int
    workDir: str
    seed: int


@dataclass(frozen=True)
class _Data:
    """The data of a fit."""

    rows: DataFrame
    names: tuple[str, ...]
    reader: ImageReader
    start: Start
    phantoms: bool
    """whether the images include phantoms"""


class CnnClassifier(
    Estimator[CnnClassifierModel],
    HasImages,
    HasNetwork,
    HasPredictions,
    HasTraining,
    StoredParams,
):
    """A CNN that classifies images.

    ``method='features'``: deep features of the frozen network, and MLlib's logistic regression
    on them (``maxIter``, ``regParam``, ``elasticNetParam``), which becomes the network's last
    layer. ``method='network'``: the CNN itself, through ``TorchDistributor`` in
    ``numProcesses`` (``epochs``, ``batchSize``, ``learningRate``).

        images = spark.read.format("binaryFile").load("images/*/*.png")
        images = images.withColumn("label", F.element_at(F.split("path", "/"), -2))
        model = CnnClassifier(inputCol="content", modelName="mobilenet_v2").fit(images)

    ``labelCol`` holds class names (the classes are then in alphabetical order) or, as with
    Spark's classifiers, the class index from 0; names that ``StringIndexer`` stored in the
    column's metadata are kept. ``classes`` sets the names and their order. If
    ``validationIndicatorCol`` is set, rows in which it is true form the validation set: they
    select the best epoch and the temperature, which is 1 without them. Keep images of one patient
    on the same side.

    With a ``CrossValidator`` over the params of the logistic regression the features are
    extracted once per fold. Its evaluators need a numeric ``labelCol``.

    ``workDir`` must be visible to the driver and every worker under the same path; see
    :class:`~pulmospark.ml.featurizer.ImageFeaturizer`.
    """

    def __init__(self, **params: Unpack[ClassifierParams]) -> None:
        super().__init__()
        self._set(**params)

    def setParams(self, **params: Unpack[ClassifierParams]) -> Self:
        """Sets the params that are given."""
        return self._set(**params)

    def fitMultiple(
        self, dataset: DataFrame, paramMaps: Sequence[dict[Param[Any], Any]]
    ) -> Iterator[tuple[int, CnnClassifierModel]]:
        """Fits a model for each param map; shared features are extracted once."""
        heads = all(param.name in _HEAD_PARAMS for params in paramMaps for param in params)
        if self.getMethod() != "features" or not heads or len(paramMaps) < 2:
            return super().fitMultiple(dataset, paramMaps)
        return _SharedFeatures(self.copy(), dataset, paramMaps)

    def _fit(self, dataset: DataFrame) -> CnnClassifierModel:
        with fitting.worker_errors():
            data = self._data(dataset)
            if self.getMethod() == "network":
                return self._fit_network(data)
            with self._features(data) as frame:
                return self._fit_head(data, frame)

    def _data(self, dataset: DataFrame) -> _Data:
        image = self.getInputCol()
        kind = columns.input_kind(dataset, image, self.getInputKind())
        labels = find_labels(dataset, self.getLabelCol(), self.getClasses())
        start = start_of(self, len(labels.names), self.getSeed())
        held = F.lit(False)
        if self.isDefined(self.validationIndicatorCol):
            name = self.getValidationIndicatorCol()
            columns.need(dataset, name, "validationIndicatorCol")
            held = F.coalesce(columns.column(name).cast("boolean"), held)
        rows = dataset.select(
            columns.column(image).alias(fitting.INPUT),
            columns.row_name(dataset).alias("uri"),
            labels.index.alias(fitting.LABEL),
            held.alias(fitting.VALIDATION),
        )
        invalid: Invalid = "error" if self.getHandleInvalid() == "error" else "skip"
        reader = start.reader(kind, invalid, any_body_part=self.getAnyBodyPart())
        phantoms = fitting.are_phantoms(dataset, image, kind)
        return _Data(rows, labels.names, reader, start, phantoms)

    def _features(self, data: _Data) -> contextlib.AbstractContextManager[DataFrame]:
        engine = feature_engine(data.start.network, self._work_folder(), data.start.size)
        return fitting.deep_features(data.rows, data.reader, engine)

    def _fit_head(self, data: _Data, frame: DataFrame) -> CnnClassifierModel:
        values = {
            "max_iter": self.getMaxIter(),
            "reg_param": self.getRegParam(),
            "elastic_net_param": self.getElasticNetParam(),
        }
        settings = parse(LogisticSettings, values, where=self.uid)
        # A copy: several heads may be fitted on the same features at once.
        network = copy.deepcopy(data.start.network)
        fitted = fitting.fit_head(network, frame, data.names, settings, self.uid)
        return self._model(data, network, fitted)

    def _fit_network(self, data: _Data) -> CnnClassifierModel:
        optional: dict[str, Param[Any]] = {
            "batch_size": self.batchSize,
            "learning_rate": self.learningRate,
        }
        values = {
            name: self.getOrDefault(param)
            for name, param in optional.items()
            if self.isDefined(param)
        }
        options = parse(NetworkOptions, {"epochs": self.getEpochs(), **values}, where=self.uid)
        plan = fitting.NetworkPlan(
            names=data.names,
            reader=data.reader,
            settings=completed(
                options, data.start.network.name, started=self.getWeights() != "none"
            ),
            work=self._work_folder(),
            processes=self.getNumProcesses(),
            seed=self.getSeed(),
            uid=self.uid,
        )
        fitted = fitting.fit_network(data.start.network, data.rows, plan)
        return self._model(data, data.start.network, fitted)

    def _model(self, data: _Data, network: Network, fitted: Fitted) -> CnnClassifierModel:
        keeper = OwnBundle(self._work_folder())
        params = {param.name: value for param, value in self.extractParamMap().items()}
        for private in ("workDir", "weights"):  # paths of this machine
            params.pop(private, None)
        config = BundleConfig.for_network(
            network,
            classes=data.names,
            **image_values(data.reader.settings),
            phantoms=data.phantoms,
            distance=fitted.distance.facts if fitted.distance else None,
            temperature=fitted.temperature,
            method=self.getMethod(),
            weights=data.start.weights,
            training=provenance(params, seed=self.getSeed()),
            data={"images": dict(fitted.images), "held_out": fitted.held_out},
        )
        images = [
            CardFigure(name=f"Images of {name}", value=f"{count:,}")
            for name, count in fitted.images.items()
        ]
        facts = CardFacts(name=self.uid, data=tuple(images))
        file = fitted.distance.content if fitted.distance else None
        engine = engine_files(network, config)
        no_metrics = {"evaluation": None}
        write_bundle(
            keeper.folder, network, config, no_metrics, facts, distance=file, engine=engine
        )
        model = CnnClassifierModel.keeping(keeper)
        model._resetUid(self.uid)
        return self._copyValues(model)


class _SharedFeatures:
    """Fits one head per param map on the same deep features; thread-safe."""

    def __init__(
        self,
        estimator: CnnClassifier,
        dataset: DataFrame,
        maps: Sequence[dict[Param[Any], Any]],
    ) -> None:
        self._estimator, self._dataset, self._maps = estimator, dataset, maps
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._shared: tuple[_Data, DataFrame] | None = None
        self._next, self._done = 0, 0

    def __iter__(self) -> Iterator[tuple[int, CnnClassifierModel]]:
        return self

    def __next__(self) -> tuple[int, CnnClassifierModel]:
        with self._lock:
            if (index := self._next) >= len(self._maps):
                raise StopIteration
            self._next += 1
        try:
            with fitting.worker_errors():
                data, frame = self._features()
                estimator = self._estimator.copy(self._maps[index])
                return index, estimator._fit_head(data, frame)
        finally:
            with self._lock:
                self._done += 1
                if self._done == len(self._maps):
                    self._stack.close()

    def _features(self) -> tuple[_Data, DataFrame]:
        with self._lock:
            if self._shared is None:
                data = self._estimator._data(self._dataset)
                self._shared = data, self._stack.enter_context(self._estimator._features(data))
            return self._shared
